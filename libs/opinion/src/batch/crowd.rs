//! Votes of many workers on many items, as two files: `label.csv` (`item,worker,label`) and `truth.csv` (`item,truth`).

use std::{
    collections::{BTreeMap, HashSet},
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
    /// A line does not hold the numbers it should.
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
    /// There are no votes.
    #[error("{} holds no votes", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// Reads a folder's votes and truth. Truth about items without votes is left out.
pub fn read(folder: &Path) -> Result<(Votes, Truth), BadVotes> {
    let path = folder.join("label.csv");
    let mut raw = Vec::new();
    for [item, worker, label] in rows::<3>(&path, "item,worker,label as whole numbers, labels up to 999")? {
        raw.push((item, worker, label as u32));
    }
    if raw.is_empty() {
        return Err(BadVotes::Empty { path });
    }
    let mut votes = Votes::new(&raw);
    let mut truth = Truth::new();
    let path = folder.join("truth.csv");
    for [item, label] in rows::<2>(&path, "item,truth as whole numbers, labels up to 999")? {
        votes.labels = votes.labels.max(label as usize + 1);
        if let Ok(item) = votes.item_names.binary_search(&item) {
            truth.insert(item, label as usize);
        }
    }
    Ok((votes, truth))
}

/// The numbers of each line after the heading; the last one is a label.
fn rows<const N: usize>(path: &Path, expected: &'static str) -> Result<Vec<[u64; N]>, BadVotes> {
    let text = fs::read_to_string(path).map_err(|source| BadVotes::File { path: path.to_owned(), source })?;
    let mut rows = Vec::new();
    for (at, text) in text.lines().enumerate().skip(1).filter(|(_, text)| !text.trim().is_empty()) {
        let mut row = [0; N];
        let mut cells = text.split(',').map(|cell| cell.trim().parse::<u64>());
        let fits = row.iter_mut().all(|cell| match cells.next() {
            Some(Ok(value)) => {
                *cell = value;
                true
            }
            _ => false,
        });
        if !fits || cells.next().is_some() || row[N - 1] > u64::from(LARGEST_LABEL) {
            return Err(BadVotes::Line {
                path: path.to_owned(),
                line: at + 1,
                text: text.to_owned(),
                expected,
            });
        }
        rows.push(row);
    }
    Ok(rows)
}
