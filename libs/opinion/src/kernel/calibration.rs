//! Measures the paths at the size of a panel, checks them against the plain one, and puts the fastest in use.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Clock, Counts, DIMS, Kernel, Path, TOLERANCE, available};

/// Vectors of the trial, as many as a panel has.
const TEXTS: usize = 8;
/// Bytes of each trial text.
const BYTES: usize = 4096;
/// Rounds, of which the fastest counts: the others were disturbed.
const ROUNDS: usize = 5;

/// What became of one path.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Which.
    pub path: Path,
    /// Hashing, weighting and comparing 8 texts of 4 KiB, the fastest of five rounds.
    pub took: Duration,
    /// Largest difference to the plain path.
    pub difference: f32,
}

impl Measured {
    /// Whether its results can be used.
    pub fn is_right(&self) -> bool {
        self.difference <= TOLERANCE
    }
}

/// What was measured and chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Every path the processor has, the widest first.
    pub measured: Vec<Measured>,
    /// The one in use from now on.
    pub chosen: Path,
}

impl fmt::Display for Calibration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "consensus kernels run on {}:", self.chosen)?;
        for one in &self.measured {
            let wrong = if one.is_right() { "" } else { " (wrong results, not used)" };
            write!(f, " {} {:.1} µs{wrong}", one.path, one.took.as_secs_f64() * 1e6)?;
        }
        Ok(())
    }
}

/// Measures every path that the processor has, and puts the fastest one with right results in use. Takes about a
/// millisecond. The clock is any steady one.
pub fn calibrate(clock: Clock<'_>) -> Calibration {
    let texts: Vec<Vec<u8>> = (0..TEXTS).map(trial).collect();
    let reference = compare(Kernel::scalar(), &texts);
    let mut measured = Vec::new();
    for kernel in available().into_iter().filter_map(Kernel::of) {
        let mut took = Duration::MAX;
        let mut result = Vec::new();
        for _ in 0..ROUNDS {
            let began = clock();
            result = compare(kernel, &texts);
            took = took.min(clock().saturating_sub(began));
        }
        let apart = |(a, b): (&f32, &f32)| (a - b).abs();
        let difference = result.iter().zip(&reference).map(apart).fold(0.0f32, f32::max);
        measured.push(Measured { path: kernel.path(), took, difference });
    }
    let fastest = measured.iter().filter(|one| one.is_right()).min_by_key(|one| one.took);
    let chosen = fastest.map_or(Path::Scalar, |one| one.path);
    Kernel::of(chosen).unwrap_or(Kernel::scalar()).activate();
    Calibration { measured, chosen }
}

/// Printable bytes without meaning, the same on every machine.
fn trial(seed: usize) -> Vec<u8> {
    let mut state = seed as u64 + 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b' ' + (state % 64) as u8
    };
    (0..BYTES).map(|_| next()).collect()
}

fn compare(kernel: Kernel, texts: &[Vec<u8>]) -> Vec<f32> {
    let mut rows = vec![0.0; texts.len() * DIMS];
    let mut counts: Box<Counts> = Box::new([0; DIMS]);
    for (text, row) in texts.iter().zip(rows.chunks_exact_mut(DIMS)) {
        counts.fill(0);
        kernel.count(text, &mut counts);
        kernel.weigh(&counts, row);
    }
    let mut similar = Vec::new();
    kernel.all_pairs(&rows, DIMS, &mut similar);
    similar
}
