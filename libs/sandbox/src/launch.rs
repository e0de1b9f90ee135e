//! Making a process that only becomes the program once it may begin.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Write as _,
    os::unix::{
        fs::PermissionsExt as _,
        process::{CommandExt as _, ExitStatusExt as _},
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use crate::{Error, Groups, Limits, Missing, Profile, Unenforced, confine};

const SHELL: &str = "/bin/sh";
/// Waits for a line, then becomes the program. Without the line (the engine died) it ends and was never the program.
/// `$0` marks the gate in the process list, `$1` is `RLIMIT_DATA` in KiB or empty, `$2` the soft limit of open files or
/// empty.
const GATE: &str = r#"read -r go || exit 125; [ -z "$1" ] || ulimit -d "$1" || exit 126
[ -z "$2" ] || ulimit -S -n "$2" || exit 126
shift 2; exec "$@" </dev/null"#;
/// Marks a gate that has not become its program yet.
pub const GATE_NAME: &str = "code-gate";

/// What is launched, and what it is held to.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The program's file, as [`find`] gives it.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its whole environment.
    pub environment: BTreeMap<String, String>,
    /// Where it stands.
    pub folder: PathBuf,
    /// User and group it runs as; none: ours.
    pub user: Option<(u32, u32)>,
    /// What it may not do.
    pub profile: Profile,
    /// What it may use.
    pub limits: Limits,
    /// What is done about a limit that cannot be enforced here.
    pub missing: Missing,
}

impl Launch {
    /// What of the limits neither these control groups nor the limits of a process hold. Memory is held by `RLIMIT_DATA`
    /// where no group holds it: that counts private memory only.
    pub fn hold(&mut self, groups: &Groups) -> Result<Vec<Unenforced>, Error> {
        let unenforced = groups.missing(&self.limits);
        if groups.holds_memory {
            self.limits.memory_bytes = None;
        }
        match unenforced.first() {
            Some(first) if self.missing == Missing::Refused => {
                Err(Error::Refused { program: self.program.clone(), unenforced: first.clone() })
            }
            _ => Ok(unenforced),
        }
    }

    /// Starts the gate, with both outputs to one file; what of the profile is not in force. The program begins with [`open`].
    pub fn gate(self, output: File) -> Result<(Child, Vec<Unenforced>), Error> {
        let program = self.program.clone();
        let (profile, missing) = (self.profile.clone(), self.missing);
        let errors = output.try_clone().map_err(Error::system("open the output"))?;
        let mut command = self.command();
        command.stdin(Stdio::piped()).stdout(output).stderr(errors);
        let started = confine::start(&profile, missing, move || command.spawn())
            .map_err(|unenforced| Error::Refused { program: program.clone(), unenforced })?;
        let child = started.0.map_err(Error::system(format!("start {}", program.display())))?;
        Ok((child, started.1))
    }

    /// The gate as a leader of a session where `setsid` is installed, else of a process group.
    pub(crate) fn command(self) -> Command {
        let setsid = ["/usr/bin/setsid", "/bin/setsid"].into_iter().find(|path| Path::new(path).exists());
        let mut command = match setsid {
            Some(setsid) => {
                let mut command = Command::new(setsid);
                command.arg(SHELL);
                command
            }
            None => {
                let mut command = Command::new(SHELL);
                command.process_group(0);
                command
            }
        };
        let kib = |bytes: u64| (bytes / 1024).max(1).to_string();
        let memory = self.limits.memory_bytes.map(kib).unwrap_or_default();
        let files = self.limits.open_files.map(|files| files.to_string()).unwrap_or_default();
        command.args(["-c", GATE, GATE_NAME, &memory, &files]);
        command.arg(&self.program).args(&self.arguments);
        command.env_clear().envs(&self.environment).current_dir(&self.folder);
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command
    }
}

/// Lets the gate become the program.
pub fn open(child: &mut Child) -> std::io::Result<()> {
    match child.stdin.take() {
        Some(mut pipe) => pipe.write_all(b"go\n"),
        None => Ok(()),
    }
}

/// The program's file: below `folder` when it has a slash, else looked for in `path`.
pub fn find(program: &str, folder: &Path, path: &str) -> Result<PathBuf, Error> {
    let missing = |reason: String| Error::Missing { program: program.to_owned(), reason };
    let is_program = |file: &Path| {
        file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        let file = folder.join(program);
        return if is_program(&file) { Ok(file) } else { Err(missing("no such program file".to_owned())) };
    }
    let mut files =
        path.split(':').filter(|place| place.starts_with('/')).map(|place| Path::new(place).join(program));
    files.find(|file| is_program(file)).ok_or_else(|| missing(format!("not found in {path}")))
}

