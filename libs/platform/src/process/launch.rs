//! Making a process that only becomes the program once it is written down.

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

use crate::{Error, Result};

const SHELL: &str = "/bin/sh";
/// Waits for a line, then becomes the program. Without the line (the engine died) it ends and was never the program.
/// `$0` marks the gate in the process list, `$1` is `RLIMIT_DATA` in KiB or empty, `$2` the priority or empty, `$3` the soft
/// limit of open files or empty.
const GATE: &str = r#"read -r go || exit 125; [ -z "$1" ] || ulimit -d "$1" || exit 126
[ -z "$3" ] || ulimit -S -n "$3" || exit 126
nice=$2; shift 3; if [ -n "$nice" ]; then exec nice -n "$nice" "$@" </dev/null; fi; exec "$@" </dev/null"#;
/// Marks a gate that has not become its program yet.
pub(super) const GATE_NAME: &str = "code-gate";

/// What is launched.
pub(super) struct Launch {
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub environment: BTreeMap<String, String>,
    pub folder: PathBuf,
    pub user: Option<(u32, u32)>,
    pub output: File,
    /// Bytes of private memory it may have, when no control group holds it.
    pub memory_bytes: Option<u64>,
    /// Lower its priority, when no control group holds its processor share.
    pub nice: bool,
    /// Files it may have open at a time, unless it raises this itself.
    pub open_files: Option<u64>,
}

impl Launch {
    /// Starts the gate. The program begins with [`open`].
    pub fn gate(self) -> Result<Child> {
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
        let limit = self.memory_bytes.map(|bytes| (bytes / 1024).max(1).to_string()).unwrap_or_default();
        let files = self.open_files.map(|files| files.to_string()).unwrap_or_default();
        command.args(["-c", GATE, GATE_NAME, &limit, if self.nice { "10" } else { "" }, &files]);
        command.arg(&self.program).args(&self.arguments);
        command.env_clear().envs(&self.environment).current_dir(&self.folder);
        let errors =
            self.output.try_clone().map_err(|error| Error::system("open", Path::new("output"), error))?;
        command.stdin(Stdio::piped()).stdout(self.output).stderr(errors);
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command.spawn().map_err(|error| Error::system("start", &self.program, error))
    }
}

/// Lets the gate become the program.
pub(super) fn open(child: &mut Child) -> std::io::Result<()> {
    match child.stdin.take() {
        Some(mut pipe) => pipe.write_all(b"go\n"),
        None => Ok(()),
    }
}

/// The program's file: as it stands when it has a slash, else looked for in `path`.
pub(super) fn find(program: &str, folder: &Path, path: &str) -> Result<PathBuf> {
    let missing = |reason: String| Error::ArtefactMissing { artefact: program.to_owned(), reason };
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

/// `10001` or `10001:10001`; names are not looked up, since they mean another user on every machine.
pub(super) fn user(text: Option<&str>) -> Result<Option<(u32, u32)>> {
    let Some(text) = text else { return Ok(None) };
    let (user, group) = text.split_once(':').unwrap_or((text, text));
    let bad = |_| Error::invalid(format!("user {text:?} is no number, such as 10001"));
    let (user, group) = (user.parse().map_err(bad)?, group.parse().map_err(bad)?);
    let me = nix::unistd::geteuid().as_raw();
    if me == user {
        return Ok(None);
    }
    if me != 0 {
        return Err(Error::Denied {
            what: format!("user {text} is asked for, but the engine runs as {me} and cannot change"),
        });
    }
    Ok(Some((user, group)))
}

/// Exit status, or 128 and the signal's number.
pub(super) fn status_code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

/// Kills the process group a command of [`crate::Platform::exec`] leads.
pub(super) fn kill_group(leader: Option<u32>) {
    if let Some(leader) = leader.and_then(|pid| i32::try_from(pid).ok()) {
        let _ = killpg(Pid::from_raw(leader), Signal::SIGKILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_by_name_and_a_missing_one_is_named() {
        assert!(find("sh", Path::new("/"), "/usr/bin:/bin").is_ok());
        assert_eq!(find("/bin/sh", Path::new("/tmp"), "").unwrap(), Path::new("/bin/sh"));
        let missing = find("no-such-program", Path::new("/"), "/bin").unwrap_err();
        assert_eq!(missing.to_string(), "artefact no-such-program is not there: not found in /bin");
        assert_eq!(missing.code(), model::Code::NotFound);
    }

    #[test]
    fn a_program_has_the_files_it_is_given_and_not_those_of_the_engine() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("output");
        let launch = Launch {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), "ulimit -S -n; ulimit -H -n".into()],
            environment: BTreeMap::new(),
            folder: folder.path().into(),
            user: None,
            output: File::create(&output).unwrap(),
            memory_bytes: None,
            nice: false,
            open_files: Some(77),
        };

        let mut child = launch.gate().unwrap();
        open(&mut child).unwrap();
        assert!(child.wait().unwrap().success());

        let text = std::fs::read_to_string(output).unwrap();
        let limits: Vec<&str> = text.lines().collect();
        assert_eq!(limits[0], "77");
        assert_ne!(limits[1], "77", "it may raise the limit itself");
    }

    #[test]
    fn a_gate_whose_engine_dies_never_becomes_the_program() {
        let folder = tempfile::tempdir().unwrap();
        let launch = Launch {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), "echo ran > ran".into()],
            environment: BTreeMap::new(),
            folder: folder.path().into(),
            user: None,
            output: File::create(folder.path().join("output")).unwrap(),
            memory_bytes: None,
            nice: false,
            open_files: None,
        };
        let mut child = launch.gate().unwrap();

        drop(child.stdin.take());

        assert_eq!(child.wait().unwrap().code(), Some(125));
        assert!(!folder.path().join("ran").exists());
    }
}
