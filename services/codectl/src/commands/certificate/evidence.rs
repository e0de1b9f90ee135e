//! What gates measured: fetched from the engine, read from a folder, and told after they were judged again.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use certificate::{
    Deployment, Problem,
    evidence::{Evidence, Recount, Recounted},
};
use model::Digest;
use serde::Serialize;

use super::{files, told};
use crate::{cli::Global, connect::connect, failure::Failure, output::paint};

/// Exit status: what was done is good, and not all of it could be done.
const NOT_ALL: u8 = 4;

/// The documents that were written.
#[derive(Debug, Serialize)]
pub struct Fetched {
    /// Where they are.
    folder: PathBuf,
    /// Their names.
    files: Vec<String>,
    /// What could not be had, and why.
    missing: Vec<String>,
    /// Gates of which nothing was kept.
    unkept: usize,
}

/// Gets the documents of all gates from the engine and writes them into the folder.
pub async fn fetch(global: &Global, facts: &Deployment, folder: &Path) -> Result<Fetched, Failure> {
    let client = connect(global).await?;
    let digests: BTreeSet<&Digest> = facts.gates.iter().filter_map(|gate| gate.evidence.as_ref()).collect();
    let unkept = facts.gates.iter().filter(|gate| gate.evidence.is_none()).count();
    let mut fetched = Fetched { folder: folder.to_owned(), files: Vec::new(), missing: Vec::new(), unkept };
    fs::create_dir_all(folder)
        .map_err(|error| Failure::other(format!("making {}: {error}", folder.display())))?;
    for digest in digests {
        match client.evidence(digest).await {
            Ok(bytes) => {
                let name = format!("{}.json", digest.to_string().replace(':', "-"));
                files::put(&folder.join(&name), &bytes)?;
                fetched.files.push(name);
            }
            Err(error) => fetched.missing.push(format!("{digest}: {error}")),
        }
    }
    Ok(fetched)
}

impl Fetched {
    /// The exit status.
    pub fn status(&self) -> u8 {
        if self.missing.is_empty() && self.unkept == 0 { 0 } else { NOT_ALL }
    }

    /// For a person.
    pub fn lines(&self) -> Vec<String> {
        let wrote = |name: &String| format!("{} {}", paint::good("wrote"), self.folder.join(name).display());
        let mut lines: Vec<String> = self.files.iter().map(wrote).collect();
        lines.extend(self.missing.iter().map(|text| format!("{} {text}", paint::bad("missing"))));
        if self.unkept > 0 {
            lines.push(paint::warn(format!("of {} gates nothing was kept", self.unkept)));
        }
        lines
    }
}

/// Every file in the folder, and what is wrong with their names.
pub fn read(folder: &Path) -> Result<(Evidence, Vec<Problem>), Failure> {
    let failed = |error: std::io::Error| Failure::invalid(format!("reading {}: {error}", folder.display()));
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.path().is_file() {
            let bytes = fs::read(entry.path()).map_err(failed)?;
            found.push((entry.file_name().to_string_lossy().into_owned(), bytes));
        }
    }
    Ok(Evidence::of(found))
}

/// What makes the certificate invalid.
pub fn problems(gates: &[Recounted]) -> Vec<Problem> {
    let differs = gates.iter().filter(|gate| gate.result == Recount::Differs);
    let each = differs.flat_map(|gate| {
        gate.differences.iter().map(move |found| Problem {
            field: format!("{}.{}", gate.field, found.field),
            text: format!("{} of {}: {}", gate.gate, gate.step, found.text),
        })
    });
    each.collect()
}

/// The exit status when nothing differs.
pub fn status(gates: &[Recounted]) -> u8 {
    if gates.iter().all(|gate| gate.result == Recount::Recomputed) { 0 } else { NOT_ALL }
}

/// One line for each gate.
pub fn lines(gates: &[Recounted]) -> Vec<String> {
    let line = |(at, gate): (usize, &Recounted)| {
        let sign = match gate.result {
            Recount::Recomputed => paint::good("✓"),
            Recount::NotKept | Recount::Missing | Recount::Cut => paint::warn("?"),
            Recount::Differs => paint::bad("✗"),
        };
        let name = if at == 0 { "measured" } else { "" };
        let attempt = if gate.attempt > 1 { format!(", attempt {}", gate.attempt) } else { String::new() };
        told::row(
            name,
            format!("{sign} {} of {}{attempt} {}: {}", gate.gate, gate.step, gate.result, gate.text),
        )
    };
    gates.iter().enumerate().map(line).collect()
}
