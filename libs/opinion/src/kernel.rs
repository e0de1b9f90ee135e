//! The arithmetic on text vectors, once per instruction set: n-gram hashing, weighting, all-pairs cosine.
//!
//! Which set runs is chosen at run time among those the processor has; [`calibrate`] measures them and says what it
//! chose. All paths hash alike bit for bit; sums of floats differ by their order, by at most [`TOLERANCE`].
//!
//! This module and its parts are the only ones in this crate with unsafe code. A [`Kernel`] can only be made for a path
//! that the processor has, which is what the calls below rely on.

use std::{
    fmt,
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

use serde::{Deserialize, Serialize};

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod calibration;
mod matrix;
#[cfg(target_arch = "aarch64")]
mod neon;
mod peak;
mod scalar;

pub use calibration::{Calibration, Measured, calibrate};
pub use peak::Load;

/// Dimensions of a text vector. Collisions make about 1/64 of noise in a similarity.
pub const DIMS: usize = 4096;
/// Most rows that the own kernels take; above, a general matrix product is faster.
pub const PANEL: usize = 64;
/// How far a similarity of unit vectors may differ between paths.
pub const TOLERANCE: f32 = 1e-5;
/// Bytes of an n-gram.
pub const GRAM: usize = 4;
/// Rows and columns of similarities that are computed together.
const TILE: usize = 4;
/// Counts whose logarithm stands in a table.
const TABLE: usize = 256;

/// An instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Path {
    /// 16 lanes, with byte shuffles (F, BW).
    Avx512,
    /// 8 lanes, with fused multiply-add.
    Avx2,
    /// 4 lanes on ARM.
    Neon,
    /// Whatever the compiler makes of plain Rust.
    Scalar,
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Path::Avx512 => "AVX-512",
            Path::Avx2 => "AVX2",
            Path::Neon => "NEON",
            Path::Scalar => "scalar",
        })
    }
}

/// The paths this processor has, the widest first. The last is always scalar.
pub fn available() -> Vec<Path> {
    let mut paths = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") {
            paths.push(Path::Avx512);
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            paths.push(Path::Avx2);
        }
    }
    #[cfg(target_arch = "aarch64")]
    if std::arch::is_aarch64_feature_detected!("neon") {
        paths.push(Path::Neon);
    }
    paths.push(Path::Scalar);
    paths
}

/// A path that this processor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    path: Path,
}

/// The chosen path as its place in [`ALL`] plus one; 0 before anyone asked.
static ACTIVE: AtomicU8 = AtomicU8::new(0);
const ALL: [Path; 4] = [Path::Avx512, Path::Avx2, Path::Neon, Path::Scalar];

/// Counts of hashed n-grams, one per dimension.
pub type Counts = [i32; DIMS];

impl Kernel {
    /// The kernel for a path; none when the processor lacks it.
    pub fn of(path: Path) -> Option<Kernel> {
        available().contains(&path).then_some(Kernel { path })
    }

    /// The plain one, which all others are compared with.
    pub const fn scalar() -> Kernel {
        Kernel { path: Path::Scalar }
    }

    /// The one in use: what [`calibrate`] chose, before that the widest.
    pub fn active() -> Kernel {
        let known = usize::from(ACTIVE.load(Ordering::Relaxed));
        if let Some(path) = known.checked_sub(1).and_then(|place| ALL.get(place)) {
            return Kernel { path: *path };
        }
        let kernel = Kernel { path: available().first().copied().unwrap_or(Path::Scalar) };
        kernel.activate();
        kernel
    }

    /// Puts this one in use, in the whole process.
    pub fn activate(self) {
        let place = ALL.iter().position(|path| *path == self.path).unwrap_or(ALL.len() - 1);
        ACTIVE.store(place as u8 + 1, Ordering::Relaxed);
    }

    /// Which it is.
    pub const fn path(self) -> Path {
        self.path
    }

