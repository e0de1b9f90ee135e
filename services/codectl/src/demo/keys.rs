//! The approver's key, and the file that says whose signatures count.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::failed;
use crate::failure::Failure;

/// Makes a key for the approver and the file that says whose keys count.
pub fn make_key(folder: &Path) -> Result<PathBuf, Failure> {
    let key = folder.join(WHO);
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", WHO, "-f"])
        .arg(&key)
        .output()
        .map_err(failed("running ssh-keygen (tools/setup.sh installs it)"))?;
    if !made.status.success() {
        return Err(Failure::other(format!("ssh-keygen: {}", String::from_utf8_lossy(&made.stderr).trim())));
    }
    let public = fs::read_to_string(key.with_extension("pub")).map_err(failed("reading a public key"))?;
    let signers = folder.join("allowed_signers");
    fs::write(&signers, format!("{WHO} {public}")).map_err(failed("writing allowed_signers"))?;
    Ok(signers)
}

/// Who approves.
pub const WHO: &str = "ann";
