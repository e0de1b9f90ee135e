//! The committed code belongs to the proto files.

use std::{fs, path::Path};

use sha2::{Digest, Sha256};

#[test]
fn the_generated_code_was_made_from_the_proto_files_as_they_are() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<_> = fs::read_dir(here.join("../../proto/code/v1"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "proto"))
        .collect();
    files.sort();

    let mut hasher = Sha256::new();
    for file in &files {
        hasher.update(file.file_name().unwrap().as_encoded_bytes());
        hasher.update([0]);
        hasher.update(fs::read(file).unwrap());
        hasher.update([0]);
    }

    let committed = fs::read_to_string(here.join("src/gen/proto.sha256")).unwrap();
    assert_eq!(hex::encode(hasher.finalize()), committed.trim(), "run: cargo run -p wire-gen");
}
