//! Untrusted text: what is taken out of it before a person sees it.

pub use scrub::{deceives, visible as clean};

/// The beginning of a text, at most so many characters; an ellipsis stands for the rest.
pub fn beginning(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => {
            let end = text.char_indices().nth(most.saturating_sub(1)).map_or(0, |(at, _)| at);
            format!("{}…", text[..end].trim_end())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_deceives_is_taken_out() {
        let cases = [
            ("plain\ttext\n", "plain\ttext\n"),
            ("Grüße, 東京", "Grüße, 東京"),
            ("\u{202e}evorppa", "evorppa"),
            ("ap\u{200b}prove", "approve"),
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}]0;title\u{7}text", "text"),
            ("\u{1b}]8;;http://x\u{1b}\\link", "link"),
            ("bell\u{7}\u{0}\u{8}", "bell"),
            ("tag\u{e0041}\u{e0042}", "tag"),
        ];
        for (dirty, expected) in cases {
            assert_eq!(clean(dirty), expected, "{dirty:?}");
        }
    }

    #[test]
    fn a_beginning_ends_between_characters() {
        assert_eq!(beginning("äöü", 3), "äöü");
        assert_eq!(beginning("äöüß", 3), "äö…");
    }
}
