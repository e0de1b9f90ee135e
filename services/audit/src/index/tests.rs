//! One contract for both databases. PostgreSQL is started by the test from Debian's package, where it is installed.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use model::{Timestamp, audit::AuditRecord};

use super::*;

fn entry(index: u64) -> AuditEntry {
    let outcome = [AuditOutcome::Done, AuditOutcome::Denied, AuditOutcome::Failed][(index % 3) as usize];
    let record = AuditRecord {
        v: 1,
        source: format!("LOG_deployment_{}", index % 2),
        counter: index / 2 + 1,
        part: 1,
        parts: 1 + (index % 2) as u32,
        at: Timestamp(1000 + index as i64),
        actor: format!("person-{}", index % 5),
        action: if index % 50 == 49 {
            format!("{ALERT}brute-force")
        } else {
            format!("deployment.act_{}", index % 4)
        },
        subject: format!("dep-{}", index % 10),
        outcome,
        reason: index.is_multiple_of(7).then(|| format!("100% of {index} failed_")),
        cause: Some(format!("dep-{}:{index}", index % 10)),
        trace: None,
        detail: serde_json::Value::Null,
        payload: None,
    };
    AuditEntry { index, record }
}

fn entries(range: std::ops::Range<u64>) -> Vec<AuditEntry> {
    range.map(entry).collect()
}

/// Everything that is promised of an index.
async fn contract(index: &Index) {
    assert_eq!(index.size().await.unwrap(), 0);
    index.add(&entries(0..200)).await.unwrap();
    // Again, and overlapping: nothing twice.
    index.add(&entries(100..200)).await.unwrap();
    index.add(&entries(200..4500)).await.unwrap();
    assert_eq!(index.size().await.unwrap(), 4500);

    assert_eq!(index.of_count("LOG_deployment_1", 11).await.unwrap(), Some(21));
    assert_eq!(index.of_count("LOG_deployment_1", 99_999).await.unwrap(), None);
    assert_eq!(index.of_cause("LOG_deployment", "dep-3:13").await.unwrap(), Some((13, 2)));
    assert_eq!(index.of_cause("LOG_consultation", "dep-3:13").await.unwrap(), None);

    let found = |search: AuditSearch, limit: u32| async move { index.search(&search, limit).await.unwrap() };
    let any = AuditSearch::default;
    assert_eq!(found(any(), 3).await, [4499, 4498, 4497]);
    assert_eq!(found(AuditSearch { before: Some(10), ..any() }, 3).await, [9, 8, 7]);
    assert_eq!(found(AuditSearch { actor: Some("person-2".into()), ..any() }, 2).await, [4497, 4492]);
    assert_eq!(found(AuditSearch { outcome: Some(AuditOutcome::Denied), ..any() }, 2).await, [4498, 4495]);
    assert_eq!(found(AuditSearch { action: Some("alert.*".into()), ..any() }, 2).await, [4499, 4449]);
    assert_eq!(found(AuditSearch { action: Some("deployment.act_1".into()), ..any() }, 1).await, [4497]);
    let exact = AuditSearch { subject: Some("dep-7".into()), actor: Some("person-2".into()), ..any() };
    assert_eq!(found(exact, 2).await, [4497, 4487]);
    let time = AuditSearch { since: Some(Timestamp(1005)), until: Some(Timestamp(1008)), ..any() };
    assert_eq!(found(time, 10).await, [7, 6, 5]);
    // Signs with a meaning in SQL mean themselves.
    assert_eq!(found(AuditSearch { text: Some("100% of 21 failed_".into()), ..any() }, 10).await, [21]);
    assert_eq!(found(AuditSearch { text: Some("100_".into()), ..any() }, 10).await, [0; 0]);
    assert_eq!(found(AuditSearch { action: Some("deployment_*".into()), ..any() }, 10).await, [0; 0]);
    let hostile = AuditSearch { actor: Some("' OR 1=1; DROP TABLE entries; --".into()), ..any() };
    assert_eq!(found(hostile, 10).await, [0; 0]);

    let counted = index.report(&AuditReportRequest::default()).await.unwrap();
    assert_eq!((counted.total, counted.alerts.len()), (4500, 90));
    assert_eq!(counted.actors.iter().map(|actor| actor.count).sum::<u64>(), 4500);
    let window = AuditReportRequest { since: Some(Timestamp(1000)), until: Some(Timestamp(1050)) };
    assert_eq!(index.report(&window).await.unwrap().total, 50);

    index.clear().await.unwrap();
    assert_eq!((index.size().await.unwrap(), found(any(), 1).await), (0, vec![]));
    index.add(&entries(0..100)).await.unwrap();
    assert_eq!(index.size().await.unwrap(), 100);
}

#[tokio::test]
async fn sqlite_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let index = Index::open(&Secret::default(), folder.path(), "one").await.unwrap();
    contract(&index).await;

    // Opened again it knows what it knew; as another log's it is empty.
    drop(index);
    let again = Index::open(&Secret::default(), folder.path(), "one").await.unwrap();
    assert_eq!(again.size().await.unwrap(), 100);
    drop(again);
    let other = Index::open(&Secret::default(), folder.path(), "two").await.unwrap();
    assert_eq!(other.size().await.unwrap(), 0);
}

/// A PostgreSQL server of one test.
struct Postgres {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The folder with `initdb` and `postgres`, as Debian installs them.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    found.sort();
    found
        .into_iter()
        .rev()
        .find(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file())
}

/// PostgreSQL refuses to run as root: then as the user that its package made.
fn as_its_user(program: &Path, folder: &Path) -> Command {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(program);
    if nix::unistd::getuid().is_root()
        && let Ok(Some(user)) = nix::unistd::User::from_name("postgres")
    {
        let _ = nix::unistd::chown(folder, Some(user.uid), Some(user.gid));
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command.current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn postgres() -> Option<Postgres> {
    let programs = programs()?;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let made = as_its_user(&programs.join("initdb"), folder.path())
        .args(["-D", data.to_str().unwrap(), "-U", "code", "-A", "trust", "--no-sync", "-E", "UTF8"])
        .status();
    if !made.is_ok_and(|status| status.success()) {
        return None;
    }
    let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let child = as_its_user(&programs.join("postgres"), folder.path())
        .args(["-D", data.to_str().unwrap(), "-p", &port.to_string(), "-h", "127.0.0.1", "-k", ""])
        .args(["-c", "fsync=off"])
        .spawn()
        .ok()?;
    Some(Postgres { child, port, _folder: folder })
}

#[tokio::test]
async fn postgresql_keeps_the_contract() {
    let Some(server) = postgres() else {
        testkit::skip("PostgreSQL could not be started", "tools/setup.sh --all installs it");
        return;
    };
    let database = Secret::new(format!("postgres://code@127.0.0.1:{}/postgres", server.port));
    let index = testkit::eventually("PostgreSQL answers", Duration::from_secs(60), || async {
        Index::open(&database, Path::new(""), "one").await.map_err(|error| chassis::chain(&error))
    })
    .await;

    contract(&index).await;

    let again = Index::open(&database, Path::new(""), "one").await.unwrap();
    assert_eq!(again.size().await.unwrap(), 100);
}
