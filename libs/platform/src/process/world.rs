//! The processes of one state folder: blocking work, done under the locks that [`super::ProcessPlatform`] takes.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use model::{Fence, TargetId, spec::Module};
use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use parking_lot::Mutex;
use sandbox::{Limits, Missing, groups, launch, output};
use tracing::warn;

mod start;

use crate::{Capacity, Error, Instance, Result, Unenforced, durable, order};

use super::{
    Settings, files, proc,
    record::{Exit, Life, Record},
};

/// How long leftovers that are killed before a start, and a gate that becomes its program, may take.
const PATIENCE: Duration = Duration::from_secs(5);
const TICK: Duration = Duration::from_millis(2);
/// How long the keeper of an instance's output may take to write down the last of it.
const DRAIN: Duration = Duration::from_secs(2);

/// Where a test lets the engine die.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Point {
    /// The intent is written, no process made.
    Intended,
    /// The gate waits, its pid is not written.
    Gated,
    /// The pid is written, the gate still closed.
    Recorded,
    /// The program runs, nobody has been told.
    Opened,
}

pub(super) struct World {
    settings: Settings,
    state_dir: PathBuf,
    /// What keeps the output of instances and was started by this engine.
    keepers: Mutex<Vec<Child>>,
    #[cfg(test)]
    pub dies_at: std::sync::Mutex<Option<Point>>,
}

impl World {
    pub fn open(settings: Settings) -> Result<World> {
        durable::folder(&settings.state_dir.join("targets"))?;
        let real = settings.state_dir.canonicalize();
        let state_dir = real.map_err(|error| Error::system("resolve", &settings.state_dir, error))?;
        Ok(World {
            settings,
            state_dir,
            keepers: Mutex::default(),
            #[cfg(test)]
            dies_at: std::sync::Mutex::default(),
        })
    }

    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    fn target_folder(&self, target: &TargetId) -> PathBuf {
        self.state_dir.join("targets").join(target.token())
    }

