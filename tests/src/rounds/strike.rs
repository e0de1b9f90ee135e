//! Does the damage, and undoes what can be undone.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::Signal;
use tokio::{net::TcpStream, time::sleep};

use super::{
    kinds::Kind,
    stage::{ASK, Answer, Stage, signal, signal_group},
    streams,
};
use crate::sim::random::Random;

/// How long is waited for what is to be damaged: a new instance, a hook.
const APPEAR: Duration = Duration::from_secs(8);
/// Connections of idle clients: more than an engine with 1024 descriptors can hold.
const IDLE: usize = 1_100;

/// Something that was damaged, and how it can be told that it is named.
#[derive(Clone, Debug)]
pub struct Harm {
    /// What.
    pub what: String,
    /// A line names it that holds one of each of these.
    pub words: Vec<Vec<String>>,
    /// The deployments whose records it is in.
    pub whose: Vec<String>,
}

impl Harm {
    fn new(what: impl Into<String>, subject: &[&str], words: &[&str]) -> Harm {
        let own = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect();
        Harm { what: what.into(), words: vec![own(subject), own(words)], whose: Vec::new() }
    }
}

/// What was done.
#[derive(Debug, Default)]
pub struct Struck {
    /// False when there was nothing to damage: the moment was past.
    pub done: bool,
    /// In words.
    pub note: String,
    /// Bytes that are damaged, lost or repeated, and should be named.
    pub harms: Vec<Harm>,
}

impl Struck {
    fn done(note: impl Into<String>) -> Struck {
        Struck { done: true, note: note.into(), harms: Vec::new() }
    }

    fn nothing(note: impl Into<String>) -> Struck {
        Struck { done: false, note: note.into(), harms: Vec::new() }
    }

    fn harming(note: impl Into<String>, harm: Option<Harm>) -> Struck {
        Struck { done: true, note: note.into(), harms: harm.into_iter().collect() }
    }
}

/// Where to strike.
pub struct Aim<'a> {
    /// The engine.
    pub stage: &'a Stage,
    /// The deployment under way.
    pub deployment: &'a str,
    /// Its target.
    pub target: &'a str,
    /// The target's port.
    pub port: u16,
    /// The version before, and on trial.
    pub versions: (&'a str, &'a str),
    /// A copy of the store that was made earlier.
    pub copy: Option<&'a Path>,
}

/// How records that are gone are told of.
const LOST: &[&str] =
    &["fork", "hole", "lost", "missing", "unreadable", "set aside", "gone", "behind", "torn"];