/// `10001` or `10001:10001`; names are not looked up, since they mean another user on every machine. None: our own.
pub fn user(text: Option<&str>) -> Result<Option<(u32, u32)>, Error> {
    let Some(text) = text else { return Ok(None) };
    let (user, group) = text.split_once(':').unwrap_or((text, text));
    let (Ok(user), Ok(group)) = (user.parse(), group.parse()) else {
        return Err(Error::User(text.to_owned()));
    };
    let own = nix::unistd::geteuid().as_raw();
    if own == user {
        return Ok(None);
    }
    if own != 0 {
        return Err(Error::OtherUser { asked: text.to_owned(), own });
    }
    Ok(Some((user, group)))
}

/// Exit status, or 128 and the signal's number.
pub fn status_code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

/// Kills the process group that this process leads.
pub fn kill_group(leader: Option<u32>) {
    if let Some(leader) = leader.and_then(|pid| i32::try_from(pid).ok()) {
        let _ = killpg(Pid::from_raw(leader), Signal::SIGKILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limit;

    fn shell(folder: &Path, script: &str, limits: Limits) -> Launch {
        Launch {
            program: SHELL.into(),
            arguments: vec!["-c".into(), script.into()],
            environment: BTreeMap::new(),
            folder: folder.into(),
            user: None,
            profile: Profile::open(),
            limits,
            missing: Missing::Named,
        }
    }

    #[test]
    fn a_program_is_found_by_name_and_a_missing_one_is_named() {
        assert!(find("sh", Path::new("/"), "/usr/bin:/bin").is_ok());
        assert_eq!(find("/bin/sh", Path::new("/tmp"), "").unwrap(), Path::new("/bin/sh"));
        let missing = find("no-such-program", Path::new("/"), "/bin").unwrap_err();
        assert_eq!(missing.to_string(), "program no-such-program is not there: not found in /bin");
    }

    #[test]
    fn a_program_has_the_files_it_is_given_and_not_those_of_the_engine() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("output");
        let limits = Limits { open_files: Some(77), ..Limits::default() };
        let launch = shell(folder.path(), "ulimit -S -n; ulimit -H -n", limits);

        let (mut child, unenforced) = launch.gate(File::create(&output).unwrap()).unwrap();
        open(&mut child).unwrap();
        assert!(child.wait().unwrap().success());

        let text = std::fs::read_to_string(output).unwrap();
        let limits: Vec<&str> = text.lines().collect();
        assert_eq!(limits[0], "77");
        assert_ne!(limits[1], "77", "it may raise the limit itself");
        assert_eq!(unenforced, []);
    }

    #[test]
    fn a_gate_whose_engine_dies_never_becomes_the_program() {
        let folder = tempfile::tempdir().unwrap();
        let launch = shell(folder.path(), "echo ran > ran", Limits::default());
        let output = File::create(folder.path().join("output")).unwrap();
        let (mut child, _) = launch.gate(output).unwrap();

        drop(child.stdin.take());

        assert_eq!(child.wait().unwrap().code(), Some(125));
        assert!(!folder.path().join("ran").exists());
    }

    #[test]
    fn a_limit_that_nothing_holds_is_named_or_the_program_is_refused() {
        let asked = Limits { cpu_millis: Some(500), processes: Some(9), ..Limits::default() };
        let mut named = shell(Path::new("/"), "exit", asked);
        let mut refused = Launch { missing: Missing::Refused, ..named.clone() };

        let unenforced = named.hold(&Groups::default()).unwrap();
        let error = refused.hold(&Groups::default()).unwrap_err();

        let what: Vec<Limit> = unenforced.iter().map(|one| one.what).collect();
        assert_eq!(what, [Limit::Cpu, Limit::Processes]);
        assert_eq!(
            error.to_string(),
            "/bin/sh is not started: the limit of processor time is not enforced: no control group can be made for it here"
        );
    }

    #[test]
    fn a_group_that_holds_the_limits_leaves_nothing_to_name() {
        let limits = Limits { cpu_millis: Some(500), memory_bytes: Some(1), ..Limits::default() };
        let mut launch = shell(Path::new("/"), "exit", limits);
        let groups = Groups { holds_cpu: true, holds_memory: true, ..Groups::default() };

        assert_eq!(launch.hold(&groups).unwrap(), []);
        assert_eq!(launch.limits.memory_bytes, None, "no second limit beside the group's");
    }
}
