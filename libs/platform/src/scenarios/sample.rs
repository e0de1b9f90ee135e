//! Compiles the sample program that the scenarios start.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use model::Digest;

const SOURCE: &str = include_str!("../../sample/main.rs");

/// The sample program, linked statically so that it also runs in an empty container. Compiled once per version of its
/// source, with the `rustc` in the path, and kept in the folder for temporary files.
pub fn program() -> PathBuf {
    let folder =
        std::env::temp_dir().join(format!("code-sample-{}", Digest::of_bytes(SOURCE.as_bytes()).short()));
    let program = folder.join("sample");
    if !program.exists() {
        compile(&folder, &program);
    }
    program
}

fn compile(folder: &Path, program: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    let own = tempfile_name();
    let (source, made) = (folder.join(format!("{own}.rs")), folder.join(&own));
    std::fs::write(&source, SOURCE).unwrap();
    let mut rustc = Command::new("rustc");
    rustc.args(["--edition", "2024", "--crate-name", "sample", "-C", "opt-level=1", "-C", "strip=symbols"]);
    rustc.args(["-C", "panic=abort", "-C", "target-feature=+crt-static", "-o"]).arg(&made).arg(&source);
    let output = rustc.output().expect("rustc in the path, to compile the sample program");
    assert!(output.status.success(), "rustc: {}", String::from_utf8_lossy(&output.stderr));
    std::fs::rename(&made, program).unwrap();
    std::fs::remove_file(&source).unwrap();
}

fn tempfile_name() -> String {
    model::DeploymentId::new().to_string()
}
