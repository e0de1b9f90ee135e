//! Output of programs that outlive the engine, bounded where it is written.
//!
//! A program writes to a named pipe in its folder. A *keeper*, this very program started again, reads the pipe and keeps
//! the end of what comes ([`keeper`]). It is in a session of its own, outside the control groups of what it serves, and
//! ends when nobody can write to the pipe any more; whether an engine runs is nothing to it.
//!
//! The program holds the pipe open for reading too. So it gets no `SIGPIPE` when its keeper is killed: what it writes then
//! stays in the pipe, and when that is full (64 KiB) it waits, until an engine that runs starts another keeper
//! ([`keep`]). That a keeper is there is seen by a lock that it holds and that the kernel lets go of.

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use nix::{
    sys::{
        signal::{Signal, kill},
        stat::Mode,
    },
    unistd::{Pid, mkfifo, setsid},
};

use crate::Error;

pub mod keeper;

/// What a keeper is called in the process list.
pub const NAME: &str = "code-output";
const PIPE: &str = "output.pipe";
const LOCK: &str = "output.lock";
const TICK: Duration = Duration::from_millis(2);

static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// The first thing in `main` of a program that starts others: does a keeper's work when this process was started for that,
/// and then gives true. Else the program is known to be one that can be started as a keeper.
pub fn serve_if_asked() -> bool {
    let mut words = std::env::args_os();
    if words.next().is_none_or(|name| name != OsStr::new(NAME)) {
        // Also when its file has been replaced since.
        keep_with("/proc/self/exe".into());
        return false;
    }
    // Neither Ctrl-C nor a terminal that is closed ends it.
    let _ = setsid();
    let most = words.next().and_then(|word| word.to_str()?.parse().ok()).unwrap_or(1 << 20);
    // There is nobody to tell: an engine sees that it has ended.
    let _ = keeper::keep(most);
    true
}

/// Another program does the keeper's work, started with the bytes of each file as its argument. The first call counts.
pub fn keep_with(program: PathBuf) {
    let _ = PROGRAM.set(program);
}

/// Makes the pipe of this folder anew, and gives both its ends in one file: output of the program, which may open it again
/// by `/dev/stdout` also when it runs as another user.
///
/// # Errors
/// The pipe cannot be made there.
pub fn pipe(folder: &Path, user: Option<(u32, u32)>) -> Result<File, Error> {
    let path = folder.join(PIPE);
    let made = (|| {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR)?;
        if let Some((user, group)) = user {
            chown(&path, Some(user), Some(group))?;
        }
        both(folder)
    })();
    made.map_err(Error::system(format!("make the pipe {}", path.display())))
}

fn both(folder: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(folder.join(PIPE))
}

/// Whether the folder has a pipe that nobody reads.
pub fn is_forsaken(folder: &Path) -> bool {
    folder.join(PIPE).exists() && matches!(lock(folder), Ok(Some(_)))
}

/// Starts a keeper for the folder's pipe, of at most `most` bytes in two files; none when it has one. It must be waited
/// for once it has ended.
///
/// # Errors
/// It cannot be started, or this program's `main` does not begin with [`serve_if_asked`].
pub fn keep(folder: &Path, most: u64) -> Result<Option<Child>, Error> {
    let what = || format!("start what keeps the output in {}", folder.display());
    let started = (|| {
        let Some(lock) = lock(folder)? else { return Ok(None) };
        let unable = || io::Error::other("the main of this program does not serve as one");
        let program = PROGRAM.get().ok_or_else(unable)?;
        // While this end is held, opening the other does not wait.
        let _writer = both(folder)?;
        let reader = File::open(folder.join(PIPE))?;
        let mut command = Command::new(program);
        command.arg0(NAME).arg((most / 2).to_string()).env_clear().current_dir(folder);
        // The lock is its, whatever becomes of us, until it ends.
        command.stdin(reader).stdout(lock).stderr(Stdio::null());
        command.spawn().map(Some)
    })();
    started.map_err(Error::system(what()))
}

/// The lock that a keeper holds; none when one does.
fn lock(folder: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(folder.join(LOCK))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Waits until the folder has no keeper; false when it still has one after this time. It has none soon after the last
/// program that writes has ended, and then all that was written is in the files.
pub fn ended(folder: &Path, within: Duration) -> bool {
    let mut left = within.as_millis() / TICK.as_millis();
    loop {
        match lock(folder) {
            Ok(None) if left > 0 => std::thread::sleep(TICK),
            Ok(None) => return false,
            Ok(Some(_)) | Err(_) => return true,
        }
        left -= 1;
    }
}

/// Ends the folder's keeper, with force when it has not ended by itself in this time: a program that left its group and
/// changed its name may hold the pipe for ever.
pub fn end(folder: &Path, within: Duration) {
    while !ended(folder, within) {
        let Some(keeper) = find(folder) else { return };
        let _ = kill(keeper, Signal::SIGKILL);
    }
}

/// The keeper of this folder.
pub fn find(folder: &Path) -> Option<Pid> {
    let stands = |pid: &i32| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|there| there == folder);
    let named = |pid: &i32| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.split(|byte| *byte == 0).next() == Some(NAME.as_bytes())
    };
    let mut pids =
        fs::read_dir("/proc").ok()?.flatten().filter_map(|it| it.file_name().to_str()?.parse().ok());
    pids.find(|pid| named(pid) && stands(pid)).map(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use super::keeper::{Kept, LOG, LOG_BEFORE};
    use super::*;

    fn read(folder: &Path, name: &str) -> String {
        fs::read_to_string(folder.join(name)).unwrap()
    }

    #[test]
    fn the_end_is_kept_in_two_files_and_each_within_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        let mut kept = Kept::new(folder.path(), 64);
        for line in 0..100 {
            kept.take(format!("line {line}\n").as_bytes());
        }
        // One that comes later goes on.
        let mut later = Kept::new(folder.path(), 64);
        later.take(b"and more than a file holds: ".repeat(5).as_slice());
        later.take(b"the end");

        let (before, last) = (read(folder.path(), LOG_BEFORE), read(folder.path(), LOG));

        assert!(before.len() == 64 && last.len() <= 64, "{} and {}", before.len(), last.len());
        assert!((before + &last).ends_with("more than a file holds: the end"));
    }

    #[test]
    fn what_a_full_disk_does_not_take_is_counted_where_it_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join(LOG);
        let mut kept = Kept::new(folder.path(), 1000);
        kept.take(b"before\n");
        fs::rename(&log, folder.path().join("aside")).unwrap();
        std::os::unix::fs::symlink("/dev/full", &log).unwrap();
        let mut kept = Kept::new(folder.path(), 1000);

        kept.take(b"12345");
        kept.take(b"678");
        fs::rename(folder.path().join("aside"), &log).unwrap();
        kept.take(b"after\n");

        let text = read(folder.path(), LOG);
        let lost =
            "before\n\n[8 bytes of output are lost here: No space left on device (os error 28)]\nafter\n";
        assert_eq!(text, lost);
    }

    #[test]
    fn a_program_that_cannot_keep_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let _pipe = pipe(folder.path(), None).unwrap();

        let refused = keep(folder.path(), 100).unwrap_err().to_string();

        assert!(refused.starts_with("start what keeps the output in "), "{refused}");
        assert!(is_forsaken(folder.path()));
    }
}
