//! Where other modules reach a module: connections as they are, at an address that stays.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use model::{
    Span, Token,
    route::{Endpoint, PeerPort, RouteTable, Weights},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use traffic::proxy::{Plane, Settings};

use crate::support::*;

/// Says its name to whoever comes, then what it was told, once the other side has said all of it.
struct Database {
    name: &'static str,
    address: SocketAddr,
    came: Arc<AtomicU64>,
    _serving: JoinSet<()>,
}

impl Database {
    async fn start(name: &'static str) -> Database {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, came) = (listener.local_addr().unwrap(), Arc::new(AtomicU64::new(0)));
        let counted = Arc::clone(&came);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, SeqCst);
                open.spawn(async move {
                    stream.write_all(name.as_bytes()).await.unwrap();
                    let mut told = Vec::new();
                    if stream.read_to_end(&mut told).await.is_ok() {
                        let _ = stream.write_all(&told).await;
                    }
                });
            }
        });
        Database { name, address, came, _serving: serving }
    }

    fn endpoint(&self) -> Endpoint {
        endpoint(self.name, self.address)
    }
}

fn pg() -> Token {
    "pg".parse().unwrap()
}

fn endpoint(name: &str, address: SocketAddr) -> Endpoint {
    let ports = [(pg(), address.to_string())].into();
    Endpoint { instance: name.to_owned(), address: address.to_string(), ports }
}

/// A module that nobody but other modules reaches.
fn internal(listen: u16, revisions: &[(&str, u8, Vec<Endpoint>)]) -> RouteTable {
    RouteTable {
        internal: true,
        peers: [(pg(), PeerPort { listen, http: false })].into(),
        weights: Weights(
            revisions
                .iter()
                .filter(|(_, share, _)| *share > 0)
                .map(|(name, share, _)| (revision(name), *share))
                .collect(),
        ),
        endpoints: revisions.iter().map(|(name, _, all)| (revision(name), all.clone())).collect(),
        ..table(&[])
    }
}

async fn reached(plane: &Plane) -> SocketAddr {
    eventually("the port for other modules is open", || plane.peer_address(KEY, &pg()).is_some()).await;
    plane.peer_address(KEY, &pg()).unwrap()
}

/// Who answers there; nothing when the connection is closed without a word.
async fn who(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut said = [0; 16];
    let length = stream.read(&mut said).await.unwrap_or(0);
    String::from_utf8_lossy(&said[..length]).into_owned()
}

#[tokio::test]
async fn new_connections_follow_the_weights_at_one_address_and_old_ones_stay() {
    let (old, new) = (Database::start("old").await, Database::start("new").await);
    let plane = Plane::new(Settings::default());
    plane.apply(internal(0, &[("r1", 100, vec![old.endpoint()])])).unwrap();
    let address = reached(&plane).await;
    let mut kept = TcpStream::connect(address).await.unwrap();
    let mut said = [0; 3];
    kept.read_exact(&mut said).await.unwrap();

    let both = [("r1", 0, vec![old.endpoint()]), ("r2", 100, vec![new.endpoint()])];
    plane.apply(RouteTable { version: 2, ..internal(0, &both) }).unwrap();

    assert_eq!((&said, who(address).await.as_str()), (b"old", "new"));
    assert_eq!(reached(&plane).await, address);
    eventually("the other one is counted as ended", || count_of(&plane, "r2").connected == 0).await;
    let counts = (count_of(&plane, "r1"), count_of(&plane, "r2"));
    assert_eq!((counts.0.connections, counts.0.connected, counts.0.requests), (1, 1, 0));
    assert_eq!((counts.1.connections, counts.1.connected), (1, 0));
    kept.write_all(b"still here").await.unwrap();
    kept.shutdown().await.unwrap();
    let mut back = String::new();
    kept.read_to_string(&mut back).await.unwrap();
    assert_eq!(back, "still here", "what one side has ended the other still says");
    eventually("the old one has drained", || count_of(&plane, "r1").connected == 0).await;
}

#[tokio::test]
async fn an_instance_that_takes_no_connection_is_passed_over() {
    let well = Database::start("well").await;
    let instances = vec![endpoint("gone", nobody().await), well.endpoint()];
    let plane = Plane::new(Settings::default());
    plane.apply(internal(0, &[("r1", 100, instances)])).unwrap();
    let address = reached(&plane).await;

    for _ in 0..40 {
        assert_eq!(who(address).await, "well");
    }

    assert_eq!(well.came.load(SeqCst), 40);
    assert_eq!(count_of(&plane, "r1").refused, 0);
}

#[tokio::test]
async fn without_an_instance_a_connection_is_closed_and_counted_and_the_port_stays() {
    let plane = Plane::new(Settings::default());
    plane.apply(internal(0, &[("r1", 100, vec![endpoint("gone", nobody().await)])])).unwrap();
    let address = reached(&plane).await;

    assert_eq!(who(address).await, "");
    plane.apply(RouteTable { version: 2, ..internal(0, &[]) }).unwrap();
    assert_eq!(who(address).await, "");

    assert_eq!(count_of(&plane, "r1").refused, 1);
    let well = Database::start("well").await;
    plane.apply(RouteTable { version: 3, ..internal(0, &[("r2", 100, vec![well.endpoint()])]) }).unwrap();
    assert_eq!(who(address).await, "well");
}

#[tokio::test]
async fn a_connection_on_which_nothing_is_said_is_closed() {
    let database = Database::start("a").await;
    let plane = Plane::new(Settings { peer_idle: Duration::from_millis(200), ..Settings::default() });
    plane.apply(internal(0, &[("r1", 100, vec![database.endpoint()])])).unwrap();
    let mut stream = TcpStream::connect(reached(&plane).await).await.unwrap();

    let mut said = String::new();
    let ended = tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut said)).await;

    assert!(ended.is_ok(), "it is still open");
    assert_eq!(said, "a");
}

#[tokio::test]
async fn a_held_port_is_named_and_only_this_machine_comes_in() {
    let database = Database::start("a").await;
    let held = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = held.local_addr().unwrap().port();
    let plane = Plane::new(Settings { listen_address: "0.0.0.0".parse().unwrap(), ..Settings::default() });
    plane.apply(internal(port, &[("r1", 100, vec![database.endpoint()])])).unwrap();

    let why = format!("other modules do not reach its port pg: cannot listen on 127.0.0.1:{port}");
    eventually("it is told", || plane.troubles().iter().any(|trouble| trouble.contains(&why))).await;
    let closed = plane.counts("rep-1", model::Timestamp(0)).remove(0).closed;
    assert!(closed.is_some_and(|told| told.contains(&why)));
    drop(held);

    assert_eq!(reached(&plane).await.to_string(), format!("127.0.0.1:{port}"));
    assert!(plane.troubles().is_empty());
}

#[tokio::test]
async fn at_the_exposed_port_other_modules_are_carried_as_clients_are() {
    let a = Instance::start("a").await;
    let peers = [("http".parse().unwrap(), PeerPort { listen: 0, http: true })].into();
    let routes = RouteTable { peers, request_timeout: Span::seconds(5), ..table(&[("r1", 100, &[&a])]) };
    let (plane, _clients) = plane_with(routes).await;
    let http: Token = "http".parse().unwrap();
    eventually("it is open", || plane.peer_address(KEY, &http).is_some()).await;

    let answer = Caller::new(plane.peer_address(KEY, &http).unwrap()).get("/").await;

    assert_eq!(answer.text, "a");
    assert_eq!((count_of(&plane, "r1").requests, count_of(&plane, "r1").connections), (1, 0));
}
