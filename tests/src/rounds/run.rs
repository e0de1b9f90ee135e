//! Plays rounds: one after the other on a home, until the home has seen enough.

use std::{fmt, fs, path::PathBuf, str::FromStr, time::Duration};

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;
use tokio::time::{Instant, sleep};

use super::{
    judge::{Class, Ended, Failed, Finding, Loss, Proof, Running, Seen, judge},
    kinds::Kind,
    look::Said,
    stage::{ASK, Stage, TARGETS, signal},
    story::{Hook, Release, Story},
    strike::{Aim, Harm, Struck},
};
use crate::{cluster::Counts, sim::random::Random};

/// Rounds that a home sees at most.
const ROUNDS_OF_A_HOME: u32 = 10;
/// A request that was under way when something was taken may fail.
const UNDER_WAY: Duration = Duration::from_secs(2);
/// The reviews of a plan may take 20 s: an engine that was away for longer, on a machine that is busy, is late for them.
const LONG_AWAY: Duration = Duration::from_secs(15);
/// After the engine is ready again its data plane may need that long until every target is answered.
const ANSWERED: Duration = Duration::from_secs(20);
/// How long after an instance was taken a data plane may still find its place empty: as long as a health check takes to
/// notice it.
const LINGERS: Duration = Duration::from_secs(5);
/// How long what runs may take to be what the verdict says.
const SETTLED: Duration = Duration::from_secs(15);

/// Something that the harness leaves out or does behind everyone's back, to show that it is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// The engine is stopped once more and nobody lets it go on.
    ForgetContinue,
    /// The hook's effect is there twice.
    HookTwice,
    /// An instance of another version runs for the target.
    StrangeInstance,
    /// What the engine says is not listened to.
    Deaf,
    /// The certificate is changed before it is verified.
    ChangedCertificate,
}

impl Lie {
    /// All, with their names.
    pub const ALL: [(Lie, &'static str); 5] = [
        (Lie::ForgetContinue, "forget-continue"),
        (Lie::HookTwice, "hook-twice"),
        (Lie::StrangeInstance, "strange-instance"),
        (Lie::Deaf, "deaf"),
        (Lie::ChangedCertificate, "changed-certificate"),
    ];
}

impl FromStr for Lie {
    type Err = String;

    fn from_str(name: &str) -> Result<Lie, String> {
        let found = Lie::ALL.iter().find(|(_, other)| *other == name).map(|(lie, _)| *lie);
        let names = || Lie::ALL.map(|(_, name)| name).join(", ");
        found.ok_or_else(|| format!("there is no lie {name:?}; there are {}", names()))
    }
}

/// What came of a round.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its story.
    pub story: Story,
    /// Which of its damages found something to damage.
    pub damaged: Vec<Kind>,
    /// What was done, and what was seen of it.
    pub notes: Vec<String>,
    /// The engine started after it, or went on.
    pub started: bool,
    /// How the deployment ended.
    pub ended: String,
    /// Broken promises.
    pub findings: Vec<Finding>,
    /// How long it took.
    pub took: Duration,
    /// Where what was found can be looked at.
    pub kept: Option<PathBuf>,
}

impl Report {
    /// How many findings are of a class.
    pub fn count(&self, class: Class) -> usize {
        self.findings.iter().filter(|finding| finding.class == class).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}: {}", self.story.seed, self.story.told())?;
        for note in &self.notes {
            write!(f, "\n    {note}")?;
        }
        for finding in &self.findings {
            write!(f, "\n    {finding}")?;
        }
        match &self.kept {
            Some(kept) => write!(f, "\n    kept in {}", kept.display()),
            None => Ok(()),
        }
    }
}

/// Plays rounds on homes of its own.
pub struct Host {
    stage: Option<Stage>,
    keep: Option<PathBuf>,
    lie: Option<Lie>,
}

impl Host {
    /// One that keeps homes with findings below a folder, if one is given, and tells a lie, if one is wanted.
    pub fn new(keep: Option<PathBuf>, lie: Option<Lie>) -> Host {
        Host { stage: None, keep, lie }
    }

