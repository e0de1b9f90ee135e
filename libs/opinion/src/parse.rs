//! Bytes from a model into an answer in the closed schema, or no answer. Whatever does not fit is a missing vote.
//!
//! The verdict comes from the enumeration and never from prose. Exactly one JSON object is looked for; a fence or text
//! without braces around it is dropped and told. Two objects, a key given twice, an unknown key, another nonce or a
//! verdict in look-alike letters make the whole answer invalid: guessing would let the text choose.

use model::expert::{Answer, AnswerStatus};

use crate::text;

/// Longest answer in bytes. The longest honest one is far below 100 KB.
pub const MOST_BYTES: usize = 1 << 20;
/// Longest rationale that is kept, in characters.
pub const RATIONALE: usize = 16 << 10;
/// Longest statement of a finding that is kept, in characters.
pub const STATEMENT: usize = 2 << 10;
/// Most findings, and most entries of the other lists.
pub const MOST_ENTRIES: usize = 100;
/// Between these, open models think aloud where their server does not take the thoughts out.
const THOUGHTS: [(&str, &str); 3] =
    [("<think>", "</think>"), ("<thinking>", "</thinking>"), ("<|channel|>analysis", "<|channel|>final")];
/// Longest excerpt of an answer in an error, in characters.
const EXCERPT: usize = 200;

/// An answer that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The answer, its texts clean.
    pub answer: Answer,
    /// What was mended or taken out, one sentence each. None of it touched the verdict.
    pub repairs: Vec<String>,
}

/// Why bytes are no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Nothing but blanks.
    #[error("the answer is blank")]
    Blank,
    /// Longer than [`MOST_BYTES`].
    #[error("the answer has {bytes} bytes, at most {MOST_BYTES} are read")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not UTF-8.
    #[error("the answer is no text: byte {at} is not UTF-8")]
    NotText {
        /// Where.
        at: usize,
    },
    /// It has no JSON object at all.
    #[error("the answer holds no JSON object")]
    NoObject,
    /// It ends before its object does.
    #[error("the answer is cut off after {bytes} bytes")]
    CutOff {
        /// Its length.
        bytes: usize,
    },
    /// More than one object, or braces in the text around it.
    #[error("the answer holds more than one object, so that none is meant for sure")]
    Ambiguous,
    /// An object that does not fit the schema.
    #[error("the answer does not fit the schema: {0}")]
    Schema(String),
    /// The nonce is that of another question.
    #[error("the answer echoes another nonce")]
    Nonce,
}

impl Unreadable {
    /// The status of the ballot.
    pub const fn status(&self) -> AnswerStatus {
        match self {
            Unreadable::CutOff { .. } => AnswerStatus::Truncated,
            Unreadable::Blank
            | Unreadable::TooLong { .. }
            | Unreadable::NotText { .. }
            | Unreadable::NoObject
            | Unreadable::Ambiguous
            | Unreadable::Schema(_)
            | Unreadable::Nonce => AnswerStatus::SchemaInvalid,
        }
    }
}

/// Reads an answer. `evidence` holds the ids that the question carries; findings that cite another one lose the
/// reference, and with it their power to block.
pub fn parse(bytes: &[u8], nonce: &str, evidence: &[impl AsRef<str>]) -> Result<Reading, Unreadable> {
    if bytes.len() > MOST_BYTES {
        return Err(Unreadable::TooLong { bytes: bytes.len() });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| Unreadable::NotText { at: error.valid_up_to() })?;
    let (object, around) = only_object(text)?;
    let answer: Answer = serde_json::from_str(object).map_err(|error| {
        if error.is_eof() {
            Unreadable::CutOff { bytes: bytes.len() }
        } else if error.is_syntax() && error.to_string().starts_with("trailing characters") {
            Unreadable::Ambiguous
        } else {
            Unreadable::Schema(text::beginning(&text::clean(&error.to_string()), EXCERPT))
        }
    })?;
    if answer.nonce != nonce {
        return Err(Unreadable::Nonce);
    }
    within_bounds(&answer)?;
    let mut reading = Reading { answer, repairs: Vec::new() };
    if around {
        reading.repairs.push("text around the object was dropped".to_owned());
    }
    reading.tidy(evidence);
    Ok(reading)
}

