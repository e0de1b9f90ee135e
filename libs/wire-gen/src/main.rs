//! Makes `libs/wire/src/gen` from `proto/`: run `cargo run -p wire-gen` after a change of a `.proto` file. With `--check` it
//! writes nothing there, and ends with an error that names each file that would be another one.
//!
//! It needs no protoc. Beside the Rust code it writes the hash of what it read, which a test of `wire` compares with
//! the files, so that forgetting this step fails a test. It must never be a dependency of anything.

use std::{
    collections::BTreeSet,
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process,
};

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let committed = root.join("libs/wire/src/gen");
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => generate(&root.join("proto"), &committed),
        ["--check"] => {
            let scratch = env::temp_dir().join(format!("wire-gen-{}", process::id()));
            let outcome =
                generate(&root.join("proto"), &scratch).and_then(|()| compare(&scratch, &committed));
            let _ = fs::remove_dir_all(&scratch);
            outcome
        }
        _ => bail!("usage: wire-gen [--check], not {arguments:?}"),
    }
}

/// Writes the code and the hash of what it was made from.
fn generate(proto: &Path, out: &Path) -> Result<()> {
    let files = proto_files(proto)?;
    let descriptors = protox::compile(&files, [proto]).context("compiling the proto files")?;
    fs::create_dir_all(out).with_context(|| format!("making {}", out.display()))?;
    prost_build::Config::new()
        .out_dir(out)
        .btree_map(["."])
        .compile_fds(descriptors)
        .context("generating code")?;
    fs::write(out.join("proto.sha256"), hash(&files)? + "\n").context("writing the hash")?;
    Ok(())
}

/// An error when a file is missing, is there in vain or differs.
fn compare(made: &Path, committed: &Path) -> Result<()> {
    let differs = |name: &OsString| fs::read(made.join(name)).ok() != fs::read(committed.join(name)).ok();
    let all: BTreeSet<OsString> = names(made)?.union(&names(committed)?).cloned().collect();
    let wrong: Vec<_> = all.into_iter().filter(differs).collect();
    ensure!(wrong.is_empty(), "{wrong:?} in {} differ: run wire-gen", committed.display());
    Ok(())
}

fn names(folder: &Path) -> Result<BTreeSet<OsString>> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    Ok(entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<_, _>>()?)
}

/// Every `.proto` file of the package, sorted by name.
fn proto_files(proto: &Path) -> Result<Vec<PathBuf>> {
    let folder = proto.join("code/v1");
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The same sum as in the test of `wire`: name, a zero byte, content and a zero byte of every file in order.
fn hash(files: &[PathBuf]) -> Result<String> {
    let mut hasher = Sha256::new();
    for file in files {
        hasher.update(file.file_name().unwrap_or_default().as_encoded_bytes());
        hasher.update([0]);
        hasher.update(fs::read(file)?);
        hasher.update([0]);
    }
    Ok(hex::encode(hasher.finalize()))
}
