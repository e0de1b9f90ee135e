//! What the processor can do at most: loads that do nothing but arithmetic, to hold a kernel's figure against.
#![allow(unsafe_code, reason = "instructions that the processor is known to have")]

use std::hint::black_box;

use super::{Kernel, Path};

/// A load of nothing but fused multiply-adds in registers.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    kernel: Kernel,
}

impl Load {
    /// With the lanes of this kernel.
    pub const fn of(kernel: Kernel) -> Load {
        Load { kernel }
    }

    /// Runs the loop so many times and returns how many floating-point operations that were.
    pub fn run(self, times: u64) -> u64 {
        match self.kernel.path() {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the kernel exists, so the processor has AVX-512 F.
            Path::Avx512 => unsafe { avx512(times) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the kernel exists, so the processor has AVX2 and FMA.
            Path::Avx2 => unsafe { avx2(times) },
            _ => plain(times),
        }
    }
}

/// Enough chains to hide the latency of two pipes.
const CHAINS: usize = 12;

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn avx512(times: u64) -> u64 {
    use std::arch::x86_64::*;
    let (a, b) = (_mm512_set1_ps(black_box(0.999)), _mm512_set1_ps(black_box(1e-6)));
    let mut sums = [b; CHAINS];
    for _ in 0..times {
        for sum in &mut sums {
            *sum = _mm512_fmadd_ps(*sum, a, b);
        }
    }
    black_box(sums);
    times * CHAINS as u64 * 32
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(times: u64) -> u64 {
    use std::arch::x86_64::*;
    let (a, b) = (_mm256_set1_ps(black_box(0.999)), _mm256_set1_ps(black_box(1e-6)));
    let mut sums = [b; CHAINS];
    for _ in 0..times {
        for sum in &mut sums {
            *sum = _mm256_fmadd_ps(*sum, a, b);
        }
    }
    black_box(sums);
    times * CHAINS as u64 * 16
}

fn plain(times: u64) -> u64 {
    let (a, b) = (black_box(0.999f32), black_box(1e-6f32));
    let mut sums = [b; CHAINS * 4];
    for _ in 0..times {
        for sum in &mut sums {
            *sum = *sum * a + b;
        }
    }
    black_box(sums);
    times * CHAINS as u64 * 4 * 2
}
