//! NEON: 32 registers of 4 lanes.
#![allow(
    unsafe_code,
    reason = "vector loads take pointers; every one stays within a slice whose length is checked"
)]

use std::arch::aarch64::*;

use super::{Counts, GRAM, MULTIPLIER, TILE, add, scalar};

const LANES: usize = 4;

/// Four n-grams from seven bytes.
const WINDOWS: [u8; 16] = [0, 1, 2, 3, 1, 2, 3, 4, 2, 3, 4, 5, 3, 4, 5, 6];

/// # Safety
/// The processor has NEON.
#[target_feature(enable = "neon")]
pub unsafe fn count(bytes: &[u8], counts: &mut Counts) {
    let grams = (bytes.len() + 1).saturating_sub(GRAM);
    // SAFETY: the array has 16 bytes.
    let windows = unsafe { vld1q_u8(WINDOWS.as_ptr()) };
    let mut hashes = [0u32; LANES];
    let mut at = 0;
    while at + 16 <= bytes.len() {
        // SAFETY: 16 bytes from `at` are within the slice.
        let raw = unsafe { vld1q_u8(bytes.as_ptr().add(at)) };
        let hashed = vmulq_n_u32(vreinterpretq_u32_u8(vqtbl1q_u8(raw, windows)), MULTIPLIER);
        // SAFETY: the array has 16 bytes.
        unsafe { vst1q_u32(hashes.as_mut_ptr(), hashed) };
        for hash in hashes {
            add(hash, counts);
        }
        at += LANES;
    }
    if at < grams {
        scalar::count(&bytes[at..], counts);
    }
}

/// The dot products of four rows with four rows.
///
/// # Safety
/// The processor has NEON; all rows are at least `dims` long.
#[target_feature(enable = "neon")]
pub unsafe fn tile(a: &[&[f32]; TILE], b: &[&[f32]; TILE], dims: usize) -> [[f32; TILE]; TILE] {
    let mut sums = [[vdupq_n_f32(0.0); TILE]; TILE];
    let mut at = 0;
    while at + LANES <= dims {
        // SAFETY: 4 floats from `at` are within every row.
        let right = unsafe {
            [
                vld1q_f32(b[0].as_ptr().add(at)),
                vld1q_f32(b[1].as_ptr().add(at)),
                vld1q_f32(b[2].as_ptr().add(at)),
                vld1q_f32(b[3].as_ptr().add(at)),
            ]
        };
        for i in 0..TILE {
            // SAFETY: as above.
            let left = unsafe { vld1q_f32(a[i].as_ptr().add(at)) };
            for j in 0..TILE {
                sums[i][j] = vfmaq_f32(sums[i][j], left, right[j]);
            }
        }
        at += LANES;
    }
    let mut out = [[0.0; TILE]; TILE];
    for i in 0..TILE {
        for j in 0..TILE {
            let tail: f32 = a[i][at..dims].iter().zip(&b[j][at..dims]).map(|(a, b)| a * b).sum();
            out[i][j] = vaddvq_f32(sums[i][j]) + tail;
        }
    }
    out
}
