//! All paths of the arithmetic agree with the plain one and with double precision.

use std::time::Duration;

use opinion::kernel::{self, DIMS, Kernel, PANEL, Path, TOLERANCE};

use crate::circle::Random;

fn kernels() -> Vec<Kernel> {
    kernel::available().into_iter().filter_map(Kernel::of).collect()
}

/// Unit vectors.
fn rows(texts: usize, dims: usize, seed: u64) -> Vec<f32> {
    let mut random = Random(seed);
    let mut rows: Vec<f32> = (0..texts * dims).map(|_| random.share() as f32 - 0.5).collect();
    for row in rows.chunks_exact_mut(dims) {
        let length = row.iter().map(|one| one * one).sum::<f32>().sqrt();
        row.iter_mut().for_each(|one| *one /= length);
    }
    rows
}

#[test]
fn similarities_are_those_of_double_precision_on_every_path_and_size() {
    for (texts, dims) in
        [(0, 8), (1, 1), (2, 3), (3, 17), (4, 16), (5, 100), (8, 4096), (13, 33), (PANEL + 1, 65)]
    {
        let rows = rows(texts, dims, 7);

        for kernel in kernels() {
            let mut similar = Vec::new();
            kernel.all_pairs(&rows, dims, &mut similar);

            assert_eq!(similar.len(), texts * texts);
            for (a, b) in (0..texts * texts).map(|at| (at / texts, at % texts)) {
                let (left, right) = (&rows[a * dims..][..dims], &rows[b * dims..][..dims]);
                let exact: f64 = left.iter().zip(right).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                let got = similar[a * texts + b];
                assert!(
                    (f64::from(got) - exact).abs() < f64::from(TOLERANCE),
                    "{} {texts}×{dims} [{a},{b}]: {got} is not {exact}",
                    kernel.path()
                );
            }
        }
    }
}

#[test]
fn the_tiles_and_the_matrix_product_agree_where_they_meet() {
    let rows = rows(PANEL + 1, 257, 3);
    let (mut product, mut tiles) = (Vec::new(), Vec::new());

    Kernel::active().all_pairs(&rows, 257, &mut product);
    Kernel::active().all_pairs(&rows[..PANEL * 257], 257, &mut tiles);

    for (a, b) in (0..PANEL * PANEL).map(|at| (at / PANEL, at % PANEL)) {
        assert!((product[a * (PANEL + 1) + b] - tiles[a * PANEL + b]).abs() < TOLERANCE);
    }
}

#[test]
fn every_path_counts_the_same_grams_at_every_length() {
    let mut random = Random(11);
    let bytes: Vec<u8> = (0..300).map(|_| random.next() as u8).collect();

    for length in 0..bytes.len() {
        let mut plain = Box::new([0; DIMS]);
        Kernel::scalar().count(&bytes[..length], &mut plain);
        assert!(
            plain.iter().map(|one| one.unsigned_abs() as usize).sum::<usize>() <= length.saturating_sub(3)
        );

        for kernel in kernels() {
            let mut counts = Box::new([0; DIMS]);
            kernel.count(&bytes[..length], &mut counts);
            assert_eq!(counts, plain, "{} at {length} bytes", kernel.path());
        }
    }
}

#[test]
fn every_path_weighs_alike_small_and_large_counts() {
    let mut random = Random(5);
    let mut counts = Box::new([0i32; DIMS]);
    for count in counts.iter_mut() {
        *count = match random.below(40) {
            0 => (random.next() % 100_000) as i32 - 50_000,
            1 => 255,
            2 => -256,
            3 => [31, -32, i32::MIN, i32::MAX][random.below(4)],
            _ => random.below(9) as i32 - 4,
        };
    }
    let mut plain = vec![0.0; DIMS];
    Kernel::scalar().weigh(&counts, &mut plain);

    for kernel in kernels() {
        let mut unit = vec![0.0; DIMS];
        kernel.weigh(&counts, &mut unit);

        let length: f64 = unit.iter().map(|one| f64::from(*one).powi(2)).sum();
        assert!((length - 1.0).abs() < f64::from(TOLERANCE), "{}: {length}", kernel.path());
        assert!(unit.iter().zip(&plain).all(|(a, b)| (a - b).abs() < 1e-6), "{}", kernel.path());
    }
}

#[test]
fn a_calibration_measures_every_path_and_uses_a_right_one() {
    let mut ticks = 0;
    let calibration = kernel::calibrate(&mut || {
        ticks += 1;
        Duration::from_micros(ticks)
    });

    assert_eq!(calibration.measured.len(), kernel::available().len());
    assert!(calibration.measured.iter().all(kernel::Measured::is_right), "{calibration}");
    assert_eq!(Kernel::active().path(), calibration.chosen);
    assert!(calibration.to_string().contains("kernels run on"), "{calibration}");
}

#[test]
fn a_path_the_processor_lacks_has_no_kernel() {
    let foreign = if cfg!(target_arch = "x86_64") { Path::Neon } else { Path::Avx512 };

    assert_eq!(Kernel::of(foreign), None);
    assert!(Kernel::of(Path::Scalar).is_some());
}
