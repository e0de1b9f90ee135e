//! A server that speaks only with a socket: it says what really arrived.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// It answers every request, and closes the connection behind the answer.
pub struct Upstream {
    pub address: SocketAddr,
    _running: JoinSet<()>,
}

impl Upstream {
    /// Answers with the request as it arrived.
    pub async fn mirror() -> Upstream {
        Upstream::with(|request| answer("200 OK", &[], &request)).await
    }

    /// Answers with this.
    pub async fn answering(status: &'static str, fields: &[(&str, &str)], body: &str) -> Upstream {
        let whole = answer(status, fields, body);
        Upstream::with(move |_| whole.clone()).await
    }

    async fn with(answers: impl Fn(String) -> String + Send + Sync + 'static) -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answers = Arc::new(answers);
        let mut running = JoinSet::new();
        running.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let answers = Arc::clone(&answers);
                connections.spawn(async move {
                    let request = message(&mut stream).await;
                    let _ = stream.write_all(answers(request).as_bytes()).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        Upstream { address, _running: running }
    }
}

fn answer(status: &str, fields: &[(&str, &str)], body: &str) -> String {
    let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("HTTP/1.1 {status}\r\n{fields}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

/// A whole message of HTTP/1.1: its head, and the body as it was framed.
pub async fn message(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length =
                head.split("content-length: ").nth(1).map(|rest| rest.lines().next().unwrap().trim());
            let whole = match length {
                Some(length) => body.len() >= length.parse().unwrap(),
                None => !head.contains("transfer-encoding: chunked") || body.ends_with("0\r\n\r\n"),
            };
            if whole {
                return text;
            }
        }
        let mut piece = vec![0; 16384];
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return text,
            Ok(read) => bytes.extend_from_slice(&piece[..read]),
        }
    }
}

/// Sends these bytes and reads the answer.
pub async fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let answer = tokio::time::timeout(std::time::Duration::from_secs(10), message(&mut stream)).await;
    answer.unwrap_or_else(|_| "no answer within 10 s".to_owned())
}
