//! Patterns over many findings: what recurs, what contradicts what, what is copied, and who finds what first.
//!
//! Words and not meaning: statements are compared by the words that are left without fillers and negations, and a
//! statement's sign is how often it negates. How often that is right is measured on [`sample`]s; see `docs/consensus.md`.

use std::collections::{BTreeMap, BTreeSet};

use model::expert::{Topic, Weight};
use serde::{Deserialize, Serialize};

use crate::{
    cluster::{Linkage, clusters, medoid},
    kernel::Kernel,
    vector::{Scratch, similarities},
};

mod content;
pub mod sample;

use content::Content;

/// Most notes in one analysis: their similarities take 64 MB.
pub const MOST: usize = 4096;

/// One finding with where it comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// The deployment or question.
    pub case: String,
    /// Who found it.
    pub expert: String,
    /// When, in any unit that grows.
    pub at: u64,
    /// What it is about.
    pub category: Topic,
    /// How bad it is.
    pub severity: Weight,
    /// What was found.
    pub statement: String,
}

/// How alike is alike.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Thresholds {
    /// Similarity of what is left of two statements that are the same finding, 0 to 1. Default 0.3.
    pub same: f32,
    /// Similarity of whole statements that are copies, 0 to 1. Default 0.95.
    pub copied: f32,
    /// Cases in which a finding must have been made to be recurring, at least 2. Default 3.
    pub cases: usize,
}

impl Default for Thresholds {
    fn default() -> Thresholds {
        Thresholds { same: 0.3, copied: 0.95, cases: 3 }
    }
}

/// A finding that was made in several cases.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recurring {
    /// What it is about.
    pub category: Topic,
    /// The most central statement.
    pub statement: String,
    /// The cases.
    pub cases: BTreeSet<String>,
    /// Who made it.
    pub experts: BTreeSet<String>,
    /// The notes, by their place.
    pub notes: Vec<usize>,
}

/// How often an expert was the first with a finding of a kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct First {
    /// Who.
    pub expert: String,
    /// What it was about.
    pub category: Topic,
    /// Findings of this kind that it made.
    pub found: u32,
    /// Of these, with nobody before it in the same case.
    pub first: u32,
}

/// What was found in the notes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Patterns {
    /// Findings in several cases, the most frequent first.
    pub recurring: Vec<Recurring>,
    /// Pairs of notes of one case, by different experts, that say the opposite of each other. What one expert says in one
    /// answer is one view, however its words look.
    pub contradictions: Vec<(usize, usize)>,
    /// Pairs of notes in the same words, by different experts or in different cases.
    pub copies: Vec<(usize, usize)>,
    /// Who finds what first, by expert and category.
    pub firsts: Vec<First>,
    /// Notes that were left out because there were more than [`MOST`].
    pub left_out: usize,
}

/// Looks for patterns. Notes beyond [`MOST`] are left out, and counted.
pub fn analyse(notes: &[Note], thresholds: &Thresholds) -> Patterns {
    let left_out = notes.len().saturating_sub(MOST);
    let notes = &notes[..notes.len() - left_out];
    let count = notes.len();
    let kernel = Kernel::active();
    let mut scratch = Scratch::default();
    let contents: Vec<Content> = notes.iter().map(|note| Content::of(&note.statement)).collect();
    let whole = similarities(notes.iter().map(|note| note.statement.as_str()), kernel, &mut scratch).to_vec();
    let left = similarities(contents.iter().map(|content| content.words.as_str()), kernel, &mut scratch);
    let mut patterns = Patterns { left_out, ..Patterns::default() };
    for a in 0..count {
        for b in a + 1..count {
            let (first, second) = (&notes[a], &notes[b]);
            let copied = whole[a * count + b] >= thresholds.copied;
            if copied && (first.expert != second.expert || first.case != second.case) {
                patterns.copies.push((a, b));
            }
            let about = first.case == second.case && first.category == second.category;
            let opposite = first.expert != second.expert && contents[a].negative != contents[b].negative;
            if about && opposite && left[a * count + b] >= thresholds.same {
                patterns.contradictions.push((a, b));
            }
        }
    }
    let groups = groups(notes, &contents, left, thresholds);
    patterns.firsts = firsts(notes, &groups);
    patterns.recurring = groups
        .into_iter()
        .filter_map(|group| recurring(notes, left, group))
        .filter(|one| one.cases.len() >= thresholds.cases.max(2))
        .collect();
    patterns.recurring.sort_by_key(|one| std::cmp::Reverse(one.cases.len()));
    patterns
}

/// Notes that are the same finding: of one category and sign, in words that are alike.
fn groups(notes: &[Note], contents: &[Content], left: &[f32], thresholds: &Thresholds) -> Vec<Vec<usize>> {
    let mut kinds: BTreeMap<(Topic, bool), Vec<usize>> = BTreeMap::new();
    for (place, note) in notes.iter().enumerate() {
        kinds.entry((note.category, contents[place].negative)).or_default().push(place);
    }
    let mut all = Vec::new();
    for members in kinds.into_values() {
        let count = members.len();
        let of = |at: usize| left[members[at / count] * notes.len() + members[at % count]];
        let similar: Vec<f32> = (0..count * count).map(of).collect();
        let groups = clusters(&similar, count, thresholds.same, Linkage::Average);
        all.extend(
            groups.into_iter().map(|group| group.into_iter().map(|at| members[at]).collect::<Vec<_>>()),
        );
    }
    all
}

fn recurring(notes: &[Note], left: &[f32], group: Vec<usize>) -> Option<Recurring> {
    let central = medoid(left, notes.len(), &group, |_| 1.0)?;
    Some(Recurring {
        category: notes[central].category,
        statement: notes[central].statement.clone(),
        cases: group.iter().map(|place| notes[*place].case.clone()).collect(),
        experts: group.iter().map(|place| notes[*place].expert.clone()).collect(),
        notes: group,
    })
}

fn firsts(notes: &[Note], groups: &[Vec<usize>]) -> Vec<First> {
    let mut counts: BTreeMap<(&str, Topic), (u32, u32)> = BTreeMap::new();
    for group in groups {
        let mut by_case: BTreeMap<&str, Vec<&Note>> = BTreeMap::new();
        for place in group {
            by_case.entry(&notes[*place].case).or_default().push(&notes[*place]);
        }
        for found in by_case.values() {
            let first = found.iter().map(|note| note.at).min();
            let experts: BTreeSet<&str> = found.iter().map(|note| note.expert.as_str()).collect();
            for expert in experts {
                let own = found.iter().filter(|note| note.expert == expert).map(|note| note.at).min();
                let count = counts.entry((expert, found[0].category)).or_default();
                count.0 += 1;
                count.1 += u32::from(own == first);
            }
        }
    }
    let first = |((expert, category), (found, first)): ((&str, Topic), (u32, u32))| First {
        expert: expert.to_owned(),
        category,
        found,
        first,
    };
    counts.into_iter().map(first).collect()
}
