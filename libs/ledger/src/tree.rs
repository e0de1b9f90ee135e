//! The Merkle tree of RFC 6962, section 2.1: its hashes, and the edge where it grows.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::Hash;

/// The hash of an entry.
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Hash(Sha256::new().chain_update([0]).chain_update(entry).finalize().into())
}

/// The hash over two neighbours.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Hash(Sha256::new().chain_update([1]).chain_update(left.0).chain_update(right.0).finalize().into())
}

/// The root of the empty tree.
pub fn empty_root() -> Hash {
    Hash(Sha256::digest([]).into())
}

/// The root over these leaf hashes.
pub fn root_of(leaves: impl IntoIterator<Item = Hash>) -> Hash {
    let mut frontier = Frontier::default();
    leaves.into_iter().for_each(|leaf| frontier.push(leaf));
    frontier.root()
}

/// A perfect subtree: `2^level` leaves, of which there are `index` such subtrees to its left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node {
    /// 0 for a leaf.
    pub level: u8,
    /// Counted from the left on its level.
    pub index: u64,
}

/// The perfect subtrees that make up the first `size` leaves, from left to right: one for each bit of the size.
pub fn peaks(size: u64) -> impl DoubleEndedIterator<Item = Node> {
    let levels = (0..64u8).rev().filter(move |level| size >> level & 1 == 1);
    levels.map(move |level| Node { level, index: (size >> level) - 1 })
}

/// The growing edge: the size and the roots of the perfect subtrees. All that is needed to append and to know the root;
/// at most 64 hashes whatever the size.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frontier {
    size: u64,
    /// From left to right: one for each bit of the size.
    peaks: Vec<Hash>,
}

impl Frontier {
    /// The edge with these peaks from left to right; none when their number does not fit the size.
    pub fn from_peaks(size: u64, peaks: Vec<Hash>) -> Option<Frontier> {
        (peaks.len() == size.count_ones() as usize).then_some(Frontier { size, peaks })
    }

    /// How many leaves there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The peaks fit the size: what was read from a file may not.
    pub fn is_whole(&self) -> bool {
        self.peaks.len() == self.size.count_ones() as usize
    }

    /// Adds a leaf.
    pub fn push(&mut self, leaf: Hash) {
        self.push_with(leaf, |_, _| {});
    }

    /// Adds a leaf and tells every perfect subtree that it completes, the leaf itself included.
    pub fn push_with(&mut self, leaf: Hash, mut completed: impl FnMut(Node, Hash)) {
        let (mut hash, mut level) = (leaf, 0u8);
        completed(Node { level, index: self.size }, hash);
        while self.size >> level & 1 == 1 {
            let Some(left) = self.peaks.pop() else { break };
            hash = node_hash(&left, &hash);
            level += 1;
            completed(Node { level, index: self.size >> level }, hash);
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// The root of the tree.
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else { return empty_root() };
        peaks.fold(*last, |right, left| node_hash(left, &right))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::{LEAVES, ROOTS};

    #[test]
    fn the_roots_are_those_of_the_reference_vectors() {
        for (size, root) in ROOTS.iter().enumerate() {
            let leaves = LEAVES[..size].iter().map(|leaf| leaf_hash(&hex::decode(leaf).unwrap()));
            assert_eq!(hex::encode(root_of(leaves).0), *root, "size {size}");
        }
    }

    #[test]
    fn every_perfect_subtree_is_told_once() {
        let mut frontier = Frontier::default();
        let mut told = Vec::new();
        for number in 0..16u64 {
            frontier.push_with(leaf_hash(&number.to_be_bytes()), |node, _| told.push(node));
        }

        told.sort();
        told.dedup();
        assert_eq!(told.len(), 16 + 8 + 4 + 2 + 1);
    }
}
