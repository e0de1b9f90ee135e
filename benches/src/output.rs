//! Tables in the terminal and figures in files.
#![allow(clippy::print_stdout, reason = "the output of the measuring programs")]

use std::{fs, io::IsTerminal, path::Path};

use anyhow::{Context, Result};
use comfy_table::{Attribute, Cell, CellAlignment, Color, Table, presets::UTF8_FULL_CONDENSED};

use crate::{
    Options,
    figure::{Aim, Figure, Measured},
    machine,
};

/// One line.
pub fn line(text: impl AsRef<str>) {
    println!("{}", text.as_ref());
}

/// A line that tells how far it is, on the terminal only.
pub fn progress(text: impl AsRef<str>) {
    if std::io::stderr().is_terminal() {
        #[allow(clippy::print_stderr, reason = "progress")]
        {
            eprintln!("  … {}", text.as_ref());
        }
    }
}

/// Prints the figures, and writes them where the options say.
pub fn finish(program: &str, command: &str, options: &Options, figures: Vec<Figure>) -> Result<()> {
    let measured = Measured {
        program: program.to_owned(),
        command: command.to_owned(),
        quick: options.quick,
        load: machine::load(),
        figures,
    };
    table(std::slice::from_ref(&measured));
    if let Some(file) = &options.json {
        save(file, &measured)?;
    }
    Ok(())
}

/// Writes a value as JSON. Its folder is made.
pub fn save(file: &Path, value: &impl serde::Serialize) -> Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    fs::write(file, serde_json::to_vec_pretty(value)?).with_context(|| format!("writing {}", file.display()))
}

/// Prints figures as one table.
pub fn table(all: &[Measured]) {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED);
    table.set_header(["figure", "ours", "baseline", "", "ratio", "aim", "ok?"]);
    for measured in all {
        for figure in &measured.figures {
            let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
            let (value, name) = match &figure.baseline {
                Some(baseline) => (number(baseline.value), baseline.name.clone()),
                None => (String::new(), String::new()),
            };
            let ok = match figure.is_met() {
                Some(true) => Cell::new("yes").fg(Color::Green),
                Some(false) => Cell::new("NO").fg(Color::Red).add_attribute(Attribute::Bold),
                None => Cell::new(""),
            };
            table.add_row([
                Cell::new(&figure.name),
                right(format!("{} {}", number(figure.ours), figure.unit)),
                right(value),
                Cell::new(name),
                right(ratio(figure)),
                Cell::new(aim(figure)),
                ok,
            ]);
        }
    }
    line(table.to_string());
    for measured in all {
        let size = if measured.quick { "small rounds" } else { "full rounds" };
        line(format!(
            "{}: {size}, load {:.1} at its end; again by {}",
            measured.program, measured.load, measured.command
        ));
        for figure in measured.figures.iter().filter(|figure| !figure.note.is_empty()) {
            line(format!("  {}: {}", figure.name, figure.note));
        }
    }
}

/// The ratio with the spread of its rounds.
pub fn ratio(figure: &Figure) -> String {
    match (figure.ratio, figure.spread) {
        (Some(ratio), Some((low, high))) => format!("{ratio:.2} ({low:.2} to {high:.2})"),
        (Some(ratio), None) if ratio >= 100.0 => format!("{ratio:.0}"),
        (Some(ratio), None) => format!("{ratio:.2}"),
        (None, _) => String::new(),
    }
}

/// The aim in words.
pub fn aim(figure: &Figure) -> String {
    match figure.aim {
        Aim::Ratio(least) => format!("ratio ≥ {}", number(least)),
        Aim::AtMost(most) => format!("≤ {} {}", number(most), figure.unit),
        Aim::AtLeast(least) => format!("≥ {} {}", number(least), figure.unit),
        Aim::None => String::new(),
    }
}

/// Three significant digits, thousands apart.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return "none".to_owned();
    }
    let size = value.abs();
    if size >= 1000.0 {
        let digits = format!("{:.0}", size);
        let mut text = String::new();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                text.push(' ');
            }
            text.push(digit);
        }
        return if value < 0.0 { format!("-{text}") } else { text };
    }
    let decimals = match size {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 4,
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_readable() {
        let texts = [0.0, 0.9, 0.0123, 5.678, 43.21, 432.1, 1234.0, 7_654_321.0, -1234.0].map(number);

        assert_eq!(texts, ["0", "0.9", "0.0123", "5.68", "43.2", "432", "1 234", "7 654 321", "-1 234"]);
    }
}
