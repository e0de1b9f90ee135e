//! Splits a command line as a POSIX shell would split it, without expanding anything.

/// The words, or none when a quote is not closed or the line ends in a backslash.
pub(super) fn split(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match letters.next()? {
                        '\'' => break,
                        letter => word.push(letter),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match letters.next()? {
                        '"' => break,
                        '\\' => match letters.next()? {
                            letter @ ('"' | '\\' | '$' | '`') => word.push(letter),
                            '\n' => {}
                            letter => word.extend(['\\', letter]),
                        },
                        letter => word.push(letter),
                    }
                }
            }
            '\\' => match letters.next()? {
                '\n' => {}
                letter => word.get_or_insert_default().push(letter),
            },
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_hold_words_together() {
        let line = r#"sh -c 'a b' "c \"d\" \n" e\ f ''  g"h"i"#;
        let words = split(line).unwrap();
        assert_eq!(words, ["sh", "-c", "a b", "c \"d\" \\n", "e f", "", "ghi"]);
    }

    #[test]
    fn an_open_quote_is_no_command() {
        for open in ["'a", "\"a", "a\\"] {
            assert_eq!(split(open), None);
        }
    }
}
