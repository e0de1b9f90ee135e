//! What a round is about: which release is tried how, and what is done to the engine when. All of it follows from the
//! seed.

use std::{path::Path, time::Duration};

use serde_json::{Value, json};

use super::kinds::Kind;
use crate::{
    cluster::{analysis, behaving, blue_green, canary, program, rolling},
    sim::random::Random,
};

/// How the new release moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// By shares.
    Canary,
    /// By a second set.
    BlueGreen,
    /// One by one.
    Rolling,
    /// All at once, with a gap.
    Recreate,
}

/// What is the matter with the new release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// Nothing.
    Good,
    /// Its health check never succeeds.
    NeverReady,
    /// It ends at once.
    Ends,
    /// Its smoke test fails.
    Smoke,
    /// Its gate asks for less than no errors.
    Gate,
}

/// A hook of the new release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// None.
    None,
    /// One that may be run again.
    Reversible,
    /// One that must never be.
    Irreversible,
}

/// One round.
#[derive(Clone, Debug)]
pub struct Story {
    /// What it follows from.
    pub seed: u64,
    /// How the new release moves.
    pub strategy: Strategy,
    /// What it is like.
    pub release: Release,
    /// What it brings along.
    pub hook: Hook,
    /// When the hook runs.
    pub hook_when: &'static str,
    /// Which of the targets gets it.
    pub target: usize,
    /// From the request to the first damage.
    pub after: Duration,
    /// From the end of the first damage to the second.
    pub between: Duration,
    /// What is done, in order.
    pub kinds: Vec<Kind>,
}

impl Story {
    /// The round of a seed; with one kind only, if one is wanted.
    pub fn of(seed: u64, wanted: Option<Kind>, targets: usize) -> Story {
        let mut random = Random::new(seed);
        let first = wanted.unwrap_or(Kind::ALL[(seed % Kind::ALL.len() as u64) as usize]);
        let mut kinds = vec![first];
        let second = Kind::ALL[random.below(Kind::ALL.len())];
        // Both must do with the same engine.
        if random.chance(30_000) && second.flavour() == first.flavour() {
            kinds.push(second);
        }
        let strategies = [Strategy::Canary, Strategy::BlueGreen, Strategy::Rolling, Strategy::Recreate];
        let strategy = strategies[random.below(strategies.len())];
        let releases = [Release::NeverReady, Release::Ends, Release::Smoke, Release::Gate];
        let mut release =
            if random.chance(35_000) { releases[random.below(releases.len())] } else { Release::Good };
        if release == Release::Gate && strategy != Strategy::Canary {
            release = Release::NeverReady;
        }
        // Without a second set there is nothing to test before the old one is gone.
        if release == Release::Smoke && strategy == Strategy::Recreate {
            release = Release::Ends;
        }
        let mut hook = match random.below(10) {
            0..6 => Hook::None,
            6..8 => Hook::Reversible,
            _ => Hook::Irreversible,
        };
        if kinds.contains(&Kind::HookPaused) && hook == Hook::None {
            hook = if random.chance(50_000) { Hook::Reversible } else { Hook::Irreversible };
        }
        // After a hook that cannot be undone a bad release needs a person at its end: that is another story.
        if hook == Hook::Irreversible && release != Release::Good {
            hook = Hook::Reversible;
        }
        let hook_when = if random.chance(70_000) || first == Kind::HookPaused {
            "beforeDeploy"
        } else {
            "beforePromotion"
        };
        Story {
            seed,
            strategy,
            release,
            hook,
            hook_when,
            target: random.below(targets),
            // A hook runs soon and not for long.
            after: Duration::from_millis(match first {
                Kind::HookPaused => 0,
                _ => random.between(0, 3_500) as u64,
            }),
            between: Duration::from_millis(random.between(0, 800) as u64),
            kinds,
        }
    }

    /// In a few words.
    pub fn told(&self) -> String {
        let kinds: Vec<&str> = self.kinds.iter().map(|kind| kind.name()).collect();
        format!(
            "{}: {:?} release, {:?}, hook {:?}, after {} ms",
            kinds.join(" + "),
            self.release,
            self.strategy,
            self.hook,
            self.after.as_millis()
        )
    }

    /// Requests are lost by what the strategy is, whatever is done to the engine.
    pub fn has_a_gap(&self) -> bool {
        self.strategy == Strategy::Recreate
    }

    /// The spec of the release that is tried.
    pub fn spec(&self, place: &Place<'_>, version: &str) -> Value {
        let strategy = match self.strategy {
            Strategy::Canary => canary(),
            Strategy::BlueGreen => blue_green(),
            Strategy::Rolling => rolling(),
            Strategy::Recreate => json!("recreate"),
        };
        let mut spec = plain(place, version, strategy);
        let module = &mut spec["modules"][0];
        match self.release {
            Release::Good => {}
            Release::NeverReady => {
                module["environment"]["GREETER_NEVER_READY"] = "true".into();
                module["health"]["healthyDeadline"] = "2s".into();
            }
            Release::Ends => module["environment"]["GREETER_EXIT_CODE"] = "3".into(),
            Release::Smoke => module["smoke"] = json!([{"path": "/no-such-page"}]),
            Release::Gate => {
                let mut impossible = analysis("2s");
                impossible["metrics"][0]["success"] = "< 0".into();
                let steps = spec["strategy"]["canary"]["steps"].as_array_mut();
                steps.unwrap().push(json!({"analysis": impossible}));
            }
        }
        if self.hook != Hook::None {
            let ledger = place.hooks.display();
            // When it began and ended, by the machine's clock.
            let script = format!(
                "echo begin $CODE_DEPLOYMENT $(date +%s%N) >> {ledger}; sleep 0.4; \
                 echo end $CODE_DEPLOYMENT $(date +%s%N) >> {ledger}"
            );
            spec["hooks"] = json!([{
                "name": "migrate",
                "when": self.hook_when,
                "command": ["/bin/sh", "-c", script],
                "timeout": "15s",
                "irreversible": self.hook == Hook::Irreversible,
            }]);
        }
        spec
    }
}

/// Where a release goes.
pub struct Place<'a> {
    /// The target's name.
    pub name: &'a str,
    /// Its port at the data plane.
    pub port: u16,
    /// Where hooks write down that they ran.
    pub hooks: &'a Path,
    /// Where instances write down that they were started.
    pub effects: &'a Path,
}

/// A release that behaves, at once.
pub fn small(place: &Place<'_>, version: &str) -> Value {
    plain(place, version, json!({"rolling": {"maxSurge": 2}}))
}

fn plain(place: &Place<'_>, version: &str, strategy: Value) -> Value {
    let mut module = behaving("web", version);
    module["run"] = json!({"command": [program("greeter"), "--port", "{port}"]});
    module["ports"] = json!([{"name": "http"}]);
    module["environment"]["GREETER_HOST"] = "127.0.0.1".into();
    module["environment"]["CODE_EFFECT_LEDGER"] = place.effects.to_string_lossy().into();
    module["expose"] = json!({"listen": place.port});
    json!({
        "apiVersion": "code/v1",
        "name": place.name,
        "target": "process",
        "modules": [module],
        "strategy": strategy,
        "soak": "1s",
        "deadlines": {"total": "120s", "step": "30s", "rollback": "90s"},
    })
}
