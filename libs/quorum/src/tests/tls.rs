//! Members that speak gRPC over real sockets, as they ship.

use std::{path::Path, time::Duration};

use chassis::{
    Tasks,
    metrics::{Metrics, Page},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::kv::{Change, Do, Numbers};
use crate::{
    Compaction, Error, Replicated, Settings, Timing, Tls, grpc::Client, transport::Transport, types::Peer,
};

const LONG: Duration = Duration::from_secs(30);
const NAME: &str = "member.quorum.test";

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn tls(authority: &Authority) -> Tls {
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec![NAME.to_owned()]).unwrap().signed_by(&key, authority).unwrap();
    Tls {
        certificate: certificate.pem(),
        key: ground::Secret::new(key.serialize_pem()),
        authority: authority.pem(),
        name: NAME.to_owned(),
    }
}

fn settings(folder: &Path, name: &str, tls: Option<Tls>) -> Settings {
    Settings {
        folder: folder.join(name),
        cluster: "tls".to_owned(),
        name: name.to_owned(),
        listen: ([127, 0, 0, 1], 0).into(),
        advertise: None,
        tls,
        timing: Timing::default(),
        compaction: Compaction::default(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_with_certificates_form_a_cluster_and_come_back_after_a_stop() {
    chassis::install_crypto();
    let folder = tempfile::tempdir().unwrap();
    let authority = authority();
    let mut members = Vec::new();
    for name in ["one", "two", "three"] {
        let tasks = Tasks::new("quorum");
        let settings = settings(folder.path(), name, Some(tls(&authority)));
        members.push((Replicated::<Numbers>::open(settings.clone(), &tasks).await.unwrap(), tasks, settings));
    }
    let addresses: Vec<String> = members[1..].iter().map(|one| one.0.status().peer.address).collect();
    let add = async |member: &Replicated<Numbers>| {
        let change = Change { key: "n".to_owned(), what: Do::Add };
        member.propose(&member.ticket(), &change, LONG).await.unwrap()
    };

    members[0].0.found(&addresses, LONG).await.unwrap();
    for at in 0..6 {
        assert_eq!(add(&members[at % 3].0).await, at as u64 + 1);
    }
    // One stops as a service does, and begins again at its address and in its folder.
    let (member, tasks, mut settings) = members.pop().unwrap();
    settings.listen = addresses[1].parse().unwrap();
    assert_eq!(tasks.stop(LONG).await, Vec::<String>::new());
    member.stop().await;
    assert_eq!(add(&members[0].0).await, 7);
    let tasks = Tasks::new("quorum");
    let back = Replicated::<Numbers>::open(settings, &tasks).await.unwrap();

    let seen = back.read(LONG, |state| state.values["n"]).await.unwrap();
    assert_eq!(seen, 7);
    let (metrics, page) = (Metrics::default(), Page::default());
    crate::metrics::show(&back, &metrics);
    page.add(&metrics);
    let text = page.text().unwrap();
    assert!(text.contains("code_quorum_voters 3") && text.contains("code_quorum_ready 1"), "{text}");
    members[0].0.found(&addresses, LONG).await.expect("founding again changes nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_no_certificate_of_the_authority_is_not_heard() {
    chassis::install_crypto();
    let folder = tempfile::tempdir().unwrap();
    let ours = authority();
    let tasks = Tasks::new("quorum");
    let settings = settings(folder.path(), "one", Some(tls(&ours)));
    let member = Replicated::<Numbers>::open(settings, &tasks).await.unwrap();
    let address = member.status().peer.address;
    let ask = async |tls| {
        let frame = crate::wire::Frame {
            protocol: 1,
            cluster: "tls".to_owned(),
            from: 9,
            to: 0,
            body: serde_json::to_vec(&crate::wire::Ask::Hello).unwrap(),
            data: Vec::new(),
        };
        let peer = Peer { name: String::new(), address: address.clone() };
        Client::new(tls).ask(&peer, frame, Duration::from_secs(5)).await
    };
    // It trusts us, but is of another authority.
    let stranger = Tls { authority: ours.pem(), ..tls(&authority()) };

    assert!(ask(Some(tls(&ours))).await.is_ok());
    assert!(ask(Some(stranger)).await.is_err());
    assert!(ask(None).await.is_err());
    member.stop().await;
}

#[tokio::test]
async fn a_folder_of_another_cluster_or_in_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let tasks = Tasks::new("quorum");
    let mine = settings(folder.path(), "one", None);
    let open = async |settings: &Settings| Replicated::<Numbers>::open(settings.clone(), &tasks).await.err();
    let member = Replicated::<Numbers>::open(mine.clone(), &tasks).await.unwrap();

    let used = open(&mine).await;
    assert!(matches!(used, Some(Error::Held { .. })), "{used:?}");
    member.stop().await;
    let other = open(&Settings { cluster: "other".to_owned(), ..mine.clone() }).await;
    assert!(matches!(other, Some(Error::OtherCluster { .. })), "{other:?}");
    let slow = Timing { heartbeat: Duration::from_millis(75), patience: Duration::from_millis(100) };
    let anywhere = Settings { listen: ([0, 0, 0, 0], 0).into(), ..mine.clone() };
    let open_to_all = open(&anywhere).await.unwrap().to_string();
    assert!(open_to_all.starts_with("tls is \"none, listening on 0.0.0.0:0\"; it must be"), "{open_to_all}");
    let timing = open(&Settings { timing: slow, ..mine }).await.unwrap().to_string();
    assert_eq!(
        timing,
        "timing.patience is \"100ms\"; it must be between 50 ms and 60 s, and at least four heartbeats"
    );
}
