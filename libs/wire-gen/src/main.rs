//! Makes `libs/wire/src/gen` from `proto/`: run `cargo run -p wire-gen` after a change of a `.proto` file.
//!
//! It needs no protoc. Beside the Rust code it writes the hash of what it read, which a test of `wire` compares with
//! the files, so that forgetting this step fails a test. It must never be a dependency of anything.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let proto = root.join("proto");
    let out = root.join("libs/wire/src/gen");
    let files = proto_files(&proto)?;

    let descriptors = protox::compile(&files, [&proto]).context("compiling the proto files")?;
    fs::create_dir_all(&out).with_context(|| format!("making {}", out.display()))?;
    prost_build::Config::new()
        .out_dir(&out)
        .btree_map(["."])
        .compile_fds(descriptors)
        .context("generating code")?;
    fs::write(out.join("proto.sha256"), hash(&files)? + "\n").context("writing the hash")?;
    Ok(())
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
