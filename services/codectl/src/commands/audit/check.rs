//! What is checked offline.

use std::{collections::BTreeMap, fs, path::Path};

use ledger::{ProofFile, SignedCheckpoint, policy::Trust, store::Reader, verify};
use model::{audit::AuditRecord, digest::check_canonical};
use serde::Serialize;

use super::{Check, Consistency, Prepare, Verify, Witness, log_folder, policy, text};
use crate::{
    cli::Global,
    failure::Failure,
    output::{self, paint},
};

/// It holds, it does not. What cannot be told is 2.
const HOLDS: u8 = 0;
const BROKEN: u8 = 1;
/// Every entry and every signature is as it should be, and they tell that a source had lost what it said.
const FORKED: u8 = 4;

/// `audit check`
pub fn check(global: &Global, check: &Check) -> Result<u8, Failure> {
    let policy = policy(global, &check.trust)?;
    let proof: ProofFile = parse(&check.proof)?;
    let entry = fs::read(&check.entry)
        .map_err(|error| Failure::invalid(format!("reading {}: {error}", check.entry.display())))?;
    match proof.check(&entry, &policy) {
        Ok(proven) => {
            if output::json() {
                output::document(&serde_json::json!({ "valid": true, "proven": proven }));
            } else {
                let (index, size, origin) = (proven.index, proven.size, &proven.origin);
                output::line(format!("{} entry {index} of {size} in {origin}", paint::good("VALID")));
                output::line(vouched(&proven.trust));
            }
            Ok(HOLDS)
        }
        Err(error) => {
            broken(&chassis::chain(&error));
            Ok(BROKEN)
        }
    }
}

fn vouched(trust: &Trust) -> String {
    let log: Vec<&str> = trust.log.iter().map(|signed| signed.kind).collect();
    let witnesses: Vec<&str> = trust.witnesses.iter().map(|signed| signed.name.as_str()).collect();
    let witnesses = if witnesses.is_empty() { "no witness".to_owned() } else { witnesses.join(", ") };
    paint::faint(format!("  signed by the log with {}; cosigned by {witnesses}", log.join(" and ")))
}

fn broken(why: &str) {
    if output::json() {
        output::document(&serde_json::json!({ "valid": false, "why": why }));
    } else {
        output::line(format!("{} {why}", paint::bad("INVALID")));
    }
}

fn parse<T: std::str::FromStr<Err = ledger::Error>>(path: &Path) -> Result<T, Failure> {
    text(path)?.parse().map_err(|error| Failure::invalid(format!("{}: {error}", path.display())))
}

/// A checkpoint, from a file of its own or from a proof.
fn checkpoint(path: &Path) -> Result<SignedCheckpoint, Failure> {
    match text(path)?.parse::<ProofFile>() {
        Ok(proof) => Ok(proof.checkpoint),
        Err(_) => parse(path),
    }
}

#[derive(Serialize)]
struct Verified {
    valid: bool,
    #[serde(flatten)]
    report: verify::Report,
    /// Counts of sources that are missing or stand there twice.
    counts: Vec<String>,
    /// Streams that had lost what they said: the log has both, and no longer stands for one history.
    forks: Vec<String>,
    /// The first entry in which another copy differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    differs: Option<u64>,
    /// Why it could not be compared with the other copy.
    #[serde(skip_serializing_if = "Option::is_none")]
    uncompared: Option<String>,
}

/// `audit verify`
pub fn verify(global: &Global, verify: &Verify) -> Result<u8, Failure> {
    let folder = log_folder(global, verify.log.as_ref());
    let policy = policy(global, &verify.trust)?;
    let known = verify.known.iter().map(|path| checkpoint(path)).collect::<Result<Vec<_>, _>>()?;
    super::shown(&folder)?;
    let mut counts = Counts::default();
    let report = verify::verify(&folder, &policy, &known, |index, leaf| counts.see(index, leaf))
        .map_err(|error| Failure::invalid(chassis::chain(&error)))?;
    let forks = std::mem::take(&mut counts.forks);
    let counts = counts.complaints();
    let whole = report.is_clean() && counts.is_empty();
    let compared = verify.against.as_ref().map_or(Ok(None), |other| difference(&folder, report.size, other));
    let (differs, uncompared) = match compared {
        Ok(differs) => (differs, None),
        // What was found is said first: the other copy cannot make it better.
        Err(failure) if !whole => (None, Some(failure.text)),
        Err(failure) => return Err(failure),
    };
    let valid = whole && differs.is_none();
    let verified = Verified { valid, report, counts, forks, differs, uncompared };
    if output::json() {
        output::document(&verified);
    } else {
        print(&verified);
    }
    Ok(match (valid, verified.forks.is_empty()) {
        (false, _) => BROKEN,
        (true, false) => FORKED,
        (true, true) => HOLDS,
    })
}

