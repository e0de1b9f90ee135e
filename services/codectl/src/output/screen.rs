//! The terminal: how big it is, and lines that fit into it.

use std::{io::IsTerminal, time::Duration};

/// Columns and rows of the terminal behind standard output; none when it is not one.
pub fn size() -> Option<(usize, usize)> {
    let out = std::io::stdout();
    if !out.is_terminal() {
        return None;
    }
    let (terminal_size::Width(columns), terminal_size::Height(rows)) = terminal_size::terminal_size_of(out)?;
    (columns > 0 && rows > 0).then_some((usize::from(columns), usize::from(rows)))
}

/// Cursor movements are understood.
pub fn moves() -> bool {
    std::io::stdout().is_terminal() && std::env::var("TERM").is_ok_and(|term| term != "dumb")
}

/// Characters that are seen: escape sequences take no room, and revisions are shown by their names.
pub fn visible(text: &str) -> usize {
    let text = super::named(text);
    let mut count = 0;
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        if character == '\x1b' {
            rest.by_ref().find(char::is_ascii_alphabetic);
        } else {
            count += 1;
        }
    }
    count
}

/// At most `width` characters on one line; what is cut off is shown as `…`.
pub fn cut(text: &str, width: usize) -> String {
    let text = super::clean::cleaned(&super::named(text), true).replace(['\n', '\r', '\t'], " ");
    if visible(&text) <= width {
        return text;
    }
    let (mut cut, mut count, mut painted) = (String::new(), 0, false);
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        if character == '\x1b' {
            painted = true;
            cut.push(character);
            for part in rest.by_ref() {
                cut.push(part);
                if part.is_ascii_alphabetic() {
                    break;
                }
            }
            continue;
        }
        if count + 1 >= width {
            break;
        }
        cut.push(character);
        count += 1;
    }
    cut.push('…');
    if painted {
        cut.push_str("\x1b[0m");
    }
    cut
}

/// Filled up with blanks to `width` characters.
pub fn pad(text: &str, width: usize) -> String {
    let text = super::named(text);
    format!("{text}{}", " ".repeat(width.saturating_sub(visible(&text))))
}

/// `12s`, `5m`, `3h` or `2d`: one unit, rounded down.
pub fn short(span: Duration) -> String {
    match span.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m", seconds / 60),
        seconds @ 3600..86_400 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// Lines that are drawn again in place.
#[derive(Debug, Default)]
pub struct Canvas {
    drawn: Vec<String>,
}

impl Canvas {
    /// What to send to the terminal so that it shows these lines instead of the last ones; none when nothing changed.
    /// Lines that a narrower terminal has wrapped since are counted as the rows they take.
    pub fn draw(&mut self, lines: &[String], width: usize) -> Option<String> {
        let lines: Vec<String> = lines.iter().map(|line| cut(line, width)).collect();
        if lines == self.drawn {
            return None;
        }
        let rows: usize = self.drawn.iter().map(|line| visible(line).div_ceil(width.max(1)).max(1)).sum();
        // A synchronised update: the terminal shows all of it or none.
        let mut text = String::from("\x1b[?2026h");
        if rows > 0 {
            text.push_str(&format!("\r\x1b[{rows}A"));
        }
        lines.iter().for_each(|line| text.push_str(&format!("{line}\x1b[K\n")));
        text.push_str("\x1b[J\x1b[?2026l");
        self.drawn = lines;
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_takes_no_room_and_is_closed_when_cut() {
        let painted = "\x1b[32mpromoted\x1b[39m and more";

        assert_eq!(visible(painted), 17);
        assert_eq!(cut(painted, 17), painted);
        assert_eq!(cut(painted, 6), "\x1b[32mpromo…\x1b[0m");
        assert_eq!(cut("two\nlines", 80), "two lines");
    }

    #[test]
    fn drawing_again_goes_up_as_many_rows_as_were_drawn() {
        let mut canvas = Canvas::default();
        let lines = ["one".to_owned(), "a line of twenty ch.".to_owned()];

        assert!(canvas.draw(&lines, 20).is_some_and(|text| !text.contains('A')));
        assert_eq!(canvas.draw(&lines, 20), None);
        let narrower = canvas.draw(&lines, 10).unwrap_or_default();

        assert!(narrower.contains("\x1b[3A"), "{narrower:?}");
        assert!(narrower.contains("a line of…\x1b[K"), "{narrower:?}");
    }

    #[test]
    fn ages_have_one_unit() {
        let words = [0, 59, 60, 3599, 3600, 86_400].map(|seconds| short(Duration::from_secs(seconds)));
        assert_eq!(words, ["0s", "59s", "1m", "59m", "1h", "1d"]);
    }
}
