//! What votes are worth before any outcome is known.
//!
//! A panel's number of right votes is taken for beta-binomial: its experts are right in four of five cases, as the prior
//! of every record has it, and err together with the correlation of the policy. The evidence of their votes is taken to
//! the power with which a unanimous panel claims what that distribution says: .857, .884, .912 and .936 for 2, 3, 5 and
//! 9 families at a correlation of one half.

use crate::likelihood::{DIAGONAL, WRONG, digamma, ln_gamma};

/// Share of right votes.
const RIGHT: f64 = DIAGONAL / (DIAGONAL + WRONG);
/// The other states, between which a wrong vote chooses.
const OTHERS: f64 = 2.0;
/// No panel is taken for larger.
const MOST: f64 = 1000.0;

/// The powers for a panel, by families that vote with one version each; others are computed.
#[derive(Clone, Debug)]
pub(crate) struct FirstDay {
    correlation: f64,
    /// Effective votes and power for one family, two, and so on.
    known: Vec<(f64, f64)>,
}

impl FirstDay {
    pub(crate) fn new(correlation: f64, families: u32) -> FirstDay {
        let known = (1..=families).map(|families| {
            let count = f64::from(families);
            let effective = count / (1.0 + (count - 1.0) * correlation);
            (effective, temper(correlation, count, effective))
        });
        FirstDay { correlation, known: known.collect() }
    }

    /// The power for so many families whose votes are worth so many independent ones; 1 without votes.
    pub(crate) fn temper(&self, families: u32, effective: f64) -> f64 {
        let Some(place) = families.checked_sub(1) else { return 1.0 };
        match self.known.get(place as usize) {
            Some((known, power)) if (known - effective).abs() < 1e-12 => *power,
            _ => temper(self.correlation, f64::from(families), effective),
        }
    }
}

fn temper(correlation: f64, families: f64, effective: f64) -> f64 {
    // As many equal votes of this correlation as are worth the same; several versions of a family are more than one.
    let left = 1.0 - correlation * effective;
    let votes = if left > 1e-9 { effective * (1.0 - correlation) / left } else { MOST };
    // What one vote of an expert without a record says.
    let one = digamma(DIAGONAL) - digamma(WRONG / OTHERS);
    (OTHERS.ln() + unanimous(votes.clamp(1.0, MOST), correlation)) / (families * one)
}

/// Log-odds that so many votes that agree are right.
fn unanimous(votes: f64, correlation: f64) -> f64 {
    let cases = 1.0 / correlation.clamp(1e-6, 1.0 - 1e-6) - 1.0;
    let (right, wrong) = (RIGHT * cases, (1.0 - RIGHT) * cases);
    ln_gamma(right + votes) - ln_gamma(right) - ln_gamma(wrong + votes) + ln_gamma(wrong)
}

/// Between which shares a claim lies in four of five cases, after so many known outcomes: Wilson's interval, the prior
/// counting for its five cases.
pub(crate) fn width(claim: f64, known: usize) -> (f64, f64) {
    /// Of the normal distribution, 10 % on either side.
    const Z: f64 = 1.281_551_565_544_6;
    let cases = DIAGONAL + WRONG + known as f64;
    let spread = Z * (claim * (1.0 - claim) / cases + Z * Z / (4.0 * cases * cases)).sqrt();
    let (middle, scale) = (claim + Z * Z / (2.0 * cases), 1.0 + Z * Z / cases);
    (((middle - spread) / scale).clamp(0.0, 1.0), ((middle + spread) / scale).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unanimous_panel_claims_what_a_beta_binomial_says() {
        for (votes, share) in [(1.0, 0.8), (2.0, 0.857), (3.0, 0.884), (5.0, 0.912), (9.0, 0.936)] {
            let claimed = 1.0 / (1.0 + (-unanimous(votes, 0.5)).exp());

            assert!((claimed - share).abs() < 0.0006, "{votes}: {claimed}");
        }
        // Independent votes multiply, and of those that always err together only one counts.
        assert!((unanimous(3.0, 0.0) - 3.0 * 4f64.ln()).abs() < 1e-3);
        assert!((unanimous(9.0, 1.0) - 4f64.ln()).abs() < 1e-3);
    }

    #[test]
    fn the_width_shrinks_with_what_is_known() {
        let widths: Vec<f64> =
            [0, 5, 50, 200].map(|known| width(0.9, known)).map(|(low, high)| high - low).into();

        assert!(widths.windows(2).all(|pair| pair[1] < pair[0]), "{widths:?}");
        assert!(width(0.9, 0).0 < 0.7 && width(0.9, 200).0 > 0.86);
        assert_eq!((width(1.0, 0).1, width(0.0, 0).0), (1.0, 0.0));
    }
}
