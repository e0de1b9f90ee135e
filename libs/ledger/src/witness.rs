//! Witnesses: they cosign a log's checkpoint only when it extends the last one they cosigned.

use std::{collections::BTreeMap, fmt, path::PathBuf, str::FromStr};

use nix::fcntl::{Flock, FlockArg};
use parking_lot::Mutex;

use crate::{
    Checkpoint, ConsistencyProof, Error, NoteSignature, SignedCheckpoint, SigningKey, VerifyingKey, disk,
    text,
};

const WHAT: &str = "request to a witness";
/// As the protocol allows.
const MAX_HASHES: usize = 63;

/// What a log asks of a witness: the body of `add-checkpoint`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size the witness cosigned last, as the log believes.
    pub old: u64,
    /// That the checkpoint extends it.
    pub proof: Vec<crate::Hash>,
    /// What is to be cosigned.
    pub checkpoint: SignedCheckpoint,
}

/// Why a witness does not cosign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not a request of the protocol.
    Malformed(String),
    /// The log is not known here.
    UnknownLog,
    /// The log's own signature is missing or wrong.
    BadSignature(String),
    /// It was another size that was cosigned last: this one. Or the same size with another root.
    Conflict(u64),
    /// It does not extend what was cosigned: the log forked, or the proof is wrong.
    Inconsistent(String),
    /// It could not be persisted, so it was not signed.
    Unavailable(String),
}

impl Refusal {
    /// The HTTP status of the protocol.
    pub const fn status(&self) -> u16 {
        match self {
            Refusal::Malformed(_) => 400,
            Refusal::UnknownLog => 404,
            Refusal::BadSignature(_) => 403,
            Refusal::Conflict(_) => 409,
            Refusal::Inconsistent(_) => 422,
            Refusal::Unavailable(_) => 503,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Malformed(why)
            | Refusal::BadSignature(why)
            | Refusal::Inconsistent(why)
            | Refusal::Unavailable(why) => f.write_str(why),
            Refusal::UnknownLog => f.write_str("the log is not known here"),
            // The body that the protocol wants.
            Refusal::Conflict(size) => write!(f, "{size}"),
        }
    }
}

/// Decides whether a checkpoint may be cosigned. Pure: `last` is what was cosigned last for its origin.
pub fn decide(
    request: &AddCheckpoint,
    keys: &[VerifyingKey],
    last: Option<&Checkpoint>,
) -> Result<Checkpoint, Refusal> {
    let checkpoint = request.checkpoint.unverified();
    if !keys.iter().any(|key| key.name() == checkpoint.origin) {
        return Err(Refusal::UnknownLog);
    }
    request.checkpoint.verify_log(keys).map_err(|error| Refusal::BadSignature(error.to_string()))?;
    if request.old > checkpoint.size {
        return Err(Refusal::Malformed(format!(
            "the old size {} is beyond {}",
            request.old, checkpoint.size
        )));
    }
    let (size, root) = last.map_or((0, crate::tree::empty_root()), |last| (last.size, last.root));
    if request.old != size || (size == checkpoint.size && root != checkpoint.root) {
        return Err(Refusal::Conflict(size));
    }
    let proof = ConsistencyProof { old: size, new: checkpoint.size, hashes: request.proof.clone() };
    proof.verify(&root, &checkpoint.root).map_err(|error| Refusal::Inconsistent(error.to_string()))?;
    Ok(checkpoint.clone())
}

/// A witness: its keys, the logs it knows, and where it keeps what it cosigned.
pub type Witness = WitnessFile;

/// A witness whose memory is a folder. Two processes cannot share the folder.
pub struct WitnessFile {
    folder: PathBuf,
    keys: Vec<SigningKey>,
    logs: Vec<VerifyingKey>,
    /// By origin, what was cosigned last. Held while a request is judged, so that check and change are one.
    last: Mutex<BTreeMap<String, Checkpoint>>,
    _lock: Flock<std::fs::File>,
}

