//! A stranger on the bus: bytes on any subject, without any of the care of `bus`.

use anyhow::{Context, Result, ensure};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// Publishes these bytes as they are, without headers. The server has taken them in when this returns.
pub async fn publish(url: &str, subject: &str, payload: &[u8]) {
    if let Err(error) = say(url, subject, payload).await {
        panic!("publishing on {subject} at {url}: {error:#}");
    }
}

async fn say(url: &str, subject: &str, payload: &[u8]) -> Result<()> {
    let mut stream = BufReader::new(TcpStream::connect(url.trim_start_matches("nats://")).await?);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    ensure!(line.starts_with("INFO "), "the server greets with {line:?}");
    let mut words = b"CONNECT {\"verbose\":false,\"pedantic\":false,\"name\":\"stranger\"}\r\n".to_vec();
    words.extend_from_slice(format!("PUB {subject} {}\r\n", payload.len()).as_bytes());
    words.extend_from_slice(payload);
    words.extend_from_slice(b"\r\nPING\r\n");
    stream.write_all(&words).await?;
    loop {
        line.clear();
        ensure!(stream.read_line(&mut line).await.context("waiting for PONG")? > 0, "the server hung up");
        ensure!(!line.starts_with("-ERR"), "the server says {line:?}");
        if line.starts_with("PONG") {
            return Ok(());
        }
    }
}
