use bus::{Access, Bus, Error, NatsServer, Role, ServerSettings, StreamLimits, subjects::target::JOURNAL};
use futures::future::try_join_all;
use testkit::nats;

use crate::record;

#[tokio::test]
async fn making_the_streams_again_changes_nothing() {
    let nats = nats().await;
    nats.bus.append(&JOURNAL, "t-1", &record("t-1", 1, "a"), 0).await.unwrap();

    nats.bus.ensure().await.unwrap();

    assert_eq!(nats.bus.load(&JOURNAL, "t-1").await.unwrap().len(), 1);
}

#[tokio::test]
async fn several_provisioners_may_make_the_streams_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let access = Access::of(folder.path().join("access"));
    let users = access.prepare().unwrap();
    let server =
        NatsServer::start(ServerSettings { users, ..ServerSettings::new(folder.path()) }).await.unwrap();
    let settings = bus::Settings {
        user: Role::Provisioner.to_string(),
        key: Some(access.key("provisioner")),
        limits: StreamLimits::small(),
        url: server.url(),
        ..bus::Settings::default()
    };
    let buses = try_join_all((0..5).map(|_| Bus::connect(&settings))).await.unwrap();

    let made = try_join_all(buses.iter().map(Bus::ensure)).await;

    made.unwrap();
}

#[tokio::test]
async fn a_stream_that_differs_is_named_with_both_values_and_left_alone() {
    let nats = nats().await;
    let mut other = nats.settings();
    other.limits = StreamLimits { jobs: 1024 * 1024, ..StreamLimits::small() };
    let bus = Bus::connect(&other).await.unwrap();

    let error = bus.ensure().await.unwrap_err();

    assert!(matches!(&error, Error::Differs { stream, .. } if stream == "JOBS"), "{error}");
    assert!(error.to_string().contains("max_bytes is 8388608, wanted 1048576"), "{error}");
    nats.bus.ensure().await.unwrap();
}

#[tokio::test]
async fn no_server_is_an_error_that_says_where_and_how_to_cure_it() {
    let nowhere = bus::Settings {
        url: "nats://127.0.0.1:1".into(),
        patience: model::Span::millis(100),
        ..bus::Settings::default()
    };

    let error = Bus::connect(&nowhere).await.err().unwrap();

    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
}

#[tokio::test]
async fn a_journal_cannot_be_deleted_or_purged() {
    let nats = nats().await;
    nats.bus.append(&JOURNAL, "t-1", &record("t-1", 1, "a"), 0).await.unwrap();
    let jetstream = async_nats::jetstream::new(crate::foreign(&nats).await);
    let stream = jetstream.get_stream(format!("LOG_target_{}", bus::shard_of("t-1"))).await.unwrap();

    assert!(stream.purge().await.is_err());
    assert!(stream.delete_message(1).await.is_err());
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let settings = ServerSettings { port, ..ServerSettings::new(folder.path()) };

    let error = NatsServer::start(settings).await.err().unwrap();

    assert!(error.to_string().contains("address already in use"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_too_old_is_refused_with_its_version() {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    let old = async {
        let (stream, _) = listener.accept().await.unwrap();
        let (read, mut write) = stream.into_split();
        let info = r#"INFO {"server_id":"x","server_name":"x","version":"2.9.10","go":"","host":"x","port":1,"headers":true,"max_payload":1048576,"proto":1,"client_id":1}"#;
        write.write_all(format!("{info}\r\n").as_bytes()).await.unwrap();
        let mut lines = BufReader::new(read).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if line.starts_with("PING") {
                write.write_all(b"PONG\r\n").await.unwrap();
            }
        }
        std::future::pending::<()>().await;
    };

    let old_settings = bus::Settings { url, ..bus::Settings::default() };
    let error = tokio::select! {
        bus = Bus::connect(&old_settings) => bus.err().unwrap(),
        () = old => unreachable!(),
    };

    assert!(matches!(&error, Error::TooOld { found, .. } if found == "2.9.10"), "{error:?}");
    assert!(error.to_string().contains("tools/setup.sh"), "{error}");
}