/// The first entry in which another copy differs.
fn difference(folder: &Path, size: u64, other: &Path) -> Result<Option<u64>, Failure> {
    let shown = super::shown(other)?;
    let (one, other) = (Reader::new(folder, size), Reader::new(other, shown.unverified().size));
    verify::first_difference(&one, &other).map_err(|error| {
        Failure::invalid(format!("the copies cannot be compared: {}", chassis::chain(&error)))
    })
}

fn print(verified: &Verified) {
    let Verified { valid, report, counts, forks, differs, uncompared } = verified;
    let verdict = match (valid, forks.is_empty()) {
        (false, _) => paint::bad("INVALID"),
        (true, false) => paint::warn("FORKED"),
        (true, true) => paint::good("VALID"),
    };
    output::line(format!("{verdict} {}: {} entries, root {}", report.origin, report.size, report.root));
    if let Some(trust) = &report.trust {
        output::line(vouched(trust));
    }
    for finding in &report.findings {
        let last = finding.index + finding.entries.max(1) - 1;
        let place = if finding.entries > 1 {
            format!("{}..{last}", finding.index)
        } else {
            finding.index.to_string()
        };
        output::line(format!("  {} {}", paint::bad(format!("entry {place}:")), finding.what));
        if let (Some(expected), Some(found)) = (&finding.expected, &finding.found) {
            output::line(paint::faint(format!("    expected {expected}, found {found}")));
        }
    }
    if report.count > report.findings.len() as u64 {
        output::line(format!("  and {} more", report.count - report.findings.len() as u64));
    }
    for count in counts {
        output::line(format!("  {} {count}", paint::bad("count:")));
    }
    for fork in forks {
        output::line(format!("  {} {fork}", paint::warn("fork:")));
    }
    if let Some(index) = differs {
        output::line(format!("  {} the copies differ from here on", paint::bad(format!("entry {index}:"))));
    }
    if let Some(why) = uncompared {
        output::line(format!("  {} {why}", paint::bad("against:")));
    }
}

/// What a leaf says of its count, and nothing else: a million of them are read in a second or two.
#[derive(serde::Deserialize)]
struct Count<'a> {
    #[serde(borrow)]
    source: std::borrow::Cow<'a, str>,
    counter: u64,
    part: u32,
    parts: u32,
    #[serde(borrow)]
    action: std::borrow::Cow<'a, str>,
}

/// The counts of every source, without a gap.
#[derive(Default)]
struct Counts {
    sources: BTreeMap<String, Source>,
    complaints: Vec<String>,
    forks: Vec<String>,
}

#[derive(Default)]
struct Source {
    /// All parts up to here are there, or their hole is told.
    counted: u64,
    /// Parts seen of counts beyond.
    ahead: BTreeMap<u64, u32>,
    /// Told to be missing.
    holes: BTreeMap<u64, u64>,
}

