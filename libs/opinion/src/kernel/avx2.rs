//! AVX2 with FMA: 16 registers of 8 lanes, so that a tile is computed as two halves of 4 × 2.
#![allow(
    unsafe_code,
    reason = "vector loads take pointers; every one stays within a slice whose length is checked"
)]

use std::arch::x86_64::*;

use super::{Counts, DIMS, GRAM, MULTIPLIER, TABLE, TILE, add, scalar, table};

const LANES: usize = 8;

/// Four n-grams from seven bytes, in each lane of 128 bits.
const WINDOWS: [u8; 16] = [0, 1, 2, 3, 1, 2, 3, 4, 2, 3, 4, 5, 3, 4, 5, 6];

/// # Safety
/// The processor has AVX2.
#[target_feature(enable = "avx2")]
pub unsafe fn count(bytes: &[u8], counts: &mut Counts) {
    let grams = (bytes.len() + 1).saturating_sub(GRAM);
    // SAFETY: the array has 16 bytes.
    let windows = _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(WINDOWS.as_ptr().cast()) });
    let multiplier = _mm256_set1_epi32(MULTIPLIER as i32);
    let mut hashes = [0u32; LANES];
    let mut at = 0;
    // The second lane reads 16 bytes from the fourth on.
    while at + 20 <= bytes.len() {
        // SAFETY: 16 bytes from `at` and from `at + 4` are within the slice.
        let lanes = unsafe {
            let first = bytes.as_ptr().add(at);
            _mm256_loadu2_m128i(first.add(4).cast(), first.cast())
        };
        let hashed = _mm256_mullo_epi32(_mm256_shuffle_epi8(lanes, windows), multiplier);
        // SAFETY: the array has 32 bytes.
        unsafe { _mm256_storeu_si256(hashes.as_mut_ptr().cast(), hashed) };
        for hash in hashes {
            add(hash, counts);
        }
        at += LANES;
    }
    if at < grams {
        scalar::count(&bytes[at..], counts);
    }
}

/// Returns the sum of squares.
///
/// # Safety
/// The processor has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn logarithms(counts: &Counts, out: &mut [f32; DIMS]) -> f32 {
    let table = table();
    let most = _mm256_set1_epi32(TABLE as i32 - 1);
    let mut squares = _mm256_setzero_ps();
    for at in (0..DIMS).step_by(LANES) {
        // SAFETY: `at + 8` is at most DIMS, the length of both arrays.
        let raw = unsafe { _mm256_loadu_si256(counts.as_ptr().add(at).cast()) };
        let size = _mm256_abs_epi32(raw);
        // `abs` leaves the least integer negative; the smaller of both as unsigned numbers is then not the size.
        let large = _mm256_xor_si256(_mm256_min_epu32(size, most), size);
        let values = if _mm256_testz_si256(large, large) == 1 {
            // SAFETY: every index is from 0 to TABLE - 1.
            let found = unsafe { _mm256_i32gather_ps::<4>(table.as_ptr(), size) };
            let sign = _mm256_and_si256(raw, _mm256_set1_epi32(i32::MIN));
            _mm256_or_ps(found, _mm256_castsi256_ps(sign))
        } else {
            let exact: [f32; LANES] = std::array::from_fn(|lane| scalar::logarithm(counts[at + lane]));
            // SAFETY: the array has 8 floats.
            unsafe { _mm256_loadu_ps(exact.as_ptr()) }
        };
        squares = _mm256_fmadd_ps(values, values, squares);
        // SAFETY: as above.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr().add(at), values) };
    }
    sum(squares)
}

/// The dot products of four rows with four rows.
///
/// # Safety
/// The processor has AVX2 and FMA; all rows are at least `dims` long.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn tile(a: &[&[f32]; TILE], b: &[&[f32]; TILE], dims: usize) -> [[f32; TILE]; TILE] {
    let mut out = [[0.0; TILE]; TILE];
    for half in [0, 2] {
        // SAFETY: the same promises.
        let part = unsafe { half_tile(a, &[b[half], b[half + 1]], dims) };
        for (line, part) in out.iter_mut().zip(part) {
            line[half..half + 2].copy_from_slice(&part);
        }
    }
    out
}

#[target_feature(enable = "avx2,fma")]
unsafe fn half_tile(a: &[&[f32]; TILE], b: &[&[f32]; 2], dims: usize) -> [[f32; 2]; TILE] {
    let mut sums = [[_mm256_setzero_ps(); 2]; TILE];
    let mut at = 0;
    while at + LANES <= dims {
        // SAFETY: 8 floats from `at` are within every row.
        let right =
            unsafe { [_mm256_loadu_ps(b[0].as_ptr().add(at)), _mm256_loadu_ps(b[1].as_ptr().add(at))] };
        for i in 0..TILE {
            // SAFETY: as above.
            let left = unsafe { _mm256_loadu_ps(a[i].as_ptr().add(at)) };
            for j in 0..2 {
                sums[i][j] = _mm256_fmadd_ps(left, right[j], sums[i][j]);
            }
        }
        at += LANES;
    }
    let mut out = [[0.0; 2]; TILE];
    for i in 0..TILE {
        for j in 0..2 {
            let tail: f32 = a[i][at..dims].iter().zip(&b[j][at..dims]).map(|(a, b)| a * b).sum();
            out[i][j] = sum(sums[i][j]) + tail;
        }
    }
    out
}

#[target_feature(enable = "avx2")]
fn sum(eight: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}
