//! Recommended canary shares and bake times: a careful quantile, clamped by policy.
//!
//! The mean is best against honest noise and the median against one hostile value; for safety neither is wanted. With
//! five equal voices nobody alone moves the result out of the range of the other four.

use model::expert::Answer;

use crate::policy::{Policy, grows};

/// Longest list of shares that is looked at.
const LONGEST: usize = 100;

/// The smallest value with at least this share of the weight at or below it; none without weight.
pub fn quantile(values: &mut [(f64, f64)], share: f64) -> Option<f64> {
    values.sort_by(|a, b| a.0.total_cmp(&b.0));
    let total: f64 = values.iter().map(|(_, weight)| weight).sum();
    if !(total > 0.0 && total.is_finite()) {
        return None;
    }
    let mut below = 0.0;
    for (value, weight) in values.iter() {
        below += weight;
        // Sums of equal weights miss a round share by their rounding.
        if below >= total * (share - 1e-9) && *weight > 0.0 {
            return Some(*value);
        }
    }
    values.iter().rev().find(|(_, weight)| *weight > 0.0).map(|(value, _)| *value)
}

/// Whether the shares can be taken as they are. An empty list is no recommendation, and no fault.
pub fn usable(answer: &Answer) -> bool {
    answer.canary_steps_pct.len() <= LONGEST && grows(&answer.canary_steps_pct)
}

/// The canary's shares. A shorter list counts as ending with all traffic.
pub fn canary_steps(answers: &[(&Answer, f64)], policy: &Policy) -> Vec<u16> {
    let usable: Vec<&(&Answer, f64)> = answers.iter().filter(|(answer, _)| usable(answer)).collect();
    let most = usize::from(policy.canary_steps_at_most.clamp(1, 100));
    let mut lengths: Vec<(f64, f64)> =
        usable.iter().map(|(answer, weight)| (answer.canary_steps_pct.len() as f64, *weight)).collect();
    let Some(length) = quantile(&mut lengths, 1.0 - policy.canary_quantile) else {
        return clamped(policy.canary_default.iter().copied().take(most), policy);
    };
    let steps = (0..(length as usize).min(most)).filter_map(|place| {
        let mut shares: Vec<(f64, f64)> = usable
            .iter()
            .map(|(answer, weight)| {
                (f64::from(answer.canary_steps_pct.get(place).copied().unwrap_or(100)), *weight)
            })
            .collect();
        quantile(&mut shares, policy.canary_quantile).map(|share| share as u16)
    });
    clamped(steps, policy)
}

/// Growing shares of at most 100 %, the first at most what policy says.
fn clamped(steps: impl Iterator<Item = u16>, policy: &Policy) -> Vec<u16> {
    let first = policy.canary_first_at_most.clamp(1, 100);
    let mut clamped: Vec<u16> = Vec::new();
    for step in steps {
        let step = if clamped.is_empty() { step.clamp(1, first) } else { step.clamp(1, 100) };
        if clamped.last().is_none_or(|last| *last < step) {
            clamped.push(step);
        }
    }
    clamped
}

/// Minutes at each share. Answers without a recommendation (0) do not count.
pub fn bake_minutes(answers: &[(&Answer, f64)], policy: &Policy) -> u32 {
    let mut minutes: Vec<(f64, f64)> = answers
        .iter()
        .filter(|(answer, _)| answer.bake_minutes > 0)
        .map(|(answer, weight)| (f64::from(answer.bake_minutes), *weight))
        .collect();
    let wanted = quantile(&mut minutes, policy.bake_quantile).map_or(0, |minutes| minutes as u32);
    wanted.max(policy.bake_at_least).min(policy.bake_at_most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_five_cannot_leave_the_range_of_the_others() {
        for hostile in [0.0, 1e9, -1e9] {
            let mut values = vec![(5.0, 1.0), (10.0, 1.0), (hostile, 1.0), (7.0, 1.0), (6.0, 1.0)];

            for share in [0.3, 0.7] {
                let value = quantile(&mut values, share).unwrap();
                assert!((5.0..=10.0).contains(&value), "{hostile} gave {value}");
            }
        }
    }

    #[test]
    fn no_weight_gives_nothing() {
        assert_eq!(quantile(&mut [], 0.5), None);
        assert_eq!(quantile(&mut [(1.0, 0.0)], 0.5), None);
        assert_eq!(quantile(&mut [(1.0, f64::NAN)], 0.5), None);
    }
}
