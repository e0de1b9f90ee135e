//! What a name promises about the value behind it.

/// How much a name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Telling {
    /// Its value is a password: whatever a person may have typed.
    Password,
    /// Its value is a key or token: something that no one would take for words.
    Key,
    /// Its value may be anything; only what chance made is a secret.
    Perhaps,
}

/// Last words of names that are about a secret and hold none.
const ABOUT: &[&str] = &[
    "file",
    "files",
    "path",
    "paths",
    "dir",
    "directory",
    "folder",
    "url",
    "uri",
    "endpoint",
    "host",
    "name",
    "names",
    "ttl",
    "expiry",
    "expires",
    "expiration",
    "lifetime",
    "length",
    "len",
    "size",
    "count",
    "counts",
    "limit",
    "max",
    "min",
    "id",
    "ids",
    "issuer",
    "type",
    "kind",
    "policy",
    "rotation",
    "age",
    "alg",
    "algorithm",
    "format",
    "field",
    "header",
    "prefix",
    "suffix",
    "version",
    "ref",
    "refs",
    "reference",
    "mode",
    "provider",
    "store",
    "manager",
    "class",
    "budget",
    "usage",
    "used",
    "rate",
    "price",
    "cost",
    "index",
    "position",
    "offset",
    "pos",
    "strategy",
    "backend",
    "source",
    "env",
    "var",
    "variable",
    "status",
    "state",
    "error",
    "errors",
    "hint",
    "prompt",
    "label",
    "description",
    "selector",
    "arn",
    "at",
    "timeout",
    "interval",
    "duration",
    "reset",
    "required",
    "history",
    "attempts",
    "retries",
    "strength",
    "characters",
    "pattern",
    "valid",
    "placeholder",
    "help",
    "title",
];

/// What stands before `key` when it opens something.
const KEYS: [&str; 40] = [
    "api",
    "access",
    "private",
    "secret",
    "encryption",
    "encrypt",
    "decryption",
    "signing",
    "sign",
    "master",
    "auth",
    "account",
    "shared",
    "service",
    "app",
    "application",
    "storage",
    "license",
    "deploy",
    "ssh",
    "rsa",
    "aes",
    "hmac",
    "jwt",
    "session",
    "cookie",
    "crypt",
    "crypto",
    "admin",
    "webhook",
    "integration",
    "write",
    "function",
    "subscription",
    "consumer",
    "client",
    "root",
    "vault",
    "cipher",
    "kms",
];

/// Words with `pass` at their end that are not about passwords.
const NO_PASS: [&str; 8] =
    ["bypass", "compass", "trespass", "overpass", "underpass", "surpass", "encompass", "nopass"];

/// What a name tells; nothing for most.
pub(crate) fn telling(name: &str) -> Option<Telling> {
    let words = words(name);
    let last = words.last()?.as_str();
    if ABOUT.contains(&last) {
        return None;
    }
    let compound = words.len() > 1;
    let any = |test: &dyn Fn(&str) -> bool| words.iter().any(|word| test(word));
    if any(&|word| {
        ["password", "passwd", "passphrase", "passwort", "passcode"].iter().any(|one| word.contains(one))
    }) || any(&|word| word == "pwd" || word.ends_with("pwd"))
        || (compound && matches!(last, "pass" | "pw"))
        || (last.ends_with("pass") && last.len() > 4 && !NO_PASS.contains(&last))
    {
        // In the plural it is a list or a count.
        return Some(if last.ends_with('s') && !last.ends_with("ss") {
            Telling::Perhaps
        } else {
            Telling::Password
        });
    }
    let pair = words
        .windows(2)
        .any(|pair| matches!(pair[1].as_str(), "key" | "keys") && KEYS.contains(&pair[0].as_str()));
    let joined = any(&|word| word.strip_suffix("key").is_some_and(|before| KEYS.contains(&before)));
    if any(&|word| word.contains("secret") && word != "secrets" || word == "apitoken" || word == "authtoken")
        || any(&|word| {
            word.ends_with("token")
                || word.ends_with("credential")
                || word == "credentials"
                || word == "creds"
        })
        || ((pair || joined) && last != "keys")
    {
        return Some(Telling::Key);
    }
    let perhaps = [
        "pass",
        "pw",
        "auth",
        "key",
        "keys",
        "salt",
        "seed",
        "session",
        "sessionid",
        "sid",
        "cookie",
        "otp",
        "token",
        "tokens",
        "secrets",
        "mnemonic",
        "bearer",
        "authorization",
        "jwt",
        "pat",
        "signature",
        "sig",
        "hmac",
    ];
    (perhaps.contains(&last)).then_some(Telling::Perhaps)
}

/// `DB_PASS`, `dbPassword` and `db-password` as words in lower case, digits at their ends left out.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for letter in name.chars() {
        let hump = before.is_ascii_lowercase() && letter.is_ascii_uppercase();
        if !letter.is_ascii_alphanumeric() || hump {
            words.push(String::new());
        }
        if let (true, Some(word)) = (letter.is_ascii_alphabetic(), words.last_mut()) {
            word.push(letter.to_ascii_lowercase());
        }
        before = letter;
    }
    words.retain(|word| !word.is_empty());
    words
}
