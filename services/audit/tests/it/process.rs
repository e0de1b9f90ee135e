//! The service as a process of its own: killed while it works, and with a disk that is full.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
};

use bus::subjects::audit as speech;
use ledger::{Frontier, leaf_hash};
use model::audit::{AuditLevel, AuditRecord};
use rand::{Rng, SeedableRng, rngs::StdRng};
use testkit::TestNats;

use crate::support::{LONG, append, checked, fact, included, status};

struct Process(Child);

impl Process {
    /// `blocks`: files cannot grow beyond so many 512-byte blocks.
    fn start(broker: &TestNats, folder: &Path, blocks: Option<u32>) -> Process {
        let program = env!("CARGO_BIN_EXE_audit");
        let mut command = match blocks {
            None => Command::new(program),
            Some(blocks) => {
                let mut command = Command::new("sh");
                // Without the signal a write that is too much fails, as on a full disk.
                command.args(["-c", &format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\""), program]);
                command
            }
        };
        let child = command
            .envs(broker.environment())
            .env("CODE_HEALTH_LISTEN", "127.0.0.1:0")
            .env("CODE_LOG", "error")
            .env("CODE_AUDIT_STATE_DIR", folder)
            .env("CODE_AUDIT_CHECKPOINT_EVERY", "50ms")
            .current_dir(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Process(child)
    }

    fn kill9(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_at_random_moments_loses_and_repeats_nothing() {
    const FACTS: u64 = 400;
    let broker = testkit::nats().await;
    let bus = &broker.bus;
    let folder = tempfile::tempdir().unwrap();
    let mut random = StdRng::seed_from_u64(17);
    let mut process = Process::start(&broker, folder.path(), None);
    included_or_nothing(bus).await;

    // A fact is said and the process is killed over it, whatever it holds then.
    let (mut kills, mut next_kill) = (0, random.random_range(20..60));
    for counter in 1..=FACTS {
        let record = fact("gateway", counter);
        bus.trail(&speech::TRAIL, "gateway", &format!("gateway:{counter}"), &record).await.unwrap();
        if counter == next_kill {
            process.kill9();
            kills += 1;
            next_kill += random.random_range(20..60);
            process = Process::start(&broker, folder.path(), None);
            if kills % 2 == 0 {
                included_or_nothing(bus).await;
            }
        }
    }
    included(bus, FACTS).await;
    drop(process);

    assert!(kills >= 6, "only {kills} kills");
    let (report, records) = checked(folder.path());
    assert!(report.is_clean(), "{report:?}");
    let counts: Vec<u64> = records.iter().map(|record| record.counter).collect();
    assert_eq!(counts, (1..=FACTS).collect::<Vec<_>>(), "{kills} kills");
    let mut tree = Frontier::default();
    (1..=FACTS).for_each(|counter| tree.push(leaf_hash(&fact("gateway", counter).to_leaf())));
    assert_eq!(report.root, tree.root(), "the root of the undisturbed run");
}

/// Waits until the service answers.
async fn included_or_nothing(bus: &bus::Bus) {
    included(bus, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_with_a_reason_and_spoils_nothing() {
    let broker = testkit::nats().await;
    let bus = &broker.bus;
    let folder = tempfile::tempdir().unwrap();
    // The journal cannot grow beyond 256 KiB, and nothing is signed meanwhile that would empty it.
    let mut process = Process::start(&broker, folder.path(), Some(512));
    included_or_nothing(bus).await;
    let large = |counter: u64| AuditRecord {
        detail: serde_json::json!("x".repeat(10_000)),
        ..fact("gateway", counter)
    };

    let mut kept = 0;
    let refused = loop {
        let batch: Vec<AuditRecord> = (kept + 1..=kept + 40).map(large).collect();
        match append(bus, batch, AuditLevel::Accepted).await {
            Ok(_) => kept += 40,
            Err(error) => break error,
        }
        assert!(kept < 4000, "the disk never got full");
    };
    assert!(refused.to_string().contains("the audit log takes nothing"), "{refused}");
    let alarms = status(bus, false).await.alarms;
    assert!(alarms.iter().any(|alarm| alarm.contains("disk")), "{alarms:?}");
    process.kill9();

    // With room again it goes on where it was, and asking again keeps everything once.
    let _process = Process::start(&broker, folder.path(), None);
    included_or_nothing(bus).await;
    let batch: Vec<AuditRecord> = (kept + 1..=kept + 40).map(large).collect();
    append(bus, batch, AuditLevel::Included).await.unwrap();
    let (report, records) = testkit::eventually("the log is whole", LONG, || async {
        let (report, records) = checked(folder.path());
        if report.is_clean() { Ok((report, records)) } else { Err(format!("{report:?}")) }
    })
    .await;
    let mut counts: Vec<u64> = records.iter().map(|record| record.counter).collect();
    counts.sort_unstable();
    assert_eq!(counts, (1..=kept + 40).collect::<Vec<_>>(), "{}", report.size);
}
