//! A witness on the other side: what it cosigned is needed, and what it did not is not believed.

use audit::witness::{Settings, serve};
use bus::subjects::audit as speech;
use chassis::Clock;
use ledger::{Policy, ProofFile, SignedCheckpoint};
use model::audit::{AuditLevel, AuditProofRequest};

use crate::support::{LONG, Place, append, fact, status};

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_are_cosigned_and_a_policy_can_ask_for_it() {
    chassis::install_crypto();
    let place = Place::new().await;
    let bus = &place.nats.bus;
    let service = place.started().await;
    let logs = status(bus, false).await.keys.iter().map(|key| key.parse().unwrap()).collect();
    service.stop(LONG).await;
    drop(service);
    let memory = tempfile::tempdir().unwrap();
    let settings = Settings {
        listen: "127.0.0.1:0".parse().unwrap(),
        state_dir: memory.path().to_owned(),
        name: "witness.example/1".to_owned(),
        logs,
    };
    let witness = serve(settings, Clock::system()).await.unwrap();
    let own = std::fs::read_to_string(place.folder.path().join("log.policy")).unwrap();
    let line = format!("witness W {} http://{}\nquorum W\n", witness.keys[0], witness.address);
    let text = own.replace("quorum none\n", &line);
    let file = place.folder.path().join("trust.policy");
    std::fs::write(&file, &text).unwrap();
    let policy: Policy = text.parse().unwrap();

    let _service = place.start(audit::AuditConfig { policy: Some(file), ..place.config() }).await.unwrap();
    for counter in 1..=3 {
        append(bus, vec![fact("a", counter)], AuditLevel::Included).await.unwrap();
    }
    let trust = testkit::eventually("it is cosigned", LONG, || async {
        let checkpoint: SignedCheckpoint = status(bus, false).await.checkpoint.parse().unwrap();
        if checkpoint.unverified().size < 3 {
            return Err("not grown".to_owned());
        }
        policy.check(&checkpoint).map_err(|error| error.to_string())
    })
    .await;
    assert_eq!(trust.witnesses[0].name, "W");
    // Whoever asks for a proof at once gets one that the policy believes.
    append(bus, vec![fact("b", 1)], AuditLevel::Included).await.unwrap();
    let entry = AuditProofRequest::Count { source: "b".to_owned(), counter: 1 };
    let proven = bus.call(&speech::PROVE, &entry, LONG).await.unwrap();
    let proof: ProofFile = proven.proof.parse().unwrap();
    assert_eq!(proof.check(proven.leaf.as_bytes(), &policy).unwrap().trust.witnesses[0].name, "W");

    // Without its witness the log goes on and says so; the policy does not believe what is new.
    witness.stopper().cancel();
    witness.wait().await;
    append(bus, vec![fact("a", 4)], AuditLevel::Included).await.unwrap();
    let checkpoint = testkit::eventually("the alarm is there", LONG, || async {
        let status = status(bus, false).await;
        let told = status.alarms.iter().any(|alarm| alarm.starts_with("witness: W:"));
        if told { Ok(status.checkpoint) } else { Err(format!("{:?}", status.alarms)) }
    })
    .await;
    let error = policy.check(&checkpoint.parse().unwrap()).unwrap_err().to_string();
    assert!(error.contains("lacks the quorum W"), "{error}");
}
