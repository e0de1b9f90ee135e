//! Runs by the hundred: every single kill, double kills, mixtures by seed, planted bugs.

use super::{Chaos, Harm, Kill, Planted, Run, Scenario, Victim, run, scenario};

/// One run that is to be made.
#[derive(Clone, Debug)]
pub struct Case {
    /// The story.
    pub scenario: Scenario,
    /// The seed.
    pub seed: u64,
    /// The faults.
    pub chaos: Chaos,
    /// What reproduces it, as arguments of the program.
    pub arguments: String,
}

impl Case {
    /// Runs it.
    pub fn run(&self) -> Run {
        run(&self.scenario, self.seed, &self.chaos)
    }
}

/// What many runs came to.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Runs made.
    pub runs: usize,
    /// Runs in which something was not as it must be.
    pub wrong: usize,
    /// Runs that did not end.
    pub stuck: usize,
    /// Runs that did something twice.
    pub duplicate: usize,
    /// Faults that happened in all of them.
    pub faults: usize,
    /// Records journalled in all of them.
    pub records: usize,
    /// Longest virtual time, in milliseconds.
    pub longest: i64,
    /// The runs that broke a promise.
    pub failures: Vec<(Case, Run)>,
}

impl Totals {
    /// Counts a run.
    pub fn add(&mut self, case: &Case, run: Run) {
        self.runs += 1;
        self.faults += run.faults;
        self.records += run.records;
        self.longest = self.longest.max(run.took);
        let has = |harm| usize::from(run.violations.iter().any(|violation| violation.harm == harm));
        self.wrong += has(Harm::Wrong);
        self.stuck += has(Harm::Stuck);
        self.duplicate += has(Harm::Duplicate);
        if !run.is_clean() && self.failures.len() < 20 {
            self.failures.push((case.clone(), run));
        }
    }

    /// Counts what others counted.
    pub fn absorb(&mut self, other: &Totals) {
        self.runs += other.runs;
        self.wrong += other.wrong;
        self.stuck += other.stuck;
        self.duplicate += other.duplicate;
        self.faults += other.faults;
        self.records += other.records;
        self.longest = self.longest.max(other.longest);
        self.failures.extend(other.failures.iter().cloned());
    }

    /// No promise was broken, and there were runs at all.
    pub fn is_clean(&self) -> bool {
        self.runs > 0 && self.wrong + self.stuck + self.duplicate == 0
    }

    /// One line.
    pub fn line(&self) -> String {
        format!("runs {} wrong {} stuck {} duplicate {}", self.runs, self.wrong, self.stuck, self.duplicate)
    }

    /// The failures, each with its seed, story and the command that reproduces it.
    pub fn told(&self) -> String {
        let mut text = String::new();
        for (case, run) in &self.failures {
            text += &format!(
                "{} seed {}: cargo run -p code-tests --bin matrix -- {}\n",
                case.scenario.name, case.seed, case.arguments
            );
            for violation in &run.violations {
                text += &format!("    {violation}\n");
            }
        }
        text
    }
}

/// Runs all of them.
pub fn run_all(cases: impl IntoIterator<Item = Case>) -> Totals {
    let mut totals = Totals::default();
    for case in cases {
        let run = case.run();
        totals.add(&case, run);
    }
    totals
}

/// A story that nothing disturbs.
pub fn undisturbed(scenario: &Scenario) -> Case {
    let arguments = format!("--scenario {}", scenario.name);
    Case { scenario: scenario.clone(), seed: 0, chaos: Chaos::none(), arguments }
}

/// A mixture of faults. Every second seed has clocks that jump, in stories with deadlines that outlast the jumps; every
/// other pair of seeds has two orchestrators and two runners.
pub fn mixture(scenario: &Scenario, seed: u64) -> Case {
    let patient = seed % 2 == 1;
    let scenario = &if seed % 4 >= 2 { scenario.clone().by_two() } else { scenario.clone() };
    let chaos = Chaos::drawn(seed, patient);
    let arguments = format!("--scenario {} --seed {seed}", scenario.name);
    let scenario = if patient { scenario.clone().patient() } else { scenario.clone() };
    Case { scenario, seed, chaos, arguments }
}

