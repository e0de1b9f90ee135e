//! What a round has to end in. Pure: it is given what was seen from outside and gives what is not as promised.

use std::{collections::BTreeMap, fmt};

use super::kinds::Kind;

/// Instances of each target.
pub const REPLICAS: usize = 2;

/// What kind of promise is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Something untrue, or done twice.
    Wrong,
    /// It does not end, and nothing says what a person must do.
    Stuck,
    /// Something was damaged and nothing says so.
    Silent,
    /// The engine does not start.
    Down,
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Of which kind.
    pub class: Class,
    /// What was seen.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = match self.class {
            Class::Wrong => "wrong",
            Class::Stuck => "stuck",
            Class::Silent => "silent",
            Class::Down => "not started",
        };
        write!(f, "{class}: {}", self.text)
    }
}

/// What became of the deployment that was under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// A verdict by itself.
    Verdict(String),
    /// It named what a person must do, the person did it, and it is over.
    ByHand(String),
    /// The engine does not know it; what it says.
    Unknown(String),
    /// Neither within its time; what it says.
    Open(String),
}

/// What a client has of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// `certificate verify` says so.
    Valid,
    /// `certificate verify` says why not.
    Invalid(String),
    /// There is none; what is said.
    None(String),
}

/// What runs for a target, and who answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Running {
    /// The target.
    pub target: String,
    /// The version of each process.
    pub instances: Vec<String>,
    /// Answers to requests at the data plane, by version.
    pub answers: BTreeMap<String, u32>,
    /// What `drift` says where it finds something.
    pub drift: Option<String>,
}

/// Requests of clients that failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failed {
    /// Whose.
    pub target: String,
    /// While nothing was taken from them: when and how, a few.
    pub unexcused: Vec<String>,
}

/// Bytes that were damaged, lost or repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Which.
    pub what: String,
    /// The line that names it, if any does.
    pub named: Option<String>,
}

/// Everything that was seen of a round.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What was done.
    pub kinds: Vec<Kind>,
    /// From the damage until the engine was ready again was longer than a step of the deployment may take.
    pub long_away: bool,
    /// The release that was tried does what it should.
    pub good: bool,
    /// Requests may fail by what the strategy is, for the target it is tried on.
    pub has_a_gap: bool,
    /// It has a hook; true when that cannot be undone.
    pub hook: Option<bool>,
    /// How often the hook was begun and ended.
    pub hook_runs: (usize, usize),
    /// Why the engine did not start or is not ready.
    pub down: Option<String>,
    /// How the deployment ended.
    pub ended: Ended,
    /// The versions before and on trial.
    pub versions: (String, String),
    /// What ran for its target after it ended.
    pub after: Running,
    /// What ran for the other targets, and what should.
    pub others: Vec<(String, Running)>,
    /// Its certificate.
    pub proof: Proof,
    /// Failed requests.
    pub failed: Vec<Failed>,
    /// With what status `audit verify` ended, and what it said, where it finds something.
    pub audit: Option<(i32, String)>,
    /// What was damaged.
    pub losses: Vec<Loss>,
    /// Instances that were started twice.
    pub started_twice: Vec<String>,
    /// A fresh small release afterwards: its version, or why it was not promoted.
    pub fresh: Result<String, String>,
    /// What ran then.
    pub fresh_runs: Running,
    /// Its certificate.
    pub fresh_proof: Proof,
}

/// How `audit verify` ends where a stream has lost what the log keeps, and nothing else is wrong.
const FORKED: i32 = 4;

