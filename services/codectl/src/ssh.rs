//! Makes SSH signatures: by the user's agent, in one request, or by `ssh-keygen`, which asks for passphrases itself. No private
//! key is ever read here.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use approval::{NAMESPACE, Signers, fingerprint, sshsig};

use crate::failure::Failure;

/// Longest answer of an agent in bytes.
const MOST: u32 = 256 * 1024;
/// How long an agent may take: a hardware key waits for a finger.
const PATIENCE: Duration = Duration::from_secs(60);

const LIST: u8 = 11;
const LISTED: u8 = 12;
const SIGN: u8 = 13;
const SIGNED: u8 = 14;

/// Signs by the agent, with the one key of this person that it holds.
pub fn by_agent(who: &str, signers: &Signers, statement: &[u8]) -> Result<String, Failure> {
    const ELSE: &str =
        "name a key with --key FILE, or print the statement with --print and sign it elsewhere";
    let socket = std::env::var_os("SSH_AUTH_SOCK").filter(|socket| !socket.is_empty());
    let Some(socket) = socket else {
        return Err(Failure::other(format!(
            "no ssh-agent to sign by: SSH_AUTH_SOCK is not set\n  start one (eval $(ssh-agent); ssh-add), {ELSE}"
        )));
    };
    let failed = |what: &str, error: std::io::Error| {
        Failure::other(format!("the ssh-agent at {} {what}: {error}\n  {ELSE}", socket.display()))
    };
    let mut agent = UnixStream::connect(&socket).map_err(|error| failed("cannot be reached", error))?;
    let patience =
        || agent.set_read_timeout(Some(PATIENCE)).and_then(|()| agent.set_write_timeout(Some(PATIENCE)));
    patience().map_err(|error| failed("cannot be reached", error))?;

    let listed =
        ask(&mut agent, LIST, &[], LISTED).map_err(|error| failed("did not list its keys", error))?;
    let held = keys(&listed)
        .ok_or_else(|| Failure::other("the ssh-agent lists its keys in a way that cannot be read"))?;
    let theirs: Vec<&[u8]> = signers.of(who).map(|signer| signer.key.blob()).collect();
    let fit: Vec<&Vec<u8>> = held.iter().filter(|key| theirs.contains(&key.as_slice())).collect();
    let key = match fit.as_slice() {
        [key] => *key,
        [] => return Err(Failure::other(none_fits(who, &theirs, &held))),
        several => {
            let several: Vec<String> = several.iter().map(|key| fingerprint(key)).collect();
            return Err(Failure::other(format!(
                "the ssh-agent holds several keys of {who}: {}\n  name one with --key FILE; its .pub file will do",
                several.join(", ")
            )));
        }
    };
    let data = sshsig::signed(NAMESPACE, "sha512", statement).unwrap_or_default();
    let mut request = Vec::new();
    for part in [key.as_slice(), data.as_slice()] {
        request.extend_from_slice(&length(part));
        request.extend_from_slice(part);
    }
    request.extend_from_slice(&0_u32.to_be_bytes());
    let answer = ask(&mut agent, SIGN, &request, SIGNED).map_err(|error| failed("did not sign", error))?;
    let (signature, _) =
        part(&answer).ok_or_else(|| Failure::other("the ssh-agent's signature cannot be read"))?;
    Ok(sshsig::file(key, NAMESPACE, signature))
}

fn none_fits(who: &str, theirs: &[&[u8]], held: &[Vec<u8>]) -> String {
    let list = |keys: Vec<String>| if keys.is_empty() { "none".to_owned() } else { keys.join(", ") };
    let theirs_shown = list(theirs.iter().map(|key| fingerprint(key)).collect());
    let held = list(held.iter().map(|key| fingerprint(key)).collect());
    let cure = if theirs.is_empty() {
        "say who you are with --as NAME, or have the operator add a line for you to the file of signers"
    } else {
        "add one with ssh-add, name it with --key FILE, or say who you are with --as NAME"
    };
    format!(
        "the ssh-agent holds no key of {who}\n  keys of {who} that count: {theirs_shown}; held: {held}\n  {cure}"
    )
}

/// One request and its answer of this kind.
fn ask(agent: &mut UnixStream, kind: u8, body: &[u8], expected: u8) -> std::io::Result<Vec<u8>> {
    let wrong = |why: String| std::io::Error::other(why);
    let mut request = vec![kind];
    request.extend_from_slice(body);
    agent.write_all(&length(&request))?;
    agent.write_all(&request)?;
    let mut head = [0_u8; 5];
    agent.read_exact(&mut head)?;
    let [one, two, three, four, kind] = head;
    let size = u32::from_be_bytes([one, two, three, four]);
    if !(1..=MOST).contains(&size) {
        return Err(wrong(format!("it answers with {size} bytes, at most {MOST} are read")));
    }
    let mut answer = vec![0; size as usize - 1];
    agent.read_exact(&mut answer)?;
    if kind == expected {
        Ok(answer)
    } else {
        Err(wrong(format!("it answers {kind} and not {expected}: it refuses")))
    }
}

fn length(part: &[u8]) -> [u8; 4] {
    u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes()
}

fn part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (size, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_be_bytes(*size) as usize)
}

/// The keys of a list: each with a comment.
fn keys(listed: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (count, mut rest) = listed.split_first_chunk::<4>()?;
    let mut keys = Vec::new();
    for _ in 0..u32::from_be_bytes(*count) {
        let (key, after) = part(rest)?;
        let (_, after) = part(after)?;
        keys.push(key.to_vec());
        rest = after;
    }
    Some(keys)
}

/// Signs by `ssh-keygen -Y sign`: a file with a private key, or a `.pub` file whose key an agent holds.
pub fn by_keygen(key: &Path, statement: &[u8]) -> Result<String, Failure> {
    let command = format!("ssh-keygen -Y sign -n {NAMESPACE} -f {}", key.display());
    let failed = |why: String| Failure::other(format!("{command}: {why}"));
    let mut child = Command::new("ssh-keygen")
        .args(["-q", "-Y", "sign", "-n", NAMESPACE, "-f"])
        .arg(key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed(format!("{error}\n  install OpenSSH: apt-get install openssh-client")))?;
    if let Some(mut input) = child.stdin.take() {
        // It may have ended already, and then says itself why.
        _ = input.write_all(statement);
    }
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(format!("it did not sign ({}); what it said stands above", output.status)));
    }
    String::from_utf8(output.stdout).map_err(|_| failed("what it wrote is no signature".to_owned()))
}
