//! A program that is waited for: with a deadline, and with the end of what it writes.

use std::{future::Future, os::unix::process::ExitStatusExt as _, process::Stdio, time::Duration};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::Child,
};

use crate::{Error, Groups, Launch, Unenforced, groups};

/// Between asking a program to end and killing it.
const GRACE: Duration = Duration::from_secs(5);

/// A program that runs. Nothing it started outlives this, unless it left the process group.
pub struct Running {
    child: Child,
    leader: Leader,
    groups: Held,
    output_bytes: usize,
    /// What of its launch is not in force.
    pub unenforced: Vec<Unenforced>,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With this exit status.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
    /// It was ended, because its time was over.
    Late,
    /// It was ended, because it is no longer wanted.
    Stopped,
}

/// A program that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub end: End,
    /// The end of what it wrote to its output, then the end of what it wrote to its error output.
    pub output: String,
}

impl Launch {
    /// Starts it, with `group` as the name of its control groups, which nobody else uses. Of each of its two outputs the
    /// last `output_bytes` are kept. Needs a runtime; the calling thread waits a moment for another.
    pub fn run(mut self, group: &str, output_bytes: usize) -> Result<Running, Error> {
        let groups = Held(groups::make(group, &self.limits));
        let mut unenforced = self.hold(&groups.0)?;
        let program = self.program.clone();
        let (profile, missing) = (self.profile.clone(), self.missing);
        let mut command = tokio::process::Command::from(self.command());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let runtime = tokio::runtime::Handle::current();
        let started = crate::confine::start(&profile, missing, move || {
            let _entered = runtime.enter();
            command.spawn()
        });
        let refused = |unenforced| Error::Refused { program: program.clone(), unenforced };
        let (child, open) = started.map_err(refused)?;
        let child = child.map_err(Error::system(format!("start {}", program.display())))?;
        unenforced.extend(open);
        let leader = Leader(child.id().and_then(|pid| i32::try_from(pid).ok()));
        if !leader.0.is_some_and(|pid| groups::enter(&groups.0.folders, pid)) {
            let source = std::io::Error::other("its control group did not take it");
            return Err(Error::System { what: format!("start {}", program.display()), source });
        }
        Ok(Running { child, leader, groups, output_bytes, unenforced })
    }
}

impl Running {
    /// Lets it begin, and waits until it and all who write to its outputs ended. When `within` is over, or `stop` comes,
    /// it is asked to end, and killed five seconds later.
    pub async fn wait(mut self, within: Duration, stop: impl Future<Output = ()>) -> Result<Ended, Error> {
        let (out, err) = (self.child.stdout.take(), self.child.stderr.take());
        let (out_kept, err_kept) = (Kept::default(), Kept::default());
        let most = self.output_bytes;
        if let Some(mut gate) = self.child.stdin.take() {
            gate.write_all(b"go\n").await.map_err(Error::system("begin the program"))?;
        }
        let work = async {
            tokio::join!(self.child.wait(), tail(out, &out_kept, most), tail(err, &err_kept, most)).0
        };
        let ended = tokio::select! {
            ended = work => Ok(ended),
            () = tokio::time::sleep(within) => Err(End::Late),
            () = stop => Err(End::Stopped),
        };
        let end = match ended {
            Ok(status) => {
                let status = status.map_err(Error::system("wait for the program"))?;
                let signal = || End::Signalled(status.signal().unwrap_or_default());
                status.code().map_or_else(signal, End::Exited)
            }
            Err(end) => {
                self.leader.signal(Signal::SIGTERM);
                let _ = tokio::time::timeout(GRACE, self.child.wait()).await;
                self.leader.signal(Signal::SIGKILL);
                let _ = self.child.wait().await;
                end
            }
        };
        Ok(Ended { end, output: format!("{}{}", shown(&out_kept), shown(&err_kept)) })
    }

    /// The control groups that hold it; empty when none does.
    pub fn groups(&self) -> &Groups {
        &self.groups.0
    }
}

/// What a program wrote so far, read by others while it writes.
type Kept = Mutex<Vec<u8>>;

fn shown(kept: &Kept) -> String {
    String::from_utf8_lossy(&kept.lock()).into_owned()
}

/// Keeps the end of what is written; the rest is read and dropped, so that the writer never waits.
async fn tail(from: Option<impl AsyncRead + Unpin>, kept: &Kept, most: usize) {
    let Some(mut from) = from else { return };
    let mut piece = vec![0; 4096];
    while let Ok(read @ 1..) = from.read(&mut piece).await {
        let mut kept = kept.lock();
        kept.extend_from_slice(&piece[..read]);
        let surplus = kept.len().saturating_sub(most);
        kept.drain(..surplus);
    }
}

/// The leader of a process group, which is killed with all that is in it when this is dropped.
struct Leader(Option<i32>);

impl Leader {
    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.0 {
            // Gone already is as good.
            let _ = killpg(Pid::from_raw(pid), signal);
        }
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

/// Control groups that are removed with their program.
struct Held(Groups);

impl Drop for Held {
    fn drop(&mut self) {
        groups::remove(&self.0.folders);
    }
}
