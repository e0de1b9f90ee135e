//! The loops behind subscriptions. Each belongs to a [`Serving`].

use std::future::Future;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Something is served until this is dropped. Dropping stops at once, as a crash would: what was held is delivered
/// again to someone else. [`Serving::stop`] finishes what is held.
#[derive(Debug)]
#[must_use = "serving stops when this is dropped"]
pub struct Serving {
    cancel: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Serving {
    /// Takes nothing new, finishes what is held, then returns.
    pub async fn stop(mut self) {
        self.cancel.cancel();
        if let Some(task) = self.task.take() {
            // The task cannot be aborted from here, and a panic in it was already logged.
            let _ = task.await;
        }
    }

    /// Takes nothing new from now on; what is held goes on while this lives.
    pub fn close(&self) {
        self.cancel.cancel();
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.cancel.cancel();
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Runs `body` until it ends; it is told by the token when to take nothing new.
pub(crate) fn serve<F, B>(body: B) -> Serving
where
    B: FnOnce(CancellationToken) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let cancel = CancellationToken::new();
    #[allow(clippy::disallowed_methods, reason = "below chassis; Serving owns and ends the task")]
    let task = tokio::spawn(body(cancel.clone()));
    Serving { cancel, task: Some(task) }
}
