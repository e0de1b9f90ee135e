//! Labelled notes for measuring: twenty-four findings in four wordings each, with two denials, written by hand and put
//! into cases by a seeded generator. All notes carry the same category, so that only their words tell them apart.
//!
//! The thresholds were chosen on the findings with even numbers; figures are taken on the odd ones.

use std::collections::BTreeSet;

use model::expert::{Topic, Weight};

use super::{Note, Patterns};

mod findings;

use findings::{FINDINGS, SYNONYMS};

/// What a note really is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// Which finding.
    pub finding: usize,
    /// Whether it denies the finding.
    pub denies: bool,
    /// Whether it says so in words that share next to nothing with the other wordings.
    pub in_other_words: bool,
    /// The note it was copied from, with another case of letters, other numbers or punctuation.
    pub copy_of: Option<usize>,
}

/// Notes and what they really are.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The notes.
    pub notes: Vec<Note>,
    /// Their labels, in the same order.
    pub labels: Vec<Label>,
}

/// Pairs found, and how many of them and of the true ones.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Hits {
    /// Share of what was found that is true; 1 when nothing was found.
    pub precision: f64,
    /// Share of what is true that was found; 1 when nothing is true.
    pub recall: f64,
    /// How many are true.
    pub pairs: usize,
}

const EXPERTS: [&str; 5] = ["reliability", "security", "capacity", "cost", "rollback"];

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
    }
}

impl Sample {
    /// Notes of so many cases, from the findings with odd (`true`) or even numbers; one claim in five in other words.
    /// The same for the same seed.
    pub fn new(cases: usize, odd: bool, seed: u64) -> Sample {
        let mut random = Random(seed);
        let mut sample = Sample { notes: Vec::new(), labels: Vec::new() };
        let own: Vec<usize> = (0..FINDINGS.len()).filter(|at| (at % 2 == 1) == odd).collect();
        for case in 0..cases {
            for _ in 0..2 + random.below(2) {
                let finding = own[random.below(own.len())];
                for _ in 0..1 + random.below(3) {
                    let denies = random.below(5) == 0;
                    sample.add(case, finding, denies, &mut random);
                }
            }
            if random.below(3) == 0 {
                sample.copy(case, &mut random);
            }
        }
        sample
    }

    fn add(&mut self, case: usize, finding: usize, denies: bool, random: &mut Random) {
        let (claims, denials) = FINDINGS[finding];
        let in_other_words = !denies && random.below(5) == 0;
        let words = match (denies, in_other_words) {
            (true, _) => denials[random.below(denials.len())],
            (false, true) => SYNONYMS[finding],
            (false, false) => claims[random.below(claims.len())],
        };
        let number = 1 + random.below(90);
        let statement = match random.below(4) {
            0 => format!("{words}."),
            1 => format!("Module shop-{number}: {words}"),
            2 => format!("I noticed that {words}"),
            _ => words.to_owned(),
        };
        self.push(case, statement, Label { finding, denies, in_other_words, copy_of: None }, random);
    }

    /// Copies an earlier note into this case, in other letters and numbers.
    fn copy(&mut self, case: usize, random: &mut Random) {
        let Some(last) = self.notes.len().checked_sub(1) else { return };
        let from = random.below(last + 1);
        let original = &self.notes[from];
        let label = self.labels[from];
        let statement = format!("{}!", original.statement.to_uppercase().trim_end_matches('.'));
        self.push(case, statement, Label { copy_of: Some(from), ..label }, random);
    }

    fn push(&mut self, case: usize, statement: String, label: Label, random: &mut Random) {
        self.notes.push(Note {
            case: format!("case-{case}"),
            expert: EXPERTS[random.below(EXPERTS.len())].to_owned(),
            at: self.notes.len() as u64,
            category: Topic::Other,
            severity: Weight::Minor,
            statement,
        });
        self.labels.push(label);
    }

    /// How right the groups of recurring findings are, over pairs of notes that are in one group: pairs in like words,
    /// or (`mixed`) pairs of which one is in other words.
    pub fn recurring(&self, patterns: &Patterns, mixed: bool) -> Hits {
        let mut found = BTreeSet::new();
        for one in &patterns.recurring {
            found.extend(pairs(&one.notes).filter(|(a, b)| self.is_mixed(*a, *b) == mixed));
        }
        let cases = |label: &Label| {
            let same = |other: &Label| other.finding == label.finding && other.denies == label.denies;
            let of = self.notes.iter().zip(&self.labels).filter(|(_, other)| same(other));
            of.map(|(note, _)| note.case.as_str()).collect::<BTreeSet<_>>().len()
        };
        let recurs: Vec<bool> = self.labels.iter().map(|label| cases(label) >= 3).collect();
        self.hits(&found, |a, b| {
            let (first, second) = (self.labels[a], self.labels[b]);
            let counts = recurs[a] && self.is_mixed(a, b) == mixed;
            counts && first.finding == second.finding && first.denies == second.denies
        })
    }

    fn is_mixed(&self, a: usize, b: usize) -> bool {
        self.labels[a].in_other_words != self.labels[b].in_other_words
    }

    /// How right the contradictions are. Those in other words count as missed.
    pub fn contradictions(&self, patterns: &Patterns) -> Hits {
        self.hits(&patterns.contradictions.iter().copied().collect(), |a, b| {
            let (first, second) = (self.labels[a], self.labels[b]);
            self.notes[a].case == self.notes[b].case
                && self.notes[a].expert != self.notes[b].expert
                && first.finding == second.finding
                && first.denies != second.denies
        })
    }

    /// How right the copies are. Two notes that happen to use the same wording are copies too.
    pub fn copies(&self, patterns: &Patterns) -> Hits {
        let plain = |text: &str| -> String {
            let kept = text.to_lowercase();
            kept.chars().filter(|one| one.is_alphabetic() || *one == ' ').collect()
        };
        let statements: Vec<String> = self.notes.iter().map(|note| plain(&note.statement)).collect();
        self.hits(&patterns.copies.iter().copied().collect(), |a, b| {
            let apart =
                self.notes[a].expert != self.notes[b].expert || self.notes[a].case != self.notes[b].case;
            apart && statements[a] == statements[b]
        })
    }

    fn hits(&self, found: &BTreeSet<(usize, usize)>, is_true: impl Fn(usize, usize) -> bool) -> Hits {
        let all: Vec<usize> = (0..self.notes.len()).collect();
        let truth: BTreeSet<(usize, usize)> = pairs(&all).filter(|(a, b)| is_true(*a, *b)).collect();
        let both = found.intersection(&truth).count() as f64;
        let share = |of: usize| if of == 0 { 1.0 } else { both / of as f64 };
        Hits { precision: share(found.len()), recall: share(truth.len()), pairs: truth.len() }
    }
}

fn pairs(places: &[usize]) -> impl Iterator<Item = (usize, usize)> + '_ {
    places.iter().enumerate().flat_map(|(at, first)| {
        places[at + 1..].iter().map(move |second| (*first.min(second), *first.max(second)))
    })
}
