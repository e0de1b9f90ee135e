//! Event streams as they really come: lines ended by LF, CR LF or CR, comments, a byte order mark, characters and
//! line ends split between packets, events without names.
//!
//! Pure: bytes in, events out. Whatever stands unfinished at the end is no event.

/// Longest line and longest event in bytes. What is longer ends the stream.
const LONGEST: usize = 8 << 20;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Its name; empty when it has none.
    pub name: String,
    /// Its data; several `data` lines are joined by LF.
    pub data: String,
}

/// A line or an event is longer than 8 MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event is longer than {LONGEST} bytes")]
pub struct TooLong;

/// Splits a stream of bytes into events.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    event: Event,
    has_data: bool,
    begun: bool,
    /// The last byte was CR: an LF after it belongs to the same line end.
    after_cr: bool,
}

impl Parser {
    /// Takes the next bytes and adds the events that they complete to `events`.
    pub fn push(&mut self, mut bytes: &[u8], events: &mut Vec<Event>) -> Result<(), TooLong> {
        if !bytes.is_empty() && std::mem::take(&mut self.after_cr) {
            bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
        }
        while let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            self.line.extend_from_slice(&bytes[..end]);
            let cr = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            if cr {
                match bytes.first() {
                    Some(b'\n') => bytes = &bytes[1..],
                    Some(_) => {}
                    None => self.after_cr = true,
                }
            }
            self.end_line(events)?;
        }
        self.line.extend_from_slice(bytes);
        if self.line.len() > LONGEST { Err(TooLong) } else { Ok(()) }
    }

    fn end_line(&mut self, events: &mut Vec<Event>) -> Result<(), TooLong> {
        let bytes = std::mem::take(&mut self.line);
        // Whole lines only, so a character that was split between packets is whole again.
        let text = String::from_utf8_lossy(&bytes);
        let mut line = text.as_ref();
        if !std::mem::replace(&mut self.begun, true) {
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            if std::mem::take(&mut self.has_data) {
                events.push(event);
            }
            return Ok(());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.has_data = true;
                self.event.data.push_str(value);
                if self.event.data.len() > LONGEST {
                    return Err(TooLong);
                }
            }
            "event" => value.clone_into(&mut self.event.name),
            // Comments have an empty field; `id` and `retry` are for reconnecting, which nobody does here.
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(parts: &[&[u8]]) -> Vec<Event> {
        let (mut parser, mut events) = (Parser::default(), Vec::new());
        for part in parts {
            parser.push(part, &mut events).unwrap();
        }
        events
    }

    fn event(name: &str, data: &str) -> Event {
        Event { name: name.into(), data: data.into() }
    }

    #[test]
    fn the_quirks_of_real_streams_are_survived() {
        let text = "\u{feff}: OPENROUTER PROCESSING\r\n\r\nevent: a\r\ndata: one\r\ndata:two\r\nid: 7\r\nretry: 3\r\n\r\n\
                    : keep-alive\n\nevent: nothing\n\ndata\n\ndata:  é€😀\rdata\r\rdata: unfinished";

        let events = parse(&[text.as_bytes()]);

        assert_eq!(events, [event("a", "one\ntwo"), event("", ""), event("", " é€😀\n")]);
    }

    #[test]
    fn bytes_that_are_no_text_spoil_only_their_own_place() {
        assert_eq!(parse(&[b"data: a\xffb\n\n"]), [event("", "a\u{fffd}b")]);
    }

    #[test]
    fn a_line_without_end_is_not_gathered_forever() {
        let (mut parser, mut events) = (Parser::default(), Vec::new());
        let chunk = vec![b'x'; 1 << 20];

        let ended = (0..9).map(|_| parser.push(&chunk, &mut events)).find(Result::is_err);

        assert_eq!(ended, Some(Err(TooLong)));
    }

    proptest! {
        #[test]
        fn it_does_not_matter_where_the_packets_are_cut(
            lines in prop::collection::vec("(data: .{0,6}|event: [a-c]|: noise|)(\n|\r\n|\r)", 0..20),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
        ) {
            let text = lines.concat().into_bytes();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let parts: Vec<&[u8]> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();

            prop_assert_eq!(parse(&parts), parse(&[&text]));
        }
    }
}
