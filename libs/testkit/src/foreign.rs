//! A stranger on the bus: bytes on any subject, without any of the care of `bus`, by a key that the broker knows.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// Publishes these bytes as they are, without headers, by the key in a file. The server has taken them in when this returns;
/// what it refuses is an error.
pub async fn publish(url: &str, key: &Path, subject: &str, payload: &[u8]) -> Result<()> {
    let key = bus::Key::read(key)?;
    let mut stream = BufReader::new(TcpStream::connect(url.trim_start_matches("nats://")).await?);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    ensure!(line.starts_with("INFO "), "the server greets with {line:?}");
    let info: serde_json::Value = serde_json::from_str(line["INFO ".len()..].trim())?;
    let nonce = info["nonce"].as_str().context("the server asks nobody who they are")?;
    let connect = serde_json::json!({
        "verbose": false, "pedantic": false, "name": "stranger", "nkey": key.public(), "sig": key.sign(nonce)?,
    });
    let mut words = format!("CONNECT {connect}\r\nPUB {subject} {}\r\n", payload.len()).into_bytes();
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