impl Aim<'_> {
    /// Does it. What needs the engine running starts it first when something before it ended it.
    pub async fn strike(&self, kind: Kind, random: &mut Random) -> Result<Struck> {
        let stage = self.stage;
        if stage.engine().is_none() && kind != Kind::EngineKilledStarting {
            let answer = stage.up().await;
            ensure!(answer.code == 0, "the engine does not start: {}", answer.said());
        }
        match kind {
            Kind::EngineKilled => {
                stage.kill(self.engine()?).await;
                Ok(Struck::done("the engine was killed"))
            }
            Kind::EnginePaused => Ok(self.pause(&[self.engine()?], random, 6_000).await),
            Kind::EngineStopped => {
                let answer = stage.ask(&["down"]).await;
                ensure!(answer.code == 0, "codectl down: {}", answer.said());
                Ok(Struck::done("the engine was stopped"))
            }
            Kind::EngineKilledStarting => self.kill_starting(random).await,
            Kind::ServerKilled => {
                for pid in stage.servers() {
                    stage.kill(pid).await;
                }
                Ok(Struck::done("nats-server was killed"))
            }
            Kind::ServerPaused => Ok(self.pause(&stage.servers(), random, 6_000).await),
            Kind::BothKilled => {
                stage.kill_all().await;
                Ok(Struck::done("engine and nats-server were killed"))
            }
            Kind::PlaneKilled => {
                let Some(pid) = stage.plane() else { return Ok(Struck::nothing("no data plane runs")) };
                stage.kill(pid).await;
                Ok(Struck::done("the data plane was killed"))
            }
            Kind::PlanePaused => {
                let plane: Vec<i32> = stage.plane().into_iter().collect();
                Ok(self.pause(&plane, random, 3_000).await)
            }
            Kind::PlaneAndEngineKilled => {
                let all = [stage.plane(), Some(self.engine()?)];
                // Both at once: neither may find the other one gone and start it again.
                all.iter().flatten().for_each(|pid| signal(*pid, Signal::SIGKILL));
                for pid in all.into_iter().flatten() {
                    stage.kill(pid).await;
                }
                Ok(Struck::done("the data plane and the engine were killed"))
            }
            Kind::OldKilled => Ok(self.kill_instance(self.versions.0, random).await),
            Kind::NewKilled => Ok(self.kill_instance(self.versions.1, random).await),
            Kind::InstancePaused => {
                let all = stage.instances(self.target);
                if all.is_empty() {
                    return Ok(Struck::nothing("no instance runs"));
                }
                let (pid, version) = &all[random.below(all.len())];
                let mut struck = self.pause(&[*pid], random, 3_000).await;
                struck.note = format!("an instance of {version}: {}", struck.note);
                Ok(struck)
            }
            Kind::HookPaused => Ok(self.pause_hook(random).await),
            Kind::DiskFull => {
                let filler = self.fill().await?;
                sleep(Duration::from_millis(random.between(1_000, 4_000) as u64)).await;
                fs::remove_file(filler)?;
                Ok(Struck::done("the disk was full"))
            }
            Kind::DiskFullKilled => self.fill_and_kill().await,
            Kind::ClockBack => self.clock(-random.between(60, 7_200), random).await,
            Kind::ClockForward => self.clock(random.between(60, 7_200), random).await,
            Kind::JournalTorn => self.tear(&self.journal(), random).await,
            Kind::JournalFlipped => self.flip(&self.journal(), random).await,
            Kind::TargetTorn => self.tear(&self.target_journal(), random).await,
            Kind::TargetFlipped => self.flip(&self.target_journal(), random).await,
            Kind::TargetLost => self.lose(&self.target_journal(), random).await,
            Kind::StoreOlder => self.put_back(random).await,
            Kind::ForeignRecord => self.publish("deployment", self.deployment, random).await,
            Kind::ForeignTarget => {
                let token = self.token();
                self.publish("target", &token, random).await
            }
            Kind::InstanceFileTorn => self.cut_instance_file(random).await,
            Kind::StepFileTorn => self.cut_step_file(random).await,
            Kind::EngineFileGone => self.lose_engine_file(random).await,
            Kind::TileDamaged => self.damage_tile(random),
            Kind::Descriptors => self.use_up(random).await,
        }
    }

    fn engine(&self) -> Result<i32> {
        self.stage.engine().context("no engine runs")
    }

    fn token(&self) -> String {
        format!("default--process--{}", self.target)
    }

    fn journal(&self) -> String {
        format!("LOG_deployment_{}", bus::shard_of(self.deployment))
    }

    fn target_journal(&self) -> String {
        format!("LOG_target_{}", bus::shard_of(&self.token()))
    }

    async fn pause(&self, pids: &[i32], random: &mut Random, longest: i64) -> Struck {
        let time = random.between(500, longest);
        pids.iter().for_each(|pid| signal(*pid, Signal::SIGSTOP));
        sleep(Duration::from_millis(time as u64)).await;
        pids.iter().for_each(|pid| signal(*pid, Signal::SIGCONT));
        Struck { done: !pids.is_empty(), note: format!("stopped for {time} ms"), harms: Vec::new() }
    }

    async fn kill_starting(&self, random: &mut Random) -> Result<Struck> {
        self.stage.kill_all().await;
        let time = random.between(0, 900);
        let mut child = self.stage.begin_up()?;
        sleep(Duration::from_millis(time as u64)).await;
        child.kill().await?;
        Ok(Struck::done(format!("the engine was killed, and again after {time} ms of its start")))
    }

    async fn kill_instance(&self, version: &str, random: &mut Random) -> Struck {
        let mut found = Vec::new();
        let appeared = self.stage.until(APPEAR, || {
            found = self.stage.instances(self.target);
            found.retain(|(_, other)| other == version);
            !found.is_empty()
        });
        if !appeared.await {
            return Struck::nothing(format!("no instance of {version} is there"));
        }
        self.stage.kill(found[random.below(found.len())].0).await;
        Struck::done(format!("an instance of {version} was killed"))
    }

    async fn pause_hook(&self, random: &mut Random) -> Struck {
        let mut found = Vec::new();
        let appeared = self.stage.until(APPEAR, || {
            found = self.stage.hooks();
            !found.is_empty()
        });
        if !appeared.await {
            return Struck::nothing("no hook runs");
        }
        let time = random.between(500, 3_000);
        found.iter().for_each(|pid| signal_group(*pid, Signal::SIGSTOP));
        sleep(Duration::from_millis(time as u64)).await;
        found.iter().for_each(|pid| signal_group(*pid, Signal::SIGCONT));
        Struck::done(format!("the hook was stopped for {time} ms"))
    }

    async fn fill(&self) -> Result<PathBuf> {
        let place = self.stage.home().join("filler");
        let path = place.clone();
        let filled = tokio::task::spawn_blocking(move || {
            let block = vec![0; 1 << 20];
            let mut file = fs::File::create(&path)?;
            loop {
                // Down to the last page, which a write of a whole block leaves.
                if std::io::Write::write_all(&mut file, &block).is_err() {
                    while std::io::Write::write_all(&mut file, &block[..512]).is_ok() {}
                    return std::io::Result::Ok(());
                }
            }
        });
        filled.await??;
        Ok(place)
    }

    async fn fill_and_kill(&self) -> Result<Struck> {
        let filler = self.fill().await?;
        self.stage.kill(self.engine()?).await;
        let refused = self.stage.up().await;
        fs::remove_file(filler)?;
        if refused.code == 0 {
            return Ok(Struck::done("the engine started on a full disk"));
        }
        let why = refused.said();
        ensure!(why.contains("MiB free") && why.contains("make room"), "up on a full disk says: {why}");
        Ok(Struck::done("the disk was full, the engine was killed and refused to start"))
    }

    async fn clock(&self, seconds: i64, random: &mut Random) -> Result<Struck> {
        self.stage.set_clock(seconds)?;
        sleep(Duration::from_millis(random.between(1_500, 4_000) as u64)).await;
        self.stage.set_clock(0)?;
        Ok(Struck::done(format!("the clock was {seconds:+} s off")))
    }

    /// Counts of a source that the audit log has.
    async fn heard(&self, stream: &str) -> u64 {
        let (_, said, _) = self.stage.ask_json(&["audit", "status"]).await;
        let sources = said["sources"].as_array().cloned().unwrap_or_default();
        let counted = sources.iter().filter(|source| {
            let name = source["source"].as_str().unwrap_or_default();
            name == stream || name.starts_with(&format!("{stream}#"))
        });
        counted.filter_map(|source| source["counted"].as_u64()).max().unwrap_or_default()
    }

    /// In order or as by a crash.
    async fn stop(&self, random: &mut Random) -> Result<&'static str> {
        if random.chance(50_000) {
            let answer: Answer = self.stage.ask(&["down"]).await;
            ensure!(answer.code == 0, "codectl down: {}", answer.said());
            Ok("stopped")
        } else {
            self.stage.kill_all().await;
            Ok("killed")
        }
    }

    async fn tear(&self, stream: &str, random: &mut Random) -> Result<Struck> {
        let heard = self.heard(stream).await;
        let how = self.stop(random).await?;
        let block = streams::newest_block(self.stage.home(), stream)?;
        let there = streams::records(&fs::read(&block)?).len();
        if there < 2 {
            return Ok(Struck::nothing(format!("{stream} has {there} records")));
        }
        let count = (1 + random.below(3)).min(there - 1);
        let cut = if random.chance(50_000) { 1 + random.below(200) } else { 0 };
        let left = streams::tear(&block, count, cut)?;
        let note = format!("{how}; {count} records torn off {stream}, {left} are left, {heard} were heard");
        // What nobody had heard of, nobody can miss.
        let harm = (left < heard).then(|| Harm::new(note.clone(), &[stream, self.deployment], LOST));
        Ok(Struck::harming(note, harm))
    }

    async fn flip(&self, stream: &str, random: &mut Random) -> Result<Struck> {
        let heard = self.heard(stream).await;
        let how = self.stop(random).await?;
        let block = streams::newest_block(self.stage.home(), stream)?;
        let size = fs::metadata(&block)?.len() as usize;
        if size == 0 {
            return Ok(Struck::nothing(format!("{stream} is empty")));
        }
        let place = random.below(size);
        let Some((hit, owner)) = streams::flip(&block, place, random.below(8) as u32)? else {
            return Ok(Struck::done(format!("{how}; byte {place} of {stream} flipped, in no record")));
        };
        let note = format!(
            "{how}; byte {place} of {stream} flipped, in record {hit} of {owner}, {heard} were heard"
        );
        let harm = (hit <= heard).then(|| Harm {
            whose: Some(owner.clone()).into_iter().filter(|owner| owner.starts_with("dep-")).collect(),
            ..Harm::new(note.clone(), &[stream, &owner], LOST)
        });
        Ok(Struck::harming(note, harm))
    }

    async fn lose(&self, stream: &str, random: &mut Random) -> Result<Struck> {
        let heard = self.heard(stream).await;
        let how = self.stop(random).await?;
        fs::remove_dir_all(streams::folder(self.stage.home(), stream))?;
        let note = format!("{how}; {stream} is gone, {heard} were heard");
        let harm = (heard > 0).then(|| Harm::new(note.clone(), &[stream], LOST));
        Ok(Struck::harming(note, harm))
    }

    async fn put_back(&self, random: &mut Random) -> Result<Struck> {
        let Some(copy) = self.copy else { bail!("there is no older copy of the store") };
        let heard = self.heard(&self.journal()).await;
        let how = self.stop(random).await?;
        let store = self.stage.home().join("nats/data");
        fs::remove_dir_all(&store)?;
        streams::copy(copy, &store)?;
        let block = streams::newest_block(self.stage.home(), &self.journal());
        let there = block.ok().and_then(|block| fs::read(block).ok());
        let left = there.map_or(0, |bytes| streams::records(&bytes).len() as u64);
        let note = format!("{how}; an older copy with {left} of {heard} records of {}", self.journal());
        let harm = (left < heard).then(|| Harm::new(note.clone(), &["LOG_"], LOST));
        Ok(Struck::harming(note, harm))
    }

    async fn publish(&self, log: &str, id: &str, random: &mut Random) -> Result<Struck> {
        let nats = self.stage.announced()["nats"].as_str().unwrap_or_default().to_owned();
        let subject = format!("code.v1.log.{log}.{}.{id}", bus::shard_of(id));
        let payloads: [&[u8]; 4] = [b"x", b"", b"\xff\xfe\x00\x01", b"{\"type\":\"of_a_newer_version\"}"];
        let payload = payloads[random.below(payloads.len())];
        let key = self.stage.home().join("access/keys/orchestrator.nk");
        testkit::publish(&nats, &key, &subject, payload).await?;
        let note = format!("{:?} was said on {subject}", String::from_utf8_lossy(payload));
        let harm = Harm::new(note.clone(), &[id], &["unreadable", "set aside", "cannot be"]);
        Ok(Struck::harming(note, Some(harm)))
    }

    async fn cut_instance_file(&self, random: &mut Random) -> Result<Struck> {
        if random.chance(50_000) {
            self.stop(random).await?;
        }
        let folder = self.stage.home().join("agents/process/targets").join(self.token());
        let all = files_below(&folder, "instance.json");
        if all.is_empty() {
            return Ok(Struck::nothing("there is no instance.json"));
        }
        let file = &all[random.below(all.len())];
        let left = cut(file, random)?;
        let instance = file.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
        let note = format!("{instance}/instance.json has {left} bytes");
        let harm = Harm::new(
            note.clone(),
            &[&instance, "instance.json"],
            &["cannot be read", "unreadable", "torn", "set aside", "EOF", "missing", "not there", "unknown"],
        );
        Ok(Struck::harming(note, Some(harm)))
    }

    async fn cut_step_file(&self, random: &mut Random) -> Result<Struck> {
        self.stop(random).await?;
        let mut all = files_below(&self.stage.home().join("agents/steps"), ".json");
        all.retain(|file| !file.to_string_lossy().contains("/fences/"));
        let newest = |file: &PathBuf| fs::metadata(file).and_then(|file| file.modified()).ok();
        let Some(file) = all.into_iter().max_by_key(newest) else {
            return Ok(Struck::nothing("the runner's journal is empty"));
        };
        let left = cut(&file, random)?;
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let note = format!("steps/{name} has {left} bytes");
        let harm = Harm::new(note.clone(), &[&name], &["journal"]);
        Ok(Struck::harming(note, Some(harm)))
    }

    async fn lose_engine_file(&self, random: &mut Random) -> Result<Struck> {
        let pid = self.engine()?;
        fs::remove_file(self.stage.home().join("engine.json")).context("removing engine.json")?;
        if random.chance(50_000) {
            let answer = self.stage.ask(&["down"]).await;
            let gone = self.stage.engine() != Some(pid);
            ensure!(answer.code == 0 && gone, "down without engine.json: {}", answer.said());
            return Ok(Struck::done("engine.json was gone, the engine was stopped"));
        }
        self.stage.kill(pid).await;
        Ok(Struck::done("engine.json was gone, the engine was killed"))
    }

    fn damage_tile(&self, random: &mut Random) -> Result<Struck> {
        let all = files_below(&self.stage.home().join("audit/log/tile"), "");
        if all.is_empty() {
            return Ok(Struck::nothing("there is no tile"));
        }
        let file = &all[random.below(all.len())];
        let size = fs::metadata(file)?.len() as usize;
        let place = random.below(size);
        streams::flip(file, place, random.below(8) as u32)?;
        let name = file.strip_prefix(self.stage.home())?.display();
        let note = format!("byte {place} of {name} flipped");
        let harm =
            Harm::new(note.clone(), &["entry", "entries", "tile"], &["INVALID", "hash", "tile", "entry"]);
        Ok(Struck::harming(note, Some(harm)))
    }

    async fn use_up(&self, random: &mut Random) -> Result<Struck> {
        let mut idle = Vec::new();
        for _ in 0..IDLE {
            let connect = TcpStream::connect(("127.0.0.1", self.port));
            match tokio::time::timeout(Duration::from_secs(1), connect).await {
                Ok(Ok(stream)) => idle.push(stream),
                // That is how far it goes.
                _ => break,
            }
        }
        sleep(Duration::from_millis(random.between(2_000, 5_000) as u64)).await;
        Ok(Struck::done(format!("{} idle clients", idle.len())))
    }
}

