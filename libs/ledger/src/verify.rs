//! Recomputes a whole log from its files and says what does not fit, by index.

use std::path::Path;

use serde::Serialize;

use crate::{
    Error, Frontier, Hash, Policy, SignedCheckpoint, leaf_hash,
    policy::Trust,
    store::{Reader, over},
    tile::{Tile, WIDTH},
};

/// Findings that are listed; more are only counted.
const LISTED: usize = 100;

/// Something that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The first entry that it is about.
    pub index: u64,
    /// How many entries from there on it may be about.
    pub entries: u64,
    /// In words.
    pub what: String,
    /// What the signed or upper hash says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<Hash>,
    /// What is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<Hash>,
}

/// What a full check saw.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Which log.
    pub origin: String,
    /// How many entries were checked.
    pub size: u64,
    /// The root that was recomputed from the entries; where some cannot be read, which is a finding, the signed one.
    pub root: Hash,
    /// Who vouches for it; none when nobody who is trusted does, which is then a finding.
    pub trust: Option<Trust>,
    /// What does not fit; at most 100.
    pub findings: Vec<Finding>,
    /// How many there are in all.
    pub count: u64,
}

impl Report {
    /// Everything fits.
    pub fn is_clean(&self) -> bool {
        self.count == 0 && self.trust.is_some()
    }

    fn add(&mut self, finding: Finding) {
        self.count += 1;
        if self.findings.len() < LISTED {
            self.findings.push(finding);
        }
    }
}

/// Checks every entry, every tile and the signed root of the log in a folder. `known` are checkpoints from elsewhere
/// (receipts, an older copy, a witness): the log must extend each. `each` sees every entry in order.
pub fn verify(
    folder: &Path,
    policy: &Policy,
    known: &[SignedCheckpoint],
    mut each: impl FnMut(u64, &[u8]),
) -> Result<Report, Error> {
    let shown = Reader::new(folder, 0)
        .checkpoint()?
        .ok_or_else(|| Error::Missing(format!("{} has no checkpoint", folder.display())))?;
    let checkpoint = shown.unverified().clone();
    let trust = policy.check(&shown);
    let mut report = Report {
        origin: checkpoint.origin.clone(),
        size: checkpoint.size,
        root: checkpoint.root,
        trust: None,
        findings: Vec::new(),
        count: 0,
    };
    match trust {
        Ok(trust) => report.trust = Some(trust),
        Err(error) => report.add(whole(&report, format!("the checkpoint is not believed: {error}"))),
    }

    let mut marks: Vec<(u64, Hash, bool)> = Vec::new();
    for (at, other) in known.iter().enumerate() {
        let other = match policy.check(other) {
            Ok(_) => other.unverified(),
            Err(error) => {
                report.add(whole(&report, format!("known checkpoint {} is not believed: {error}", at + 1)));
                continue;
            }
        };
        if other.origin != checkpoint.origin {
            report.add(whole(&report, format!("known checkpoint {} is of {}", at + 1, other.origin)));
        } else if other.size > checkpoint.size {
            report.add(Finding {
                index: checkpoint.size,
                entries: other.size - checkpoint.size,
                what: format!(
                    "size {} was signed, the log shows {}: it was cut or an old checkpoint is shown",
                    other.size, checkpoint.size
                ),
                expected: None,
                found: None,
            });
        } else {
            marks.push((other.size, other.root, false));
        }
    }
    marks.push((checkpoint.size, checkpoint.root, true));
    marks.sort_by_key(|(size, ..)| *size);

    if let Some(root) = walk(folder, &marks, &mut report, &mut each)? {
        report.root = root;
    }
    Ok(report)
}

fn whole(report: &Report, what: String) -> Finding {
    Finding { index: 0, entries: report.size, what, expected: None, found: None }
}

/// Hashes every entry and compares it with its tile, every full tile with the hash above it, and the root at every mark.
/// Gives the root; none when some entries cannot be read.
fn walk(
    folder: &Path,
    marks: &[(u64, Hash, bool)],
    report: &mut Report,
    each: &mut impl FnMut(u64, &[u8]),
) -> Result<Option<Hash>, Error> {
    let size = report.size;
    let reader = Reader::new(folder, size);
    let bundles = reader.bundles()?;
    let mut frontier = Frontier::default();
    let mut marks = Marks { ahead: marks, agreed: 0 };
    marks.compare(&frontier, report);
    for number in 0..size.div_ceil(WIDTH) {
        let first = number * WIDTH;
        let (Some(entries), Some(hashes)) =
            (Tile::at_size(None, number, size), Tile::at_size(Some(0), number, size))
        else {
            break;
        };
        let bundle = match reader.bundle(&entries) {
            Ok(bundle) => bundle,
            Err(error @ Error::Io(_)) => return Err(error),
            Err(error) => {
                let cut = first_broken(&reader, &entries, first);
                let is_last = number + 1 >= bundles;
                report.add(Finding {
                    index: cut,
                    entries: if is_last { size } else { first + u64::from(entries.width) } - cut,
                    what: error.to_string(),
                    expected: None,
                    found: None,
                });
                // What follows cannot be joined to a root any more; its tiles are still compared.
                skip(&reader, report, number + 1, bundles, each)?;
                return Ok(None);
            }
        };
        let found: Vec<Hash> = bundle.iter().map(|entry| leaf_hash(entry)).collect();
        compare_tile(&reader, &hashes, &found, report)?;
        for (index, (entry, hash)) in (first..).zip(bundle.iter().zip(&found)) {
            each(index, entry);
            frontier.push(*hash);
            marks.compare(&frontier, report);
        }
    }
    check_upper(&reader, report, bundles)?;
    Ok(Some(frontier.root()))
}

