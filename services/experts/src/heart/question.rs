//! What may be asked, and what is left of it once secrets are masked.

use std::collections::BTreeSet;

use model::{
    Digest, Principal, Token,
    expert::{Exhibit, Question},
    fault::Complaint,
};

/// Longest question in bytes.
const TEXT: usize = 16 * 1024;
/// Most pieces of evidence, and conditions.
const PIECES: usize = 32;
/// Shortest and longest time for a panel, in milliseconds.
const DEADLINE: std::ops::RangeInclusive<u64> = 100..=1_800_000;

/// A question that can be asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// The question, secrets masked, hidden characters taken out, defaults filled in.
    pub question: Question,
    /// Who asks, and pays for it in the accounts.
    pub caller: Principal,
    /// What it is known by.
    pub id: Token,
    /// The digest of what was asked, whoever asks and whenever: what tells two questions of one id apart.
    pub digest: Digest,
    /// Kinds of secrets that were masked, one entry per place.
    pub masked: Vec<&'static str>,
}

/// Checks and cleans. `id` is taken when the question has none, `deadline_ms` when it has no deadline.
pub fn check(
    mut question: Question,
    caller: Principal,
    id: Token,
    deadline_ms: u64,
    evidence_bytes: usize,
) -> Result<Asked, Vec<Complaint>> {
    let mut wrong = Vec::new();
    let mut say = |field: &str, message: String, cure: &str| {
        let (field, cure) = (field.to_owned(), cure.to_owned());
        wrong.push(Complaint { field, line: 0, column: 0, message, cure });
    };
    let id = match question.id.as_str() {
        "" => id,
        text => match text.parse() {
            Ok(id) => id,
            Err(error) => {
                say("id", format!("{error}"), "lower-case letters, digits and -, at most 63");
                id
            }
        },
    };
    question.id = id.to_string();
    if question.deadline_ms == 0 {
        question.deadline_ms = deadline_ms;
    }
    if question.text.trim().is_empty() || question.text.len() > TEXT {
        say("text", format!("{} bytes are no question", question.text.len()), "1 byte to 16 KiB");
    }
    for (field, pieces) in
        [("evidence", question.evidence.len()), ("constraints", question.constraints.len())]
    {
        if pieces > PIECES {
            say(field, format!("{pieces} are too many"), "at most 32");
        }
    }
    let bytes: usize = question.evidence.iter().map(|exhibit| exhibit.text.len()).sum();
    if bytes > evidence_bytes {
        let cure = format!("at most {evidence_bytes} bytes in all");
        say("evidence", format!("{bytes} bytes are too much to read"), &cure);
    }
    if !DEADLINE.contains(&question.deadline_ms) {
        say("deadlineMs", format!("{} ms is no time to answer", question.deadline_ms), "100 ms to 30 min");
    }
    let mut seen = BTreeSet::new();
    for exhibit in &question.evidence {
        if !seen.insert(exhibit.id.clone()) {
            say("evidence", format!("two pieces are called {}", exhibit.id), "one id per piece");
        }
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let masked = clean(&mut question);
    let digest = Digest::of(&(&question.text, &question.evidence, &question.constraints, &question.panel));
    Ok(Asked { question, caller, id, digest, masked })
}

/// Masks secrets and takes out what a reader cannot see; says what was masked.
fn clean(question: &mut Question) -> Vec<&'static str> {
    let mut masked = Vec::new();
    let mut tidy = |text: &mut String| {
        let scrubbed = scrub::scrub(&scrub::visible(text));
        masked.extend(scrubbed.masked);
        *text = scrubbed.text;
    };
    tidy(&mut question.text);
    question.constraints.iter_mut().for_each(&mut tidy);
    question.evidence.iter_mut().for_each(|exhibit: &mut Exhibit| tidy(&mut exhibit.text));
    masked
}

/// The first `most` characters of a text, on one line.
pub fn beginning(text: &str, most: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut short: String = line.chars().take(most).collect();
    if short.len() < line.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(text: &str) -> Question {
        Question {
            id: String::new(),
            text: text.into(),
            evidence: Vec::new(),
            constraints: Vec::new(),
            deadline_ms: 0,
            budget_micro_usd: None,
            panel: Vec::new(),
            fresh: false,
        }
    }

    fn ask(question: Question) -> Result<Asked, Vec<Complaint>> {
        ask_as("ann", question)
    }

    fn ask_as(name: &str, question: Question) -> Result<Asked, Vec<Complaint>> {
        check(question, Principal::stated(name).unwrap(), "que-1".parse().unwrap(), 30_000, 1000)
    }

    fn exhibit(id: &str, text: &str) -> Exhibit {
        Exhibit { id: id.parse().unwrap(), kind: "logs".parse().unwrap(), text: text.into() }
    }

    #[test]
    fn what_is_not_said_is_filled_in() {
        let asked = ask(question("is it safe?")).unwrap();

        assert_eq!((asked.id.as_str(), asked.question.deadline_ms), ("que-1", 30_000));
    }

    #[test]
    fn every_mistake_is_named_at_once() {
        let mut bad = question("  ");
        bad.id = "Not a token".into();
        bad.deadline_ms = 1;
        bad.evidence = vec![exhibit("a", &"x".repeat(2000)), exhibit("a", "")];

        let wrong = ask(bad).unwrap_err();

        let fields: Vec<&str> = wrong.iter().map(|one| one.field.as_str()).collect();
        assert_eq!(fields, ["id", "text", "evidence", "deadlineMs", "evidence"]);
    }

    #[test]
    fn secrets_are_masked_everywhere_and_counted() {
        let mut asked = question("why does password=hunter22x not work?");
        asked.constraints = vec!["token: abc1defg2hij".into()];
        asked.evidence = vec![exhibit("logs", "db at postgres://app:s3cr3t9@db/shop")];

        let asked = ask(asked).unwrap();

        let text = serde_json::to_string(&asked.question).unwrap();
        for secret in ["hunter22x", "abc1defg2hij", "s3cr3t9"] {
            assert!(!text.contains(secret), "{text}");
        }
        assert_eq!(asked.masked.len(), 3);
    }

    #[test]
    fn who_asks_and_when_does_not_change_what_is_asked() {
        let one = ask(question("is it safe?")).unwrap();
        let other = ask_as("bob", Question { deadline_ms: 500, ..question("is it safe?") }).unwrap();

        assert_ne!(one.caller, other.caller);
        assert_eq!(one.digest, other.digest);
        assert_ne!(one.digest, ask(question("is it?")).unwrap().digest);
    }
}
