//! The streams and buckets that exist, as configuration.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};

use crate::{
    Settings,
    subject::{ADVISORY, DEAD, EVENTS, INBOX, JOBS, SHARDS, TRAIL, bucket_stream, log_stream},
    subjects::{BUCKETS, LOGS},
};

/// Retries of one publish end well within this time.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Every stream, bucket streams included; the object store is made by its own call.
pub(crate) fn all(settings: &Settings) -> Vec<Config> {
    let limits = &settings.limits;
    let stream = |name: &str, subject: &str, max_bytes: i64| Config {
        name: name.to_owned(),
        subjects: vec![subject.to_owned()],
        storage: StorageType::File,
        num_replicas: settings.replicas,
        max_bytes,
        // Refusing is seen by the writer; forgetting the oldest is seen by nobody.
        discard: DiscardPolicy::New,
        duplicate_window: DUPLICATE_WINDOW,
        ..Config::default()
    };
    let mut streams = Vec::new();
    for noun in LOGS {
        for shard in 0..SHARDS {
            streams.push(Config {
                deny_delete: true,
                deny_purge: true,
                // Decisions are made on it: every read goes to the leader.
                allow_direct: false,
                ..stream(&log_stream(noun, shard), &format!("code.v1.log.{noun}.{shard}.>"), limits.log)
            });
        }
    }
    for bucket in BUCKETS {
        streams.push(Config {
            max_messages_per_subject: 1,
            allow_rollup: true,
            deny_delete: true,
            allow_direct: false,
            ..stream(&bucket_stream(bucket), &format!("$KV.{bucket}.>"), limits.bucket)
        });
    }
    streams.push(Config {
        deny_delete: true,
        deny_purge: true,
        allow_direct: false,
        // The audit log has it long before.
        max_age: 30 * DAY,
        ..stream(TRAIL, "code.v1.trail.>", limits.log)
    });
    streams
        .push(Config { retention: RetentionPolicy::WorkQueue, ..stream(JOBS, "code.v1.job.>", limits.jobs) });
    streams.push(Config {
        discard: DiscardPolicy::Old,
        max_age: 30 * DAY,
        ..stream(EVENTS, "code.v1.evt.>", limits.events)
    });
    streams.push(Config {
        retention: RetentionPolicy::WorkQueue,
        // Else the broker's acknowledgement would be taken for our answer.
        no_ack: true,
        max_age: 7 * DAY,
        ..stream(INBOX, "code.v1.in.>", limits.inbox)
    });
    streams.push(Config {
        discard: DiscardPolicy::Old,
        max_age: 90 * DAY,
        ..stream(DEAD, "code.v1.dead.>", limits.dead)
    });
    streams.push(Config {
        discard: DiscardPolicy::Old,
        max_age: 7 * DAY,
        ..stream(ADVISORY, "$JS.EVENT.ADVISORY.>", limits.advisories)
    });
    streams
}

/// Every field that we set and that differs, with both values; empty when the stream is as we want it.
pub(crate) fn differences(found: &Config, wanted: &Config) -> String {
    let mut texts = Vec::new();
    macro_rules! compare {
        ($($field:ident),+) => {$(
            if found.$field != wanted.$field {
                texts.push(format!("{} is {:?}, wanted {:?}", stringify!($field), found.$field, wanted.$field));
            }
        )+};
    }
    compare!(
        subjects,
        storage,
        retention,
        num_replicas,
        max_bytes,
        max_age,
        discard,
        duplicate_window,
        no_ack
    );
    compare!(deny_delete, deny_purge, allow_direct, allow_rollup);
    // The server spells "no limit" as -1.
    if found.max_messages_per_subject.max(0) != wanted.max_messages_per_subject.max(0) {
        texts.push(format!(
            "max_messages_per_subject is {}, wanted {}",
            found.max_messages_per_subject, wanted.max_messages_per_subject
        ));
    }
    texts.join(", ")
}
