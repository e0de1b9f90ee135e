//! The known name that was probably meant.

/// Longest name that is compared, in bytes; keeps the work bounded.
const LONGEST: usize = 40;

/// The known name with the smallest edit distance, when it is small against the name's length.
pub(super) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    if name.len() > LONGEST {
        return None;
    }
    let plain = |text: &str| text.replace(['_', '-'], "").to_lowercase();
    let name = plain(name);
    let (distance, found) = known
        .iter()
        .map(|known| (distance(&name, &plain(known)), *known))
        .min_by_key(|(distance, _)| *distance)?;
    (distance <= name.chars().count().div_ceil(4)).then_some(found)
}

/// Edits that turn one into the other: a letter more, less, or another, or two swapped (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j - 1] + change).min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_fingers_finds_the_name() {
        let known = ["name", "replicas", "resources", "dependsOn", "run"];
        for (slip, meant) in
            [("replica", "replicas"), ("repilcas", "replicas"), ("depends_on", "dependsOn"), ("Name", "name")]
        {
            assert_eq!(nearest(slip, &known), Some(meant));
        }
        for other in ["image", "x", "", "completely-else", &"r".repeat(1000)] {
            assert_eq!(nearest(other, &known), None, "{other}");
        }
    }
}
