//! What a statement is about, and whether it affirms or denies it.

/// Words that carry nothing.
const FILLERS: [&str; 62] = [
    "a", "about", "all", "also", "an", "and", "any", "are", "as", "at", "be", "been", "being", "but", "by",
    "can", "could", "did", "do", "does", "for", "from", "had", "has", "have", "here", "i", "if", "in",
    "into", "is", "it", "its", "may", "might", "of", "on", "or", "so", "some", "such", "than", "that", "the",
    "their", "there", "these", "they", "this", "those", "to", "up", "was", "we", "were", "which", "while",
    "will", "with", "would", "looks", "seems",
];
/// Words that turn a statement around.
const NEGATIONS: [&str; 14] = [
    "no", "not", "never", "none", "nothing", "nobody", "without", "cannot", "missing", "lacks", "lack",
    "lacking", "absent", "neither",
];
/// Words that are the negation of another.
const OPPOSITES: [(&str, &str); 14] = [
    ("unsafe", "safe"),
    ("insecure", "secure"),
    ("disabled", "enabled"),
    ("incompatible", "compatible"),
    ("insufficient", "enough"),
    ("sufficient", "enough"),
    ("invalid", "valid"),
    ("unencrypted", "encrypted"),
    ("unpinned", "pinned"),
    ("untested", "tested"),
    ("unbounded", "bounded"),
    ("irreversible", "reversible"),
    ("unavailable", "available"),
    ("unmonitored", "monitored"),
];

/// A statement taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Its words without fillers and negations, cut to their stems.
    pub words: String,
    /// Whether it negates an odd number of times.
    pub negative: bool,
}

impl Content {
    pub fn of(statement: &str) -> Content {
        let mut content = Content { words: String::with_capacity(statement.len()), negative: false };
        let lower = statement.to_lowercase().replace("n't", " not").replace("n’t", " not");
        for word in lower.split(|one: char| !one.is_alphanumeric()).filter(|word| !word.is_empty()) {
            if NEGATIONS.contains(&word) {
                content.negative = !content.negative;
                continue;
            }
            if FILLERS.contains(&word) || word.bytes().all(|byte| byte.is_ascii_digit()) {
                continue;
            }
            let opposite = OPPOSITES.iter().find(|(negative, _)| *negative == word);
            let word = opposite.map_or(word, |(_, positive)| positive);
            content.negative ^= opposite.is_some_and(|(negative, _)| *negative != "sufficient");
            content.words.push(' ');
            content.words.push_str(stem(word));
        }
        content
    }
}

/// The word without the commonest endings; short words stay whole.
fn stem(word: &str) -> &str {
    for ending in ["ations", "ation", "ings", "ing", "ies", "ed", "es", "s"] {
        if let Some(stem) = word.strip_suffix(ending).filter(|stem| stem.len() >= 4) {
            return stem;
        }
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_and_its_denial_differ_in_their_sign_only() {
        let pairs = [
            ("A readiness probe is set.", "No readiness probe is set"),
            ("the migration is reversible", "The migration is irreversible!"),
            ("The image is pinned", "the image isn't pinned"),
            ("Traffic is encrypted", "traffic is unencrypted"),
            ("memory is sufficient", "memory is insufficient"),
        ];
        for (yes, no) in pairs {
            let (yes, no) = (Content::of(yes), Content::of(no));

            assert_eq!(yes.words, no.words);
            assert!(!yes.negative && no.negative, "{yes:?} {no:?}");
        }
    }

    #[test]
    fn two_negations_affirm() {
        assert!(!Content::of("no step is without a way back").negative);
    }
}
