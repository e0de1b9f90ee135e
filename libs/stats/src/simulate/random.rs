//! Seeded random numbers.

/// SplitMix64: small, seeded, good enough to simulate with. Never for secrets.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The same seed gives the same numbers.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in (0, 1].
    pub fn uniform(&mut self) -> f64 {
        ((self.bits() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    /// Standard normal (Box and Muller 1958).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Errors in so many requests at this rate, by the geometric gaps between them.
    pub fn errors(&mut self, requests: u64, rate: f64) -> u64 {
        if rate >= 1.0 {
            return requests;
        }
        if rate <= 0.0 || rate.is_nan() {
            return 0;
        }
        let no_error = (-rate).ln_1p();
        let (mut at, mut errors) = (0.0, 0);
        loop {
            at += (self.uniform().ln() / no_error).floor() + 1.0;
            if at > requests as f64 {
                return errors;
            }
            errors += 1;
        }
    }

    /// Log-normal with this median and a sigma of 0.5: the usual shape of latencies.
    pub fn latency(&mut self, median_micros: f64) -> u64 {
        (median_micros * (0.5 * self.normal()).exp()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_reference_implementation() {
        let mut random = Random::new(1_234_567);

        assert_eq!([random.bits(), random.bits()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }

    #[test]
    fn errors_have_the_mean_and_the_variance_of_a_binomial() {
        let mut random = Random::new(1);
        for rate in [0.0, 0.01, 0.3, 0.9, 1.0] {
            let draws: Vec<f64> = (0..5_000).map(|_| random.errors(50, rate) as f64).collect();
            let mean = draws.iter().sum::<f64>() / 5_000.0;
            let variance = draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>() / 5_000.0;

            assert!((mean - 50.0 * rate).abs() < 0.2, "{mean} at {rate}");
            assert!((variance - 50.0 * rate * (1.0 - rate)).abs() < 0.8, "{variance} at {rate}");
        }
    }

    #[test]
    fn latencies_have_their_median() {
        let mut random = Random::new(1);

        let below = (0..10_000).filter(|_| random.latency(10_000.0) < 10_000).count();

        assert!((4_800..5_200).contains(&below), "{below}");
    }
}
