//! A place that one process at a time holds: a locked file in which it says who it is.
//!
//! The kernel lets go of the lock when the process ends, however it ends. What stands in the file outlives it, so a
//! process is named by its number and its start: a number that was given to another process meanwhile means nobody.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::Path,
};

use nix::fcntl::{Flock, FlockArg};

/// A process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Who {
    /// Its number.
    pub pid: i32,
    /// When it began, in clock ticks since the machine started.
    pub began: u64,
}

impl Who {
    /// The process of this number, if one runs.
    pub fn of(pid: i32) -> Option<Who> {
        Some(Who { pid, began: began(pid)? })
    }

    /// Whether it still runs.
    pub fn is_alive(self) -> bool {
        began(self.pid) == Some(self.began)
    }
}

/// The lock of a place. Let go of when it is dropped, and when the process ends.
#[derive(Debug)]
#[must_use = "the place is let go of when this is dropped"]
pub struct Held(Flock<File>);

impl Held {
    /// Writes which process holds the place, so that others find it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn sign(&self) -> io::Result<()> {
        let pid = std::process::id().cast_signed();
        let text = format!("{pid} {}\n", began(pid).unwrap_or_default());
        let mut file: &File = &self.0;
        self.0.set_len(0)?;
        file.write_all(text.as_bytes())
    }
}

/// Takes the place; none when another process has it.
///
/// # Errors
/// The file cannot be made or opened.
pub fn hold(place: &Path) -> io::Result<Option<Held>> {
    // Not emptied: another process may have signed it.
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(place)?;
    Ok(Flock::lock(file, FlockArg::LockExclusiveNonblock).ok().map(Held))
}

/// The process that signed the place last, if it still runs.
pub fn holder(place: &Path) -> Option<Who> {
    let text = fs::read_to_string(place).ok()?;
    let (pid, began) = text.trim().split_once(' ')?;
    let who = Who { pid: pid.parse().ok()?, began: began.parse().ok()? };
    who.is_alive().then_some(who)
}

/// When a process began, in clock ticks since the machine started; none when it does not run (a zombie does not).
pub fn began(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in brackets and may hold anything; fields are counted behind it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") { None } else { fields.nth(18)?.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holds_and_is_named_until_it_lets_go() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("here.lock");
        let me = Who::of(std::process::id().cast_signed()).unwrap();

        assert_eq!(holder(&place), None);
        let first = hold(&place).unwrap().unwrap();
        first.sign().unwrap();

        assert_eq!(holder(&place), Some(me));
        assert!(hold(&place).unwrap().is_none());
        drop(first);
        assert!(hold(&place).unwrap().is_some());
    }

    #[test]
    fn a_number_that_was_given_to_another_process_is_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("here.lock");
        let me = Who::of(std::process::id().cast_signed()).unwrap();

        fs::write(&place, format!("{} {}\n", me.pid, me.began - 1)).unwrap();

        assert_eq!(holder(&place), None);
    }
}
