use std::time::Duration;

use bus::{Bus, Start, subjects::target::JOURNAL};
use futures::StreamExt;
use testkit::{eventually, nats_cluster};

use crate::record;

/// A cluster elects its leaders after 4 to 9 s.
const ELECTION: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_cluster_loses_nothing_when_one_of_three_servers_is_killed() {
    let (mut servers, _folder, mut wanted) = nats_cluster().await;
    wanted.replicas = 3;
    wanted.patience = model::Span::seconds(60);
    let bus = Bus::connect(&wanted).await.unwrap();
    bus.ensure().await.unwrap();
    let mut follow = bus.follow(&JOURNAL, Start::All).await.unwrap();
    let ids = ["t-1", "t-2", "t-3", "t-4"];

    for version in 1..=10 {
        if version == 5 {
            servers[1].kill9().await.unwrap();
        }
        for id in ids {
            let expected = eventually("the end of the journal", ELECTION, || async {
                bus.load(&JOURNAL, id).await.map(|entries| entries.last().map_or(0, |entry| entry.seq))
            })
            .await;
            let record = record(id, version, "a");
            eventually("the append", ELECTION, || bus.append(&JOURNAL, id, &record, expected)).await;
        }
    }

    for id in ids {
        let versions: Vec<u64> =
            bus.load(&JOURNAL, id).await.unwrap().iter().map(|entry| entry.record.version).collect();
        assert_eq!(versions, (1..=10).collect::<Vec<_>>(), "{id}");
    }
    for number in 0..40 {
        let entry = tokio::time::timeout(ELECTION, follow.next()).await;
        assert!(entry.is_ok(), "the follower saw only {number} of 40");
    }
}