/// Sizes at which the root is known, those that are still ahead, and the last at which it was the same.
struct Marks<'a> {
    ahead: &'a [(u64, Hash, bool)],
    agreed: u64,
}

impl Marks<'_> {
    fn compare(&mut self, frontier: &Frontier, report: &mut Report) {
        while let [(size, root, shown), ahead @ ..] = self.ahead
            && *size == frontier.size()
        {
            if frontier.root() == *root {
                self.agreed = *size;
            } else {
                let which = if *shown { "signed" } else { "known" };
                report.add(Finding {
                    index: self.agreed,
                    entries: size - self.agreed,
                    what: format!(
                        "the entries do not give the root of the {which} checkpoint of size {size}"
                    ),
                    expected: Some(*root),
                    found: Some(frontier.root()),
                });
            }
            self.ahead = ahead;
        }
    }
}

/// The first entry of a bundle that cannot be read.
fn first_broken(reader: &Reader, tile: &Tile, first: u64) -> u64 {
    // Of a log that was cut a narrower one may be left.
    let widths = [tile.width, tile.full().width].into_iter().chain((1..tile.width).rev());
    let bytes = widths
        .map(|width| Tile { width, ..*tile })
        .find_map(|tile| std::fs::read(reader.folder().join(tile.path())).ok());
    let Some(bytes) = bytes else { return first };
    let whole = (1..=tile.width).rev().find(|width| {
        let mut rest = bytes.as_slice();
        (0..*width).all(|_| {
            let Some((size, tail)) = rest.split_first_chunk::<2>() else { return false };
            let Some((_, tail)) = tail.split_at_checked(u16::from_be_bytes(*size).into()) else {
                return false;
            };
            rest = tail;
            true
        })
    });
    // The entries may be readable and wrong: the tile knows.
    let count = whole.unwrap_or(0);
    let hashes = reader.hashes(&Tile { level: Some(0), ..*tile }).unwrap_or_default();
    let mut rest = bytes.as_slice();
    for (at, hash) in (0..count).zip(&hashes) {
        let Some((size, tail)) = rest.split_first_chunk::<2>() else { return first + u64::from(at) };
        let Some((entry, tail)) = tail.split_at_checked(u16::from_be_bytes(*size).into()) else {
            return first + u64::from(at);
        };
        if leaf_hash(entry) != *hash {
            return first + u64::from(at);
        }
        rest = tail;
    }
    first + u64::from(count.min(tile.width.saturating_sub(1)))
}

/// After a bundle that cannot be read: the others are still compared with their tiles, as far as there are any. A size
/// that nobody signed may be any number: what is looked at is bounded by the files that are there.
fn skip(
    reader: &Reader,
    report: &mut Report,
    from: u64,
    bundles: u64,
    each: &mut impl FnMut(u64, &[u8]),
) -> Result<(), Error> {
    let all = report.size.div_ceil(WIDTH);
    if from < bundles && bundles < all {
        let index = bundles * WIDTH;
        let what = format!("entry {index} and all after it are not there");
        report.add(Finding { index, entries: report.size - index, what, expected: None, found: None });
    }
    for number in from..all.min(bundles) {
        let (Some(entries), Some(hashes)) =
            (Tile::at_size(None, number, report.size), Tile::at_size(Some(0), number, report.size))
        else {
            break;
        };
        match reader.bundle(&entries) {
            Ok(bundle) => {
                let found: Vec<Hash> = bundle.iter().map(|entry| leaf_hash(entry)).collect();
                compare_tile(reader, &hashes, &found, report)?;
                (number * WIDTH..).zip(&bundle).for_each(|(index, entry)| each(index, entry));
            }
            Err(error @ Error::Io(_)) => return Err(error),
            Err(error) => report.add(Finding {
                index: number * WIDTH,
                entries: entries.width.into(),
                what: error.to_string(),
                expected: None,
                found: None,
            }),
        }
    }
    check_upper(reader, report, bundles)
}

