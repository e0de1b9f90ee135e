//! Looks at an engine from outside, and does what it asks a person to do.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use tokio::time::{Instant, sleep};

use super::{
    judge::{Ended, Proof, Running},
    stage::{ASK, Answer, Stage, Target},
    strike::Harm,
};
use crate::cluster::versions;

/// How long a deployment may take to its verdict: longer than its own deadlines together.
const VERDICT: Duration = Duration::from_secs(240);
/// How long after the verdict a certificate may come.
const CERTIFICATE: Duration = Duration::from_secs(30);
/// Requests that are asked who answers.
const REQUESTS: u32 = 8;
/// After so many looks at a deployment it is looked whether something holds it up.
const LOOKS: u32 = 10;
/// How often what a person is asked to do is done before it is given up.
const TRIES: usize = 4;

/// Everything that the engine said, for finding in it what was damaged.
#[derive(Default)]
pub struct Said(String);

impl Said {
    /// Takes a command's words along.
    pub fn add(&mut self, answer: &Answer) {
        self.0.push_str(&answer.out);
        self.0.push('\n');
        self.0.push_str(&answer.err);
        self.0.push('\n');
    }

    /// Takes along what the log says beyond a place.
    pub fn add_log(&mut self, log: &Path, from: usize) {
        let text = fs::read(log).unwrap_or_default();
        // One that was put aside meanwhile begins anew.
        let new = text.get(from..).unwrap_or(&text);
        self.0.push_str(&String::from_utf8_lossy(new));
        self.0.push('\n');
    }

    /// The line that names it.
    pub fn names(&self, harm: &Harm) -> Option<String> {
        let holds = |line: &str| harm.words.iter().all(|any| any.iter().any(|word| line.contains(word)));
        self.0.lines().find(|line| holds(line)).map(|line| line.trim().chars().take(300).collect())
    }
}

impl Stage {
    /// Asks everything that may name a damage: of the engine, of a target, and of the deployments that it may be in.
    pub async fn inquire(&self, deployments: &[String], target: &str, said: &mut Said) {
        let full = format!("default.process.{target}");
        let questions: [&[&str]; 6] = [
            &["journal", "list"],
            &["audit", "status"],
            &["audit", "verify"],
            &["doctor"],
            &["target", "show", &full],
            &["drift", &full],
        ];
        for question in questions {
            said.add(&self.ask(question).await);
        }
        for deployment in deployments {
            said.add(&self.ask(&["status", deployment]).await);
        }
    }

    /// Passes over what no journal can hold, as `codectl journal list` recommends.
    pub async fn skip_unreadable(&self, said: &mut Said) -> bool {
        let (code, list, answer) = self.ask_json(&["journal", "list"]).await;
        said.add(&answer);
        if code != 1 {
            return false;
        }
        let found = list["unreadable"].as_array().into_iter().flatten();
        let held = found.filter(|found| found["holdsUp"] == true);
        let ids: BTreeSet<&str> = held.filter_map(|found| found["id"].as_str()).collect();
        let mut skipped = false;
        for id in ids {
            // The list names one record of each.
            let (_, all, answer) = self.ask_json(&["journal", "show", id]).await;
            said.add(&answer);
            let all = all["unreadable"].as_array().cloned().unwrap_or_default();
            let sequences: Vec<String> = all.iter().map(|found| found["seq"].to_string()).collect();
            let mut arguments = vec!["journal", "skip", id, "--reason", "a round of damage"];
            sequences.iter().for_each(|sequence| arguments.extend(["--seq", sequence]));
            let answer = self.ask(&arguments).await;
            skipped |= answer.code == 0;
            said.add(&answer);
        }
        skipped
    }

    /// Waits until the deployment is over, and does what it asks a person to do.
    pub async fn until_over(&self, deployment: &str, said: &mut Said) -> Ended {
        let until = Instant::now() + VERDICT;
        let mut by_hand = None;
        for look in 1_u32.. {
            if look.is_multiple_of(LOOKS) {
                // What holds a deployment up may be its target's journal.
                self.skip_unreadable(said).await;
            }
            let (code, status, answer) = self.ask_json(&["status", deployment]).await;
            let verdict = status["summary"]["verdict"].as_str();
            let phase = status["summary"]["phase"].as_str().unwrap_or_default();
            match (verdict, phase) {
                (Some(verdict), "closed") => {
                    return match by_hand {
                        Some(said) => Ended::ByHand(said),
                        None => Ended::Verdict(verdict.to_owned()),
                    };
                }
                _ if code == 12 => {
                    let told = self.ask(&["status", deployment]).await;
                    said.add(&told);
                    let close =
                        ["abort", deployment, "--close", "--reason", "looked at it in a round of damage"];
                    let closed = self.ask(&close).await;
                    said.add(&closed);
                    by_hand = Some(told.said());
                }
                _ if code == 1 => {
                    let unknown = is_unknown(&answer);
                    said.add(&answer);
                    if !self.skip_unreadable(said).await && unknown {
                        return Ended::Unknown(answer.said());
                    }
                }
                _ => {}
            }
            if Instant::now() >= until {
                break;
            }
            sleep(Duration::from_millis(300)).await;
        }
        Ended::Open(self.ask(&["explain", deployment]).await.said())
    }

