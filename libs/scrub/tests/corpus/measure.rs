//! The corpus, and how the scrubber does on it.

use std::{collections::BTreeSet, fs, path::Path};

/// What a line of the corpus says, and which part of it must not be seen.
pub struct Case {
    pub text: String,
    pub secret: String,
}

/// Expands `‹set:length›` into characters by chance, `‹base64=text›` into base64 and `‹›` into nothing.
fn expand(line: &str, seed: u64) -> String {
    let mut chance = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move |below: usize| {
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        (chance >> 33) as usize % below
    };
    let (mut text, mut rest) = (String::new(), line);
    while let Some((before, after)) = rest.split_once('‹') {
        let (mark, behind) =
            after.split_once('›').unwrap_or_else(|| panic!("{line} has a mark without an end"));
        text.push_str(before);
        rest = behind;
        if let Some(plain) = mark.strip_prefix("base64=") {
            text.push_str(&base64::Engine::encode(&base64::engine::general_purpose::STANDARD, plain));
        } else if let Some((set, length)) = mark.split_once(':') {
            let letters = letters(set);
            text.extend((0..length.parse::<usize>().unwrap()).map(|_| letters[next(letters.len())]));
        }
    }
    text + rest
}

fn letters(set: &str) -> Vec<char> {
    let (upper, lower, digits) = ("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz", "0123456789");
    let all = match set {
        "b62" => format!("{upper}{lower}{digits}"),
        "alpha" => format!("{upper}{lower}"),
        "b64" => format!("{upper}{lower}{digits}+/"),
        "b64u" => format!("{upper}{lower}{digits}-_"),
        "b32" => format!("{upper}234567"),
        "up" => format!("{upper}{digits}"),
        "low" => format!("{lower}{digits}"),
        "dig" => digits.to_owned(),
        "hex" => format!("{digits}abcdef"),
        "HEX" => format!("{digits}ABCDEF"),
        other => panic!("there is no set {other}"),
    };
    all.chars().collect()
}

/// The texts of a file.
pub fn corpus(data: &Path, name: &str) -> Vec<Case> {
    let lines = fs::read_to_string(data.join(name)).unwrap();
    let lines: BTreeSet<&str> =
        lines.lines().filter(|line| !line.starts_with("# ") && !line.is_empty()).collect();
    let case = |(at, line): (usize, &str)| {
        let text = expand(&line.replace('⏎', "\n"), at as u64 + 1);
        let mut secret = String::new();
        for part in text.split('⟦').skip(1) {
            secret.push_str(part.split_once('⟧').unwrap().0);
            secret.push(' ');
        }
        Case { text: text.replace(['⟦', '⟧'], ""), secret }
    };
    lines.into_iter().enumerate().map(case).collect()
}

/// Whether a word of the secret can still be read, or the first or last half of a long one.
fn shows(scrubbed: &str, secret: &str) -> bool {
    let words =
        secret.split(|letter: char| letter.is_whitespace() || letter == '\\').filter(|word| word.len() >= 4);
    words.into_iter().any(|word| {
        let half = word.char_indices().nth(word.chars().count() / 2).map_or(0, |(at, _)| at);
        scrubbed.contains(word)
            || (word.len() >= 16 && [&word[..half], &word[half..]].iter().any(|half| scrubbed.contains(half)))
    })
}

/// What was found.
pub struct Found {
    pub secrets: usize,
    /// What is left of those that can still be read.
    pub missed: Vec<String>,
    pub harmless: usize,
    /// Those that were changed.
    pub wrong: Vec<String>,
}

impl Found {
    /// The share of the secrets that were masked.
    pub fn recall(&self) -> f64 {
        1.0 - self.missed.len() as f64 / self.secrets as f64
    }

    /// The share of the harmless texts that were changed.
    pub fn alarms(&self) -> f64 {
        self.wrong.len() as f64 / self.harmless as f64
    }
}

/// Scrubs all of it.
pub fn measure(data: &Path) -> Found {
    let (secrets, harmless) = (corpus(data, "secrets.txt"), corpus(data, "harmless.txt"));
    let scrubbed = |case: &Case| scrub::scrub(&case.text).text;
    let missed = secrets.iter().filter(|case| shows(&scrubbed(case), &case.secret)).map(scrubbed).collect();
    let wrong = harmless.iter().filter(|case| scrubbed(case) != case.text).map(scrubbed).collect();
    Found { secrets: secrets.len(), missed, harmless: harmless.len(), wrong }
}