impl Counts {
    fn see(&mut self, index: u64, leaf: &[u8]) {
        // Whoever reads the first of two equal keys reads another fact than whoever reads the last.
        if let Err(why) = check_canonical(leaf) {
            self.complaints.push(format!("entry {index} is not a fact in canonical form: {why}"));
        }
        let Ok(count) = serde_json::from_slice::<Count<'_>>(leaf) else {
            self.complaints.push(format!("entry {index} is not a fact"));
            return;
        };
        // Whoever else tells of a hole or a fork tells a fact of its own, and excuses nothing.
        let is_own = count.source == audit::heart::admit::OWN;
        if is_own
            && count.action == "audit.hole"
            && let Ok(record) = serde_json::from_slice::<AuditRecord>(leaf)
            && let (Some(from), Some(to)) = (record.detail["from"].as_u64(), record.detail["to"].as_u64())
        {
            let source = self.sources.entry(record.subject).or_default();
            source.holes.insert(from, to);
            source.settle();
        }
        if is_own
            && count.action == "audit.fork"
            && let Ok(record) = serde_json::from_slice::<AuditRecord>(leaf)
            && let (Some(after), Some(same)) =
                (record.detail["after"].as_str(), record.detail["same"].as_u64())
        {
            // Only a name that nothing was counted under begins behind what both lives say.
            self.sources.entry(after.to_owned()).or_insert(Source { counted: same, ..Source::default() });
            self.forks.push(record.reason.unwrap_or_default());
        }
        if !self.sources.contains_key(count.source.as_ref()) {
            self.sources.insert(count.source.clone().into_owned(), Source::default());
        }
        let Some(source) = self.sources.get_mut(count.source.as_ref()) else { return };
        let told =
            source.holes.range(..=count.counter).next_back().is_some_and(|(_, to)| *to >= count.counter);
        if count.counter <= source.counted && !told {
            let twice =
                format!("{} of {} stands there twice, again at entry {index}", count.counter, count.source);
            self.complaints.push(twice);
            return;
        }
        if told && count.counter <= source.counted {
            return;
        }
        let parts = source.ahead.entry(count.counter).or_default();
        *parts += 1;
        if *parts != count.part && count.parts > 1 {
            let order = format!(
                "part {} of count {} of {} is out of order at entry {index}",
                count.part, count.counter, count.source
            );
            self.complaints.push(order);
        }
        if *parts == count.parts && count.counter == source.counted + 1 {
            source.ahead.remove(&count.counter);
            source.counted += 1;
            source.settle();
        }
    }

    fn complaints(mut self) -> Vec<String> {
        for (name, source) in &self.sources {
            if let Some((next, _)) = source.ahead.first_key_value()
                && *next > source.counted + 1
            {
                let missing = format!("{} to {} of {name} are missing", source.counted + 1, next - 1);
                self.complaints.push(missing);
            }
        }
        self.complaints
    }
}

impl Source {
    fn settle(&mut self) {
        loop {
            let next = self.counted + 1;
            if self.ahead.remove(&next).is_some() {
                self.counted = next;
            } else if let Some(to) = self.holes.get(&next) {
                self.counted = *to;
            } else {
                break;
            }
        }
    }
}

/// `audit consistency`
pub fn consistency(global: &Global, consistency: &Consistency) -> Result<u8, Failure> {
    let policy = policy(global, &consistency.trust)?;
    let folder = log_folder(global, consistency.log.as_ref());
    let (old, new) = (checkpoint(&consistency.old)?, checkpoint(&consistency.new)?);
    let outcome = extends(&policy, &folder, &old, &new);
    match outcome {
        Ok(()) => {
            let (old, new) = (old.unverified(), new.unverified());
            if output::json() {
                output::document(&serde_json::json!({ "valid": true, "old": old, "new": new }));
            } else {
                output::line(format!(
                    "{} {} entries extend {}",
                    paint::good("CONSISTENT"),
                    new.size,
                    old.size
                ));
            }
            Ok(HOLDS)
        }
        Err(error @ ledger::Error::Missing(_)) => Err(Failure::invalid(chassis::chain(&error))),
        Err(error) => {
            broken(&chassis::chain(&error));
            if matches!(error, ledger::Error::Root { .. }) {
                output::note(paint::faint(
                    "these are two logs; codectl audit verify --log ONE --against OTHER names the first entry in which \
                     two copies differ",
                ));
            }
            Ok(BROKEN)
        }
    }
}

fn extends(
    policy: &ledger::Policy,
    folder: &Path,
    old: &SignedCheckpoint,
    new: &SignedCheckpoint,
) -> Result<(), ledger::Error> {
    policy.check(old)?;
    policy.check(new)?;
    let (old, new) = (old.unverified(), new.unverified());
    if old.origin != new.origin {
        return Err(ledger::Error::Inconsistent(format!("{} and {} are two logs", old.origin, new.origin)));
    }
    if old.size > new.size {
        return Err(ledger::Error::Inconsistent(format!(
            "the newer has {} entries, the older {}",
            new.size, old.size
        )));
    }
    Reader::new(folder, new.size).consistency(old.size)?.verify(&old.root, &new.root)
}

fn failed(error: audit::Error) -> Failure {
    match error {
        audit::Error::Ledger(ledger::Error::Format { .. }) | audit::Error::Invalid(_) => {
            Failure::invalid(chassis::chain(&error))
        }
        _ => Failure::other(chassis::chain(&error)),
    }
}

