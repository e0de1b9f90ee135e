use std::path::Path;

use bus::{AppendError, BucketEntry, Change, Changed, Failure, subjects::buckets::MEASUREMENTS};
use futures::{StreamExt, future::join_all};
use model::{Code, Fault};
use serde_json::json;
use testkit::nats;

use crate::LONG;

#[tokio::test]
async fn a_value_is_created_once_and_updated_only_on_top_of_what_was_read() {
    let nats = nats().await;
    let bucket = nats.bus.bucket(&MEASUREMENTS);

    let first = bucket.create("a.b", &json!(1)).await.unwrap();
    let twice = bucket.create("a.b", &json!(2)).await;
    let second = bucket.update("a.b", &json!(3), first).await.unwrap();
    let stale = bucket.update("a.b", &json!(4), first).await;

    assert!(matches!(twice, Err(AppendError::Raced)), "{twice:?}");
    assert!(matches!(stale, Err(AppendError::Raced)), "{stale:?}");
    assert_eq!(bucket.get("a.b").await.unwrap(), Some((json!(3), second)));
    assert_eq!(bucket.get("a.c").await.unwrap(), None);
}

#[tokio::test]
async fn of_many_writers_one_wins_each_revision() {
    let nats = nats().await;
    let bucket = nats.bus.bucket(&MEASUREMENTS);
    let mut revision = bucket.create("k", &json!(0)).await.unwrap();

    for _ in 0..10 {
        // All write the same bytes: only the revision may tell who won.
        let value = json!(1);
        let outcomes = join_all((0..8).map(|_| bucket.update("k", &value, revision))).await;

        let won: Vec<u64> = outcomes.into_iter().filter_map(Result::ok).collect();
        assert_eq!(won.len(), 1);
        revision = won[0];
    }
}

#[tokio::test]
async fn a_deleted_key_can_be_created_again() {
    let nats = nats().await;
    let bucket = nats.bus.bucket(&MEASUREMENTS);
    let first = bucket.create("k", &json!(1)).await.unwrap();

    bucket.delete("k", first).await.unwrap();

    assert_eq!(bucket.get("k").await.unwrap(), None);
    assert!(bucket.all().await.unwrap().is_empty());
    bucket.create("k", &json!(2)).await.unwrap();
    assert_eq!(bucket.get("k").await.unwrap().unwrap().0, json!(2));
}

#[tokio::test]
async fn a_watcher_sees_what_is_there_then_every_change_and_after_a_restart_all_of_it_anew() {
    let mut nats = nats().await;
    let bucket = nats.bus.bucket(&MEASUREMENTS);
    let one = bucket.create("a", &json!(1)).await.unwrap();
    let mut watch = bucket.watch_all();

    assert_eq!(
        watch.next().await.unwrap(),
        BucketEntry { key: "a".into(), value: Some(json!(1)), revision: one }
    );
    nats.server.restart().await.unwrap();
    let value = json!(2);
    let two = testkit::eventually("the update", LONG, || bucket.update("a", &value, one)).await;
    let mut next = watch.next().await.unwrap();
    if next.revision == one {
        next = watch.next().await.unwrap();
    }
    assert_eq!(next, BucketEntry { key: "a".into(), value: Some(json!(2)), revision: two });
    bucket.delete("a", two).await.unwrap();
    let gone = watch.next().await.unwrap();
    assert_eq!((gone.key.as_str(), gone.value), ("a", None));
}

