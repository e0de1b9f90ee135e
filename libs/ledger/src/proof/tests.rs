use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::{Frontier, leaf_hash, vectors::LEAVES};

/// A tree in memory, hashed the slow way, straight from the RFC.
struct Naive(Vec<Hash>);

impl Naive {
    fn of(size: u64) -> Naive {
        Naive((0..size).map(|number| leaf_hash(&number.to_be_bytes())).collect())
    }

    fn root(&self, from: usize, to: usize) -> Hash {
        match to - from {
            0 => crate::tree::empty_root(),
            1 => self.0[from],
            size => {
                let middle = from + size.next_power_of_two() / 2;
                node_hash(&self.root(from, middle), &self.root(middle, to))
            }
        }
    }

    /// PATH of RFC 6962 section 2.1.1.
    fn path(&self, index: usize, from: usize, to: usize) -> Vec<Hash> {
        if to - from <= 1 {
            return Vec::new();
        }
        let middle = from + (to - from).next_power_of_two() / 2;
        if index < middle {
            [self.path(index, from, middle), vec![self.root(middle, to)]].concat()
        } else {
            [self.path(index, middle, to), vec![self.root(from, middle)]].concat()
        }
    }

    /// SUBPROOF of RFC 6962 section 2.1.2.
    fn subproof(&self, old: usize, from: usize, to: usize, whole: bool) -> Vec<Hash> {
        if old == to {
            return if whole { Vec::new() } else { vec![self.root(from, to)] };
        }
        let middle = from + (to - from).next_power_of_two() / 2;
        if old <= middle {
            [self.subproof(old, from, middle, whole), vec![self.root(middle, to)]].concat()
        } else {
            [self.subproof(old, middle, to, false), vec![self.root(from, middle)]].concat()
        }
    }

    fn nodes(&self) -> impl FnMut(Node) -> Result<Hash, Error> + use<> {
        let mut known = HashMap::new();
        let mut frontier = Frontier::default();
        for leaf in &self.0 {
            frontier.push_with(*leaf, |node, hash| {
                known.insert(node, hash);
            });
        }
        move |node| known.get(&node).copied().ok_or_else(|| Error::Missing(format!("{node:?}")))
    }
}

#[test]
fn inclusion_proofs_equal_the_rfcs_for_every_small_tree() {
    for size in 1..=70u64 {
        let tree = Naive::of(size);
        let root = tree.root(0, size as usize);
        let mut read = tree.nodes();
        for index in 0..size {
            let proof = InclusionProof::make(index, size, &mut read).unwrap();

            assert_eq!(proof.hashes, tree.path(index as usize, 0, size as usize), "{index} of {size}");
            proof.verify(&tree.0[index as usize], &root).unwrap();
            for other in (0..size).filter(|other| *other != index) {
                assert!(proof.verify(&tree.0[other as usize], &root).is_err());
            }
        }
    }
}

#[test]
fn consistency_proofs_equal_the_rfcs_for_every_small_tree() {
    for new in 1..=70u64 {
        let tree = Naive::of(new);
        let mut read = tree.nodes();
        for old in 1..=new {
            let proof = ConsistencyProof::make(old, new, &mut read).unwrap();

            let expected =
                if old == new { Vec::new() } else { tree.subproof(old as usize, 0, new as usize, true) };
            assert_eq!(proof.hashes, expected, "{old} of {new}");
            proof.verify(&tree.root(0, old as usize), &tree.root(0, new as usize)).unwrap();
        }
    }
}

#[test]
fn the_proofs_are_those_of_the_reference_vectors() {
    let tree = Naive(LEAVES.iter().map(|leaf| leaf_hash(&hex::decode(leaf).unwrap())).collect());
    let mut read = tree.nodes();
    let spelled = |hashes: &[Hash]| hashes.iter().map(|hash| hex::encode(hash.0)).collect::<Vec<_>>();

    // Entry 5 of 8 and the growth from 6 to 8, as in the tests of Certificate Transparency.
    let inclusion = InclusionProof::make(5, 8, &mut read).unwrap();
    assert_eq!(
        spelled(&inclusion.hashes),
        [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ]
    );
    let consistency = ConsistencyProof::make(6, 8, &mut read).unwrap();
    assert_eq!(
        spelled(&consistency.hashes),
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ]
    );
}

#[test]
fn nothing_follows_from_an_empty_tree_but_everything_extends_it() {
    let empty = crate::tree::empty_root();
    let root = Naive::of(3).root(0, 3);
    let proof = ConsistencyProof { old: 0, new: 3, hashes: Vec::new() };

    proof.verify(&empty, &root).unwrap();
    assert!(proof.verify(&root, &root).is_err());
    assert!(InclusionProof { index: 0, size: 0, hashes: Vec::new() }.verify(&empty, &empty).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_changed_inclusion_proof_is_refused(size in 2u64..300, index: u64, what in 0..6, at: usize, bit in 0..256usize) {
        let tree = Naive::of(size);
        let (index, root) = (index % size, tree.root(0, size as usize));
        let mut proof = InclusionProof::make(index, size, tree.nodes()).unwrap();
        let leaf = tree.0[index as usize];
        let at = at % proof.hashes.len();
        match what {
            0 => proof.hashes[at].0[bit / 8] ^= 1 << (bit % 8),
            1 => { proof.hashes.remove(at); }
            2 => proof.hashes.insert(at, leaf),
            3 => proof.index = (index + 1 + at as u64) % size,
            4 => proof.hashes.push(root),
            _ => {
                let mut leaf = leaf;
                leaf.0[bit / 8] ^= 1 << (bit % 8);
                prop_assert!(proof.verify(&leaf, &root).is_err());
                return Ok(());
            }
        }

        prop_assert!(proof.index == index && what == 3 || proof.verify(&leaf, &root).is_err());
    }

    #[test]
    fn a_changed_consistency_proof_is_refused(new in 2u64..300, old: u64, what in 0..5, at: usize, bit in 0..256usize) {
        let tree = Naive::of(new);
        let old = 1 + old % (new - 1);
        let (before, after) = (tree.root(0, old as usize), tree.root(0, new as usize));
        let mut proof = ConsistencyProof::make(old, new, tree.nodes()).unwrap();
        let at = at % proof.hashes.len();
        match what {
            0 => proof.hashes[at].0[bit / 8] ^= 1 << (bit % 8),
            1 => { proof.hashes.remove(at); }
            2 => proof.hashes.push(after),
            3 => {
                let mut other = before;
                other.0[bit / 8] ^= 1 << (bit % 8);
                prop_assert!(proof.verify(&other, &after).is_err());
                return Ok(());
            }
            _ => {
                let mut other = after;
                other.0[bit / 8] ^= 1 << (bit % 8);
                prop_assert!(proof.verify(&before, &other).is_err());
                return Ok(());
            }
        }

        prop_assert!(proof.verify(&before, &after).is_err());
    }

    #[test]
    fn proof_checks_of_huge_trees_end_without_panic(
        index: u64, size: u64, old: u64, hashes in proptest::collection::vec(any::<[u8; 32]>(), 0..70)
    ) {
        let hashes: Vec<Hash> = hashes.into_iter().map(Hash).collect();
        let root = Hash([7; 32]);

        let included = InclusionProof { index, size, hashes: hashes.clone() }.verify(&root, &root);
        prop_assert!(included.is_err() || size == 1);
        let consistent = ConsistencyProof { old, new: size, hashes }.verify(&root, &root);
        prop_assert!(consistent.is_err() || old == size);
    }
}