/// What is not as promised.
pub fn judge(seen: &Seen) -> Vec<Finding> {
    let mut found = Findings::default();
    if let Some(why) = &seen.down {
        found.add(Class::Down, why);
        return found.0;
    }
    verdict(seen, &mut found);
    effects(seen, &mut found);
    proofs(seen, &mut found);
    for loss in seen.losses.iter().filter(|loss| loss.named.is_none()) {
        found.add(Class::Silent, format!("{}: nothing names it", loss.what));
    }
    for failed in &seen.failed {
        if !failed.unexcused.is_empty() {
            let some: Vec<&str> = failed.unexcused.iter().take(3).map(String::as_str).collect();
            let count = failed.unexcused.len();
            found.add(
                Class::Wrong,
                format!("{count} requests to {} failed: {}", failed.target, some.join("; ")),
            );
        }
    }
    for (version, running) in &seen.others {
        runs(running, &[version], seen, &mut found);
    }
    match &seen.fresh {
        Err(why) => found.add(Class::Stuck, format!("a release afterwards is not promoted: {why}")),
        Ok(version) => {
            let whole = Seen { kinds: Vec::new(), ..seen.clone() };
            runs(&seen.fresh_runs, &[version], &whole, &mut found);
        }
    }
    found.0
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, class: Class, text: impl Into<String>) {
        self.0.push(Finding { class, text: text.into() });
    }
}

impl Seen {
    fn any(&self, of: impl Fn(Kind) -> bool) -> bool {
        self.kinds.iter().any(|kind| of(*kind))
    }
}

fn verdict(seen: &Seen, found: &mut Findings) {
    let (before, tried) = (&seen.versions.0, &seen.versions.1);
    let loses = seen.any(Kind::loses_records);
    let may_turn_back = seen.any(Kind::may_turn_back) || seen.long_away;
    match &seen.ended {
        Ended::Open(said) => found.add(Class::Stuck, format!("no verdict: {said}")),
        Ended::Unknown(_) if loses => {}
        Ended::Unknown(said) => found.add(Class::Wrong, format!("the deployment is not known: {said}")),
        Ended::ByHand(said) => {
            let interrupted = seen.hook == Some(true) && seen.any(Kind::interrupts_steps);
            if !interrupted && !may_turn_back {
                found.add(Class::Wrong, format!("a person was called without need: {said}"));
            }
        }
        Ended::Verdict(verdict) => {
            match (verdict.as_str(), seen.good) {
                ("promoted", false) => found.add(Class::Wrong, "a bad release is promoted"),
                ("promoted", true) | ("rolled_back", false) => {}
                (other, true) if !may_turn_back => {
                    found.add(Class::Wrong, format!("a good release is {other}"));
                }
                _ => {}
            }
            let versions: &[&String] = match (verdict.as_str(), loses) {
                // What is known may be older than what runs.
                (_, true) => &[before, tried],
                ("promoted", _) => &[tried],
                _ => &[before],
            };
            runs(&seen.after, versions, seen, found);
        }
    }
}

/// Two instances of one of these versions, which alone answers.
fn runs(running: &Running, versions: &[&String], seen: &Seen, found: &mut Findings) {
    let Running { target, instances, answers, drift } = running;
    let told = || format!("{instances:?} run, {answers:?} answered");
    let loses = seen.any(Kind::loses_records);
    // Until the next release what runs may be more than is known.
    if !loses {
        let lost = seen.any(Kind::takes_instances) && drift.is_some();
        let count = instances.len();
        if count > REPLICAS || (count < REPLICAS && !lost) {
            found.add(Class::Wrong, format!("{target}: {count} instances instead of {REPLICAS}: {}", told()));
        }
        if let Some(strange) = instances.iter().find(|version| !versions.contains(version)) {
            found.add(Class::Wrong, format!("{target}: {strange} runs, not {versions:?}: {}", told()));
        }
        if let Some(said) = drift
            && !lost
        {
            found.add(Class::Wrong, format!("{target}: drift: {said}"));
        }
    }
    let strange: Vec<&String> = answers.keys().filter(|version| !versions.contains(version)).collect();
    if !strange.is_empty() && !loses {
        found.add(Class::Wrong, format!("{target}: {strange:?} answers, not {versions:?}: {}", told()));
    }
}

