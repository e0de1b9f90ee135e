//! The part of this program that runs inside a sandbox and tries one thing.

use std::{fs, io, net::TcpStream, process::exit};

use nix::{errno::Errno, sched::CloneFlags, sys::signal, unistd::Pid};
use sandbox::{End, Ended};

pub const WHAT: &str = "PROBE_WHAT";
pub const ON: &str = "PROBE_ON";
const DENIED: i32 = 77;

/// How the try went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It could.
    Could,
    /// It was not permitted.
    Denied,
    /// Something else came of it.
    Other(String),
}

impl Outcome {
    pub fn of(ended: &Ended) -> Outcome {
        match ended.end {
            End::Exited(0) => Outcome::Could,
            End::Exited(DENIED) => Outcome::Denied,
            other => Outcome::Other(format!("{other:?}: {}", ended.output)),
        }
    }
}

#[test]
#[ignore = "runs inside a sandbox, started by the other tests"]
fn inside() {
    let (what, on) = (std::env::var(WHAT).unwrap(), std::env::var(ON).unwrap());
    let tried: io::Result<()> = match what.as_str() {
        "connect" => TcpStream::connect(&on).map(drop),
        "resolve" => std::net::UdpSocket::bind("127.0.0.1:0").map(drop),
        "local socket" => std::os::unix::net::UnixStream::connect(&on).map(drop),
        "write" => fs::write(&on, "written"),
        "remove" => fs::remove_file(&on),
        "empty" => fs::OpenOptions::new().write(true).truncate(true).open(&on).map(drop),
        "read" => fs::read(&on).map(drop),
        "unshare" => nix::sched::unshare(CloneFlags::CLONE_FILES).map_err(io::Error::from),
        "signal" => signal::kill(Pid::from_raw(on.parse().unwrap()), None).map_err(io::Error::from),
        "thread" => std::thread::Builder::new().spawn(|| ()).map(|thread| thread.join().unwrap()),
        other => panic!("{other} is no probe"),
    };
    match tried {
        Ok(()) => exit(0),
        Err(error) => {
            let denied = [Errno::EPERM as i32, Errno::EACCES as i32];
            println!("{what} {on}: {error}");
            exit(if error.raw_os_error().is_some_and(|code| denied.contains(&code)) { DENIED } else { 1 });
        }
    }
}