    /// Plays the round of a seed. What the harness could not do is a finding too: nobody may take it for a good round.
    pub async fn play(&mut self, seed: u64, kind: Option<Kind>) -> Report {
        let began = Instant::now();
        let story = Story::of(seed, kind, TARGETS.len());
        let blank = Report {
            story: story.clone(),
            damaged: Vec::new(),
            notes: Vec::new(),
            started: false,
            ended: "not played".to_owned(),
            findings: Vec::new(),
            took: Duration::ZERO,
            kept: None,
        };
        let mut stage = match self.stage_for(&story).await {
            Ok(stage) => stage,
            Err(error) => {
                let finding = Finding { class: Class::Down, text: format!("{error:#}") };
                return Report { findings: vec![finding], took: began.elapsed(), ..blank };
            }
        };
        let mut round = Round::new(&story, self.lie);
        let played = round.play(&mut stage).await;
        stage.rounds += 1;
        let mut report =
            Report { damaged: round.damaged, notes: round.notes, started: round.started, ..blank };
        match played {
            Ok(seen) => {
                report.ended = told(&seen.ended);
                report.findings = judge(&seen);
            }
            Err(error) => report.findings.push(Finding { class: Class::Stuck, text: format!("{error:#}") }),
        }
        report.took = began.elapsed();
        let spoilt = !report.findings.is_empty()
            || report.story.kinds.iter().any(|kind| kind.loses_records() || *kind == Kind::TileDamaged);
        if !report.findings.is_empty()
            && let Some(keep) = &self.keep
        {
            let place = keep.join(format!("seed-{seed}"));
            match stage.keep(&place).await {
                Ok(()) => report.kept = Some(place),
                Err(error) => report.notes.push(format!("{error:#}")),
            }
        } else if spoilt || stage.rounds >= ROUNDS_OF_A_HOME {
            stage.end().await;
        } else {
            self.stage = Some(stage);
        }
        report
    }

    /// The home that is there if it will do, else a new one.
    async fn stage_for(&mut self, story: &Story) -> Result<Stage> {
        let flavour = story.kinds[0].flavour();
        match self.stage.take() {
            Some(stage) if stage.flavour == flavour => return Ok(stage),
            Some(stage) => stage.end().await,
            None => {}
        }
        let mut stage = Stage::new(flavour)?;
        stage.furnish().await.context("a home for rounds")?;
        Ok(stage)
    }

    /// Takes down what is left.
    pub async fn end(self) {
        if let Some(stage) = self.stage {
            stage.end().await;
        }
    }
}

fn told(ended: &Ended) -> String {
    match ended {
        Ended::Verdict(verdict) => verdict.clone(),
        Ended::ByHand(_) => "closed by hand".to_owned(),
        Ended::Unknown(_) => "not known".to_owned(),
        Ended::Open(_) => "open".to_owned(),
    }
}

/// One round while it is played.
struct Round<'a> {
    story: &'a Story,
    lie: Option<Lie>,
    random: Random,
    damaged: Vec<Kind>,
    notes: Vec<String>,
    harms: Vec<Harm>,
    started: bool,
    said: Said,
    /// While these, clients had something taken from them.
    taken: Option<(Instant, Instant)>,
}

