//! Certificates and trust as files.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use certificate::{Certificate, Problem, Trust};

use crate::{cli::Global, failure::Failure, home::Home};

/// The bytes of a certificate's file, or of the one in an exported folder.
pub fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let path = if path.is_dir() { path.join("certificate.json") } else { path.to_owned() };
    fs::read(&path).map_err(|error| Failure::invalid(format!("reading {}: {error}", path.display())))
}

/// The parts of an exported folder that are not, byte for byte, those that its certificate encloses. What is missing is
/// no lie; keys and trust are not compared, because trust comes by another way.
pub fn changed_parts(bytes: &[u8], trust: &Trust, folder: &Path) -> Vec<Problem> {
    let Ok(certificate) = parse(bytes) else { return Vec::new() };
    let parts = certificate::files(&certificate, trust).into_iter();
    let parts = parts.filter(|(name, _)| name != "certificate.json" && !name.starts_with("trust/"));
    let differs = |name: &str, part: &[u8]| fs::read(folder.join(name)).is_ok_and(|found| found != part);
    let changed = parts.filter(|(name, part)| differs(name, part)).map(|(name, _)| Problem {
        field: name,
        text: "this file is not what the certificate encloses: it was changed after the export".to_owned(),
    });
    changed.collect()
}

/// A certificate, not verified.
pub fn parse(bytes: &[u8]) -> Result<Certificate, Failure> {
    serde_json::from_slice(bytes)
        .map_err(|error| Failure::invalid(format!("this is no certificate: {error}")))
}

/// Where the trust file of an engine's home is.
pub fn trust_file(global: &Global) -> PathBuf {
    Home::of(global).0.join("trust.json")
}

/// The trust file that was named, or that of the engine's home.
pub fn trust(global: &Global, named: Option<&Path>) -> Result<Trust, Failure> {
    let path = named.map_or_else(|| trust_file(global), Path::to_owned);
    let text = fs::read_to_string(&path).map_err(|error| {
        let hint = if error.kind() == io::ErrorKind::NotFound {
            "\n  get one once, from an engine that you trust: codectl certificate keys trust; --trust FILE names another one"
        } else {
            ""
        };
        Failure::invalid(format!("reading the trust file {}: {error}{hint}", path.display()))
    })?;
    Trust::read(&text)
        .map_err(|error| Failure::invalid(format!("{} is no trust file: {error}", path.display())))
}

/// Writes a file and the folders above it.
pub fn put(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(path, bytes));
    written.map_err(|error| Failure::other(format!("writing {}: {error}", path.display())))
}