/// `audit prepare`
pub fn prepare(prepare: Prepare) -> Result<u8, Failure> {
    let pair = audit::witness::Pair {
        log_state: prepare.log_state,
        origin: prepare.origin,
        witness_state: prepare.witness_state,
        name: prepare.name,
        url: prepare.url,
    };
    let policy = audit::witness::prepare(&pair).map_err(failed)?;
    let to = prepare.to;
    fs::write(&to, &policy).map_err(|error| Failure::other(format!("writing {}: {error}", to.display())))?;
    if output::json() {
        output::document(&serde_json::json!({ "policy": to }));
    } else {
        output::line(format!(
            "{} {}: whom to trust, for the log, the witness and whoever checks",
            paint::good("wrote"),
            to.display()
        ));
    }
    Ok(0)
}

/// `audit witness`
pub async fn witness(witness: Witness) -> Result<u8, Failure> {
    let logs = match &witness.policy {
        Some(policy) => audit::witness::logs_of(policy).map_err(failed)?,
        None => witness.logs,
    };
    let settings = audit::witness::Settings {
        listen: witness.listen,
        state_dir: witness.state,
        name: witness.name,
        logs,
    };
    let running = audit::witness::serve(settings, chassis::Clock::system()).await.map_err(failed)?;
    output::line(format!("witness on http://{}", running.address));
    running.keys.iter().for_each(|key| output::line(key.to_string()));
    let stop = running.stopper();
    let mut signals = chassis::Signals::listen().map_err(|error| Failure::other(error.to_string()))?;
    tokio::select! {
        () = running.wait() => {}
        _ = signals.next() => stop.cancel(),
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(leaf: &str) -> Vec<String> {
        let mut counts = Counts::default();
        counts.see(0, leaf.as_bytes());
        counts.complaints()
    }

    #[test]
    fn a_leaf_that_two_readers_read_in_two_ways_is_no_fact() {
        let whole = r#"{"action":"a","actor":"ada","at":1,"counter":1,"detail":{"by":"ada"},"outcome":"done","part":1,"parts":1,"source":"s","subject":"x","v":1}"#;
        assert_eq!(complaints(whole), [""; 0]);

        for (from, to) in [
            (r#""actor":"ada","#, r#""actor":"ada","actor":"eve","#),
            (r#"{"by":"ada"}"#, r#"{"by":"ada","by":"eve"}"#),
            (r#"{"action":"a","actor":"ada","#, r#"{"actor":"ada","action":"a","#),
            (r#""v":1}"#, r#""v":1 }"#),
        ] {
            let found = complaints(&whole.replace(from, to));

            assert!(found.len() == 1 && found[0].contains("entry 0 is not a fact"), "{to}: {found:?}");
        }
    }

    fn fact(source: &str, counter: u64, action: &str, subject: &str, detail: serde_json::Value) -> Vec<u8> {
        let outcome = model::audit::AuditOutcome::Done;
        let record = AuditRecord::new(model::Timestamp(1), "mallory", action, subject, outcome);
        AuditRecord { source: source.to_owned(), counter, detail, ..record }.to_leaf()
    }

    #[test]
    fn only_the_log_itself_tells_of_holes_and_forks() {
        let hole = serde_json::json!({ "from": 2, "to": 3 });
        let fork = serde_json::json!({ "after": "s#2", "same": 3 });
        let seen = |source: &str| {
            let mut counts = Counts::default();
            let leaves = [
                fact("s", 1, "a", "x", serde_json::Value::Null),
                fact(source, 1, "audit.hole", "s", hole.clone()),
                fact("s", 4, "a", "x", serde_json::Value::Null),
                fact(source, 2, "audit.fork", "s", fork.clone()),
                fact("s#2", 4, "a", "x", serde_json::Value::Null),
            ];
            leaves.iter().zip(0..).for_each(|(leaf, index)| counts.see(index, leaf));
            let forks = counts.forks.len();
            (forks, counts.complaints())
        };

        assert_eq!(seen("audit"), (1, Vec::new()));
        let missing = ["2 to 3 of s are missing", "1 to 3 of s#2 are missing"].map(str::to_owned);
        assert_eq!(seen("mallory"), (0, missing.to_vec()));
    }
}
