//! What the audit log shows of itself.

use chassis::metrics::{Buckets, Counter, Gauge, Histogram, Metric, Metrics};

/// Leaves that were accepted.
pub const ACCEPTED: Metric = Metric::new("code_audit_accepted_total", "leaves that were accepted");
/// Leaves that a signed checkpoint covers.
pub const INCLUDED: Metric = Metric::new("code_audit_included", "leaves that a signed checkpoint covers");
/// Facts that came again and were not kept twice.
pub const REPEATED: Metric = Metric::new("code_audit_repeated_total", "facts that came again");
/// Holes in the counts of sources.
pub const HOLES: Metric = Metric::new("code_audit_holes_total", "holes in the counts of sources");
/// Security events that the rules found.
pub const ALERTS: Metric = Metric::new("code_audit_alerts_total", "security events that the rules found");
/// Leaves that cannot be searched yet.
pub const UNSEARCHABLE: Metric =
    Metric::new("code_audit_unsearchable", "signed leaves that cannot be searched yet");
/// From the first leaf of a batch to its fsync.
pub const BATCH_SECONDS: Metric =
    Metric::new("code_audit_batch_seconds", "from a batch's first leaf to its fsync");
/// Cosignatures that were asked for and not given.
pub const UNWITNESSED: Metric =
    Metric::new("code_audit_unwitnessed_total", "cosignatures that were not given");

/// What is counted.
#[derive(Clone)]
pub(crate) struct Counts {
    pub accepted: Counter,
    pub included: Gauge,
    pub repeated: Counter,
    pub holes: Counter,
    pub alerts: Counter,
    pub unsearchable: Gauge,
    pub batch_seconds: Histogram,
    pub unwitnessed: Counter,
}

impl Counts {
    pub(crate) fn new(metrics: &Metrics) -> Counts {
        Counts {
            accepted: metrics.counter(&ACCEPTED),
            included: metrics.gauge(&INCLUDED),
            repeated: metrics.counter(&REPEATED),
            holes: metrics.counter(&HOLES),
            alerts: metrics.counter(&ALERTS),
            unsearchable: metrics.gauge(&UNSEARCHABLE),
            batch_seconds: metrics.histogram(&BATCH_SECONDS, Buckets::SECONDS),
            unwitnessed: metrics.counter(&UNWITNESSED),
        }
    }
}
