//! What a value looks like: a reference to where the real one is, a placeholder, words, or chance.

/// How every mask begins.
pub(crate) const MASK_BEGINS: &str = "[masked: ";

/// How a value begins that is taken from elsewhere when it is used, or that only says what something is.
const REFERENCES: [&str; 33] = [
    "$",
    "{",
    "<",
    "%(",
    "%{",
    "%s",
    "%v",
    "#{",
    "@",
    "&",
    "!",
    "[masked",
    "vault:",
    "secret:",
    "secretref:",
    "env:",
    "env.",
    "file:",
    "op://",
    "ref+",
    "ssm:",
    "arn:",
    "enc[",
    "process.env",
    "os.environ",
    "os.getenv",
    "sha256:",
    "sha512:",
    "sha1:",
    "sha256-",
    "sha384-",
    "sha512-",
    "projects/",
];

/// What people write where the real value comes from elsewhere, and what programs write in place of one.
const PLACEHOLDERS: [&str; 62] = [
    "changeme",
    "change-me",
    "change_me",
    "example",
    "placeholder",
    "redacted",
    "masked",
    "hidden",
    "none",
    "null",
    "nil",
    "undefined",
    "true",
    "false",
    "todo",
    "tbd",
    "default",
    "disabled",
    "enabled",
    "required",
    "optional",
    "missing",
    "invalid",
    "expired",
    "unknown",
    "empty",
    "string",
    "str",
    "int",
    "integer",
    "bool",
    "boolean",
    "bytes",
    "byte",
    "number",
    "object",
    "array",
    "any",
    "option",
    "optional[str]",
    "text",
    "char",
    "varchar",
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "api_key",
    "apikey",
    "api-key",
    "key",
    "value",
    "bearer",
    "basic",
    "digest",
    "yes",
    "no",
    "on",
    "off",
    "ok",
    "prompt",
];

/// Taken from elsewhere when it is used: `${A}`, `{{ a }}`, `<a>`, `$A`, `vault:…`, `/run/secrets/a`.
pub(crate) fn is_reference(value: &str) -> bool {
    // A hash of a password begins with a dollar sign too, and has a shape of its own.
    let begins =
        |begin: &&str| value.get(..begin.len()).is_some_and(|start| start.eq_ignore_ascii_case(begin));
    REFERENCES.iter().any(begins) || is_path(value)
}

fn is_path(value: &str) -> bool {
    let rooted = value.starts_with("./") || value.starts_with("../") || value.starts_with("~/");
    let slashes =
        value.starts_with('/') && value[1..].split('/').all(|part| !part.is_empty() && !is_random(part));
    let drive = value.as_bytes().get(1..3) == Some(b":\\");
    rooted || slashes || drive || value.contains("://")
}

/// A word that stands for a value and is none.
pub(crate) fn is_placeholder(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    let lower = lower.trim_matches(['*', '_', '-', '.', '(', ')', '[', ']']);
    let blank =
        value.chars().all(|letter| matches!(letter, '*' | 'x' | 'X' | '.' | '-' | '_' | '•' | '…' | '?'));
    let yours = [
        "your-", "your_", "your ", "my-", "my_", "insert", "replace", "enter-", "some-", "some_", "example",
        "dummy",
    ];
    blank
        || PLACEHOLDERS.contains(&lower)
        || yours.iter().any(|begin| lower.starts_with(begin))
        || lower.contains("example") && lower.len() < 16
        || is_constant(value)
}

/// `DB_PASSWORD`, `TOKEN`: the name of a variable in capitals.
fn is_constant(value: &str) -> bool {
    value.len() >= 3
        && value.contains(|letter: char| letter.is_ascii_uppercase())
        && value.split('_').all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_uppercase()))
}

/// A number, perhaps with a unit, a sign or separators.
pub(crate) fn is_number(value: &str) -> bool {
    let digits = value.trim_start_matches(['+', '-', '~']);
    let end = digits
        .find(|letter: char| {
            !(letter.is_ascii_digit() || matches!(letter, '.' | ',' | '_' | ':' | '/' | '-'))
        })
        .unwrap_or(digits.len());
    end > 0
        && digits.len() - end <= 3
        && digits[end..].chars().all(|unit| unit.is_alphabetic() || unit == '%')
}

/// Nothing but words: letters in lower case, capitalised or all in capitals, joined by marks, and plain short numbers.
/// A generator makes no such text, a person writes it everywhere.
pub(crate) fn is_wordy(value: &str) -> bool {
    let mut letters = 0;
    for piece in value.split(|letter: char| !letter.is_alphanumeric()).filter(|piece| !piece.is_empty()) {
        if piece.bytes().all(|byte| byte.is_ascii_digit()) && piece.len() <= 4 {
            continue;
        }
        let version = piece
            .strip_prefix('v')
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()));
        if !version && !is_words(piece) {
            return false;
        }
        letters += piece.len();
    }
    letters > 0
}

/// One or more words without a mark between them: `next`, `Next`, `NEXT`, `nextToken`, `NextToken`.
fn is_words(piece: &str) -> bool {
    if !piece.chars().all(char::is_alphabetic) {
        return false;
    }
    if !piece.is_ascii() || piece.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return piece.len() <= 20;
    }
    let bytes = piece.as_bytes();
    let humps = 1 + bytes
        .windows(2)
        .filter(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase())
        .count();
    let upper = bytes.iter().filter(|byte| byte.is_ascii_uppercase()).count();
    // In words a capital begins a part, and parts have some letters, vowels among them.
    upper <= humps && (humps == 1 || piece.len() >= humps * 3) && has_vowels(piece)
}

/// Words have a vowel in every few letters.
fn has_vowels(piece: &str) -> bool {
    let vowel = |byte: u8| matches!(byte.to_ascii_lowercase(), b'a' | b'e' | b'i' | b'o' | b'u' | b'y');
    let longest = piece.as_bytes().split(|byte| vowel(*byte)).map(<[u8]>::len).max().unwrap_or(0);
    piece.len() < 4 || longest <= 5
}

/// Bits per character from which a text of mixed characters is more random than words or paths. Random base64 of 20
/// and more characters lies above 4; English and identifiers lie below 3.8 (Shannon 1951; truffleHog uses 4.5 for long
/// texts).
const MIXED_BITS: f64 = 4.2;
/// The same for hexadecimal digits, of at most 4 bits (truffleHog uses 3.0).
const HEX_BITS: f64 = 3.0;

/// One word that only chance makes: hexadecimal digits, or letters of both cases and digits without order.
pub(crate) fn is_random(value: &str) -> bool {
    let word = value.trim_end_matches('=');
    if word.len() < 16 || is_wordy(word) {
        return false;
    }
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    if word.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-') {
        return digits > 0 && digits < word.len() && entropy(word) >= HEX_BITS;
    }
    let cases = word.bytes().any(|byte| byte.is_ascii_uppercase())
        && word.bytes().any(|byte| byte.is_ascii_lowercase());
    (digits > 0 || cases) && entropy(word) >= MIXED_BITS.min((word.len() as f64).log2() * 0.85)
}

/// Shannon's entropy in bits per character.
pub(crate) fn entropy(text: &str) -> f64 {
    let mut counts = [0_u32; 256];
    text.bytes().for_each(|byte| counts[usize::from(byte)] += 1);
    let all = text.len().max(1) as f64;
    let share = |count: u32| f64::from(count) / all;
    counts.into_iter().filter(|count| *count > 0).map(|count| -share(count) * share(count).log2()).sum()
}
