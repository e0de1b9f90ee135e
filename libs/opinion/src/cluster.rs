//! Groups of texts that say the same, from their similarities. Single linkage is not offered: it chains.

/// When two groups are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linkage {
    /// Their members are alike on average.
    Average,
    /// Even their least similar members are alike.
    Complete,
}

/// Groups of indices, merged while the most similar two groups are at least this alike. `similar` is a full square
/// matrix by rows. Groups and their members are in ascending order; ties merge the lowest indices first.
pub fn clusters(similar: &[f32], texts: usize, alike: f32, linkage: Linkage) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = (0..texts).map(|one| vec![one]).collect();
    let mut between: Vec<f32> = similar.to_vec();
    let mut alive: Vec<usize> = (0..texts).collect();
    loop {
        let mut best: Option<(f32, usize, usize)> = None;
        for (at, &a) in alive.iter().enumerate() {
            for &b in &alive[at + 1..] {
                let value = between[a * texts + b];
                if value >= alike && best.is_none_or(|(most, _, _)| value > most) {
                    best = Some((value, a, b));
                }
            }
        }
        let Some((_, a, b)) = best else { break };
        let (of_a, of_b) = (groups[a].len() as f32, groups[b].len() as f32);
        for &other in alive.iter().filter(|other| **other != a && **other != b) {
            let (with_a, with_b) = (between[a * texts + other], between[b * texts + other]);
            // Lance and Williams: the merged group's similarity follows from those of its parts.
            let merged = match linkage {
                Linkage::Average => (of_a * with_a + of_b * with_b) / (of_a + of_b),
                Linkage::Complete => with_a.min(with_b),
            };
            between[a * texts + other] = merged;
            between[other * texts + a] = merged;
        }
        let moved = std::mem::take(&mut groups[b]);
        groups[a].extend(moved);
        alive.retain(|one| *one != b);
    }
    groups.retain(|group| !group.is_empty());
    for group in &mut groups {
        group.sort_unstable();
    }
    groups
}

/// The member that is most similar to the others, each counted by its weight; the first of equals.
pub fn medoid(
    similar: &[f32],
    texts: usize,
    group: &[usize],
    weight: impl Fn(usize) -> f64,
) -> Option<usize> {
    let mut best: Option<(f64, usize)> = None;
    for &one in group {
        let central: f64 = group
            .iter()
            .filter(|other| **other != one)
            .map(|&other| weight(other) * f64::from(similar[one * texts + other]))
            .sum();
        if best.is_none_or(|(most, _)| central > most + 1e-9) {
            best = Some((central, one));
        }
    }
    best.map(|(_, one)| one)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 0 and 1 alike, 1 and 2 alike, 0 and 2 not: a chain.
    const CHAIN: [f32; 9] = [1.0, 0.9, 0.1, 0.9, 1.0, 0.8, 0.1, 0.8, 1.0];

    #[test]
    fn a_chain_is_not_one_group() {
        assert_eq!(clusters(&CHAIN, 3, 0.5, Linkage::Average), [vec![0, 1], vec![2]]);
        assert_eq!(clusters(&CHAIN, 3, 0.5, Linkage::Complete), [vec![0, 1], vec![2]]);
    }

    #[test]
    fn everything_is_alike_from_nothing_on() {
        assert_eq!(clusters(&CHAIN, 3, -1.0, Linkage::Complete), [vec![0, 1, 2]]);
        assert_eq!(clusters(&[], 0, 0.5, Linkage::Average), Vec::<Vec<usize>>::new());
    }

    #[test]
    fn the_medoid_is_the_link_of_the_chain() {
        assert_eq!(medoid(&CHAIN, 3, &[0, 1, 2], |_| 1.0), Some(1));
        assert_eq!(medoid(&CHAIN, 3, &[], |_| 1.0), None);
    }
}