    /// What runs for a target and who answers.
    pub async fn running(&self, target: &Target) -> Running {
        let drift = self.ask(&["drift", &format!("default.process.{}", target.name)]).await;
        let answers = versions(target.port, REQUESTS).await;
        let instances = self.instances(target.name).into_iter().map(|(_, version)| version).collect();
        Running {
            target: target.name.to_owned(),
            instances,
            answers,
            drift: (drift.code != 0).then(|| drift.said()),
        }
    }

    /// Waits for what is expected of a target, and gives what is there then.
    pub async fn settled(&self, target: &Target, patience: Duration) -> Running {
        let until = Instant::now() + patience;
        loop {
            let running = self.running(target).await;
            let versions: BTreeSet<&String> =
                running.instances.iter().chain(running.answers.keys()).collect();
            let well = running.drift.is_none() && versions.len() == 1;
            if well || Instant::now() >= until {
                return running;
            }
            sleep(Duration::from_millis(300)).await;
        }
    }

    /// Exports a certificate and has it verified; `change`d in between it must not be valid.
    pub async fn proof(&self, deployment: &str, change: bool) -> Proof {
        let folder = self.home().join(format!("certificates/{deployment}"));
        let place = folder.display().to_string();
        let until = Instant::now() + CERTIFICATE;
        loop {
            let export = self.ask(&["certificate", "export", deployment, "--to", &place]).await;
            let proof = match export.code {
                0 => self.verified(&folder, change).await,
                _ => Proof::None(export.said()),
            };
            // One that was issued while the audit log did not answer is brought to it later.
            let waits = match &proof {
                Proof::None(_) => true,
                Proof::Invalid(why) => why.contains("log: is null"),
                Proof::Valid => false,
            };
            if !waits || Instant::now() >= until {
                return proof;
            }
            sleep(Duration::from_millis(300)).await;
        }
    }

    /// What `certificate verify` says of an exported certificate.
    async fn verified(&self, folder: &Path, change: bool) -> Proof {
        if change {
            let file = folder.join("certificate.json");
            let text = fs::read_to_string(&file).unwrap_or_default();
            let _ = fs::write(&file, text.replacen("shop", "shap", 1).replacen("desk", "dask", 1));
        }
        let (place, trust) =
            (folder.display().to_string(), self.home().join("trust.json").display().to_string());
        let verified = self.ask(&["certificate", "verify", &place, "--trust", &trust]).await;
        if verified.code == 0 { Proof::Valid } else { Proof::Invalid(verified.said()) }
    }

    /// Promotes a small release, doing what the engine recommends where it refuses. Gives its deployment and version.
    pub async fn deploy_again(&mut self, target: usize, said: &mut Said) -> Result<(String, String), String> {
        let (name, port) = (self.targets[target].name, self.targets[target].port);
        let full = format!("default.process.{name}");
        let mut last = String::new();
        for _ in 0..TRIES {
            let version = self.next_version();
            let spec = self.spec_of(name, port, |place| super::story::small(place, &version));
            let file = self.write_spec(&format!("small-{name}"), &spec).map_err(|error| error.to_string())?;
            let asked = self.ask(&["apply", &file, "--output", "json"]).await;
            if let Some(id) = asked.json()["deployment"].as_str().map(str::to_owned) {
                match self.until_over(&id, said).await {
                    Ended::Verdict(verdict) if verdict == "promoted" => return Ok((id, version)),
                    ended => last = format!("{ended:?}: {}", self.ask(&["explain", &id]).await.said()),
                }
            } else {
                last = asked.said();
            }
            said.add(&asked);
            if !self.follow_advice(&last, &full, said).await {
                return Err(last);
            }
        }
        Err(last)
    }

    /// Does what the engine's words recommend; whether they recommend anything.
    async fn follow_advice(&self, words: &str, target: &str, said: &mut Said) -> bool {
        let mut followed = false;
        if words.contains("codectl journal") {
            followed |= self.skip_unreadable(said).await;
        }
        for (advice, arguments) in
            [("codectl target clear", ["target", "clear"]), ("codectl lock release", ["lock", "release"])]
        {
            if words.contains(advice) {
                let answer = self.ask_within(ASK * 2, &[arguments[0], arguments[1], target]).await;
                followed |= answer.code == 0;
                said.add(&answer);
            }
        }
        followed
    }

    /// How often the hook of a deployment was begun and ended.
    pub fn hook_runs(&self, deployment: &str) -> (usize, usize) {
        let text = fs::read_to_string(self.hook_ledger()).unwrap_or_default();
        let count = |word: &str| {
            text.lines().filter(|line| line.starts_with(&format!("{word} {deployment} "))).count()
        };
        (count("begin"), count("end"))
    }

    /// Instances that wrote down two starts without a stop between them, since this place of the ledger.
    pub fn started_twice(&self, from: usize) -> Vec<String> {
        let text = fs::read_to_string(self.effects()).unwrap_or_default();
        let (mut running, mut twice) = (BTreeSet::new(), Vec::new());
        for line in text.get(from..).unwrap_or_default().lines() {
            let mut words = line.split(' ');
            match (words.next(), words.next(), words.next()) {
                (Some("start"), Some(_), Some(instance)) if !running.insert(instance) => {
                    twice.push(instance.to_owned());
                }
                (Some("stop"), Some(_), Some(instance)) => drop(running.remove(instance)),
                _ => {}
            }
        }
        twice
    }
}

/// It answers, and there is no such deployment.
fn is_unknown(answer: &Answer) -> bool {
    answer.said().contains("there is no deployment")
}