/// One process dies right after one record. It comes back for even records and stays away for odd ones.
pub fn kill(scenario: &Scenario, record: usize, victim: Victim) -> Case {
    let back = record.is_multiple_of(2).then_some(5_000);
    let name = if victim == Victim::Writer { "orchestrator" } else { "runner" };
    let chaos = Chaos { kills: vec![Kill { record, victim, back }], ..Chaos::none() };
    let arguments = format!("--scenario {} --kill {name}@{record}", scenario.name);
    Case { scenario: scenario.clone(), seed: 0, chaos, arguments }
}

/// Two processes die, the second while the first is being made up for.
pub fn double_kill(scenario: &Scenario, first: usize, second: usize) -> Case {
    let mut case = kill(scenario, first, Victim::Writer);
    let victim = if second.is_multiple_of(2) { Victim::Writer } else { Victim::Runner };
    for kill in &mut case.chaos.kills {
        kill.back = Some(8_000);
    }
    case.chaos.kills.push(Kill { record: second, victim, back: Some(3_000) });
    case.arguments = format!(
        "--scenario {} --kill orchestrator@{first} --kill {}@{second}",
        scenario.name,
        if victim == Victim::Writer { "orchestrator" } else { "runner" }
    );
    case
}

/// Every kill at every record of the undisturbed run, by orchestrator and by runner.
pub fn every_kill(scenario: &Scenario) -> Vec<Case> {
    let records = undisturbed(scenario).run().records;
    let mut cases = Vec::new();
    for record in 1..=records {
        cases.push(kill(scenario, record, Victim::Writer));
        cases.push(kill(scenario, record, Victim::Runner));
    }
    cases
}

/// Kills in pairs: every second record, and one to six records later.
pub fn double_kills(scenario: &Scenario) -> Vec<Case> {
    let records = undisturbed(scenario).run().records;
    (1..=records).step_by(2).map(|first| double_kill(scenario, first, first + 1 + first % 6)).collect()
}

/// The seed that catches a planted bug, the story, and what was noticed first.
#[derive(Clone, Debug)]
pub struct Caught {
    /// What was planted.
    pub planted: Planted,
    /// The run that noticed; none when no run of `tried` did.
    pub by: Option<(Case, Run)>,
    /// Runs it took.
    pub tried: usize,
}

/// Runs stories with the bug planted until one notices, at most `seeds` seeds.
pub fn hunt(planted: Planted, seeds: u64) -> Caught {
    let names = [
        "canary/bad",
        "blue-green/nobody-routes-to-it",
        "recreate/bad",
        "rolling/bad",
        "canary/two-queued",
        "rolling/good",
        "blue-green/abort",
        "blue-green/abort-in-hold",
        "canary/good",
        "canary/flaky",
        "canary/background",
        "canary/supersede",
    ];
    let stories: Vec<Scenario> = names.iter().filter_map(|name| scenario::named(name)).collect();
    let mut tried = 0;
    for seed in 0..seeds {
        for story in &stories {
            tried += 1;
            let case = planted_case(story, seed, planted);
            let run = case.run();
            if !run.is_clean() {
                return Caught { planted, by: Some((case, run)), tried };
            }
        }
    }
    Caught { planted, by: None, tried }
}

/// A story with a planted bug and faults of every kind.
pub fn planted_case(scenario: &Scenario, seed: u64, planted: Planted) -> Case {
    let chaos = Chaos { planted: Some(planted), ..Chaos::wild() };
    let arguments = format!("--scenario {} --seed {seed} --planted {planted}", scenario.name);
    Case { scenario: scenario.clone(), seed, chaos, arguments }
}

/// The same faults without the bug: has to be clean, or the hunt would prove nothing.
pub fn control(case: &Case) -> Case {
    let mut control = case.clone();
    control.chaos.planted = None;
    control
}
