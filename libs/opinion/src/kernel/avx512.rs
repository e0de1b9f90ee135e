//! AVX-512: 32 registers of 16 lanes, so that a tile of 4 × 4 similarities loads each row once.
#![allow(
    unsafe_code,
    reason = "vector loads take pointers; every one stays within a slice whose length is checked"
)]

use std::arch::x86_64::*;

use super::{Counts, DIMS, GRAM, MULTIPLIER, TABLE, TILE, add, scalar, table};

const LANES: usize = 16;

/// Four n-grams from seven bytes, in each lane of 128 bits.
const WINDOWS: [u8; 16] = [0, 1, 2, 3, 1, 2, 3, 4, 2, 3, 4, 5, 3, 4, 5, 6];

/// # Safety
/// The processor has AVX-512 F and BW.
#[target_feature(enable = "avx512f,avx512bw")]
pub unsafe fn count(bytes: &[u8], counts: &mut Counts) {
    let grams = (bytes.len() + 1).saturating_sub(GRAM);
    // SAFETY: the array has 16 bytes.
    let windows = _mm512_broadcast_i32x4(unsafe { _mm_loadu_si128(WINDOWS.as_ptr().cast()) });
    let multiplier = _mm512_set1_epi32(MULTIPLIER as i32);
    // Four lanes begin four bytes apart: 32 bits are loaded at 0, 4, 8, 12 and 16.
    let spread = _mm512_setr_epi32(0, 1, 0, 0, 1, 2, 0, 0, 2, 3, 0, 0, 3, 4, 0, 0);
    let mut hashes = [0u32; LANES];
    let mut at = 0;
    // A step reads 32 bytes and uses 19.
    while at + 32 <= bytes.len() {
        // SAFETY: 32 bytes from `at` are within the slice.
        let raw = unsafe { _mm256_loadu_si256(bytes.as_ptr().add(at).cast()) };
        let lanes = _mm512_permutexvar_epi32(spread, _mm512_castsi256_si512(raw));
        let grams = _mm512_shuffle_epi8(lanes, windows);
        let hashed = _mm512_mullo_epi32(grams, multiplier);
        // SAFETY: the array has 64 bytes.
        unsafe { _mm512_storeu_si512(hashes.as_mut_ptr().cast(), hashed) };
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
/// The processor has AVX-512 F and BW.
#[target_feature(enable = "avx512f,avx512bw")]
pub unsafe fn logarithms(counts: &Counts, out: &mut [f32; DIMS]) -> f32 {
    let table = table();
    let most = _mm512_set1_epi32(TABLE as i32 - 1);
    // Nearly all counts are small: their logarithms stand in two registers.
    let few = _mm512_set1_epi32(2 * LANES as i32 - 1);
    // SAFETY: the table has 256 floats.
    let (low, high) =
        unsafe { (_mm512_loadu_ps(table.as_ptr()), _mm512_loadu_ps(table.as_ptr().add(LANES))) };
    let mut squares = _mm512_setzero_ps();
    for at in (0..DIMS).step_by(LANES) {
        // SAFETY: `at + 16` is at most DIMS, the length of both arrays.
        let raw = unsafe { _mm512_loadu_si512(counts.as_ptr().add(at).cast()) };
        let size = _mm512_abs_epi32(raw);
        let sign = _mm512_and_si512(raw, _mm512_set1_epi32(i32::MIN));
        // `abs` leaves the least integer negative, so comparisons are of unsigned numbers.
        let values = if _mm512_cmpgt_epu32_mask(size, few) == 0 {
            let found = _mm512_permutex2var_ps(low, size, high);
            _mm512_castsi512_ps(_mm512_or_si512(_mm512_castps_si512(found), sign))
        } else if _mm512_cmpgt_epu32_mask(size, most) == 0 {
            // SAFETY: every index is from 0 to TABLE - 1.
            let found = unsafe { _mm512_i32gather_ps::<4>(size, table.as_ptr()) };
            _mm512_castsi512_ps(_mm512_or_si512(_mm512_castps_si512(found), sign))
        } else {
            let exact: [f32; LANES] = std::array::from_fn(|lane| scalar::logarithm(counts[at + lane]));
            // SAFETY: the array has 16 floats.
            unsafe { _mm512_loadu_ps(exact.as_ptr()) }
        };
        squares = _mm512_fmadd_ps(values, values, squares);
        // SAFETY: as above.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr().add(at), values) };
    }
    _mm512_reduce_add_ps(squares)
}

/// The dot products of four rows with four rows; of four rows with themselves (`HALF`) only the upper half.
///
/// # Safety
/// The processor has AVX-512 F; all rows are at least `dims` long.
#[target_feature(enable = "avx512f")]
pub unsafe fn tile<const HALF: bool>(
    a: &[&[f32]; TILE],
    b: &[&[f32]; TILE],
    dims: usize,
) -> [[f32; TILE]; TILE] {
    let mut sums = [[_mm512_setzero_ps(); TILE]; TILE];
    // No closures in here: they would not be compiled into one loop.
    let a = [a[0].as_ptr(), a[1].as_ptr(), a[2].as_ptr(), a[3].as_ptr()];
    let b = [b[0].as_ptr(), b[1].as_ptr(), b[2].as_ptr(), b[3].as_ptr()];
    let mut at = 0;
    while at + LANES <= dims {
        // SAFETY: 16 floats from `at` are within every row.
        let right = unsafe {
            [
                _mm512_loadu_ps(b[0].add(at)),
                _mm512_loadu_ps(b[1].add(at)),
                _mm512_loadu_ps(b[2].add(at)),
                _mm512_loadu_ps(b[3].add(at)),
            ]
        };
        for i in 0..TILE {
            // SAFETY: as above.
            let left = if HALF { right[i] } else { unsafe { _mm512_loadu_ps(a[i].add(at)) } };
            for j in if HALF { i } else { 0 }..TILE {
                sums[i][j] = _mm512_fmadd_ps(left, right[j], sums[i][j]);
            }
        }
        at += LANES;
    }
    if at < dims {
        let mask: __mmask16 = (1 << (dims - at)) - 1;
        // SAFETY: the mask reads only what is within the row.
        let right = unsafe {
            [
                _mm512_maskz_loadu_ps(mask, b[0].add(at)),
                _mm512_maskz_loadu_ps(mask, b[1].add(at)),
                _mm512_maskz_loadu_ps(mask, b[2].add(at)),
                _mm512_maskz_loadu_ps(mask, b[3].add(at)),
            ]
        };
        for i in 0..TILE {
            // SAFETY: as above.
            let left = if HALF { right[i] } else { unsafe { _mm512_maskz_loadu_ps(mask, a[i].add(at)) } };
            for j in if HALF { i } else { 0 }..TILE {
                sums[i][j] = _mm512_fmadd_ps(left, right[j], sums[i][j]);
            }
        }
    }
    [reduce(sums[0]), reduce(sums[1]), reduce(sums[2]), reduce(sums[3])]
}

/// The sums of four vectors.
#[target_feature(enable = "avx512f")]
fn reduce([a, b, c, d]: [__m512; TILE]) -> [f32; TILE] {
    let ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    let cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    let (ab, cd) = (_mm512_castps_pd(ab), _mm512_castps_pd(cd));
    let low = _mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd));
    let high = _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd));
    let all = _mm512_add_ps(low, high);
    let halves = _mm_add_ps(_mm512_castps512_ps128(all), _mm512_extractf32x4_ps::<1>(all));
    let others = _mm_add_ps(_mm512_extractf32x4_ps::<2>(all), _mm512_extractf32x4_ps::<3>(all));
    let mut out = [0.0; TILE];
    // SAFETY: the array has 16 bytes.
    unsafe { _mm_storeu_ps(out.as_mut_ptr(), _mm_add_ps(halves, others)) };
    out
}
