//! What askers say to those who do their task, and who is worked for.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use async_nats::Subscriber;
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Askers that left before their question was begun are remembered: so many.
const LEFT: usize = 256;
/// On the answer of a task: how many frames of progress there were.
pub(crate) const TOLD: &str = "Code-Told";

/// What askers say while they wait.
pub(crate) struct Control {
    heard: Subscriber,
    register: Arc<Mutex<Register>>,
}

impl Control {
    pub(crate) fn new(heard: Subscriber, register: Arc<Mutex<Register>>) -> Control {
        Control { heard, register }
    }

    /// Takes in one thing that is said.
    pub(crate) async fn heed(&mut self) {
        let Some(said) = self.heard.next().await else { return std::future::pending().await };
        if let Ok(text) = std::str::from_utf8(&said.payload) {
            self.register.lock().heed(text);
        }
    }
}

/// Who is worked for, by the asker's subject, and who left before that began.
#[derive(Default)]
pub(crate) struct Register {
    working: HashMap<String, (CancellationToken, watch::Sender<u64>)>,
    left: VecDeque<String>,
}

impl Register {
    fn begin(&mut self, asker: String, stopped: CancellationToken, heard: watch::Sender<u64>) {
        if self.left.contains(&asker) {
            stopped.cancel();
        }
        self.working.insert(asker, (stopped, heard));
    }

    fn heed(&mut self, text: &str) {
        let mut words = text.split(' ');
        match (words.next(), words.next(), words.next().map(str::parse::<u64>)) {
            (Some("cancel"), Some(asker), None) => match self.working.get(asker) {
                Some((stopped, _)) => stopped.cancel(),
                None => {
                    // Its question may lie here unread, or be somebody else's.
                    self.left.push_back(asker.to_owned());
                    while self.left.len() > LEFT {
                        self.left.pop_front();
                    }
                }
            },
            (Some("heard"), Some(asker), Some(Ok(number))) => {
                if let Some((_, heard)) = self.working.get(asker) {
                    heard.send_if_modified(|before| {
                        let is_more = number > *before;
                        *before = number.max(*before);
                        is_more
                    });
                }
            }
            _ => {}
        }
    }
}

/// A place in the register, given back with the work, however it ends.
pub(crate) struct Entry {
    register: Arc<Mutex<Register>>,
    name: String,
    stopped: CancellationToken,
}

impl Entry {
    pub(crate) fn begin(
        register: &Arc<Mutex<Register>>,
        name: String,
        stopped: CancellationToken,
        heard: watch::Sender<u64>,
    ) -> Entry {
        register.lock().begin(name.clone(), stopped.clone(), heard);
        Entry { register: Arc::clone(register), name, stopped }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.register.lock().working.remove(&self.name);
        self.stopped.cancel();
    }
}
