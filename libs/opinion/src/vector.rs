//! Text into a vector without a model: hashed character n-grams. They see words and not meaning, so no verdict ever
//! follows from them: only who says the same, and who was told to.

use crate::kernel::{Counts, DIMS, GRAM, Kernel};

/// Bytes of a text that are looked at.
pub const LONGEST: usize = 64 << 10;

/// Buffers that are used again and again.
#[derive(Debug)]
pub struct Scratch {
    bytes: Vec<u8>,
    counts: Box<Counts>,
    /// The vectors, one after the other.
    pub(crate) rows: Vec<f32>,
    /// Their similarities.
    pub(crate) similar: Vec<f32>,
}

impl Default for Scratch {
    fn default() -> Scratch {
        Scratch { bytes: Vec::new(), counts: Box::new([0; DIMS]), rows: Vec::new(), similar: Vec::new() }
    }
}

/// What a byte becomes: letters lower-case, blanks and controls one blank, digits 0.
const FOLDED: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b'0'..=b'9' => b'0',
            one @ b'A'..=b'Z' => one + 32,
            0..=b' ' | 0x7f => b' ',
            one => one,
        };
        byte += 1;
    }
    table
};

/// Folds a text, with a blank at both ends; runs of blanks and of digits become one. Numbers differ between runs of the
/// same thing, and must not make it another one.
fn fold(text: &str, out: &mut Vec<u8>) {
    let text = &text.as_bytes()[..text.len().min(LONGEST)];
    out.clear();
    out.resize(text.len() + 2, b' ');
    let (mut at, mut last) = (1, b' ');
    for byte in text {
        let folded = FOLDED[usize::from(*byte)];
        out[at] = folded;
        let repeats = folded == last && (folded == b' ' || folded == b'0');
        at += usize::from(!repeats);
        last = folded;
    }
    if last != b' ' {
        out[at] = b' ';
        at += 1;
    }
    out.truncate(at);
}

/// The unit vector of a text; all zero for less than two letters. `unit` must hold [`DIMS`] values.
pub fn vectorise(text: &str, kernel: Kernel, scratch: &mut Scratch, unit: &mut [f32]) {
    fold(text, &mut scratch.bytes);
    scratch.counts.fill(0);
    if scratch.bytes.len() >= GRAM {
        kernel.count(&scratch.bytes, &mut scratch.counts);
    }
    kernel.weigh(&scratch.counts, unit);
}

/// Compares texts with each other: a full square matrix of cosines, by rows.
pub fn similarities<'a>(
    texts: impl ExactSizeIterator<Item = &'a str>,
    kernel: Kernel,
    scratch: &mut Scratch,
) -> &[f32] {
    let mut rows = std::mem::take(&mut scratch.rows);
    // Every value is written below; growing only fills what is new.
    rows.resize(texts.len() * DIMS, 0.0);
    for (text, row) in texts.zip(rows.chunks_exact_mut(DIMS)) {
        vectorise(text, kernel, scratch, row);
    }
    kernel.all_pairs(&rows, DIMS, &mut scratch.similar);
    scratch.rows = rows;
    &scratch.similar
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cosine(a: &str, b: &str) -> f32 {
        let mut scratch = Scratch::default();
        similarities([a, b].into_iter(), Kernel::active(), &mut scratch)[1]
    }

    #[test]
    fn folding_drops_case_blanks_and_numbers() {
        let mut out = Vec::new();

        fold("  Took 1234 ms,\n\n or 7\t", &mut out);

        assert_eq!(String::from_utf8(out).unwrap(), " took 0 ms, or 0 ");
    }

    #[test]
    fn the_same_but_for_numbers_is_the_same() {
        assert!(cosine("replica 3 of 12 failed after 500 ms", "Replica 17 of 20 failed after 32 ms") > 0.999);
        assert!(cosine("the database migration drops a column", "no readiness probe is set") < 0.3);
    }

    #[test]
    fn empty_texts_are_like_nothing() {
        for text in ["", " ", "\n\t ", "a"] {
            let similar = cosine(text, "some other text");
            assert!(similar.abs() < 1e-6 || text == "a", "{text:?}: {similar}");
        }
    }
}
