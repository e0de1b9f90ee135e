//! Rankings: the exact Kemeny order, and Borda's count beside it.

/// Options that the exact order is computed for: 2^8 subsets.
pub const MOST: usize = 8;

/// Weighted pairwise preferences from rankings. `before[a][b]` is the weight of voters who put `a` before `b`; what a
/// voter did not rank comes after what they ranked, in no order of its own.
pub fn preferences(options: usize, rankings: &[(Vec<usize>, f64)]) -> Vec<Vec<f64>> {
    let mut before = vec![vec![0.0; options]; options];
    for (ranking, weight) in rankings {
        let weight = if weight.is_finite() { weight.max(0.0) } else { 0.0 };
        let mut seen = vec![false; options];
        for (at, first) in ranking.iter().enumerate() {
            if *first >= options || std::mem::replace(&mut seen[*first], true) {
                continue;
            }
            for (second, row) in before[*first].iter_mut().enumerate() {
                let later = second != *first && !ranking[..at].contains(&second);
                *row += if later { weight } else { 0.0 };
            }
        }
    }
    before
}

/// The order with the least weighted disagreement, exact by dynamic programming over subsets. Of equal orders the one
/// that begins with the lowest option. None with more than [`MOST`] options.
pub fn kemeny(before: &[Vec<f64>]) -> Option<Vec<usize>> {
    let options = before.len();
    if options > MOST {
        return None;
    }
    // cost[set]: the least disagreement among orders of the options in the set, which are the last ones.
    let mut cost = vec![(0.0f64, 0usize); 1 << options];
    for set in 1usize..1 << options {
        let mut best = (f64::INFINITY, 0);
        for first in (0..options).filter(|one| set & (1 << one) != 0) {
            let rest = set & !(1 << first);
            let disagree: f64 =
                (0..options).filter(|one| rest & (1 << one) != 0).map(|one| before[one][first]).sum();
            let total = cost[rest].0 + disagree;
            if total < best.0 - 1e-12 {
                best = (total, first);
            }
        }
        cost[set] = best;
    }
    let mut order = Vec::with_capacity(options);
    let mut set = (1usize << options) - 1;
    while set != 0 {
        let first = cost[set].1;
        order.push(first);
        set &= !(1 << first);
    }
    Some(order)
}

/// Options by how many others each is put before, the lowest option first among equals.
pub fn borda(before: &[Vec<f64>]) -> Vec<usize> {
    let score: Vec<f64> = before.iter().map(|row| row.iter().sum()).collect();
    let mut order: Vec<usize> = (0..before.len()).collect();
    // Sums of the same preferences in another order may differ in the last bit.
    order.sort_by(|a, b| {
        let apart = score[*b] - score[*a];
        if apart.abs() < 1e-9 { a.cmp(b) } else { apart.total_cmp(&0.0) }
    });
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_orders(options: usize) -> Vec<Vec<usize>> {
        if options == 0 {
            return vec![vec![]];
        }
        let mut orders = Vec::new();
        for order in all_orders(options - 1) {
            for place in 0..=order.len() {
                let mut longer = order.clone();
                longer.insert(place, options - 1);
                orders.push(longer);
            }
        }
        orders
    }

    fn disagreement(order: &[usize], before: &[Vec<f64>]) -> f64 {
        let mut sum = 0.0;
        for (at, first) in order.iter().enumerate() {
            sum += order[at + 1..].iter().map(|second| before[*second][*first]).sum::<f64>();
        }
        sum
    }

    #[test]
    fn kemeny_is_as_good_as_the_best_of_all_orders() {
        let rankings = [
            (vec![0, 1, 2, 3, 4], 1.0),
            (vec![1, 2, 0, 4], 0.7),
            (vec![2, 0, 1], 1.2),
            (vec![4, 3, 2, 1, 0], 0.4),
            (vec![3, 3, 9], 2.0),
        ];
        let before = preferences(5, &rankings);

        let order = kemeny(&before).unwrap();

        let best =
            all_orders(5).iter().map(|order| disagreement(order, &before)).fold(f64::INFINITY, f64::min);
        assert!((disagreement(&order, &before) - best).abs() < 1e-9);
    }

    #[test]
    fn kemeny_finds_the_condorcet_winner_that_borda_misses() {
        // Three of five put 0 before everything, two put it last behind 1.
        let rankings = [(vec![0, 1, 2, 3], 3.0), (vec![1, 2, 3, 0], 2.0)];
        let before = preferences(4, &rankings);

        assert_eq!(kemeny(&before).unwrap()[0], 0);
        assert_eq!(borda(&before)[0], 1);
    }

    #[test]
    fn no_rankings_give_the_order_of_the_options() {
        let before = preferences(3, &[]);

        assert_eq!(kemeny(&before).unwrap(), [0, 1, 2]);
        assert_eq!(borda(&before), [0, 1, 2]);
    }
}
