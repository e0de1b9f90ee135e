//! Answers that need not be asked for again.
//!
//! Keyed by what the asker calls the same question and by the expert's whole configuration; bounded in bytes and time.
//! Only complete answers of the asked model are kept.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use model::{Digest, expert::Usage};
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::{
    ask::{Reply, Stop},
    catalogue::CacheLimits,
};

/// What an entry costs besides its texts.
const OVERHEAD: usize = 256;

/// Kept answers. Cheap to clone; clones share them.
#[derive(Clone, Debug)]
pub struct Cache {
    limits: CacheLimits,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    entries: HashMap<Digest, Entry>,
    /// Keys by their last use: the first is given up first.
    used: BTreeMap<u64, Digest>,
    uses: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    reply: Reply,
    until: Instant,
    used: u64,
    bytes: usize,
}

impl Cache {
    /// An empty cache.
    pub fn new(limits: CacheLimits) -> Cache {
        Cache { limits, kept: Arc::default() }
    }

    /// The kept answer, if it is still good. It says that it is cached and cost nothing.
    pub fn get(&self, key: &Digest) -> Option<Reply> {
        let mut kept = self.kept();
        if kept.entries.get(key)?.until <= Instant::now() {
            kept.remove(key);
            return None;
        }
        kept.uses += 1;
        let now = kept.uses;
        let entry = kept.entries.get_mut(key)?;
        let before = std::mem::replace(&mut entry.used, now);
        let reply = entry.reply.clone();
        kept.used.remove(&before);
        kept.used.insert(now, key.clone());
        Some(Reply { cached: true, tries: 0, usage: Usage::default(), ..reply })
    }

    /// Keeps a complete answer of the asked model, and gives up the least used ones for it.
    pub fn put(&self, key: Digest, reply: &Reply) {
        let bytes = OVERHEAD + reply.text.len() + reply.model.len() + reply.id.len();
        let worth = reply.stop == Stop::Complete && !reply.substituted && !reply.cached;
        if !worth || bytes > self.limits.bytes {
            return;
        }
        let mut kept = self.kept();
        kept.remove(&key);
        while kept.bytes + bytes > self.limits.bytes {
            let Some((_, oldest)) = kept.used.first_key_value() else { break };
            let oldest = oldest.clone();
            kept.remove(&oldest);
        }
        kept.uses += 1;
        let used = kept.uses;
        kept.used.insert(used, key.clone());
        kept.bytes += bytes;
        let until = Instant::now() + self.limits.keep.0;
        kept.entries.insert(key, Entry { reply: reply.clone(), until, used, bytes });
    }

    /// Bytes of all kept answers.
    pub fn bytes(&self) -> usize {
        self.kept().bytes
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Plain values that are whole between calls.
        self.kept.lock()
    }
}

impl Kept {
    fn remove(&mut self, key: &Digest) {
        if let Some(entry) = self.entries.remove(key) {
            self.used.remove(&entry.used);
            self.bytes -= entry.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::Span;

    use super::*;

    fn reply(text: &str) -> Reply {
        Reply {
            text: text.into(),
            stop: Stop::Complete,
            usage: Usage { cost_micro_usd: 7, ..Usage::default() },
            model: "m".into(),
            substituted: false,
            id: String::new(),
            tries: 1,
            took: Duration::ZERO,
            cached: false,
            again: None,
        }
    }

    fn key(name: &str) -> Digest {
        Digest::of(&name)
    }

    #[tokio::test(start_paused = true)]
    async fn a_kept_answer_costs_nothing_and_grows_old() {
        let cache = Cache::new(CacheLimits { bytes: 10_000, keep: Span::seconds(60) });
        cache.put(key("a"), &reply("yes"));

        let again = cache.get(&key("a")).unwrap();
        tokio::time::advance(Duration::from_secs(61)).await;

        assert_eq!((again.text.as_str(), again.cached, again.usage.cost_micro_usd), ("yes", true, 0));
        assert_eq!(cache.get(&key("a")), None);
        assert_eq!(cache.bytes(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_least_used_answer_makes_room() {
        let cache = Cache::new(CacheLimits { bytes: 3 * 1257, keep: Span::seconds(60) });
        for name in ["a", "b", "c"] {
            cache.put(key(name), &reply(&"x".repeat(1000)));
        }
        cache.get(&key("a")).unwrap();

        cache.put(key("d"), &reply(&"x".repeat(1000)));
        cache.put(key("huge"), &reply(&"x".repeat(10_000)));

        let there: Vec<&str> =
            ["a", "b", "c", "d", "huge"].into_iter().filter(|name| cache.get(&key(name)).is_some()).collect();
        assert_eq!(there, ["a", "c", "d"]);
        assert!(cache.bytes() <= 3 * 1257);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_cut_off_or_from_another_model_is_not_kept() {
        let cache = Cache::new(CacheLimits::default());

        cache.put(key("cut"), &Reply { stop: Stop::Truncated, ..reply("ye") });
        cache.put(key("other"), &Reply { substituted: true, ..reply("yes") });

        assert_eq!(cache.bytes(), 0);
    }
}
