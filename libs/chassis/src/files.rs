//! Open files: how many this process may have at a time, and how many of them are left for connections.
//!
//! Every connection is an open file, and so is every file, pipe and socket that the engine needs to decide and to act. If
//! clients could use them all up, deployments would fail for want of the last one; so clients get a budget, and the
//! rest is kept.

use std::sync::OnceLock;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::error::Error;

/// With fewer open files no engine can work.
pub const LEAST: u64 = 256;
/// Kept for the engine itself: NATS, the journals, the index, probes, hooks, pipes of children.
const RESERVE: u64 = 512;
/// The limit is raised to this at most: what is started may close all files that it might have.
const ENOUGH: u64 = 1 << 20;

static BEFORE: OnceLock<u64> = OnceLock::new();

/// Raises the process's own limit (the soft one) as far as the system lets it (the hard one), and gives it. A second call
/// changes nothing.
///
/// # Errors
/// The limit is below [`LEAST`], or the system does not say it.
pub fn raise() -> Result<u64, Error> {
    let (soft, hard) = limits()?;
    let wanted = soft.max(hard.min(ENOUGH));
    let before = *BEFORE.get_or_init(|| soft);
    let limit = if wanted == soft || setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_err() {
        soft
    } else {
        tracing::debug!(before, limit = wanted, "the limit of open files is raised");
        wanted
    };
    if limit < LEAST { Err(Error::Files { limit, least: LEAST }) } else { Ok(limit) }
}

/// The limit that this process was started with, which is what programs that it starts expect. None before [`raise`].
pub fn inherited() -> Option<u64> {
    BEFORE.get().copied()
}

/// How many of the process's files connections may use at a time, all of them together.
///
/// # Errors
/// The system does not say what the limit is.
pub fn for_connections() -> Result<u64, Error> {
    Ok(left(limits()?.0))
}

/// What is left of a limit beyond what the engine keeps: [`RESERVE`], or half when there are few.
fn left(limit: u64) -> u64 {
    limit - RESERVE.min(limit / 2)
}

fn limits() -> Result<(u64, u64), Error> {
    getrlimit(Resource::RLIMIT_NOFILE)
        .map_err(|errno| Error::System { what: "ask for the limit of open files", source: errno.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_keeps_its_share_however_few_there_are() {
        for (limit, connections) in
            [(256, 128), (1000, 500), (1024, 512), (4096, 3584), (1 << 20, (1 << 20) - 512)]
        {
            assert_eq!(left(limit), connections, "of {limit}");
        }
    }

    #[test]
    fn the_limit_is_raised_once_and_what_it_was_is_kept_for_others() {
        let (_, hard) = limits().unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, 300, hard).unwrap();

        let raised = raise().unwrap();

        assert_eq!((raised, limits().unwrap().0), (hard.min(ENOUGH), hard.min(ENOUGH)));
        assert_eq!((raise().unwrap(), inherited()), (raised, Some(300)));
    }

    #[test]
    fn too_few_are_refused_with_the_cure() {
        setrlimit(Resource::RLIMIT_NOFILE, 100, 100).unwrap();

        let error = raise().unwrap_err().to_string();

        assert_eq!(
            error,
            "this process may open 100 files at a time, at least 256 are needed: raise the limit (ulimit -n)"
        );
    }
}