impl WitnessFile {
    /// A witness with its memory of before.
    pub fn open(
        folder: impl Into<PathBuf>,
        keys: Vec<SigningKey>,
        logs: Vec<VerifyingKey>,
    ) -> Result<WitnessFile, Error> {
        let folder = folder.into();
        if let Some(key) = keys.iter().find(|key| !key.verifying_key().kind().is_timestamped()) {
            let why = format!("{} is not a cosigner's kind of key", key.verifying_key().name());
            return Err(Error::format("witness", why));
        }
        std::fs::create_dir_all(&folder).map_err(Error::io("making the folder", &folder))?;
        let path = folder.join("lock");
        let file = std::fs::File::create(&path).map_err(Error::io("making", &path))?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|_| Error::Inconsistent(format!("another witness uses {}", folder.display())))?;
        let mut last = BTreeMap::new();
        for origin in logs.iter().map(VerifyingKey::name) {
            let path = memory(&folder, origin);
            if let Some(bytes) = disk::read_if_there(&path)? {
                let text = String::from_utf8_lossy(&bytes);
                let checkpoint: Checkpoint = text.parse()?;
                if checkpoint.origin != origin {
                    return Err(Error::Inconsistent(format!(
                        "{} is of {}",
                        path.display(),
                        checkpoint.origin
                    )));
                }
                last.insert(origin.to_owned(), checkpoint);
            }
        }
        Ok(WitnessFile { folder, keys, logs, last: Mutex::new(last), _lock: lock })
    }

    /// Cosigns a checkpoint that extends what it knows; what it cosigned is on disk before the answer exists. `time`:
    /// seconds since 1970.
    pub fn add(&self, request: &AddCheckpoint, time: u64) -> Result<Vec<NoteSignature>, Refusal> {
        let mut last = self.last.lock();
        let origin = &request.checkpoint.unverified().origin;
        let checkpoint = decide(request, &self.logs, last.get(origin))?;
        let unavailable = |error: Error| Refusal::Unavailable(error.to_string());
        if last.get(origin) != Some(&checkpoint) {
            disk::write_durably(&memory(&self.folder, origin), checkpoint.to_string().as_bytes())
                .map_err(unavailable)?;
            last.insert(origin.clone(), checkpoint.clone());
        }
        self.keys.iter().map(|key| key.sign(&checkpoint, time).map_err(unavailable)).collect()
    }

    /// What it cosigned last, by origin.
    pub fn latest(&self) -> Vec<Checkpoint> {
        self.last.lock().values().cloned().collect()
    }

    /// Its public keys.
    pub fn keys(&self) -> impl Iterator<Item = &VerifyingKey> {
        self.keys.iter().map(SigningKey::verifying_key)
    }
}

impl fmt::Debug for WitnessFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Witness({})", self.folder.display())
    }
}

fn memory(folder: &std::path::Path, origin: &str) -> PathBuf {
    use sha2::{Digest as _, Sha256};
    folder.join(format!("{}.checkpoint", hex::encode(Sha256::digest(origin))))
}

impl FromStr for AddCheckpoint {
    type Err = Error;

    fn from_str(body: &str) -> Result<AddCheckpoint, Error> {
        let bad = |why: &str| Error::format(WHAT, why);
        let (head, checkpoint) =
            body.split_once("\n\n").ok_or_else(|| bad("no blank line before the checkpoint"))?;
        let mut lines = head.split('\n');
        let old =
            lines.next().and_then(|line| line.strip_prefix("old ")).ok_or_else(|| bad("no line `old`"))?;
        let old = text::decimal(WHAT, old)?;
        let proof = lines.map(|line| text::hash(WHAT, line)).collect::<Result<Vec<_>, _>>()?;
        if proof.len() > MAX_HASHES {
            return Err(bad("more than 63 hashes"));
        }
        Ok(AddCheckpoint { old, proof, checkpoint: checkpoint.parse()? })
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

#[cfg(test)]
mod tests;
