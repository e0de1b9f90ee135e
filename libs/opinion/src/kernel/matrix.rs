//! Above panel size: a general matrix product, which blocks for the caches.
#![allow(unsafe_code, reason = "the crate matrixmultiply takes pointers and strides")]

/// All-pairs dot products of `texts` rows of `dims`.
pub fn all_pairs(rows: &[f32], texts: usize, dims: usize, out: &mut [f32]) {
    let fits = rows.len() == texts * dims && out.len() == texts * texts;
    if !fits || texts == 0 {
        return;
    }
    let (wide, tall) = (dims as isize, texts as isize);
    // SAFETY: the left operand is `rows`, the right one the same memory read as its transpose; both lie within the
    // slice by the lengths just checked, and so does the result, which overlaps neither.
    unsafe {
        matrixmultiply::sgemm(
            texts,
            dims,
            texts,
            1.0,
            rows.as_ptr(),
            wide,
            1,
            rows.as_ptr(),
            1,
            wide,
            0.0,
            out.as_mut_ptr(),
            tall,
            1,
        );
    }
}
