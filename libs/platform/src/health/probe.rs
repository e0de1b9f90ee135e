//! Asking an instance how it is.

use std::time::Duration;

use model::{TargetId, spec::Probe};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{Error, Instance, Platform, Result};

/// The most that is read of an answer: its first line fits.
const ANSWER_BYTES: u64 = 4096;

/// Asks once. Ok(Ok) means well; Ok(Err) says why not; Err is trouble of the driver that says nothing about the
/// instance. A platform behind a proxy or without a network overrides [`Platform::probe`] instead.
pub async fn probe<P: Platform + ?Sized>(
    platform: &P,
    target: &TargetId,
    instance: &Instance,
    probe: &Probe,
    timeout: Duration,
) -> Result<std::result::Result<(), String>> {
    let (port, path) = match probe {
        Probe::Command(command) => return run(platform, target, instance, command, timeout).await,
        Probe::Http { path, port } => (port, Some(path)),
        Probe::Tcp { port } => (port, None),
    };
    let Some(address) = instance.address(port.as_ref()) else {
        let name = port.as_ref().map_or("first", |name| name.as_str());
        return Ok(Err(format!("instance {} has no address for port {name}", instance.id)));
    };
    let asked = async {
        match path {
            Some(path) => get(address, path).await,
            None => TcpStream::connect(address)
                .await
                .map(drop)
                .map_err(|error| format!("connect to {address}: {error}")),
        }
    };
    match tokio::time::timeout(timeout, asked).await {
        Ok(answer) => Ok(answer),
        Err(_) => Ok(Err(format!("no answer from {address} in {} ms", timeout.as_millis()))),
    }
}

async fn run<P: Platform + ?Sized>(
    platform: &P,
    target: &TargetId,
    instance: &Instance,
    command: &[String],
    timeout: Duration,
) -> Result<std::result::Result<(), String>> {
    match platform.exec(target, &instance.id, command, timeout).await {
        Ok(0) => Ok(Ok(())),
        Ok(status) => Ok(Err(format!("command ended with status {status}"))),
        Err(error) => match error {
            Error::Timeout { .. }
            | Error::NotRunning { .. }
            | Error::NoInstance { .. }
            | Error::ArtefactMissing { .. }
            | Error::Invalid { .. } => Ok(Err(error.to_string())),
            error => Err(error),
        },
    }
}

/// A GET that reads no more than the status line; 200 to 399 is well.
async fn get(address: &str, path: &str) -> std::result::Result<(), String> {
    if !path.starts_with('/') || path.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') {
        return Err(format!("path {path:?} is no path of a request"));
    }
    let said = |error: std::io::Error| format!("GET {address}{path}: {error}");
    let mut stream = TcpStream::connect(address).await.map_err(said)?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: code-probe\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.map_err(said)?;
    let mut answer = Vec::new();
    let mut reader = stream.take(ANSWER_BYTES);
    while !answer.contains(&b'\n') && reader.read_buf(&mut answer).await.map_err(said)? > 0 {}
    let line = answer.split(|byte| *byte == b'\r' || *byte == b'\n').next().unwrap_or_default();
    match status_of(line) {
        Some(200..=399) => Ok(()),
        Some(status) => Err(format!("GET {address}{path} answered {status}")),
        None => Err(format!("GET {address}{path} answered no HTTP")),
    }
}

fn status_of(line: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(line).ok()?;
    let rest = line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 "))?;
    rest.get(..3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn answer(with: &'static str) -> std::result::Result<(), String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0u8; 1024];
            let read = stream.read(&mut asked).await.unwrap();
            assert!(asked[..read].starts_with(b"GET /healthz HTTP/1.1\r\n"));
            stream.write_all(with.as_bytes()).await.unwrap();
        };
        tokio::join!(get(&address, "/healthz"), serve).0
    }

    #[tokio::test]
    async fn two_and_three_hundreds_are_well_and_the_rest_is_not() {
        assert_eq!(answer("HTTP/1.1 204 No Content\r\n\r\n").await, Ok(()));
        assert_eq!(answer("HTTP/1.0 302 Found\r\n\r\n").await, Ok(()));
        assert!(answer("HTTP/1.1 503 Busy\r\n\r\n").await.unwrap_err().ends_with("answered 503"));
        assert!(answer("SSH-2.0-x\r\n").await.unwrap_err().ends_with("answered no HTTP"));
        assert!(answer("").await.is_err());
    }

    #[tokio::test]
    async fn a_path_cannot_smuggle_a_second_request() {
        assert!(get("127.0.0.1:1", "/a\r\nX: y").await.unwrap_err().contains("is no path"));
    }
}
