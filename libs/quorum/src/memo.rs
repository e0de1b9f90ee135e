//! Which proposals were applied lately, so that a retry is answered and not applied again. Part of the state: every
//! member forgets the same at the same entry.

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};

/// Most replies that are remembered. Members must agree: a change of either bound is a change of the state machine.
const MOST: usize = 16_384;
/// Most bytes of keys and replies that are remembered.
const MOST_BYTES: usize = 8 << 20;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Reply {
    key: String,
    index: u64,
    text: String,
}

impl Reply {
    fn size(&self) -> usize {
        self.key.len() + self.text.len()
    }
}

/// The last replies, oldest first.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Kept", into = "Kept")]
pub(crate) struct Memo {
    replies: VecDeque<Reply>,
    forgotten: u64,
    most: usize,
    bytes: usize,
    /// The key, and which reply of all that ever were it is.
    places: HashMap<String, u64>,
    /// How many replies were forgotten.
    gone: u64,
}

#[derive(Default, Serialize, Deserialize)]
struct Kept {
    replies: VecDeque<Reply>,
    /// The highest index of a reply that is no longer here.
    forgotten: u64,
}

impl From<Kept> for Memo {
    fn from(kept: Kept) -> Memo {
        let bytes = kept.replies.iter().map(Reply::size).sum();
        let places = kept.replies.iter().map(|reply| reply.key.clone()).zip(0..).collect();
        Memo { replies: kept.replies, forgotten: kept.forgotten, most: MOST, bytes, places, gone: 0 }
    }
}

impl From<Memo> for Kept {
    fn from(memo: Memo) -> Kept {
        Kept { replies: memo.replies, forgotten: memo.forgotten }
    }
}

impl Default for Memo {
    fn default() -> Memo {
        Memo::from(Kept::default())
    }
}

impl Memo {
    /// The reply to this key and the index at which it was applied.
    pub fn find(&self, key: &str) -> Option<(&str, u64)> {
        let place = self.places.get(key)?.checked_sub(self.gone)?;
        let reply = self.replies.get(usize::try_from(place).ok()?)?;
        Some((&reply.text, reply.index))
    }

    /// Whether what a ticket taken at index `after` did may have been forgotten.
    pub fn may_have_forgotten(&self, after: u64) -> bool {
        after < self.forgotten
    }

    /// Keeps a reply, and forgets the oldest when there are too many.
    pub fn keep(&mut self, key: &str, index: u64, text: &str) {
        let reply = Reply { key: key.to_owned(), index, text: text.to_owned() };
        self.bytes += reply.size();
        self.places.insert(reply.key.clone(), self.gone + self.replies.len() as u64);
        self.replies.push_back(reply);
        while self.replies.len() > self.most || (self.bytes > MOST_BYTES && self.replies.len() > 1) {
            let Some(oldest) = self.replies.pop_front() else { return };
            self.bytes -= oldest.size();
            self.places.remove(&oldest.key);
            self.forgotten = oldest.index;
            self.gone += 1;
        }
    }

    #[cfg(test)]
    pub fn with_room_for(most: usize) -> Memo {
        Memo { most, ..Memo::default() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_retry_finds_its_reply_or_is_known_to_be_too_old(
            keys in proptest::collection::vec((0u8..20, 0u64..5), 1..80), most in 1usize..6, cut in any::<proptest::sample::Index>(),
        ) {
            let mut memo = Memo::with_room_for(most);
            let mut applied: HashMap<String, u64> = HashMap::new();
            let cut = cut.index(keys.len());

            for (at, (key, late)) in keys.iter().enumerate() {
                let (key, index) = (key.to_string(), at as u64 + 1);
                if at == cut {
                    // What a snapshot brings back is the same.
                    let text = serde_json::to_string(&memo).unwrap();
                    memo = Memo { most, ..serde_json::from_str(&text).unwrap() };
                }
                // A ticket is taken before its first try, from a member that may be late.
                let first = applied.get(&key).copied();
                let after = first.unwrap_or(index).saturating_sub(1 + late);
                match memo.find(&key) {
                    Some((text, found)) => {
                        prop_assert_eq!(first, Some(found));
                        prop_assert_eq!(text, format!("reply {key} {found}"));
                    }
                    None if memo.may_have_forgotten(after) => {}
                    None => {
                        prop_assert_eq!(first, None, "applied twice");
                        memo.keep(&key, index, &format!("reply {key} {index}"));
                        applied.insert(key, index);
                    }
                }
                prop_assert!(memo.replies.len() <= most && memo.places.len() == memo.replies.len());
            }
        }
    }
}
