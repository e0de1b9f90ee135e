//! Plain Rust: the reference of the other paths.

use super::{Counts, DIMS, GRAM, MULTIPLIER, TABLE, TILE, add, table};

pub fn count(bytes: &[u8], counts: &mut Counts) {
    for gram in bytes.windows(GRAM) {
        if let Some(gram) = gram.first_chunk::<GRAM>() {
            add(u32::from_le_bytes(*gram).wrapping_mul(MULTIPLIER), counts);
        }
    }
}

pub fn logarithm(count: i32) -> f32 {
    let size = count.unsigned_abs() as usize;
    let logarithm = if size < TABLE { table()[size] } else { (size as f32).ln_1p() };
    if count < 0 { -logarithm } else { logarithm }
}

/// Returns the sum of squares.
pub fn logarithms(counts: &Counts, out: &mut [f32; DIMS]) -> f32 {
    let mut squares = [0.0f32; 8];
    for (counts, out) in counts.chunks_exact(8).zip(out.chunks_exact_mut(8)) {
        for (at, (count, out)) in counts.iter().zip(out).enumerate() {
            *out = logarithm(*count);
            squares[at] += *out * *out;
        }
    }
    squares.iter().sum()
}

pub fn tile(a: &[&[f32]; TILE], b: &[&[f32]; TILE]) -> [[f32; TILE]; TILE] {
    a.map(|a| b.map(|b| dot(a, b)))
}

/// Sixteen chains, so that the compiler may use whatever lanes the baseline of the target has.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 16];
    let (heads, tails) = (a.chunks_exact(16).zip(b.chunks_exact(16)), a.len() / 16 * 16);
    for (a, b) in heads {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    let tail: f32 = a[tails..].iter().zip(&b[tails..]).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + tail
}