fn compare_tile(reader: &Reader, tile: &Tile, found: &[Hash], report: &mut Report) -> Result<(), Error> {
    let first = tile.number * WIDTH;
    let known = match reader.hashes(tile) {
        Ok(known) => known,
        Err(error @ Error::Io(_)) => return Err(error),
        Err(error) => {
            report.add(Finding {
                index: first,
                entries: tile.width.into(),
                what: error.to_string(),
                expected: None,
                found: None,
            });
            return Ok(());
        }
    };
    for (index, (known, found)) in (first..).zip(known.iter().zip(found)) {
        if known != found {
            report.add(Finding {
                index,
                entries: 1,
                what: format!("entry {index} is not the one whose hash is in the tree"),
                expected: Some(*known),
                found: Some(*found),
            });
        }
    }
    check_superseded(reader, tile, &known, found, report)?;
    check_superseded(reader, &Tile { level: None, ..*tile }, &known, found, report)
}

/// The narrower forms of a tile that this one has replaced: nothing is proven by them any more, but a reader who comes
/// with an older checkpoint may still be given them. Where the tile's hashes are not those of what is below it, which has
/// been reported, either will do: a narrower form that kept the right one is not to blame.
fn check_superseded(
    reader: &Reader,
    tile: &Tile,
    known: &[Hash],
    below: &[Hash],
    report: &mut Report,
) -> Result<(), Error> {
    let span = 1u64 << (8 * u32::from(tile.level.unwrap_or(0)));
    for older in reader.narrower(tile)? {
        let hashes = match tile.level {
            Some(_) => reader.hashes(&older),
            None => reader.bundle(&older).map(|all| all.iter().map(|entry| leaf_hash(entry)).collect()),
        };
        let (at, what) = match hashes {
            Err(error @ Error::Io(_)) => return Err(error),
            Err(error) => (0, error.to_string()),
            Ok(hashes) => {
                let mut all = hashes.iter().zip(known.iter().zip(below));
                let Some(at) = all.position(|(hash, (known, below))| hash != known && hash != below) else {
                    continue;
                };
                (at as u64, format!("{} is not the beginning of {}", older.path(), tile.path()))
            }
        };
        let index = (tile.number * WIDTH + at) * span;
        let entries = (u64::from(older.width) - at) * span;
        report.add(Finding { index, entries, what, expected: None, found: None });
    }
    Ok(())
}

/// Every hash above the leaves against the full tile below it, as far as there are leaves.
fn check_upper(reader: &Reader, report: &mut Report, bundles: u64) -> Result<(), Error> {
    let size = report.size;
    let there = size.min(bundles.saturating_mul(WIDTH));
    for level in 1u8..8 {
        let count = there.checked_shr(8 * u32::from(level)).unwrap_or(0);
        for number in 0..count.div_ceil(WIDTH) {
            let Some(tile) = Tile::at_size(Some(level), number, size) else { break };
            let span = 1u64 << (8 * u32::from(level));
            let known = match reader.hashes(&tile) {
                Ok(known) => known,
                Err(error @ Error::Io(_)) => return Err(error),
                Err(error) => {
                    report.add(Finding {
                        index: number * WIDTH * span,
                        entries: u64::from(tile.width) * span,
                        what: error.to_string(),
                        expected: None,
                        found: None,
                    });
                    continue;
                }
            };
            // Where a tile below cannot be read, its hash is taken to be right.
            let mut actual = known.clone();
            for (below, (known, actual)) in (number * WIDTH..).zip(known.iter().zip(&mut actual)) {
                let lower = Tile { level: Some(level - 1), number: below, width: WIDTH as u16 };
                let Ok(hashes) = reader.hashes(&lower) else { continue };
                let found = over(&hashes);
                *actual = found;
                if found != *known {
                    report.add(Finding {
                        index: below * span,
                        entries: span,
                        what: format!("{} does not give its hash in {}", lower.path(), tile.path()),
                        expected: Some(*known),
                        found: Some(found),
                    });
                }
            }
            check_superseded(reader, &tile, &known, &actual, report)?;
        }
    }
    Ok(())
}

/// The first entry in which two copies of a log differ, up to the shorter one; none when one begins the other. Fails
/// with the folder of the copy that cannot be read.
pub fn first_difference(one: &Reader, other: &Reader) -> Result<Option<u64>, Error> {
    let size = one.size().min(other.size());
    for number in 0..size.div_ceil(WIDTH) {
        let Some(tile) = Tile::at_size(Some(0), number, size) else { break };
        // The entries themselves: one copy may have been changed without its tiles.
        let hashes = |reader: &Reader| -> Result<Vec<Hash>, Error> {
            let own = Tile::at_size(None, number, reader.size()).unwrap_or(Tile { level: None, ..tile });
            let bundle = reader.bundle(&own).map_err(|error| match error {
                Error::Io(_) => error,
                _ => Error::Inconsistent(format!("{}: {error}", reader.folder().display())),
            })?;
            Ok(bundle.iter().map(|entry| leaf_hash(entry)).collect())
        };
        let (one, other) = (hashes(one)?, hashes(other)?);
        if let Some(at) = one.iter().zip(&other).take(tile.width.into()).position(|(one, other)| one != other)
        {
            return Ok(Some(number * WIDTH + at as u64));
        }
    }
    Ok(None)
}
