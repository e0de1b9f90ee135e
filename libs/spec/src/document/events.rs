//! The events of a YAML text, as libyaml gives them: what other tools read is read here too, such as a closing bracket
//! in its key's column, tabs within brackets and a comment right behind a quote.

use std::{
    io::Cursor,
    panic::{AssertUnwindSafe, catch_unwind},
};

use libyaml_safer::{EventData, Mark, Parser, ScalarStyle};

use super::Place;

/// The prefix of the tags of YAML's own schemas, written `!!` in a document.
pub(super) const CORE: &str = "tag:yaml.org,2002:";

/// What stands in the text next.
pub(super) enum Event {
    /// A document begins.
    Document,
    /// `*name`
    Alias(String),
    /// A text, a number, or nothing.
    Scalar {
        text: String,
        /// Written without quotes and not as a block.
        plain: bool,
        properties: Properties,
    },
    /// A list begins.
    List(Properties),
    /// A mapping begins.
    Map(Properties),
    /// The innermost list or mapping ends.
    End,
}

/// What stands before a value: `&anchor` and `!tag`.
#[derive(Default)]
pub(super) struct Properties {
    pub anchor: Option<String>,
    /// Written out: `!!str` is `tag:yaml.org,2002:str`.
    pub tag: Option<String>,
}

/// Why the text is not YAML.
pub(super) struct Broken {
    pub what: String,
    /// How to cure it, where that is clear.
    pub cure: &'static str,
    pub place: Place,
}

/// The text, read event by event.
pub(super) struct Events {
    parser: Parser<Cursor<Vec<u8>>>,
    /// Where the text ends that was given without a line break at its end.
    unbroken: Option<u64>,
    last: Place,
}

impl Events {
    pub fn new(text: &str) -> Events {
        let mut bytes = text.as_bytes().to_vec();
        let unbroken = (!text.ends_with(['\n', '\r'])).then_some(bytes.len() as u64);
        if unbroken.is_some() {
            // The parser needs a break behind the last line of a block; what it adds to the block is taken off again.
            bytes.push(b'\n');
        }
        let mut parser = Parser::new();
        parser.set_encoding(libyaml_safer::Encoding::Utf8);
        parser.set_input(Cursor::new(bytes));
        Events { parser, unbroken, last: Place { line: 1, column: 1 } }
    }

    /// The next event and where it begins; none at the end of the text. After an error there is no next.
    pub fn next(&mut self) -> Result<Option<(Event, Place)>, Broken> {
        loop {
            let event = self.parse()?;
            let place = place(event.start_mark);
            self.last = place;
            let event = match event.data {
                EventData::StreamEnd => return Ok(None),
                EventData::StreamStart { .. } | EventData::DocumentEnd { .. } => continue,
                EventData::DocumentStart { .. } => Event::Document,
                EventData::Alias { anchor } => Event::Alias(anchor),
                EventData::Scalar { anchor, tag, value, style, .. } => {
                    let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                    let text = match self.unbroken {
                        Some(end) if block && event.end_mark.index > end => {
                            value.strip_suffix('\n').map(str::to_owned).unwrap_or(value)
                        }
                        _ => value,
                    };
                    let plain = style == ScalarStyle::Plain;
                    Event::Scalar { text, plain, properties: Properties { anchor, tag } }
                }
                EventData::SequenceStart { anchor, tag, .. } => Event::List(Properties { anchor, tag }),
                EventData::MappingStart { anchor, tag, .. } => Event::Map(Properties { anchor, tag }),
                EventData::SequenceEnd | EventData::MappingEnd => Event::End,
            };
            return Ok(Some((event, place)));
        }
    }

    /// The parser panics on a tag with a comma right behind it, which no text may make of a service.
    fn parse(&mut self) -> Result<libyaml_safer::Event, Broken> {
        match catch_unwind(AssertUnwindSafe(|| self.parser.parse())) {
            Ok(Ok(event)) => Ok(event),
            Ok(Err(error)) => {
                let what = match error.context() {
                    Some(context) if !context.is_empty() => format!("{context} {}", error.problem()),
                    _ => error.problem().to_owned(),
                };
                let cure = match error.problem() {
                    "found unexpected ':'" => "write a blank behind the colon, such as `{name: }`",
                    _ => "",
                };
                Err(Broken { what, cure, place: error.problem_mark().map_or(self.last, place) })
            }
            Err(_) => {
                let what = "a tag or a character stands where it cannot be read".to_owned();
                Err(Broken { what, cure: "", place: self.last })
            }
        }
    }
}

fn place(mark: Mark) -> Place {
    let number = |n: u64| u32::try_from(n + 1).unwrap_or(u32::MAX);
    Place { line: number(mark.line), column: number(mark.column) }
}
