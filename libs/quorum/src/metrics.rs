//! What a member shows of itself, read whenever the page is asked for.

use std::fmt;

use chassis::metrics::{Collector, Metric, Metrics, encoding::DescriptorEncoder};
use prometheus_client::metrics::MetricType;

use crate::{
    replicated::Replicated,
    state::State,
    status::{Role, Status},
};

/// The election that it knows of last.
pub const TERM: Metric = Metric::new("code_quorum_term", "the election that this member knows of last");
/// 1 while it leads.
pub const LEADS: Metric = Metric::new("code_quorum_leads", "1 while this member leads");
/// 1 while it can serve.
pub const READY: Metric = Metric::new("code_quorum_ready", "1 while this member can serve");
/// How many vote.
pub const VOTERS: Metric = Metric::new("code_quorum_voters", "members that vote");
/// The last entry in its log.
pub const LOGGED: Metric = Metric::new("code_quorum_logged_index", "the last entry in this member's log");
/// The last entry in its state.
pub const APPLIED: Metric = Metric::new("code_quorum_applied_index", "the last entry in this member's state");
/// The last entry in its newest snapshot.
pub const SNAPSHOT: Metric =
    Metric::new("code_quorum_snapshot_index", "the last entry in this member's newest snapshot");
/// What its log takes on disk.
pub const DISK: Metric = Metric::new("code_quorum_log_bytes", "what this member's log takes on disk");

type Read = fn(&Status) -> u64;

const ALL: [(Metric, Read); 8] = [
    (TERM, |status| status.term),
    (LEADS, |status| u64::from(status.role == Role::Leader)),
    (READY, |status| u64::from(status.not_ready.is_empty())),
    (VOTERS, |status| status.members.iter().filter(|one| one.votes).count() as u64),
    (LOGGED, |status| status.last),
    (APPLIED, |status| status.applied),
    (SNAPSHOT, |status| status.snapshot),
    (DISK, |status| status.log_bytes),
];

/// Shows this member among the metrics of its service.
pub fn show<S: State>(member: &Replicated<S>, metrics: &Metrics) {
    metrics.collect(Shown(member.clone()));
}

struct Shown<S>(Replicated<S>);

impl<S> fmt::Debug for Shown<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown")
    }
}

impl<S: State> Collector for Shown<S> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let status = self.0.status();
        for (metric, read) in ALL {
            let value = i64::try_from(read(&status)).unwrap_or(i64::MAX);
            encoder
                .encode_descriptor(metric.name, metric.help, None, MetricType::Gauge)?
                .encode_gauge(&value)?;
        }
        Ok(())
    }
}