#[tokio::test]
async fn a_watcher_misses_no_change_of_an_older_copy_that_was_put_back() {
    let mut nats = nats().await;
    let bucket = nats.bus.bucket(&MEASUREMENTS);
    let mut last = bucket.create("a", &json!(0)).await.unwrap();
    nats.server.stop().await.unwrap();
    let (data, copy) = (nats.folder().join("data"), nats.folder().join("older"));
    copied(&data, &copy);
    nats.server.restart().await.unwrap();
    let mut watch = bucket.watch_all();
    for value in 1..=5 {
        let value = json!(value);
        last = testkit::eventually("an update", LONG, || bucket.update("a", &value, last)).await;
    }
    while watch.next().await.unwrap().revision < last {}

    nats.server.stop().await.unwrap();
    std::fs::remove_dir_all(&data).unwrap();
    copied(&copy, &data);
    nats.server.restart().await.unwrap();
    let (_, older) = testkit::eventually("the older value", LONG, || bucket.get("a")).await.unwrap();
    let put = bucket.update("a", &json!("put back"), older).await.unwrap();

    assert!(put < last, "the test needs a sequence that was read before: {put} of {last}");
    while watch.next().await.unwrap().value != Some(json!("put back")) {}
}

/// A folder with all that is in it.
fn copied(from: &Path, to: &Path) {
    let done = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(done.success());
}

#[tokio::test]
async fn a_bucket_lists_what_it_holds() {
    let nats = nats().await;
    let bucket = nats.bus.bucket(&MEASUREMENTS);
    for key in ["x.a", "x.b", "y"] {
        bucket.create(key, &json!(key)).await.unwrap();
    }

    let mut keys: Vec<String> = bucket.all().await.unwrap().into_iter().map(|entry| entry.key).collect();
    keys.sort();

    assert_eq!(keys, ["x.a", "x.b", "y"]);
}

#[tokio::test]
async fn no_change_of_a_value_is_lost_however_many_make_one_at_once() {
    let nats = nats().await;
    let bucket = nats.bus.bucket(&MEASUREMENTS);

    let add = || {
        bucket.change("count", |found| {
            let count = found.and_then(|value| value.as_u64()).unwrap_or(0);
            Ok::<_, Failure>(Change::Put(json!(count + 1)))
        })
    };
    let changed = join_all((0..12).map(|_| add())).await;

    let mut counts: Vec<u64> =
        changed.into_iter().filter_map(|changed| changed.unwrap().value?.as_u64()).collect();
    counts.sort_unstable();
    assert_eq!(counts, (1..=12).collect::<Vec<_>>(), "each saw another count");
}

#[tokio::test]
async fn a_change_may_keep_delete_or_refuse() {
    let nats = nats().await;
    let bucket = nats.bus.bucket(&MEASUREMENTS);
    let first = bucket.create("k", &json!(1)).await.unwrap();

    let kept = bucket.change("k", |_| Ok::<_, Failure>(Change::Keep)).await.unwrap();
    let refused = bucket.change("k", |_| Err::<Change<_>, _>(Fault::new(Code::Denied, "not today"))).await;
    let gone = bucket.change("k", |_| Ok::<_, Failure>(Change::Delete)).await.unwrap();
    let nothing_to_delete = bucket.change("k", |_| Ok::<_, Failure>(Change::Delete)).await.unwrap();

    assert_eq!(kept, Changed { value: Some(json!(1)), revision: first, is_new: false });
    assert_eq!(refused.unwrap_err().message, "not today");
    assert!(gone.is_new && gone.value.is_none() && gone.revision > first);
    assert_eq!(nothing_to_delete, Changed { is_new: false, ..gone });
    let again = bucket.change("k", |_| Ok::<_, Failure>(Change::Put(json!(2)))).await.unwrap();
    assert_eq!(bucket.get("k").await.unwrap(), Some((json!(2), again.revision)));
}

#[tokio::test]
async fn a_change_that_fails_says_what_was_attempted() {
    let nats = nats().await;
    let bucket = nats.bus.bucket(&MEASUREMENTS);

    let failed = bucket.change("a b", |_| Ok::<_, Failure>(Change::Put(json!(1)))).await.unwrap_err();

    assert_eq!(failed.code(), Code::Invalid);
    let said = Fault::from(failed).message;
    assert!(said.starts_with("change a b in bucket measurements: "), "{said}");
}
