//! Votes of many workers on many items, as two files: `label.csv` (`item,worker,label`) and `truth.csv` (`item,truth`).

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs, io,
    path::{Path, PathBuf},
};

/// Largest label, so that a mistyped file does not ask for all memory.
const LARGEST_LABEL: u32 = 999;

/// Votes, grouped by item.
#[derive(Clone, Debug, PartialEq)]
pub struct Votes {
    /// Items, numbered from 0.
    pub items: usize,
    /// Workers, numbered from 0.
    pub workers: usize,
    /// Labels, numbered from 0.
    pub labels: usize,
    /// Where each item's votes begin, and one past the last.
    pub(crate) starts: Vec<usize>,
    /// Worker and label of each vote.
    pub(crate) cast: Vec<(u32, u32)>,
    /// The numbers that the items have in the files.
    pub item_names: Vec<u64>,
    /// The numbers that the workers have in the files.
    pub worker_names: Vec<u64>,
}

impl Votes {
    /// Groups votes of (item, worker, label). Of several by one worker on one item the first counts.
    pub fn new(raw: &[(u64, u64, u32)]) -> Votes {
        let number = |mut names: Vec<u64>| {
            names.sort_unstable();
            names.dedup();
            names
        };
        let item_names = number(raw.iter().map(|vote| vote.0).collect());
        let worker_names = number(raw.iter().map(|vote| vote.1).collect());
        let place = |names: &[u64], name: u64| names.binary_search(&name).unwrap_or(0);
        let mut seen = HashSet::with_capacity(raw.len());
        let mut by_item: Vec<Vec<(u32, u32)>> = vec![Vec::new(); item_names.len()];
        for (item, worker, label) in raw {
            if seen.insert((item, worker)) {
                let worker = place(&worker_names, *worker) as u32;
                by_item[place(&item_names, *item)].push((worker, *label));
            }
        }
        let mut starts = vec![0];
        let mut cast = Vec::with_capacity(seen.len());
        for votes in &by_item {
            cast.extend_from_slice(votes);
            starts.push(cast.len());
        }
        let labels = raw.iter().map(|vote| vote.2 as usize + 1).max().unwrap_or(0);
        Votes {
            items: item_names.len(),
            workers: worker_names.len(),
            labels,
            starts,
            cast,
            item_names,
            worker_names,
        }
    }

    /// Votes in all.
    pub fn len(&self) -> usize {
        self.cast.len()
    }

    /// Whether nobody voted.
    pub fn is_empty(&self) -> bool {
        self.cast.is_empty()
    }

    /// Worker and label of each vote on an item.
    pub fn of(&self, item: usize) -> &[(u32, u32)] {
        &self.cast[self.starts[item]..self.starts[item + 1]]
    }

    /// The same votes of some workers only; workers and items keep their numbers.
    pub fn only(&self, keep: &[bool]) -> Votes {
        let mut votes = Votes { starts: vec![0], cast: Vec::new(), ..self.clone() };
        for item in 0..self.items {
            let kept = self.of(item).iter().filter(|(worker, _)| keep.get(*worker as usize) == Some(&true));
            votes.cast.extend(kept);
            votes.starts.push(votes.cast.len());
        }
        votes
    }
}

/// The true label of some items, by their numbers in [`Votes`].
pub type Truth = BTreeMap<usize, usize>;

/// Files that hold no votes.
#[derive(Debug, thiserror::Error)]
pub enum BadVotes {
    /// A file cannot be read.
    #[error("reading {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A line does not hold what it should.
    #[error("{}:{line}: {text:?} is not {expected}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What stands there.
        text: String,
        /// What should.
        expected: &'static str,
    },
    /// Nothing that was voted on is known, so nothing can be judged.
    #[error("no item of {} has a truth in {}: write a line item,truth for some of the items voted on", label.display(), truth.display())]
    NoTruth {
        /// The votes.
        label: PathBuf,
        /// The truth.
        truth: PathBuf,
    },
    /// There are no votes.
    #[error("{} holds no votes", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// Reads a folder's votes and truth. Items, workers and labels are whole numbers or any words without commas; a column
