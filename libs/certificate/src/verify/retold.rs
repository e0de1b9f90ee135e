//! Tells the certificate again from the journal that is enclosed, and names every field that comes out another way.

use model::{DeploymentSpec, Digest, Plan, Record, digest::canonical_json};
use serde_json::Value;

use super::Problem;
use crate::{Certificate, Deployment, Ending, Story, certificate::Documents};

/// Fields that are named; more only say the same again.
const NAMED: usize = 40;

/// Compares what is signed with what the journal says. `records` were read from the enclosed text.
pub(super) fn compare(
    certificate: &Certificate,
    facts: &Deployment,
    (spec, plan): (&DeploymentSpec, Option<&Plan>),
    records: &[Record],
    problems: &mut Vec<Problem>,
) {
    let mut broken = |text: String| problems.push(Problem::new("journal.records", text));
    let digest = Digest::of_bytes(certificate.journal.records.as_bytes());
    if digest != facts.journal.digest {
        return broken(format!("its digest is {digest}, signed is {}", facts.journal.digest));
    }
    let story = match Story::read(records) {
        Ok(story) => story,
        Err(error) => return broken(error.to_string()),
    };
    let Documents { spec: own, plan: made, .. } = story.documents();
    if own.as_bytes() != canonical_json(spec) {
        return broken("is that of another spec".to_owned());
    }
    if made.map(String::into_bytes) != plan.map(canonical_json) {
        return broken("is that of another plan".to_owned());
    }
    let told =
        story.tell(facts.observed.clone(), facts.audit.clone(), facts.certifier.clone(), facts.issued.0);
    let mut told = match told {
        Ok(told) => told,
        Err(error) => return broken(error.to_string()),
    };
    if facts.ending == Ending::Promoted {
        let unsound = story.unsound().into_iter();
        problems.extend(unsound.map(|gap| Problem::new(format!("predicate.{}", gap.field), gap.text)));
    }
    // Over the text itself: what was read and written again may spell a number another way.
    told.journal.digest = digest;
    let value = |facts: &Deployment| serde_json::to_value(facts).unwrap_or_default();
    let mut found = Vec::new();
    differences("predicate", &value(facts), &value(&told), &mut found);
    for (field, text) in found.into_iter().take(NAMED) {
        if !problems.iter().any(|problem| problem.field == field) {
            problems.push(Problem::new(field, text));
        }
    }
}

fn differences(field: &str, signed: &Value, told: &Value, found: &mut Vec<(String, String)>) {
    match (signed, told) {
        (Value::Object(signed), Value::Object(told)) => {
            for (name, value) in signed {
                let other = told.get(name).unwrap_or(&Value::Null);
                differences(&format!("{field}.{name}"), value, other, found);
            }
            // What is optional is absent only where the journal does not have it either.
            for (name, other) in told.iter().filter(|(name, _)| !signed.contains_key(*name)) {
                differences(&format!("{field}.{name}"), &Value::Null, other, found);
            }
        }
        (Value::Array(signed), Value::Array(told)) if signed.len() == told.len() => {
            for (at, (value, other)) in signed.iter().zip(told).enumerate() {
                differences(&format!("{field}[{at}]"), value, other, found);
            }
        }
        (Value::Array(signed), Value::Array(told)) => {
            let text = format!("has {}, by the enclosed journal there are {}", signed.len(), told.len());
            found.push((field.to_owned(), text));
        }
        _ if signed != told => {
            let text = format!("is {}, by the enclosed journal it is {}", brief(signed), brief(told));
            found.push((field.to_owned(), text));
        }
        _ => {}
    }
}

fn brief(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(100) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
