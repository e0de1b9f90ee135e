//! Starting an instance so that no crash makes a second one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
    process::Child,
};

use model::{Digest, TargetId, spec::Module};
use nix::{
    fcntl::{Flock, FlockArg},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sandbox::{Groups, Launch, Limits, Profile, groups, launch, output};
use tracing::warn;

use crate::{Error, Instance, Result, StartOrder, durable};

use super::{
    super::{files, ports, proc, record::Record},
    Became, DRAIN, PATIENCE, Point, World, became, limits, wait_for,
};

impl World {
    pub fn start(&self, order: &StartOrder) -> Result<Instance> {
        let id = order.id();
        let folder = self.folder(&order.target, &id)?;
        let before = match Record::load(&folder)? {
            Some(mut record) => {
                self.settle(&mut record, &folder)?;
                Some(record)
            }
            None => None,
        };
        if let Some(mut record) = before.clone().filter(|record| record.exit.is_none()) {
            if order.fence > record.fence {
                record.fence = order.fence;
                record.save(&folder)?;
            }
            return Ok(record.instance());
        }
        self.clear(&order.target, &id)?;
        if let Some(record) = &before {
            groups::remove(&record.groups);
        }
        self.launch(order, &folder, before)
    }

    /// Kills what carries the instance's name although no record says that it runs: children of an ended program,
    /// gates of a dead engine, or a process whose record was lost.
    fn clear(&self, target: &TargetId, instance: &str) -> Result<()> {
        let marks = self.marks(target, instance);
        let gone = wait_for(|| {
            let left = proc::with_environment(&marks);
            for (pid, _) in &left {
                warn!(instance, pid, "killing a leftover process before a start");
                let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
            }
            left.is_empty()
        });
        if gone {
            Ok(())
        } else {
            Err(Error::Timeout { what: format!("the end of leftovers of {instance}"), limit: PATIENCE })
        }
    }

    fn launch(&self, order: &StartOrder, folder: &Path, before: Option<Record>) -> Result<Instance> {
        let module = &order.module;
        let user = launch::user(module.run.user.as_deref())?;
        let path = module.environment.get("PATH").unwrap_or(&self.settings.path).clone();
        let home = folder.join("home");
        let work = module.run.working_directory.as_ref().map_or(home.clone(), PathBuf::from);
        let program = program_of(module, &work, &path)?;
        let volumes_root =
            self.settings.volumes_root.clone().unwrap_or_else(|| self.state_dir.join("volumes"));
        let host_root = self.settings.host_root.as_deref();
        let volumes = files::volumes(&volumes_root, host_root, &order.target, &module.volumes, user)?;
        durable::folder(&home)?;
        files::give(&home, user)?;
        let mut record = self.intend(order, folder, before, user)?;
        let config = folder.join("config");
        files::write_config(&config, &order.config(&record.ports)?, user)?;
        self.dies(Point::Intended)?;
        let mut environment = order.environment(&record.ports, &config.display().to_string())?;
        environment.entry("PATH".to_owned()).or_insert(path);
        environment.entry("HOME".to_owned()).or_insert(home.display().to_string());
        environment.extend(volumes);
        environment.insert("CODE_STATE_DIR".to_owned(), self.state_dir.display().to_string());
        let arguments = order.command(&record.ports)?.split_off(1);
        let limits = Limits { open_files: self.settings.open_files, ..limits(module) };
        let groups = match self.settings.control_groups {
            true => groups::make(&self.group_name(order), &limits),
            false => Groups::default(),
        };
        record.groups = groups.folders.clone();
        let mut launch = Launch {
            program,
            arguments,
            environment,
            folder: work,
            user,
            profile: Profile::open(),
            limits,
            missing: self.settings.missing,
        };
        for unenforced in launch.hold(&groups).inspect_err(|_| groups::remove(&groups.folders))? {
            warn!(instance = record.id, %unenforced, "an instance is started without a limit that was asked for");
        }
        let (mut child, _) = launch.gate(self.output(folder, user)?)?;
        self.dies(Point::Gated)?;
        match self.admit(&mut record, folder, &mut child) {
            Ok(()) => Ok(record.instance()),
            Err(error) => {
                if !self.is_dead() {
                    let _ = child.kill();
                    let _ = child.wait();
                }
                Err(error)
            }
        }
    }

    /// Where the instance writes to, with somebody who keeps it. What an instance before it left there reads on no more.
    fn output(&self, folder: &Path, user: Option<(u32, u32)>) -> Result<File> {
        output::end(folder, DRAIN);
        self.reap();
        let pipe = output::pipe(folder, user)?;
        self.keepers.lock().extend(output::keep(folder, self.settings.log_bytes)?);
        Ok(pipe)
    }

    /// Writes down who waits at the gate, then opens it.
    fn admit(&self, record: &mut Record, folder: &Path, child: &mut Child) -> Result<()> {
        let system = |source| Error::System { what: format!("begin instance {}", record.id), source };
        let pid = i32::try_from(child.id()).map_err(|_| system(std::io::ErrorKind::InvalidData.into()))?;
        let Some(stat) = proc::stat(pid) else { return Err(system(std::io::ErrorKind::NotFound.into())) };
        if !groups::enter(&record.groups, pid) {
            return Err(system(std::io::Error::other("its control group did not take it")));
        }
        (record.pid, record.start, record.boot) = (pid, stat.start, proc::boot());
        record.started_at = Some(self.settings.clock.now());
        record.save(folder)?;
        self.dies(Point::Recorded)?;
        launch::open(child)
            .map_err(|source| Error::System { what: format!("begin instance {}", record.id), source })?;
        self.dies(Point::Opened)?;
        if wait_for(|| became(pid) != Became::Gate) {
            Ok(())
        } else {
            Err(Error::Timeout { what: format!("the begin of instance {}", record.id), limit: PATIENCE })
        }
    }

    /// Chooses the ports and writes the record without a pid. Ports stay from start to start while they are free.
    fn intend(
        &self,
        order: &StartOrder,
        folder: &Path,
        before: Option<Record>,
        user: Option<(u32, u32)>,
    ) -> Result<Record> {
        let id = order.id();
        let path = self.state_dir.join("ports.lock");
        let open = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = open.map_err(|error| Error::system("open", &path, error))?;
        let _lock = Flock::lock(file, FlockArg::LockExclusive)
            .map_err(|(_, error)| Error::system("lock", &path, error.into()))?;
        let others =
            self.all_records()?.into_iter().filter(|record| record.id != id || record.target != order.target);
        let mut taken: BTreeSet<u16> = others.flat_map(|record| record.ports.into_values()).collect();
        let mut chosen = BTreeMap::new();
        for port in &order.module.ports {
            let name = port.name.to_string();
            let old = before.as_ref().and_then(|record| record.ports.get(&name)).copied();
            let number = match old.filter(|old| !taken.contains(old) && ports::is_free(*old)) {
                Some(old) => old,
                None => ports::choose(
                    &self.settings.ports,
                    &format!("{}/{id}", self.state_dir.display()),
                    &taken,
                )?,
            };
            taken.insert(number);
            chosen.insert(name, number);
        }
        let restarts = before.map_or(0, |record| record.restarts.saturating_add(u32::from(record.pid != 0)));
        let resources = &order.module.resources;
        let record = Record {
            id,
            target: order.target.clone(),
            deployment: order.deployment.clone(),
            module: order.module.name.clone(),
            revision: order.revision.clone(),
            slot: order.slot,
            fence: order.fence,
            command: Digest::of(&order.command(&chosen)?),
            ports: chosen,
            first_port: order.first_port(),
            pid: 0,
            start: 0,
            boot: String::new(),
            restarts,
            started_at: None,
            exit: None,
            cpu_millis: resources.reserved_cpu_millis(),
            memory_bytes: resources.reserved_memory_bytes(),
            user,
            groups: Vec::new(),
            labels: order.labels.clone(),
        };
        record.save(folder)?;
        Ok(record)
    }

    fn group_name(&self, order: &StartOrder) -> String {
        let whole = format!("{}/{}/{}", self.state_dir.display(), order.target, order.id());
        format!("code-{}", Digest::of_bytes(whole.as_bytes()).short())
    }
}

/// The program that the module names, if it is what was asked for.
fn program_of(module: &Module, work: &Path, path: &str) -> Result<PathBuf> {
    let Some(word) = module.run.program() else {
        return Err(Error::invalid(format!(
            "module {} has no program, which the process platform needs",
            module.name
        )));
    };
    let program = launch::find(word, work, path)?;
    if let Some(asked) = &module.run.digest {
        let bytes = fs::read(&program).map_err(|error| Error::system("read", &program, error))?;
        let (artefact, found) = (program.display().to_string(), Digest::of_bytes(&bytes));
        if found != *asked {
            return Err(Error::WrongDigest { artefact, found: found.to_string(), asked: asked.to_string() });
        }
    }
    Ok(program)
}