/// with a single word in it is one of words, numbered in their order. Truth about items without votes is left out.
pub fn read(folder: &Path) -> Result<(Votes, Truth), BadVotes> {
    let (label_path, truth_path) = (folder.join("label.csv"), folder.join("truth.csv"));
    let (label_text, truth_text) = (text(&label_path)?, text(&truth_path)?);
    let cast = rows::<3>(&label_path, &label_text, "item,worker,label, each a number or a word")?;
    let known = rows::<2>(&truth_path, &truth_text, "item,truth, each a number or a word")?;
    if cast.is_empty() {
        return Err(BadVotes::Empty { path: label_path });
    }
    let items = Names::of(cast.iter().map(|row| row.1[0]).chain(known.iter().map(|row| row.1[0])));
    let workers = Names::of(cast.iter().map(|row| row.1[1]));
    let labels = Names::of(cast.iter().map(|row| row.1[2]).chain(known.iter().map(|row| row.1[1])));
    let label = |path: &Path, line: usize, cell: &str| {
        let label = u32::try_from(labels.number(cell)).ok().filter(|label| *label <= LARGEST_LABEL);
        label.ok_or_else(|| BadVotes::Line {
            path: path.to_owned(),
            line,
            text: cell.to_owned(),
            expected: "one of at most 1000 labels: a number up to 999, or a word",
        })
    };

    let mut raw = Vec::with_capacity(cast.len());
    for (line, [item, worker, cell]) in &cast {
        raw.push((items.number(item), workers.number(worker), label(&label_path, *line, cell)?));
    }
    let mut votes = Votes::new(&raw);
    let mut truth = Truth::new();
    for (line, [item, cell]) in &known {
        let label = label(&truth_path, *line, cell)? as usize;
        votes.labels = votes.labels.max(label + 1);
        if let Ok(item) = votes.item_names.binary_search(&items.number(item)) {
            truth.insert(item, label);
        }
    }
    Ok((votes, truth))
}

fn text(path: &Path) -> Result<String, BadVotes> {
    fs::read_to_string(path).map_err(|source| BadVotes::File { path: path.to_owned(), source })
}

/// What stands in one column.
enum Names<'a> {
    /// Nothing but whole numbers: they are their own.
    Numbers,
    /// Words, by the place in their order.
    Words(BTreeMap<&'a str, u64>),
}

impl<'a> Names<'a> {
    fn of(cells: impl Iterator<Item = &'a str> + Clone) -> Names<'a> {
        if cells.clone().all(|cell| cell.parse::<u64>().is_ok()) {
            return Names::Numbers;
        }
        let words: BTreeSet<&str> = cells.collect();
        Names::Words(words.into_iter().zip(0..).collect())
    }

    fn number(&self, cell: &str) -> u64 {
        match self {
            Names::Numbers => cell.parse().unwrap_or(u64::MAX),
            Names::Words(words) => words.get(cell).copied().unwrap_or(u64::MAX),
        }
    }
}

/// The cells of each line after the heading, none empty, with the line's number.
fn rows<'a, const N: usize>(
    path: &Path,
    text: &'a str,
    expected: &'static str,
) -> Result<Vec<(usize, [&'a str; N])>, BadVotes> {
    let mut rows = Vec::new();
    for (at, text) in text.lines().enumerate().skip(1).filter(|(_, text)| !text.trim().is_empty()) {
        let mut row = [""; N];
        let mut cells = text.split(',').map(str::trim);
        let fits = row.iter_mut().all(|cell| match cells.next() {
            Some(value) if !value.is_empty() => {
                *cell = value;
                true
            }
            _ => false,
        });
        if !fits || cells.next().is_some() {
            return Err(BadVotes::Line {
                path: path.to_owned(),
                line: at + 1,
                text: text.to_owned(),
                expected,
            });
        }
        rows.push((at + 1, row));
    }
    Ok(rows)
}
