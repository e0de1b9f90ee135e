//! Inclusion and consistency proofs: RFC 6962 section 2.1 for their making, RFC 9162 section 2.1 for their checking.

use serde::{Deserialize, Serialize};

use crate::{
    Error, Hash,
    tree::{Node, node_hash, peaks},
};

/// That an entry stands at an index of a tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InclusionProof {
    /// Where the entry stands, from 0.
    pub index: u64,
    /// How many entries the tree has.
    pub size: u64,
    /// From the leaf's sibling up to the root's child.
    pub hashes: Vec<Hash>,
}

/// That a tree is the beginning of a later one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsistencyProof {
    /// The size of the earlier tree.
    pub old: u64,
    /// The size of the later tree.
    pub new: u64,
    /// In the order of RFC 6962.
    pub hashes: Vec<Hash>,
}

/// The hash over the leaves `from..to`, where `from` is a multiple of the least power of two that is not less than
/// `to - from`.
fn range_hash(from: u64, to: u64, read: &mut impl FnMut(Node) -> Result<Hash, Error>) -> Result<Hash, Error> {
    let mut nodes = peaks(to - from).rev();
    let place = |node: Node| Node { level: node.level, index: (from >> node.level) + node.index };
    let Some(last) = nodes.next() else { return Ok(crate::tree::empty_root()) };
    let mut hash = read(place(last))?;
    for node in nodes {
        hash = node_hash(&read(place(node))?, &hash);
    }
    Ok(hash)
}

/// The largest power of two less than `size`; `size` is at least 2.
fn split(size: u64) -> u64 {
    1 << (63 - (size - 1).leading_zeros())
}

impl InclusionProof {
    /// Makes the proof; `read` gives the hashes of perfect subtrees.
    pub fn make(
        index: u64,
        size: u64,
        mut read: impl FnMut(Node) -> Result<Hash, Error>,
    ) -> Result<InclusionProof, Error> {
        if index >= size {
            return Err(Error::Missing(format!("entry {index} is not among the first {size}")));
        }
        let (mut from, mut to) = (0, size);
        let mut hashes = Vec::new();
        while to - from > 1 {
            let middle = from + split(to - from);
            if index < middle {
                hashes.push(range_hash(middle, to, &mut read)?);
                to = middle;
            } else {
                hashes.push(range_hash(from, middle, &mut read)?);
                from = middle;
            }
        }
        hashes.reverse();
        Ok(InclusionProof { index, size, hashes })
    }

    /// The root that the proof leads to for this leaf.
    pub fn root(&self, leaf: &Hash) -> Result<Hash, Error> {
        let fail = |why: &str| Error::Proof { what: self.what(), why: why.to_owned() };
        if self.index >= self.size {
            return Err(fail("the tree is smaller than the index"));
        }
        let (mut at, mut last, mut hash) = (self.index, self.size - 1, *leaf);
        for sibling in &self.hashes {
            if last == 0 {
                return Err(fail("it has hashes left over"));
            }
            if at & 1 == 1 || at == last {
                hash = node_hash(sibling, &hash);
                while at & 1 == 0 && at != 0 {
                    at >>= 1;
                    last >>= 1;
                }
            } else {
                hash = node_hash(&hash, sibling);
            }
            at >>= 1;
            last >>= 1;
        }
        if last == 0 { Ok(hash) } else { Err(fail("it ends before the root")) }
    }

    /// The leaf stands at the index of the tree with this root.
    pub fn verify(&self, leaf: &Hash, root: &Hash) -> Result<(), Error> {
        let found = self.root(leaf)?;
        if found == *root { Ok(()) } else { Err(Error::Root { what: self.what(), expected: *root, found }) }
    }

    fn what(&self) -> String {
        format!("inclusion of entry {} in {}", self.index, self.size)
    }
}

impl ConsistencyProof {
    /// Makes the proof; `read` gives the hashes of perfect subtrees.
    pub fn make(
        old: u64,
        new: u64,
        mut read: impl FnMut(Node) -> Result<Hash, Error>,
    ) -> Result<ConsistencyProof, Error> {
        if old > new {
            return Err(Error::Missing(format!("the log has {new} entries, not {old}")));
        }
        let mut hashes = Vec::new();
        if old > 0 && old < new {
            let (mut from, mut to, mut whole) = (0, new, true);
            // The old tree's end lies in from+1..=to; `whole`: the subtree at `from` is a known root so far.
            while old != to {
                let middle = from + split(to - from);
                if old <= middle {
                    hashes.push(range_hash(middle, to, &mut read)?);
                    to = middle;
                } else {
                    hashes.push(range_hash(from, middle, &mut read)?);
                    from = middle;
                    whole = false;
                }
            }
            if !whole {
                hashes.push(range_hash(from, to, &mut read)?);
            }
            hashes.reverse();
        }
        Ok(ConsistencyProof { old, new, hashes })
    }

    /// The tree with root `old` is the beginning of the tree with root `new`.
    pub fn verify(&self, old: &Hash, new: &Hash) -> Result<(), Error> {
        let fail = |why: &str| Error::Proof { what: self.what(), why: why.to_owned() };
        let wrong = |which: &str, expected: &Hash, found: Hash| {
            let what = format!("{} ({which} root)", self.what());
            if found == *expected { Ok(()) } else { Err(Error::Root { what, expected: *expected, found }) }
        };
        if self.old > self.new {
            return Err(fail("the later tree is smaller"));
        }
        if self.old == self.new || self.old == 0 {
            if !self.hashes.is_empty() {
                return Err(fail("it has hashes left over"));
            }
            let expected = if self.old == 0 { &crate::tree::empty_root() } else { new };
            return wrong("earlier", expected, *old);
        }
        let mut hashes = self.hashes.iter();
        let (mut at, mut last) = (self.old - 1, self.new - 1);
        while at & 1 == 1 {
            at >>= 1;
            last >>= 1;
        }
        let first = if self.old.is_power_of_two() {
            *old
        } else {
            *hashes.next().ok_or_else(|| fail("it is empty"))?
        };
        let (mut older, mut newer) = (first, first);
        for hash in hashes {
            if last == 0 {
                return Err(fail("it has hashes left over"));
            }
            if at & 1 == 1 || at == last {
                older = node_hash(hash, &older);
                newer = node_hash(hash, &newer);
                while at & 1 == 0 && at != 0 {
                    at >>= 1;
                    last >>= 1;
                }
            } else {
                newer = node_hash(&newer, hash);
            }
            at >>= 1;
            last >>= 1;
        }
        if last != 0 {
            return Err(fail("it ends before the root"));
        }
        wrong("earlier", old, older)?;
        wrong("later", new, newer)
    }

    fn what(&self) -> String {
        format!("consistency of {} with {}", self.old, self.new)
    }
}

#[cfg(test)]
mod tests;
