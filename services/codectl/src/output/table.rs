//! Tables: widths follow from the cells, the last column takes what is left of the line.

use super::{line, paint, screen};

/// The widest line, in characters, where the terminal has no width.
pub const WIDTH: usize = 160;

/// The lines of a table, the head first.
pub fn lines<const N: usize>(head: [&str; N], rows: Vec<[String; N]>) -> Vec<String> {
    let mut all = vec![head.map(paint::faint)];
    all.extend(rows);
    let widths: [usize; N] = std::array::from_fn(|column| {
        all.iter().map(|row| screen::visible(&row[column])).max().unwrap_or_default()
    });
    let width = screen::size().map_or(WIDTH, |(width, _)| width.max(80));
    let line = |row: [String; N]| {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| screen::pad(cell, width)).collect();
        screen::cut(format!("  {}", cells.join("  ")).trim_end(), width)
    };
    all.into_iter().map(line).collect()
}

/// Prints one.
pub fn print<const N: usize>(head: [&str; N], rows: Vec<[String; N]>) {
    lines(head, rows).iter().for_each(line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![["a".to_owned(), "1".to_owned()], ["longer".to_owned(), "2".to_owned()]];

        assert_eq!(lines(["NAME", "NO"], rows), ["  NAME    NO", "  a       1", "  longer  2"]);
    }
}
