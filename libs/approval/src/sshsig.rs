//! SSHSIG, the signatures of `ssh-keygen -Y sign` (PROTOCOL.sshsig of OpenSSH).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256, Sha512};

use crate::{
    key::Key,
    parts::{Parts, put},
    refusal::Refusal,
};

const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";
const MAGIC: &[u8] = b"SSHSIG";
/// Longest file in bytes.
const MOST: usize = 8192;

/// A signature that was read, and not verified yet.
#[derive(Debug)]
pub(crate) struct Sshsig {
    pub(crate) key: Key,
    namespace: String,
    hash: String,
    signature: Vec<u8>,
}

impl Sshsig {
    pub(crate) fn read(file: &str) -> Result<Sshsig, Refusal> {
        let wrong = |why: &str| Refusal::Signature(why.to_owned());
        if file.len() > MOST {
            return Err(wrong("it has more than 8192 bytes"));
        }
        let body = file.trim().strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END));
        let body = body.ok_or_else(|| {
            wrong("it is no file of ssh-keygen -Y sign: it does not begin with -----BEGIN SSH SIGNATURE----- and end with its END")
        })?;
        let text: String = body.split(['\n', '\r']).collect();
        let bytes = STANDARD.decode(text).map_err(|_| wrong("what is between BEGIN and END is no base64"))?;
        let cut = || wrong("it is cut off");
        let mut parts = Parts::new(&bytes);
        if parts.take(MAGIC.len()) != Some(MAGIC) {
            return Err(wrong("it does not begin with SSHSIG"));
        }
        let version = parts.number().ok_or_else(cut)?;
        if version != 1 {
            return Err(wrong(&format!("it is of version {version}, expected 1")));
        }
        let key = Key::from_blob(parts.part().ok_or_else(cut)?);
        let namespace = parts.text().ok_or_else(cut)?.to_owned();
        let reserved = parts.part().ok_or_else(cut)?;
        let hash = parts.text().ok_or_else(cut)?.to_owned();
        let signature = parts.part().ok_or_else(cut)?.to_vec();
        if !parts.is_done() {
            return Err(wrong("bytes follow after its end"));
        }
        if !reserved.is_empty() {
            return Err(wrong("its reserved part is not empty"));
        }
        Ok(Sshsig {
            key: key.map_err(|error| wrong(&format!("its key {error}")))?,
            namespace,
            hash,
            signature,
        })
    }

    /// Holds it against the exact bytes.
    pub(crate) fn verify(&self, namespace: &str, message: &[u8], verified: bool) -> Result<(), Refusal> {
        if self.namespace != namespace {
            return Err(Refusal::Namespace { found: self.namespace.clone() });
        }
        let bytes = signed(namespace, &self.hash, message).ok_or_else(|| {
            Refusal::Signature(format!("its hash is {:?}, expected sha512 or sha256", self.hash))
        })?;
        self.key.verifies(&bytes, &self.signature, verified).map_err(|why| Refusal::Signature(why.to_owned()))
    }
}

/// The bytes that a key signs for `message`; none for a hash that there is not.
pub fn signed(namespace: &str, hash: &str, message: &[u8]) -> Option<Vec<u8>> {
    let digest = match hash {
        "sha512" => Sha512::digest(message).to_vec(),
        "sha256" => Sha256::digest(message).to_vec(),
        _ => return None,
    };
    let mut bytes = MAGIC.to_vec();
    for part in [namespace.as_bytes(), b"", hash.as_bytes(), &digest] {
        put(&mut bytes, part);
    }
    Some(bytes)
}

/// The file of a signature that an agent made with `key` over [`signed`] with `sha512`.
pub fn file(key: &[u8], namespace: &str, signature: &[u8]) -> String {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&1_u32.to_be_bytes());
    for part in [key, namespace.as_bytes(), b"", b"sha512", signature] {
        put(&mut bytes, part);
    }
    let text = STANDARD.encode(bytes);
    let mut file = format!("{BEGIN}\n");
    for line in text.as_bytes().chunks(70) {
        file.extend(line.iter().map(|byte| char::from(*byte)));
        file.push('\n');
    }
    file + END + "\n"
}