    fn folder(&self, target: &TargetId, instance: &str) -> Result<PathBuf> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if instance.is_empty() || !instance.bytes().all(fits) {
            return Err(Error::invalid(format!("{instance:?} is no id of an instance")));
        }
        Ok(self.target_folder(target).join(instance))
    }

    /// Words that only an instance's own processes have in their environment.
    fn marks(&self, target: &TargetId, instance: &str) -> [String; 3] {
        [
            format!("CODE_INSTANCE={instance}"),
            format!("CODE_TARGET={target}"),
            format!("CODE_STATE_DIR={}", self.state_dir.display()),
        ]
    }

    fn records(&self, folder: &Path) -> Result<Vec<(PathBuf, Record)>> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::system("read", folder, error)),
        };
        let mut found = Vec::new();
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir()
                && let Some(record) = Record::load(&path)?
            {
                found.push((path, record));
            }
        }
        found.sort_by(|one, two| one.1.id.cmp(&two.1.id));
        Ok(found)
    }

    fn all_records(&self) -> Result<Vec<Record>> {
        let folder = self.state_dir.join("targets");
        let entries = fs::read_dir(&folder).map_err(|error| Error::system("read", &folder, error))?;
        let mut all = Vec::new();
        for entry in entries.flatten() {
            all.extend(self.records(&entry.path())?.into_iter().map(|(_, record)| record));
        }
        Ok(all)
    }

    /// The targets of all instances that have a record.
    pub fn targets(&self) -> Result<Vec<TargetId>> {
        let mut targets: Vec<TargetId> =
            self.all_records()?.into_iter().map(|record| record.target).collect();
        targets.sort();
        targets.dedup();
        Ok(targets)
    }

    pub fn highest_fence(&self, target: &TargetId) -> Result<Fence> {
        let records = self.records(&self.target_folder(target))?;
        Ok(records.iter().map(|(_, record)| record.fence).max().unwrap_or_default())
    }

    pub fn capacity(&self) -> Result<Capacity> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
        let path = Path::new("/proc/meminfo");
        let text = fs::read_to_string(path).map_err(|error| Error::system("read", path, error))?;
        let kib = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        let limit = groups::own_memory_limit().unwrap_or(u64::MAX);
        let memory = (kib("MemTotal:").unwrap_or(0) * 1024).min(limit);
        let available = (kib("MemAvailable:").unwrap_or(0) * 1024).min(limit);
        let running: Vec<Record> =
            self.all_records()?.into_iter().filter(|record| matches!(record.life(), Life::Alive)).collect();
        let reserved = |of: fn(&Record) -> u64| running.iter().map(of).fold(0, u64::saturating_add);
        Ok(Capacity {
            cpu_millis: cores * 1000,
            memory_bytes: memory,
            free_cpu_millis: (cores * 1000).saturating_sub(reserved(|record| record.cpu_millis)),
            free_memory_bytes: memory.saturating_sub(reserved(|record| record.memory_bytes)).min(available),
        })
    }

    /// What of the modules' limits nothing can hold here.
    pub fn unenforced(&self, modules: &[Module]) -> Vec<Unenforced> {
        let mut found = Vec::new();
        for module in modules {
            let asked = limits(module);
            let missing = match self.settings.control_groups {
                true => groups::missing(&format!("code-probe-{}", std::process::id()), &asked),
                false => sandbox::Groups::default().missing(&asked),
            };
            let refused = self.settings.missing == Missing::Refused;
            found.extend(missing.into_iter().map(|fact| Unenforced {
                module: module.name.clone(),
                fact,
                refused,
            }));
        }
        found
    }

    pub fn observe(&self, target: &TargetId) -> Result<Vec<Instance>> {
        let mut instances = Vec::new();
        for (folder, mut record) in self.records(&self.target_folder(target))? {
            self.settle(&mut record, &folder)?;
            instances.push(record.instance());
        }
        Ok(instances)
    }

    /// Starts a keeper for the output of every instance that runs and has none: it was killed, and what the instance writes
    /// waits in its pipe. One for which none can be started holds up no other.
    pub fn keep_output(&self) -> Result<()> {
        self.reap();
        let targets = self.state_dir.join("targets");
        let read = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
        let mut trouble = Ok(());
        for target in read(&targets) {
            for instance in read(&target.path()) {
                trouble = trouble.and(self.keep_output_of(&instance.path()));
            }
        }
        trouble
    }

    fn keep_output_of(&self, folder: &Path) -> Result<()> {
        if !output::is_forsaken(folder) {
            return Ok(());
        }
        let Some(record) = Record::load(folder)? else { return Ok(()) };
        if !matches!(record.life(), Life::Alive) {
            return Ok(());
        }
        if let Some(keeper) = output::keep(folder, self.settings.log_bytes)? {
            warn!(
                instance = record.id,
                keeper = keeper.id(),
                "what kept an instance's output was gone; it is kept again"
            );
            self.keepers.lock().push(keeper);
        }
        Ok(())
    }

    /// Takes the status of keepers that have ended.
    fn reap(&self) {
        self.keepers.lock().retain_mut(|keeper| matches!(keeper.try_wait(), Ok(None)));
    }

    /// Brings the record up to what the process is. Under the target's lock, so no start is half done: an intent
    /// without a process, and a gate that still waits, are what a dead engine left.
    fn settle(&self, record: &mut Record, folder: &Path) -> Result<()> {
        if record.exit.is_some() {
            if let Life::Zombie(_) = record.life() {
                proc::reap(record.pid);
            }
            return Ok(());
        }
        if record.pid == 0 {
            let leader =
                |(pid, stat): &(i32, proc::Stat)| stat.group == *pid && became(*pid) == Became::Program;
            let found = proc::with_environment(&self.marks(&record.target, &record.id));
            if let Some((pid, stat)) = found.into_iter().find(leader) {
                warn!(instance = record.id, pid, "found the process of an intent");
                (record.pid, record.start, record.boot) = (pid, stat.start, proc::boot());
                return record.save(folder);
            }
        }
        if let Life::Alive = record.life() {
            match became(record.pid) {
                Became::Program => return Ok(()),
                Became::Gate => drop(kill(Pid::from_raw(record.pid), Signal::SIGKILL)),
                Became::Nothing => {}
            }
        }
        let code = match record.life() {
            Life::Alive => None,
            Life::Zombie(stat) => {
                let readable = nix::unistd::geteuid().is_root();
                proc::reap(record.pid).or_else(|| readable.then(|| proc::code_of(stat.exit)))
            }
            Life::Gone => None,
        };
        let oom = code.is_none_or(|code| code == 137) && groups::ran_out_of_memory(&record.groups);
        record.exit = Some(Exit { code, at: self.settings.clock.now(), oom });
        record.save(folder)
    }

    /// Sends a signal to the instance's group and to all that it started elsewhere.
    pub fn signal(&self, target: &TargetId, instance: &str, signal: Signal) -> Result<()> {
        let folder = self.folder(target, instance)?;
        let mut leader = 0;
        if let Some(record) = Record::load(&folder)?
            && let Life::Alive = record.life()
        {
            leader = record.pid;
            let pid = Pid::from_raw(leader);
            if killpg(pid, signal).is_err() {
                let _ = kill(pid, signal);
            }
        }
        for (pid, stat) in proc::with_environment(&self.marks(target, instance)) {
            if stat.group != leader {
                let _ = kill(Pid::from_raw(pid), signal);
            }
        }
        Ok(())
    }

    /// Nothing of the instance runs any more.
    pub fn is_gone(&self, target: &TargetId, instance: &str) -> Result<bool> {
        if let Some(record) = Record::load(&self.folder(target, instance)?)? {
            match record.life() {
                Life::Alive => return Ok(false),
                Life::Zombie(_) => drop(proc::reap(record.pid)),
                Life::Gone => {}
            }
        }
        let marks = self.marks(target, instance);
        if !proc::with_environment(&marks).is_empty() {
            return Ok(false);
        }
        // A process that is just between two programs shows no environment; it is seen at the second look.
        std::thread::sleep(TICK);
        Ok(proc::with_environment(&marks).is_empty())
    }

    /// Removes what is kept of an instance that no longer runs.
    pub fn forget(&self, target: &TargetId, instance: &str) -> Result<()> {
        let folder = self.folder(target, instance)?;
        if let Some(record) = Record::load(&folder)? {
            groups::remove(&record.groups);
        }
        output::end(&folder, DRAIN);
        self.reap();
        match fs::remove_dir_all(&folder) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::system("remove", &folder, error)),
        }
        let _ = fs::remove_dir(self.target_folder(target));
        Ok(())
    }

    pub fn logs(&self, target: &TargetId, instance: &str, lines: usize) -> Result<String> {
        let folder = self.folder(target, instance)?;
        match Record::load(&folder)? {
            Some(record) => {
                if !matches!(record.life(), Life::Alive) {
                    output::ended(&folder, DRAIN);
                }
                files::tail(&folder, lines)
            }
            None => Err(Error::NoInstance { instance: instance.to_owned() }),
        }
    }

    /// A command with the environment, folder and user of the running instance, in a process group of its own.
    pub fn exec(
        &self,
        target: &TargetId,
        instance: &str,
        command: &[String],
    ) -> Result<tokio::process::Command> {
        let Some(record) = Record::load(&self.folder(target, instance)?)? else {
            return Err(Error::NoInstance { instance: instance.to_owned() });
        };
        let not_running = || Error::NotRunning { instance: instance.to_owned() };
        let Life::Alive = record.life() else { return Err(not_running()) };
        let environment = proc::environment(record.pid).ok_or_else(not_running)?;
        let folder = fs::read_link(format!("/proc/{}/cwd", record.pid)).map_err(|_| not_running())?;
        let fill =
            |word: &String| order::fill(word, &record.module, &record.ports, record.first_port.as_deref());
        let words = command.iter().map(fill).collect::<Result<Vec<String>>>()?;
        let Some((word, arguments)) = words.split_first() else {
            return Err(Error::invalid(format!("an empty command was asked for in instance {instance}")));
        };
        let path = environment.get("PATH").unwrap_or(&self.settings.path);
        let mut prepared = Command::new(launch::find(word, &folder, path)?);
        prepared.args(arguments).env_clear().envs(&environment).current_dir(folder);
        prepared.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        // Its own marks would make a stop or a start take the command for the instance.
        prepared.env_remove("CODE_STATE_DIR");
        if let Some((user, group)) = record.user {
            prepared.uid(user).gid(group);
        }
        Ok(prepared.into())
    }

    #[cfg(test)]
    fn dies(&self, point: Point) -> Result<()> {
        let dies_at = *self.dies_at.lock().unwrap();
        if dies_at == Some(point) { Err(Error::invalid(format!("died at {point:?}"))) } else { Ok(()) }
    }

    #[cfg(not(test))]
    #[allow(clippy::unused_self, clippy::unnecessary_wraps, reason = "a test lets the engine die here")]
    fn dies(&self, _: Point) -> Result<()> {
        Ok(())
    }

    #[cfg(test)]
    fn is_dead(&self) -> bool {
        self.dies_at.lock().unwrap().is_some()
    }

    #[cfg(not(test))]
    #[allow(clippy::unused_self, reason = "a test lets the engine die")]
    fn is_dead(&self) -> bool {
        false
    }
}

/// What a process of an instance has become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Became {
    Gate,
    Program,
    Nothing,
}

/// While a process is between two programs, and while it ends, the kernel shows no command line; that moment is waited
/// out, so that neither a gate nor a dying process is taken for the program.
fn became(pid: i32) -> Became {
    let mut answer = Became::Program;
    wait_for(|| {
        let words = proc::command_line(pid);
        if proc::stat(pid).is_none_or(|stat| stat.has_ended()) {
            answer = Became::Nothing;
            return true;
        }
        if words.iter().any(|word| word == launch::GATE_NAME) {
            answer = Became::Gate;
        }
        words.iter().any(|word| !word.is_empty())
    });
    answer
}

fn wait_for(mut done: impl FnMut() -> bool) -> bool {
    let tries = PATIENCE.as_millis() / TICK.as_millis();
    for _ in 0..tries {
        if done() {
            return true;
        }
        std::thread::sleep(TICK);
    }
    false
}

/// What instances of the module may use.
fn limits(module: &Module) -> Limits {
    let resources = &module.resources;
    Limits { cpu_millis: resources.cpu_millis(), memory_bytes: resources.memory_bytes(), ..Limits::default() }
}
