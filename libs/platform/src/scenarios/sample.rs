//! Compiles the programs that the scenarios need: the sample that they start, and what keeps its output.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use model::Digest;

const SAMPLE: &str = include_str!("../../sample/main.rs");
const KEEPER: &str = include_str!("../../../sandbox/src/output/keeper.rs");
/// The start of the keeper where the engine's own start is not at hand.
const KEEPER_MAIN: &str =
    "fn main() -> io::Result<()> { keep(std::env::args().nth(1).unwrap().parse().unwrap()) }";

/// The sample program, linked statically so that it also runs in an empty container. Compiled once per version of its
/// source, with the `rustc` in the path, and kept in the folder for temporary files.
pub fn program() -> PathBuf {
    made("sample", SAMPLE)
}

/// Lets a test's process start instances: a program of its own keeps their output, since a test is none that could be
/// started again for that.
pub fn keep_output() {
    sandbox::output::keep_with(made("keeper", &format!("{KEEPER}\n{KEEPER_MAIN}\n")));
}

fn made(name: &str, source: &str) -> PathBuf {
    let digest = Digest::of_bytes(source.as_bytes());
    let folder = std::env::temp_dir().join(format!("code-{name}-{}", digest.short()));
    let program = folder.join(name);
    if !program.exists() {
        compile(&folder, &program, source);
    }
    program
}

fn compile(folder: &Path, program: &Path, text: &str) {
    std::fs::create_dir_all(folder).unwrap();
    let own = tempfile_name();
    let (source, made) = (folder.join(format!("{own}.rs")), folder.join(&own));
    std::fs::write(&source, text).unwrap();
    let mut rustc = Command::new("rustc");
    rustc.args(["--edition", "2024", "--crate-name", "sample", "-C", "opt-level=1", "-C", "strip=symbols"]);
    rustc.args(["-C", "panic=abort", "-C", "target-feature=+crt-static", "-o"]).arg(&made).arg(&source);
    let output = rustc.output().expect("rustc in the path, to compile what the tests start");
    assert!(output.status.success(), "rustc: {}", String::from_utf8_lossy(&output.stderr));
    std::fs::rename(&made, program).unwrap();
    std::fs::remove_file(&source).unwrap();
}

fn tempfile_name() -> String {
    model::DeploymentId::new().to_string()
}
