//! What a vote says about each state, from an expert's confusion counts: the expected logarithm of a Dirichlet row.
//!
//! With the expectation instead of a quotient of counts, 20 right of 20 is no infinite weight, and an expert without a
//! record has the weight of its prior.

/// Weight of the prior on an expert being right: four cases.
pub const DIAGONAL: f64 = 4.0;
/// Weight of the prior on an expert being wrong, shared by the wrong labels: one case.
pub const WRONG: f64 = 1.0;
/// More cases than this say nothing new, and keep sums exact.
const MOST: f64 = 1e9;

/// The derivative of ln Γ, for x > 0. Recurrence up to 6, then the asymptotic series (Abramowitz and Stegun 6.3.18);
/// error below 1e-10.
pub fn digamma(mut x: f64) -> f64 {
    let mut below = 0.0;
    while x < 6.0 {
        below += 1.0 / x;
        x += 1.0;
    }
    let inverse = 1.0 / (x * x);
    let series = inverse * (1.0 / 12.0 - inverse * (1.0 / 120.0 - inverse * (1.0 / 252.0 - inverse / 240.0)));
    x.ln() - 0.5 / x - series - below
}

/// ln Γ, for x > 0. Recurrence up to 8, then Stirling's series (Abramowitz and Stegun 6.1.41); error below 1e-10.
pub fn ln_gamma(mut x: f64) -> f64 {
    let mut below = 1.0;
    while x < 8.0 {
        below *= x;
        x += 1.0;
    }
    let inverse = 1.0 / (x * x);
    let series = (1.0 / 12.0 - inverse * (1.0 / 360.0 - inverse * (1.0 / 1260.0 - inverse / 1680.0))) / x;
    (x - 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln() + series - below.ln()
}

/// A count that arithmetic is safe on: negative, infinite and not-a-number become nothing or the most.
pub fn count(raw: f64) -> f64 {
    if raw.is_nan() { 0.0 } else { raw.clamp(0.0, MOST) }
}

/// The prior of a cell: [`DIAGONAL`] where state and vote agree, else its share of [`WRONG`].
pub fn prior(labels: usize, state: usize, vote: usize) -> f64 {
    if state == vote { DIAGONAL } else { WRONG / (labels.max(2) - 1) as f64 }
}

/// Turns one row of counts (votes given under one state) into expected logarithms, in place. The prior must be in.
pub fn expected_logarithms(row: &mut [f64]) {
    let total = digamma(row.iter().sum());
    for cell in row {
        *cell = digamma(*cell) - total;
    }
}

/// Logarithmic scores into probabilities, in place. Scores that are no numbers become equal shares.
#[inline]
pub fn softmax(scores: &mut [f64]) {
    if let [first, second] = scores {
        // One exponential instead of two, for the many histories with two labels.
        let less = (-(*first - *second).abs()).exp();
        if less.is_finite() {
            let (likely, unlikely) = (1.0 / (1.0 + less), less / (1.0 + less));
            (*first, *second) = if *first >= *second { (likely, unlikely) } else { (unlikely, likely) };
            return;
        }
    }
    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = (*score - most).exp();
        sum += *score;
    }
    if !(sum.is_finite() && sum > 0.0) {
        let equal = 1.0 / scores.len().max(1) as f64;
        scores.fill(equal);
        return;
    }
    for score in scores {
        *score /= sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digamma_meets_known_values() {
        let known = [
            (1.0, -0.577_215_664_901_532_9),
            (0.5, -1.963_510_026_021_423_5),
            (2.0, 0.422_784_335_098_467_1),
            (10.0, 2.251_752_589_066_721),
            (1e6, 13.815_510_057_964_19),
        ];
        for (x, value) in known {
            assert!((digamma(x) - value).abs() < 1e-9, "digamma({x}) is {}, not {value}", digamma(x));
        }
    }

    #[test]
    fn ln_gamma_meets_known_values() {
        let known = [
            (1.0, 0.0),
            (0.5, 0.572_364_942_924_700_1),
            (0.2, 1.524_063_822_430_784),
            (5.0, 3.178_053_830_347_946),
            (100.0, 359.134_205_369_575_4),
        ];
        for (x, value) in known {
            assert!((ln_gamma(x) - value).abs() < 1e-9, "ln_gamma({x}) is {}, not {value}", ln_gamma(x));
        }
    }

    #[test]
    fn shares_sum_to_one_even_of_nonsense() {
        for mut scores in [[0.0, 1.0, -700.0], [f64::NAN; 3], [f64::INFINITY, 0.0, 0.0], [-1e308; 3]] {
            softmax(&mut scores);

            assert!((scores.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{scores:?}");
        }
        for mut scores in [[0.0, 1.0], [f64::NAN, 0.0], [f64::INFINITY, f64::INFINITY], [-700.0, 800.0]] {
            softmax(&mut scores);

            assert!((scores.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{scores:?}");
        }
    }
}
