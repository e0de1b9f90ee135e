//! The only way for a test to say that it cannot run here.

use std::{fs::OpenOptions, io::Write as _};

/// Says that the running test did not test: `what` is missing, `cure` gets it. The caller returns afterwards.
///
/// With `CI=true` this fails the test: there, `tools/setup.sh --all` has installed everything, so what is missing is a
/// fault. Elsewhere it prints one line and, when `CODE_SKIPPED` names a file, adds the line to it, so that
/// `tools/test.sh` counts the test as skipped and not as passed.
pub fn skip(what: &str, cure: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let line = format!("SKIPPED: {test}: {what}; {cure}");
    if std::env::var("CI").is_ok_and(|ci| ci == "true") {
        panic!("{line} (with CI=true nothing may be skipped)");
    }
    #[allow(clippy::print_stderr, reason = "for whoever reads the output of the test")]
    {
        eprintln!("{line}");
    }
    if let Some(file) = std::env::var_os("CODE_SKIPPED") {
        // One short write to a file opened for appending: lines of tests that run at once do not mix.
        let noted = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&file)
            .and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
        if let Err(error) = noted {
            panic!("{}: {error}", file.display());
        }
    }
}
