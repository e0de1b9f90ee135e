//! When a certificate can have been signed: by its own word, by its keys' times, by who saw it, by the verifier's clock.

use model::Timestamp;

use super::{Logged, Problem, short};
use crate::{At, Deployment, rules::SKEW, trust::TrustedKey};

/// What does not hold about the instant of signing.
pub(super) fn problems(
    facts: &Deployment,
    keys: &[TrustedKey],
    log: Option<&Logged>,
    now: Timestamp,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let seen = log.and_then(Logged::seen);
    let (latest, whose) = match seen {
        Some(seen) if seen.0 < now => (seen.0, "the audit log shows it since"),
        _ => (now, "here it is"),
    };
    if facts.issued.0 > latest.plus(SKEW) {
        let text = format!("is {}, and {whose} {latest}: it cannot have been signed then", facts.issued);
        problems.push(Problem::new("predicate.issued", text));
    }
    for key in keys {
        if let Err(why) = in_force(key, facts.issued, log, now) {
            problems.push(Problem::new("trust.keys", format!("key {} {why}", short(&key.id))));
        }
    }
    problems
}

/// Whether the key may have made it. What a key signed when it was over says whatever date it likes, so it must have been
/// seen before; after a revocation only by a witness.
fn in_force(key: &TrustedKey, issued: At, log: Option<&Logged>, now: Timestamp) -> Result<(), String> {
    key.may_sign(issued)?;
    if let Some(revoked) = key.revoked {
        return match log.and_then(|log| log.at) {
            Some(at) if at < revoked => Ok(()),
            Some(at) => {
                Err(format!("was revoked at {revoked}, the log's witnesses saw the certificate at {at}"))
            }
            None => Err(format!("was revoked at {revoked}, and no witness saw the certificate before")),
        };
    }
    let Some(until) = key.valid_until.filter(|until| until.0 <= now) else { return Ok(()) };
    match log.and_then(Logged::seen) {
        Some(seen) if seen < until => Ok(()),
        Some(seen) => Err(format!(
            "was valid until {until}, and the audit log shows the certificate only since {seen}: nothing shows that it \
             was signed before"
        )),
        None => Err(format!(
            "was valid until {until}, which is over, and no log's time shows that the certificate was signed before"
        )),
    }
}