impl Stage {
    /// Copies what nats-server has on disk at one moment.
    pub async fn copy_store(&self, to: &Path) -> Result<()> {
        let servers = self.servers();
        servers.iter().for_each(|pid| signal(*pid, Signal::SIGSTOP));
        let copied = streams::copy(&self.home().join("nats/data"), to);
        servers.iter().for_each(|pid| signal(*pid, Signal::SIGCONT));
        copied
    }

    /// Makes the engine ready again, starting it where it does not run; why it is not.
    pub async fn recover(&self) -> Result<(), String> {
        if self.engine().is_none() {
            let answer = self.ask_within(ASK, &["up", "--detach", "--config", "code.toml"]).await;
            if answer.code != 0 {
                return Err(format!("codectl up exits with {}: {}", answer.code, answer.said()));
            }
        }
        self.until_ready(ASK).await
    }
}

/// Cuts a file to a random shorter length, which is given.
fn cut(file: &Path, random: &mut Random) -> Result<u64> {
    let open = fs::OpenOptions::new().write(true).open(file)?;
    let size = open.metadata()?.len();
    let left = random.between(0, size as i64 - 1).max(0) as u64;
    open.set_len(left)?;
    Ok(left)
}

/// Files below a folder whose name ends so, sorted.
fn files_below(folder: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_below(&path, end));
        } else if path.to_string_lossy().ends_with(end) {
            found.push(path);
        }
    }
    found.sort();
    found
}