/// The one object in a text, and whether something other than blanks stands around it.
fn only_object(text: &str) -> Result<(&str, bool), Unreadable> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim();
    if text.is_empty() {
        return Err(Unreadable::Blank);
    }
    let (text, thought) = without_thoughts(text);
    let Some(first) = text.find('{') else { return Err(Unreadable::NoObject) };
    let Some(last) = text.rfind('}').filter(|last| *last > first) else {
        return Err(Unreadable::CutOff { bytes: text.len() });
    };
    let (before, after) = (&text[..first], &text[last + 1..]);
    if before.contains('}') || after.contains('{') {
        return Err(Unreadable::Ambiguous);
    }
    Ok((&text[first..=last], thought || !(before.is_empty() && after.is_empty())))
}

/// What follows the thoughts that open models write before their answer, and whether there were any. Thoughts that never
/// end are left: then it is the thoughts that were cut off, and no answer was begun.
fn without_thoughts(text: &str) -> (&str, bool) {
    for (begin, end) in THOUGHTS {
        if let Some((_, answer)) = text.strip_prefix(begin).and_then(|rest| rest.split_once(end)) {
            return (answer.trim_start(), true);
        }
    }
    (text, false)
}

fn within_bounds(answer: &Answer) -> Result<(), Unreadable> {
    if answer.confidence_pct > 100 {
        let said = answer.confidence_pct;
        return Err(Unreadable::Schema(format!("confidence_pct is {said}, expected 0 to 100")));
    }
    let lists = [
        ("findings", answer.findings.len()),
        ("strategy_ranking", answer.strategy_ranking.len()),
        ("canary_steps_pct", answer.canary_steps_pct.len()),
    ];
    for (list, entries) in lists {
        if entries > MOST_ENTRIES {
            return Err(Unreadable::Schema(format!(
                "{list} has {entries} entries, at most {MOST_ENTRIES} are read"
            )));
        }
    }
    Ok(())
}

impl Reading {
    fn tidy(&mut self, evidence: &[impl AsRef<str>]) {
        let answer = &mut self.answer;
        tidy_text(&mut answer.rationale, RATIONALE, "rationale", &mut self.repairs);
        for (at, finding) in answer.findings.iter_mut().enumerate() {
            tidy_text(
                &mut finding.statement,
                STATEMENT,
                &format!("findings[{at}].statement"),
                &mut self.repairs,
            );
            let known = evidence.iter().any(|id| id.as_ref() == finding.evidence_ref);
            if !known && !finding.evidence_ref.is_empty() {
                finding.evidence_ref.clear();
                self.repairs.push(format!("findings[{at}] cited evidence that was not given"));
            }
        }
        let mut ranking = Vec::new();
        for advice in &answer.strategy_ranking {
            if !ranking.contains(advice) {
                ranking.push(*advice);
            }
        }
        if ranking.len() < answer.strategy_ranking.len() {
            answer.strategy_ranking = ranking;
            self.repairs.push("strategy_ranking named a strategy twice".to_owned());
        }
    }
}

fn tidy_text(text: &mut String, most: usize, name: &str, repairs: &mut Vec<String>) {
    let clean = match text::clean(text) {
        std::borrow::Cow::Borrowed(_) => None,
        std::borrow::Cow::Owned(clean) => Some(clean),
    };
    if let Some(clean) = clean {
        *text = clean;
        repairs.push(format!("{name} had characters that deceive"));
    }
    if text.len() > most && text.chars().nth(most).is_some() {
        *text = text::beginning(text, most);
        repairs.push(format!("{name} was shortened to {most} characters"));
    }
}