fn effects(seen: &Seen, found: &mut Findings) {
    let (begun, ended) = seen.hook_runs;
    match seen.hook {
        Some(true) if begun > 1 => {
            found.add(Class::Wrong, format!("a hook that cannot be undone was begun {begun} times"));
        }
        Some(false) if begun > 1 && !seen.any(Kind::interrupts_steps) => {
            found.add(Class::Wrong, format!("a hook was begun {begun} times, and nobody was interrupted"));
        }
        Some(_) if ended == 0 && seen.ended == Ended::Verdict("promoted".to_owned()) => {
            found.add(Class::Wrong, "the release is promoted and its hook never ended");
        }
        _ => {}
    }
    if !seen.started_twice.is_empty() && !seen.any(Kind::starts_instances_again) {
        found.add(Class::Wrong, format!("started twice: {:?}", seen.started_twice));
    }
}

fn proofs(seen: &Seen, found: &mut Findings) {
    match &seen.proof {
        // Issued while the clock was wrong, it says so.
        Proof::Invalid(why) if seen.any(Kind::sets_the_clock) && why.contains("predicate.issued") => {}
        Proof::Invalid(why) => found.add(Class::Wrong, format!("the certificate is not valid: {why}")),
        Proof::None(said) => {
            let due = matches!(seen.ended, Ended::Verdict(_) | Ended::ByHand(_));
            if due && !seen.any(Kind::loses_records) {
                found.add(Class::Stuck, format!("there is no certificate: {said}"));
            }
        }
        Proof::Valid => {}
    }
    match &seen.fresh_proof {
        Proof::Valid => {}
        Proof::Invalid(why) => {
            found.add(Class::Wrong, format!("the certificate of the release afterwards is not valid: {why}"));
        }
        Proof::None(said) if seen.fresh.is_ok() => {
            found.add(Class::Stuck, format!("the release afterwards has no certificate: {said}"));
        }
        Proof::None(_) => {}
    }
    let damaged = seen.any(|kind| kind == Kind::TileDamaged);
    match &seen.audit {
        Some((FORKED, _)) if seen.any(Kind::loses_records) => {}
        Some((_, said)) if !damaged => found.add(Class::Wrong, format!("audit verify: {said}")),
        Some(_) | None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(target: &str, version: &str) -> Running {
        Running {
            target: target.to_owned(),
            instances: vec![version.to_owned(); REPLICAS],
            answers: BTreeMap::from([(version.to_owned(), 9)]),
            drift: None,
        }
    }

    /// A round that ended as it should: 1 ran, 2 was promoted, 3 afterwards.
    fn well(kind: Kind) -> Seen {
        Seen {
            kinds: vec![kind],
            long_away: false,
            good: true,
            has_a_gap: false,
            hook: Some(false),
            hook_runs: (1, 1),
            down: None,
            ended: Ended::Verdict("promoted".into()),
            versions: ("1".into(), "2".into()),
            after: running("shop", "2"),
            others: vec![("1".into(), running("desk", "1"))],
            proof: Proof::Valid,
            failed: vec![Failed { target: "shop".into(), unexcused: Vec::new() }],
            audit: None,
            losses: vec![Loss { what: "a record".into(), named: Some("fork".into()) }],
            started_twice: Vec::new(),
            fresh: Ok("3".into()),
            fresh_runs: running("shop", "3"),
            fresh_proof: Proof::Valid,
        }
    }

    fn notices(class: Class, words: &str, lie: impl FnOnce(&mut Seen)) {
        let mut seen = well(Kind::EngineKilled);
        lie(&mut seen);
        let found = judge(&seen);
        let noticed = found.iter().any(|one| one.class == class && one.text.contains(words));
        assert!(noticed, "{words:?} is not noticed: {found:?}");
    }

    #[test]
    fn a_round_that_ended_as_it_should_is_well_whatever_was_done() {
        for kind in Kind::ALL {
            assert_eq!(judge(&well(*kind)), [], "{}", kind.name());
        }
    }

    #[test]
    fn what_is_untrue_is_noticed() {
        notices(Class::Wrong, "a bad release is promoted", |seen| seen.good = false);
        notices(Class::Wrong, "a good release is rolled_back", |seen| {
            seen.ended = Ended::Verdict("rolled_back".into());
            seen.after = running("shop", "1");
        });
        notices(Class::Wrong, "not known", |seen| seen.ended = Ended::Unknown("no such".into()));
        notices(Class::Wrong, "1 runs, not", |seen| seen.after.instances[0] = "1".into());
        notices(Class::Wrong, "3 instances", |seen| seen.after.instances.push("2".into()));
        notices(Class::Wrong, "1 instances", |seen| seen.after.instances.truncate(1));
        notices(Class::Wrong, "answers, not", |seen| {
            seen.after.answers.insert("1".into(), 1);
        });
        notices(Class::Wrong, "drift", |seen| seen.after.drift = Some("web differs".into()));
        notices(Class::Wrong, "desk: 2 runs", |seen| seen.others[0].1.instances[1] = "2".into());
        notices(Class::Wrong, "is not valid", |seen| seen.proof = Proof::Invalid("journal".into()));
        notices(Class::Wrong, "audit verify", |seen| seen.audit = Some((1, "entry 4".into())));
        notices(Class::Wrong, "requests to shop failed", |seen| {
            seen.failed[0].unexcused.push("after 9 ms: refused".into());
        });
        notices(Class::Wrong, "a person was called", |seen| {
            seen.ended = Ended::ByHand("abort --close".into());
        });
    }

    #[test]
    fn what_is_done_twice_or_not_at_all_is_noticed() {
        notices(Class::Wrong, "begun 2 times", |seen| {
            seen.hook = Some(true);
            seen.hook_runs = (2, 1);
        });
        notices(Class::Wrong, "nobody was interrupted", |seen| {
            seen.kinds = vec![Kind::ServerKilled];
            seen.hook_runs = (2, 2);
        });
        notices(Class::Wrong, "never ended", |seen| seen.hook_runs = (1, 0));
        notices(Class::Wrong, "started twice", |seen| seen.started_twice.push("web-0".into()));
    }

    #[test]
    fn what_does_not_go_on_is_noticed() {
        notices(Class::Down, "no answer", |seen| seen.down = Some("no answer".into()));
        notices(Class::Stuck, "no verdict", |seen| seen.ended = Ended::Open("executing".into()));
        notices(Class::Stuck, "afterwards is not promoted", |seen| seen.fresh = Err("locked".into()));
        notices(Class::Stuck, "no certificate", |seen| seen.proof = Proof::None("not found".into()));
        notices(Class::Stuck, "has no certificate", |seen| {
            seen.fresh_proof = Proof::None("not found".into());
        });
    }

    #[test]
    fn what_nothing_names_is_noticed() {
        notices(Class::Silent, "a record", |seen| seen.losses[0].named = None);
    }

    #[test]
    fn a_damage_excuses_what_it_takes_and_nothing_else() {
        let mut seen = well(Kind::StoreOlder);
        seen.ended = Ended::Unknown("no deployment".into());
        seen.proof = Proof::None("none".into());
        assert_eq!(judge(&seen), []);

        seen.fresh_runs.instances[0] = "2".into();
        assert_eq!(judge(&seen).len(), 1);

        let mut seen = well(Kind::ClockForward);
        seen.proof = Proof::Invalid("predicate.issued: is in the future".into());
        assert_eq!(judge(&seen), []);
        seen.proof = Proof::Invalid("signatures[0]: does not hold".into());
        assert_eq!(judge(&seen).len(), 1);

        let mut seen = well(Kind::NewKilled);
        seen.after.instances.truncate(1);
        assert_eq!(judge(&seen).len(), 1, "nothing says that one is gone");
        seen.after.drift = Some("1 of 2 runs".into());
        assert_eq!(judge(&seen), []);
    }
}
