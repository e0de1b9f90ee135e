use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::sleep,
};

/// What the proxy does to all of its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Connections are closed and new ones refused.
    Cut,
    /// What the server answers is swallowed; what the client says arrives. So a write happens and is not confirmed.
    Mute,
    /// Neither side hears the other, and no connection closes: a partition.
    Silence,
    /// Every piece of data waits so long, each way.
    Delay(Duration),
}

/// A TCP proxy before a server, for faults on the way. Ends when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    fault: watch::Sender<Fault>,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    /// Listens on a free port and passes everything to `upstream`, a `nats://host:port` or `host:port`.
    pub async fn before(upstream: &str) -> Proxy {
        let upstream = upstream.rsplit("://").next().unwrap_or(upstream).to_owned();
        let listener = match TcpListener::bind(("127.0.0.1", 0)).await {
            Ok(listener) => listener,
            Err(error) => panic!("listening: {error}"),
        };
        let address = match listener.local_addr() {
            Ok(address) => address,
            Err(error) => panic!("listening: {error}"),
        };
        let (fault, faults) = watch::channel(Fault::None);
        #[allow(clippy::disallowed_methods, reason = "below chassis; Proxy owns and ends the task")]
        let task = tokio::spawn(accept(listener, upstream, faults));
        Proxy { address, fault, task }
    }

    /// Where clients connect.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Does this from now on, also to connections that are open.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// Closes what is open and refuses what is new.
    pub fn cut(&self) {
        self.set(Fault::Cut);
    }

    /// Delays everything.
    pub fn delay(&self, by: Duration) {
        self.set(Fault::Delay(by));
    }

    /// No fault any more.
    pub fn heal(&self) {
        self.set(Fault::None);
    }
}

async fn accept(listener: TcpListener, upstream: String, faults: watch::Receiver<Fault>) {
    let mut open = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        if *faults.borrow() == Fault::Cut {
            continue;
        }
        while open.try_join_next().is_some() {}
        open.spawn(pass(client, upstream.clone(), faults.clone()));
    }
}

async fn pass(client: TcpStream, upstream: String, mut faults: watch::Receiver<Fault>) {
    let Ok(server) = TcpStream::connect(&upstream).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (there, back) = (faults.clone(), faults.clone());
    tokio::select! {
        () = copy(from_client, to_server, there, Direction::There) => {}
        () = copy(from_server, to_client, back, Direction::Back) => {}
        _ = faults.wait_for(|fault| *fault == Fault::Cut) => {}
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Direction {
    There,
    Back,
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    faults: watch::Receiver<Fault>,
    direction: Direction,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let Ok(count @ 1..) = from.read(&mut buffer).await else { return };
        let fault = *faults.borrow();
        match fault {
            Fault::None | Fault::Cut => {}
            Fault::Silence => continue,
            Fault::Mute if direction == Direction::Back => continue,
            Fault::Mute => {}
            Fault::Delay(by) => sleep(by).await,
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
