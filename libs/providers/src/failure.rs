//! Why there is no answer, and whether asking again helps.

use std::{fmt, time::Duration};

use model::{
    expert::{AnswerStatus, Usage},
    fault::Code,
};
use serde::{Deserialize, Serialize};

/// Longest text of a vendor that an error carries, in characters.
const LONGEST_DETAIL: usize = 500;

/// What kind of trouble it was. The class alone decides the retry, the ballot's status and the outcome code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// The key is missing, wrong or may not do this.
    Auth,
    /// Credit, spend limit or the day's quota is used up.
    Quota,
    /// Too many requests or tokens for now.
    RateLimited,
    /// The vendor has too much to do.
    Overloaded,
    /// Nothing came in time.
    Timeout(Phase),
    /// The vendor does not take the request as it is.
    BadRequest,
    /// The prompt does not fit the model.
    ContextTooLong,
    /// A filter would not let the question or the answer pass.
    Blocked,
    /// The answer is not what the format says: no JSON, blanks, cut off on the way, or too large.
    Malformed,
    /// There is no such model.
    NotFound,
    /// The vendor failed, or whoever stands behind it.
    Upstream,
    /// The asker did not want the answer any more.
    Cancelled,
    /// Not asked: it failed too often lately.
    CircuitOpen,
    /// Not asked: too many of our own questions wait for it already.
    Busy,
    /// Not asked: it would cost more than is left.
    OverBudget,
}

/// What was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The connection.
    Connect,
    /// The first byte of the answer.
    FirstByte,
    /// The next byte.
    Idle,
    /// The whole answer: the question's deadline.
    Total,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{class}{}{detail}", if detail.is_empty() { "" } else { ": " })]
pub struct Failure {
    /// What kind of trouble.
    pub class: Class,
    /// In the vendor's words, shortened and without the key. Untrusted.
    pub detail: String,
    /// How long the vendor wants us to stay away; at most an hour.
    pub wait: Option<Duration>,
    /// The vendor's word on whether to ask again, which outranks the class.
    pub retry: Option<bool>,
    /// The HTTP status, when there was one.
    pub http: Option<u16>,
    /// The vendor's id of the request, for its support.
    pub request_id: Option<String>,
    /// How often it was asked; 0 when it was not.
    pub tries: u32,
    /// What the tries used all the same.
    pub usage: Usage,
}

impl Failure {
    /// A failure of this class. The detail is shortened; control characters are taken out.
    pub fn new(class: Class, detail: impl AsRef<str>) -> Failure {
        Failure {
            class,
            detail: tidy(detail.as_ref()),
            wait: None,
            retry: None,
            http: None,
            request_id: None,
            tries: 0,
            usage: Usage::default(),
        }
    }

    /// Whether asking again may help, for one who failed `before` times already.
    pub fn worth_retrying(&self, before: u32) -> bool {
        match self.class {
            // Who cannot write proper JSON twice in a row will hardly do so the third time.
            Class::Malformed => self.retry.unwrap_or(true) && before == 0,
            class => self.retry.unwrap_or(class.passes()),
        }
    }
}

impl Class {
    /// Whether such trouble passes by itself.
    pub const fn passes(self) -> bool {
        match self {
            Class::RateLimited | Class::Overloaded | Class::Upstream | Class::Malformed => true,
            Class::Timeout(Phase::Connect | Phase::FirstByte | Phase::Idle) => true,
            Class::Timeout(Phase::Total) | Class::Cancelled => false,
            Class::Auth | Class::Quota | Class::BadRequest | Class::ContextTooLong => false,
            Class::Blocked | Class::NotFound | Class::CircuitOpen | Class::Busy | Class::OverBudget => false,
        }
    }

    /// The status of a ballot that failed so.
    pub const fn status(self) -> AnswerStatus {
        match self {
            Class::Blocked => AnswerStatus::Refused,
            Class::Timeout(_) => AnswerStatus::Timeout,
            Class::RateLimited | Class::Busy => AnswerStatus::RateLimited,
            Class::Quota | Class::OverBudget => AnswerStatus::Quota,
            Class::Malformed => AnswerStatus::SchemaInvalid,
            Class::CircuitOpen => AnswerStatus::CircuitOpen,
            Class::Auth | Class::Overloaded | Class::BadRequest | Class::ContextTooLong => {
                AnswerStatus::ProviderError
            }
            Class::NotFound | Class::Upstream | Class::Cancelled => AnswerStatus::ProviderError,
        }
    }

    /// The outcome code of the house.
    pub const fn code(self) -> Code {
        match self {
            Class::Auth => Code::Denied,
            Class::Quota | Class::RateLimited | Class::Busy | Class::OverBudget => Code::Overloaded,
            Class::Overloaded | Class::Malformed | Class::Upstream | Class::CircuitOpen => Code::Unavailable,
            Class::Timeout(_) | Class::Cancelled => Code::Timeout,
            Class::BadRequest | Class::ContextTooLong | Class::Blocked => Code::Invalid,
            Class::NotFound => Code::NotFound,
        }
    }

    /// In words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Class::Auth => "the key was not accepted",
            Class::Quota => "the quota is used up",
            Class::RateLimited => "rate limited",
            Class::Overloaded => "the provider is overloaded",
            Class::Timeout(Phase::Connect) => "no connection in time",
            Class::Timeout(Phase::FirstByte) => "no answer began in time",
            Class::Timeout(Phase::Idle) => "the answer stalled",
            Class::Timeout(Phase::Total) => "no answer before the deadline",
            Class::BadRequest => "the provider refuses the request",
            Class::ContextTooLong => "the prompt is too long for the model",
            Class::Blocked => "blocked by a filter",
            Class::Malformed => "the answer is malformed",
            Class::NotFound => "there is no such model",
            Class::Upstream => "the provider failed",
            Class::Cancelled => "cancelled",
            Class::CircuitOpen => "not asked, it failed too often lately",
            Class::Busy => "not asked, too many questions wait for it",
            Class::OverBudget => "not asked, the budget is used up",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One line without control characters, of bounded length.
fn tidy(text: &str) -> String {
    let mut line = String::new();
    for (count, part) in text.split(|c: char| c.is_whitespace() || c.is_control()).enumerate() {
        if part.is_empty() {
            continue;
        }
        if count > 0 && !line.is_empty() {
            line.push(' ');
        }
        line.push_str(part);
    }
    match line.char_indices().nth(LONGEST_DETAIL) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_reads_as_one_short_line() {
        let failure =
            Failure::new(Class::Upstream, format!("bad\r\n\x1b[31m gateway {}", "x".repeat(10_000)));

        let text = failure.to_string();

        assert!(text.starts_with("the provider failed: bad [31m gateway xxx"), "{text}");
        assert!(text.chars().count() < 540 && !text.contains('\n'));
    }

    #[test]
    fn the_vendors_word_outranks_the_class() {
        let mut limited = Failure::new(Class::RateLimited, "");
        let mut refused = Failure::new(Class::BadRequest, "");
        assert!(limited.worth_retrying(5) && !refused.worth_retrying(0));

        limited.retry = Some(false);
        refused.retry = Some(true);

        assert!(!limited.worth_retrying(0) && refused.worth_retrying(0));
    }

    #[test]
    fn what_is_malformed_is_asked_for_once_more() {
        let blank = Failure::new(Class::Malformed, "blank");

        assert!(blank.worth_retrying(0));
        assert!(!blank.worth_retrying(1));
    }
}
