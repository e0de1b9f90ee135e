//! What profiles deny, each beside the same try where it is allowed.

use std::{fs, net::TcpListener, os::unix::net::UnixListener, path::Path};

use sandbox::{Limit, Profile, Unenforced};

use crate::{probe::Outcome, tries};

/// Fails where something that these tests are about is not in force, but for a second lock.
fn all_in_force(unenforced: &[Unenforced]) {
    let open: Vec<_> = unenforced.iter().filter(|one| !one.what.is_second_lock()).collect();
    assert!(open.is_empty(), "these tests need a kernel with Landlock and seccomp: {open:?}");
}

async fn denied(profile: Profile, what: &str, on: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (free, _) = tries(folder.path(), Profile::open(), what, on).await;
    assert_eq!(free, Outcome::Could, "{what} {on} without a profile");
    let (confined, unenforced) = tries(folder.path(), profile, what, on).await;
    all_in_force(&unenforced);
    assert_eq!(confined, Outcome::Denied, "{what} {on}");
}

#[tokio::test]
async fn whoever_is_offline_reaches_no_port_and_makes_no_socket() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let _local = UnixListener::bind(&path).unwrap();

    denied(Profile::offline(), "connect", &address).await;
    denied(Profile::offline(), "resolve", "").await;
    denied(Profile::offline(), "local socket", &path.display().to_string()).await;
}

#[tokio::test]
async fn whoever_is_guarded_makes_no_namespaces() {
    denied(Profile::guarded(), "unshare", "").await;
}

#[tokio::test]
async fn whoever_is_guarded_neither_signals_nor_reads_processes_outside_or_it_is_said() {
    let own = std::process::id();
    let folder = tempfile::tempdir().unwrap();

    for (what, on) in [("signal", own.to_string()), ("read", format!("/proc/{own}/environ"))] {
        let (free, _) = tries(folder.path(), Profile::open(), what, &on).await;
        let (guarded, unenforced) = tries(folder.path(), Profile::guarded(), what, &on).await;
        let is_open = unenforced.iter().any(|one| one.what == Limit::Neighbours);
        let expected = if is_open { Outcome::Could } else { Outcome::Denied };
        assert_eq!((free, guarded), (Outcome::Could, expected), "{what}: {unenforced:?}");
    }
}

#[tokio::test]
async fn whoever_is_contained_writes_in_its_folder_only() {
    let (own, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (inside, outside) = (own.path().join("a"), other.path().join("a"));
    let contained = || Profile::contained([own.path().to_owned()]);
    let name = |path: &Path| path.display().to_string();
    fs::write(&outside, "before").unwrap();

    let (within, unenforced) = tries(own.path(), contained(), "write", &name(&inside)).await;
    let null = tries(own.path(), contained(), "write", "/dev/null").await.0;
    for what in ["write", "remove", "empty"] {
        let outcome = tries(own.path(), contained(), what, &name(&outside)).await.0;
        assert_eq!(outcome, Outcome::Denied, "{what}");
    }
    let read = tries(own.path(), contained(), "read", &name(&outside)).await.0;

    all_in_force(&unenforced);
    assert_eq!((within, null, read), (Outcome::Could, Outcome::Could, Outcome::Could));
    assert_eq!(fs::read_to_string(inside).unwrap(), "written");
    assert_eq!(fs::read_to_string(outside).unwrap(), "before");
}

#[tokio::test]
async fn a_confined_program_still_makes_threads_and_children() {
    let folder = tempfile::tempdir().unwrap();

    let (threads, _) =
        tries(folder.path(), Profile::contained([folder.path().to_owned()]), "thread", "").await;
    let children = crate::shell(folder.path(), "(true) && echo $(echo made)", crate::LONG).await;

    assert_eq!(threads, Outcome::Could);
    assert_eq!(children.output, "made\n");
}

#[tokio::test]
async fn the_thread_that_starts_it_gives_up_rights_and_nobody_else_does() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());

    tries(folder.path(), Profile::contained([folder.path().to_owned()]), "thread", "").await;

    fs::write(other.path().join("ours"), "written").unwrap();
    TcpListener::bind("127.0.0.1:0").unwrap();
}

#[tokio::test]
async fn a_namespace_of_its_own_shows_only_the_loopback_or_it_is_said_that_there_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let mut launch =
        crate::launch(folder.path(), Path::new("/bin/cat"), &["/proc/self/net/dev"], Profile::offline());
    launch.missing = sandbox::Missing::Refused;

    let running = launch.run("code-test", crate::KEPT).unwrap();
    let missing = running.unenforced.iter().any(|one| one.what == Limit::Namespace);
    let ended = running.wait(crate::LONG, std::future::pending()).await.unwrap();

    let interfaces: Vec<&str> =
        ended.output.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim()).collect();
    assert!(missing || interfaces == ["lo"], "{interfaces:?}");
}
