//! The tasks of a service: named, with a policy each, and waited for at the end. The only place that spawns.

use std::{any::Any, collections::BTreeMap, fmt, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use ground::Backoff;
use parking_lot::Mutex;
use tokio::{sync::watch, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::error::{BoxError, chain};

/// A critical task that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("task {task} failed: {cause}")]
pub struct Failed {
    /// The task.
    pub task: String,
    /// Its error with all causes, or the panic's message.
    pub cause: String,
}

/// The tasks of one service. Cheap to clone; clones are the same tasks.
#[derive(Clone)]
pub struct Tasks(Arc<Inner>);

struct Inner {
    span: tracing::Span,
    stopping: CancellationToken,
    failed: Arc<watch::Sender<Option<Failed>>>,
    names: Arc<Mutex<Names>>,
    /// Tasks hold nothing of this struct: when its last owner is gone they are aborted.
    set: Mutex<JoinSet<()>>,
}

#[derive(Default)]
struct Names {
    running: BTreeMap<u64, String>,
    next: u64,
}

impl Tasks {
    /// No tasks yet. Their log lines stand under `service`.
    pub fn new(service: &str) -> Tasks {
        Tasks(Arc::new(Inner {
            span: tracing::info_span!("task", service),
            stopping: CancellationToken::new(),
            failed: Arc::new(watch::Sender::new(None)),
            names: Arc::default(),
            set: Mutex::default(),
        }))
    }

    /// A task whose error or panic stops the service. Ending well is fine.
    pub fn critical<E: Into<BoxError>>(
        &self,
        name: impl Into<String>,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let name = name.into();
        let failed = Arc::clone(&self.0.failed);
        self.spawn(name.clone(), async move {
            if let Err(cause) = caught(task).await {
                tracing::error!(task = name, cause, "critical task failed");
                failed.send_if_modified(|failed| {
                    let first = failed.is_none();
                    failed.get_or_insert(Failed { task: name, cause });
                    first
                });
            }
        });
    }

    /// A task that `make` begins again, after a wait, when it ends with an error or a panic. Ending well ends it.
    /// While stopping it is not begun again.
    pub fn restarted<F, E>(
        &self,
        name: impl Into<String>,
        backoff: Backoff,
        make: impl Fn() -> F + Send + 'static,
    ) where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let name = name.into();
        let stopping = self.stopping();
        self.spawn(name.clone(), async move {
            let mut failures = 0;
            loop {
                let began = Instant::now();
                let Err(cause) = caught(make()).await else { return };
                failures = if began.elapsed() >= backoff.longest() { 1 } else { failures + 1 };
                let wait = backoff.wait(failures);
                tracing::warn!(task = name, cause, failures, ?wait, "task failed and begins again");
                tokio::select! {
                    () = stopping.cancelled() => return,
                    () = tokio::time::sleep(wait) => {}
                }
            }
        });
    }

    /// Cancelled when the service stops: take nothing new, finish what is held.
    pub fn stopping(&self) -> CancellationToken {
        self.0.stopping.clone()
    }

    /// Returns when a critical task has failed; never if none does.
    pub fn failed(&self) -> impl Future<Output = Failed> + Send + use<> {
        let mut failed = self.0.failed.subscribe();
        async move {
            loop {
                if let Some(failed) = failed.borrow_and_update().clone() {
                    return failed;
                }
                if failed.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    /// The names of the tasks that run.
    pub fn names(&self) -> Vec<String> {
        self.0.names.lock().running.values().cloned().collect()
    }

    /// Tells all tasks to stop and waits for them, at most `grace`; then ends the rest and names them.
    pub async fn stop(&self, grace: Duration) -> Vec<String> {
        self.0.stopping.cancel();
        let deadline = Instant::now() + grace;
        // A task may begin another while it finishes, so look again until none is left.
        loop {
            let mut set = std::mem::take(&mut *self.0.set.lock());
            if set.is_empty() {
                return Vec::new();
            }
            let all_ended = async { while set.join_next().await.is_some() {} };
            if tokio::time::timeout_at(deadline, all_ended).await.is_err() {
                let names = self.names();
                set.abort_all();
                while set.join_next().await.is_some() {}
                self.abort();
                return names;
            }
        }
    }

    /// Ends all tasks where they stand, as a crash would.
    pub fn abort(&self) {
        self.0.stopping.cancel();
        self.0.set.lock().abort_all();
    }

    fn spawn(&self, name: String, task: impl Future<Output = ()> + Send + 'static) {
        let named = Named::new(&self.0.names, name);
        let mut set = self.0.set.lock();
        while set.try_join_next().is_some() {}
        let task = async move {
            let _named = named;
            task.await;
        };
        set.spawn(task.instrument(self.0.span.clone()));
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

/// Takes the task's name off the list when dropped, also when the task is aborted.
struct Named {
    names: Arc<Mutex<Names>>,
    number: u64,
}

impl Named {
    fn new(names: &Arc<Mutex<Names>>, name: String) -> Named {
        let mut list = names.lock();
        let number = list.next;
        list.next += 1;
        list.running.insert(number, name);
        Named { names: Arc::clone(names), number }
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        self.names.lock().running.remove(&self.number);
    }
}

/// The task's error or panic as a text.
async fn caught<E: Into<BoxError>>(task: impl Future<Output = Result<(), E>>) -> Result<(), String> {
    match AssertUnwindSafe(task).catch_unwind().await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(chain(error.into().as_ref())),
        Err(panic) => Err(format!("panic: {}", panic_message(panic.as_ref()))),
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

#[cfg(test)]
mod tests;
