//! A picture of all ratios: bars from the baseline to the right are better than it, to the left worse.

use std::fmt::Write as _;

use crate::{
    figure::{Aim, Figure},
    output,
    suite::{PROGRAMS, Report},
};

const WIDTH: f64 = 1120.0;
const LEFT: f64 = 430.0;
const RIGHT: f64 = 850.0;
const TOP: f64 = 104.0;
const ROW: f64 = 24.0;
/// What lies beyond is drawn at the edge with an arrow.
const LEAST: f64 = 0.1;
const MOST: f64 = 10.0;
const TICKS: [f64; 7] = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];

const INK: &str = "#1f2933";
const FAINT: &str = "#6b7785";
const GRID: &str = "#e3e8ee";
const GOOD: &str = "#2f8f5b";
const SHORT: &str = "#c4432b";
const PLAIN: &str = "#5b7fa6";

/// Draws the figures that have a ratio.
pub fn svg(report: &Report) -> String {
    let mut rows = String::new();
    let mut y = TOP;
    for measured in &report.measured {
        let figures: Vec<&Figure> = measured.figures.iter().filter(|figure| figure.ratio.is_some()).collect();
        if figures.is_empty() {
            continue;
        }
        let about = PROGRAMS
            .iter()
            .find(|program| program.name == measured.program)
            .map_or("", |program| program.about);
        y += ROW * 0.4;
        text(&mut rows, 24.0, y + 16.0, "start", INK, "13px", "600", about);
        y += ROW;
        for figure in figures {
            row(&mut rows, figure, y);
            y += ROW;
        }
    }
    let bottom = y + 8.0;
    let height = bottom + 70.0;
    let mut picture = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"Helvetica, Arial, sans-serif\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    text(&mut picture, 24.0, 38.0, "start", INK, "20px", "600", "Ours against the baseline of the same run");
    let load = report.measured.iter().map(|measured| measured.load).fold(0.0, f64::max);
    let machine = format!("{}, Linux {}; load up to {load:.1}", report.machine.kind, report.machine.kernel);
    text(&mut picture, 24.0, 60.0, "start", FAINT, "13px", "400", &machine);
    legend(&mut picture);
    axis(&mut picture, bottom);
    picture.push_str(&rows);
    picture.push_str("</svg>\n");
    picture
}

fn axis(picture: &mut String, bottom: f64) {
    for tick in TICKS {
        let x = place(tick);
        let (colour, width) = if tick == 1.0 { (INK, 1.5) } else { (GRID, 1.0) };
        line(picture, (x, TOP), (x, bottom), colour, width);
        text(picture, x, bottom + 18.0, "middle", FAINT, "12px", "400", &output::number(tick));
    }
    let middle = f64::midpoint(LEFT, RIGHT);
    let title = "ratio to the baseline, logarithmic: right of 1 is better than the baseline";
    text(picture, middle, bottom + 42.0, "middle", FAINT, "12px", "400", title);
}

fn legend(picture: &mut String) {
    let mut x = 24.0;
    for (colour, words) in
        [(GOOD, "meets its aim"), (SHORT, "falls short of its aim"), (PLAIN, "without an aim")]
    {
        let _ = writeln!(
            picture,
            "<rect x=\"{x}\" y=\"75\" width=\"12\" height=\"12\" rx=\"2\" fill=\"{colour}\"/>"
        );
        text(picture, x + 18.0, 86.0, "start", FAINT, "12px", "400", words);
        x += 40.0 + words.len() as f64 * 6.4;
    }
    line(picture, (x, 74.0), (x, 88.0), INK, 2.5);
    text(picture, x + 10.0, 86.0, "start", FAINT, "12px", "400", "aim");
    x += 56.0;
    line(picture, (x, 81.0), (x + 22.0, 81.0), INK, 1.0);
    text(picture, x + 30.0, 86.0, "start", FAINT, "12px", "400", "lowest to highest round");
}

fn row(picture: &mut String, figure: &Figure, y: f64) {
    let Some(ratio) = figure.ratio else { return };
    let colour = match figure.is_met() {
        Some(true) => GOOD,
        Some(false) => SHORT,
        None => PLAIN,
    };
    let middle = y + ROW / 2.0;
    text(picture, LEFT - 12.0, middle + 4.0, "end", INK, "12px", "400", &figure.name);
    let (from, to) = (place(1.0), place(ratio));
    let (x, width) = (from.min(to), (from - to).abs().max(1.5));
    let (top, high) = (y + 5.0, ROW - 10.0);
    let _ = writeln!(
        picture,
        "<rect x=\"{x:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{high:.1}\" rx=\"2\" fill=\"{colour}\"/>"
    );
    if let Some((low, high)) = figure.spread {
        line(picture, (place(low), middle), (place(high), middle), INK, 1.0);
        for end in [low, high] {
            line(picture, (place(end), middle - 3.0), (place(end), middle + 3.0), INK, 1.0);
        }
    }
    if let Some(aim) = aim(figure) {
        line(picture, (place(aim), y + 2.0), (place(aim), y + ROW - 2.0), INK, 2.5);
    }
    let beyond = if ratio > MOST {
        " →"
    } else if ratio < LEAST {
        " ←"
    } else {
        ""
    };
    let decimals = if ratio >= 100.0 { 0 } else { 2 };
    let words = format!("{ratio:.decimals$}{beyond}");
    text(picture, RIGHT + 16.0, middle + 4.0, "start", INK, "12px", "600", &words);
    let value = format!("{} {}", output::number(figure.ours), figure.unit);
    text(picture, RIGHT + 84.0, middle + 4.0, "start", FAINT, "12px", "400", &value);
}

/// The ratio at which the aim is met.
fn aim(figure: &Figure) -> Option<f64> {
    let baseline = figure.baseline.as_ref()?.value;
    let aim = match figure.aim {
        Aim::Ratio(least) => least,
        Aim::AtMost(most) => baseline / most,
        Aim::AtLeast(least) => least / baseline,
        Aim::None => return None,
    };
    aim.is_finite().then_some(aim)
}

fn place(ratio: f64) -> f64 {
    let share = (ratio.clamp(LEAST, MOST) / LEAST).ln() / (MOST / LEAST).ln();
    LEFT + share * (RIGHT - LEFT)
}

fn line(picture: &mut String, from: (f64, f64), to: (f64, f64), colour: &str, width: f64) {
    let _ = writeln!(
        picture,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\" stroke-width=\"{width}\"/>",
        from.0, from.1, to.0, to.1
    );
}

#[allow(clippy::too_many_arguments, reason = "one attribute each")]
fn text(
    picture: &mut String,
    x: f64,
    y: f64,
    anchor: &str,
    colour: &str,
    size: &str,
    weight: &str,
    words: &str,
) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        picture,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{colour}\" font-size=\"{size}\" \
         font-weight=\"{weight}\">{words}</text>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_lies_in_the_middle_and_what_is_beyond_at_the_edge() {
        assert_eq!(place(1.0), f64::midpoint(LEFT, RIGHT));
        assert_eq!((place(0.001), place(1e6)), (LEFT, RIGHT));
    }
}