    /// Adds the signed hashes of all n-grams of the bytes to the counts (Weinberger and others, 2009).
    #[allow(unsafe_code, reason = "the processor has this path: see Kernel::of")]
    pub fn count(self, bytes: &[u8], counts: &mut Counts) {
        match self.path {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this kernel exists, so the processor has AVX-512 F and BW.
            Path::Avx512 => unsafe { avx512::count(bytes, counts) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this kernel exists, so the processor has AVX2.
            Path::Avx2 => unsafe { avx2::count(bytes, counts) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: this kernel exists, so the processor has NEON.
            Path::Neon => unsafe { neon::count(bytes, counts) },
            _ => scalar::count(bytes, counts),
        }
    }

    /// Counts into a vector of unit length: `ln(1 + |count|)` with the count's sign. All zero for no counts. What `unit`
    /// has beyond [`DIMS`] is not touched; it must have that many.
    #[allow(unsafe_code, reason = "the processor has this path: see Kernel::of")]
    pub fn weigh(self, counts: &Counts, unit: &mut [f32]) {
        let Some(unit) = unit.first_chunk_mut::<DIMS>() else { return };
        let squares = match self.path {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this kernel exists, so the processor has AVX-512 F and BW.
            Path::Avx512 => unsafe { avx512::logarithms(counts, unit) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this kernel exists, so the processor has AVX2 and FMA.
            Path::Avx2 => unsafe { avx2::logarithms(counts, unit) },
            _ => scalar::logarithms(counts, unit),
        };
        if squares > 0.0 {
            let scale = 1.0 / squares.sqrt();
            for value in unit {
                *value *= scale;
            }
        }
    }

    /// All-pairs dot products of `rows`, which holds vectors of `dims` one after the other: a full square matrix by
    /// rows in `out`. Unit vectors give cosines. Rows that do not fit `dims` are not looked at.
    pub fn all_pairs(self, rows: &[f32], dims: usize, out: &mut Vec<f32>) {
        let texts = rows.len().checked_div(dims).unwrap_or(0);
        out.clear();
        out.resize(texts * texts, 0.0);
        if texts > PANEL {
            matrix::all_pairs(&rows[..texts * dims], texts, dims, out);
        } else {
            self.tiles(&rows[..texts * dims], texts, dims, out);
        }
    }

    fn tiles(self, rows: &[f32], texts: usize, dims: usize, out: &mut [f32]) {
        // The last block repeats its last row; what comes of the repetitions is not stored.
        let block = |first: usize| -> [&[f32]; TILE] {
            std::array::from_fn(|at| row(rows, (first + at).min(texts - 1), dims))
        };
        for first in (0..texts).step_by(TILE) {
            for second in (first..texts).step_by(TILE) {
                let tile = if first == second {
                    self.diagonal(&block(first), dims)
                } else {
                    self.tile(&block(first), &block(second), dims)
                };
                for (a, line) in tile.iter().enumerate().take(texts - first) {
                    for (b, value) in line.iter().enumerate().take(texts - second) {
                        if first == second && b < a {
                            continue;
                        }
                        out[(first + a) * texts + second + b] = *value;
                        out[(second + b) * texts + first + a] = *value;
                    }
                }
            }
        }
    }

    #[allow(unsafe_code, reason = "the processor has this path: see Kernel::of")]
    fn tile(self, a: &[&[f32]; TILE], b: &[&[f32]; TILE], dims: usize) -> [[f32; TILE]; TILE] {
        debug_assert!(a.iter().chain(b).all(|row| row.len() == dims));
        match self.path {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this kernel exists, so the processor has AVX-512 F; all rows are `dims` long.
            Path::Avx512 => unsafe { avx512::tile::<false>(a, b, dims) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this kernel exists, so the processor has AVX2 and FMA; all rows are `dims` long.
            Path::Avx2 => unsafe { avx2::tile(a, b, dims) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: this kernel exists, so the processor has NEON; all rows are `dims` long.
            Path::Neon => unsafe { neon::tile(a, b, dims) },
            _ => scalar::tile(a, b),
        }
    }

    /// The tile of a block with itself, of which only the upper half is needed.
    #[allow(unsafe_code, reason = "the processor has this path: see Kernel::of")]
    fn diagonal(self, a: &[&[f32]; TILE], dims: usize) -> [[f32; TILE]; TILE] {
        match self.path {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this kernel exists, so the processor has AVX-512 F; all rows are `dims` long.
            Path::Avx512 => unsafe { avx512::tile::<true>(a, a, dims) },
            _ => self.tile(a, a, dims),
        }
    }
}

fn row(rows: &[f32], at: usize, dims: usize) -> &[f32] {
    &rows[at * dims..(at + 1) * dims]
}

/// The hash of an n-gram: its place and its sign are the upper bits of a product (Knuth's multiplicative hashing).
const MULTIPLIER: u32 = 0x9e37_79b1;
const PLACE_SHIFT: u32 = 20;
const SIGN_SHIFT: u32 = 19;

/// Adds one hashed n-gram to the counts.
#[inline(always)]
fn add(hash: u32, counts: &mut Counts) {
    // Twelve bits are left, so that no check of bounds is.
    let place = (hash >> PLACE_SHIFT) as usize % DIMS;
    counts[place] += 1 - 2 * ((hash >> SIGN_SHIFT) & 1) as i32;
}

/// `ln(1 + count)` for small counts.
fn table() -> &'static [f32; TABLE] {
    static LOGARITHMS: std::sync::OnceLock<[f32; TABLE]> = std::sync::OnceLock::new();
    LOGARITHMS.get_or_init(|| std::array::from_fn(|count| (count as f32).ln_1p()))
}

/// Reads a clock: any steady one. A parameter, because this crate knows none.
pub type Clock<'a> = &'a mut dyn FnMut() -> Duration;