impl<'a> Round<'a> {
    fn new(story: &'a Story, lie: Option<Lie>) -> Round<'a> {
        Round {
            story,
            lie,
            random: Random::new(story.seed ^ 0x0da0_a6e5),
            damaged: Vec::new(),
            notes: Vec::new(),
            harms: Vec::new(),
            started: false,
            said: Said::default(),
            taken: None,
        }
    }

    async fn play(&mut self, stage: &mut Stage) -> Result<Seen> {
        let story = self.story;
        let name = stage.targets[story.target].name;
        let port = stage.targets[story.target].port;
        let log = stage.home().join("engine.log");
        let logged = length(&log);
        let effects = length(&stage.effects());
        let before: Vec<Counts> = stage.targets.iter().map(|target| target.load.counts()).collect();
        let copies = tempfile::tempdir()?;
        let copy = copies.path().join("data");
        if story.kinds.contains(&Kind::StoreOlder) {
            stage.copy_store(&copy).await?;
        }

        let old = stage.targets[story.target].version.clone();
        let tried = stage.next_version();
        let spec = stage.spec_of(name, port, |place| story.spec(place, &tried));
        let file = stage.write_spec(&format!("tried-{name}"), &spec)?;
        let (began, asked) = (Instant::now(), stage.ask(&["apply", &file, "--output", "json"]).await);
        let deployment = asked.json()["deployment"].as_str().map(str::to_owned);
        let deployment = deployment.with_context(|| format!("apply: {}", asked.said()))?;

        sleep(story.after).await;
        let (mut down, away) = (None, Instant::now());
        for (number, kind) in story.kinds.iter().enumerate() {
            if number > 0 {
                sleep(story.between).await;
            }
            let aim = Aim {
                stage,
                deployment: &deployment,
                target: name,
                port,
                versions: (&old, &tried),
                copy: copy.exists().then_some(copy.as_path()),
            };
            let from = Instant::now();
            let struck = aim.strike(*kind, &mut self.random).await;
            self.note(*kind, struck?, from);
        }
        self.notes.push(format!("{deployment}, {} ms after it was asked for", began.elapsed().as_millis()));
        if self.lie == Some(Lie::ForgetContinue)
            && let Some(pid) = stage.engine()
        {
            signal(pid, Signal::SIGSTOP);
        }
        match stage.recover().await {
            Ok(()) => self.started = true,
            Err(why) => down = Some(why),
        }
        let mut seen = Seen {
            kinds: story.kinds.clone(),
            long_away: away.elapsed() > LONG_AWAY,
            good: story.release == Release::Good,
            has_a_gap: story.has_a_gap(),
            hook: (story.hook != Hook::None).then_some(story.hook == Hook::Irreversible),
            hook_runs: (0, 0),
            down,
            ended: Ended::Open("the engine does not run".to_owned()),
            versions: (old.clone(), tried.clone()),
            after: Running::default(),
            others: Vec::new(),
            proof: Proof::None("not looked for".to_owned()),
            failed: Vec::new(),
            audit: None,
            losses: Vec::new(),
            started_twice: Vec::new(),
            fresh: Err("not tried".to_owned()),
            fresh_runs: Running::default(),
            fresh_proof: Proof::None("not looked for".to_owned()),
        };
        if seen.down.is_some() {
            return Ok(seen);
        }
        self.answered_again(stage).await;
        if !self.harms.is_empty() {
            // Its deadlines run on meanwhile: first what is asked of a person, then the questions.
            stage.skip_unreadable(&mut self.said).await;
        }
        self.inquire(stage, &deployment, name).await;
        seen.ended = stage.until_over(&deployment, &mut self.said).await;
        if self.lie == Some(Lie::StrangeInstance) {
            self.plant_instance(stage, story.target)?;
        }
        seen.after = stage.settled(&stage.targets[story.target], SETTLED).await;
        for (number, target) in stage.targets.iter().enumerate() {
            if number != story.target {
                seen.others.push((target.version.clone(), stage.settled(target, SETTLED).await));
            }
        }
        if self.lie == Some(Lie::HookTwice) {
            let text = format!("begin {deployment} 0\nbegin {deployment} 1\n");
            let ledger = fs::read_to_string(stage.hook_ledger()).unwrap_or_default();
            fs::write(stage.hook_ledger(), ledger + &text)?;
        }
        seen.hook_runs = stage.hook_runs(&deployment);
        seen.proof = match &seen.ended {
            Ended::Verdict(_) | Ended::ByHand(_) => {
                stage.proof(&deployment, self.lie == Some(Lie::ChangedCertificate)).await
            }
            _ => seen.proof,
        };

        match stage.deploy_again(story.target, &mut self.said).await {
            Ok((id, version)) => {
                stage.targets[story.target].version.clone_from(&version);
                seen.fresh_runs = stage.settled(&stage.targets[story.target], SETTLED).await;
                seen.fresh_proof = stage.proof(&id, false).await;
                seen.fresh = Ok(version);
            }
            Err(why) => seen.fresh = Err(why),
        }
        let verified = stage.ask_within(ASK * 2, &["audit", "verify"]).await;
        seen.audit = (verified.code != 0).then(|| (verified.code, verified.said()));
        self.inquire(stage, &deployment, name).await;
        self.said.add_log(&log, logged);
        seen.losses = self.harms.iter().map(|harm| self.loss(harm)).collect();
        // One that ends by itself is started again as it should be.
        if story.release != Release::Ends {
            seen.started_twice = stage.started_twice(effects);
        }
        let end = Instant::now();
        for (number, (target, before)) in stage.targets.iter().zip(&before).enumerate() {
            let counts = target.load.counts().since(before);
            let gap = (story.has_a_gap() && number == story.target).then_some((began, end));
            seen.failed.push(self.failed(target.name, &counts, gap));
        }
        Ok(seen)
    }

    /// Asks what may name a damage, where there is one.
    async fn inquire(&mut self, stage: &Stage, deployment: &str, target: &str) {
        if self.harms.is_empty() {
            return;
        }
        let mut whose = vec![deployment.to_owned()];
        for id in self.harms.iter().flat_map(|harm| &harm.whose) {
            if !whose.contains(id) {
                whose.push(id.clone());
            }
        }
        stage.inquire(&whose, target, &mut self.said).await;
    }

    fn note(&mut self, kind: Kind, struck: Struck, from: Instant) {
        self.notes.push(format!("{}: {}", kind.name(), struck.note));
        if struck.done {
            self.damaged.push(kind);
        }
        self.harms.extend(struck.harms);
        if kind.takes_from_clients() {
            let begin = self.taken.map_or(from, |(begin, _)| begin);
            self.taken = Some((begin, Instant::now()));
        }
    }

    /// What was taken from clients is back when all of them are answered.
    async fn answered_again(&mut self, stage: &Stage) {
        let Some((begin, _)) = self.taken else { return };
        let until = Instant::now() + ANSWERED;
        let lingers = self.story.kinds.iter().any(|kind| kind.takes_instances());
        loop {
            let mut well = true;
            for target in &stage.targets {
                let answers = crate::cluster::versions(target.port, 3).await;
                // An error stands as its words.
                well &= answers.keys().all(|version| version.starts_with("1.0."));
            }
            let end = Instant::now() + if lingers { LINGERS } else { Duration::ZERO };
            self.taken = Some((begin, end));
            if well || Instant::now() >= until {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    fn loss(&self, harm: &Harm) -> Loss {
        let named = if self.lie == Some(Lie::Deaf) { None } else { self.said.names(harm) };
        Loss { what: harm.what.clone(), named }
    }

    fn failed(&self, target: &str, counts: &Counts, gap: Option<(Instant, Instant)>) -> Failed {
        let excused = |at: Instant| {
            [self.taken, gap].iter().flatten().any(|(from, to)| at + UNDER_WAY >= *from && at <= *to)
        };
        let unexcused = counts.failed_at.iter().filter(|(at, _)| !excused(*at));
        let told = |(at, how): &(Instant, String)| match self.taken {
            Some((from, to)) if *at > to => {
                format!(
                    "{how}, {} ms after it was well, {} ms after the damage",
                    (*at - to).as_millis(),
                    (*at - from).as_millis()
                )
            }
            Some((from, _)) => format!("{how}, {} ms before the damage", (from - *at).as_millis()),
            None => how.clone(),
        };
        Failed { target: target.to_owned(), unexcused: unexcused.map(told).collect() }
    }

    /// Starts a greeter that looks like an instance of the target.
    fn plant_instance(&self, stage: &Stage, target: usize) -> Result<()> {
        let mut command = std::process::Command::new(crate::cluster::program("greeter"));
        command.env_clear().env("GREETER_VERSION", "9.9.9").env("PORT", "0").env("GREETER_HOST", "127.0.0.1");
        command.env("CODE_TARGET", format!("default.process.{}", stage.targets[target].name));
        command.env("CODE_CONFIG_DIR", stage.home().canonicalize()?);
        command.args(["--port", "0"]).spawn().context("planting an instance")?;
        Ok(())
    }
}

fn length(file: &std::path::Path) -> usize {
    fs::metadata(file).map_or(0, |file| file.len() as usize)
}
