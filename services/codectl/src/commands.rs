//! One file per group of commands.

pub mod act;
pub mod apply;
pub mod events;
pub mod local;
pub mod plan;
pub mod show;
pub mod target;
pub mod watch;

use std::{fs, io::Read, path::Path};

use crate::failure::Failure;

/// The text of a file; `-` is standard input.
pub fn read(file: &Path) -> Result<String, Failure> {
    let failed = |error: std::io::Error| Failure::invalid(format!("reading {}: {error}", file.display()));
    if file.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(failed)?;
        return Ok(text);
    }
    fs::read_to_string(file).map_err(failed)
}
