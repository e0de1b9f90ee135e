//! What the data plane shows: rate, errors and duration per revision, and what it is doing itself.

use std::fmt;

use bus::Bus;
use chassis::metrics::{
    Collector, Counter, Metric, Metrics,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet},
};
use prometheus_client::metrics::MetricType;

use crate::proxy::Plane;

/// Requests that ended, by revision.
pub const REQUESTS: Metric = Metric::new("code_traffic_requests_total", "requests that ended");
/// Answers 500 to 599 and requests without an answer, by revision.
pub const ERRORS: Metric =
    Metric::new("code_traffic_errors_total", "answers 500 to 599 and requests without one");
/// Tries on a further instance, by revision.
pub const RETRIED: Metric = Metric::new("code_traffic_retried_total", "requests sent to a further instance");
/// Ejections, by revision.
pub const EJECTED: Metric = Metric::new("code_traffic_ejected_total", "times an instance was ejected");
/// Requests being answered, by revision.
pub const IN_FLIGHT: Metric = Metric::new("code_traffic_in_flight", "requests being answered");
/// Connections of other modules that were carried, by revision.
pub const CARRIED: Metric =
    Metric::new("code_traffic_peer_connections_total", "connections of other modules that were carried");
/// Connections of other modules that no instance took, by revision.
pub const UNTAKEN: Metric =
    Metric::new("code_traffic_peer_refused_total", "connections of other modules that no instance took");
/// Connections of other modules that are open, by revision.
pub const PEERS: Metric = Metric::new("code_traffic_peers", "connections of other modules that are open");
/// From the request's head to the answer's last byte, by revision.
pub const SECONDS: Metric = Metric::new("code_traffic_request_seconds", "from first to last byte");
/// Requests that could not be routed, by module.
pub const UNROUTABLE: Metric =
    Metric::new("code_traffic_unroutable_total", "requests no revision could take");
/// Client connections that are open.
pub const CONNECTIONS: Metric = Metric::new("code_traffic_connections", "client connections that are open");
/// Client connections refused.
pub const REFUSED: Metric = Metric::new("code_traffic_refused_total", "client connections beyond the bound");
/// 1 while NATS is away: the tables in force are the last known.
pub const LAST_KNOWN: Metric =
    Metric::new("code_traffic_last_known", "1 while NATS is away and tables may be old");
/// Tables that made no sense.
pub const REFUSED_TABLES: Metric =
    Metric::new("code_traffic_refused_tables_total", "tables that made no sense");
/// Copies that could not be written.
pub const UNSAVED: Metric = Metric::new("code_traffic_unsaved_total", "times the copy could not be written");

/// Upper bounds of the shown durations in microseconds: 1 ms to 33 s, doubling.
const BOUNDS: [u64; 16] = {
    let mut bounds = [1000; 16];
    let mut at = 1;
    while at < 16 {
        bounds[at] = bounds[at - 1] * 2;
        at += 1;
    }
    bounds
};

/// What is counted where it happens; the rest is read from the plane when the page is shown.
#[derive(Clone)]
pub(crate) struct Counts {
    refused_tables: Counter,
    unsaved: Counter,
}

impl Counts {
    pub(crate) fn new(metrics: &Metrics, plane: &Plane, bus: &Bus) -> Counts {
        metrics.collect(Shown { plane: plane.clone(), bus: bus.clone() });
        Counts { refused_tables: metrics.counter(&REFUSED_TABLES), unsaved: metrics.counter(&UNSAVED) }
    }

    pub(crate) fn refused_table(&self) {
        self.refused_tables.inc();
    }

    pub(crate) fn unsaved(&self) {
        self.unsaved.inc();
    }
}

struct Shown {
    plane: Plane,
    bus: Bus,
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown")
    }
}

type Labels = [(&'static str, String); 3];

/// One row of the table: a revision and what was counted there.
struct Row {
    labels: Labels,
    count: model::route::RevisionCount,
    ejections: u64,
    microseconds: u64,
}

type Column = fn(&Row) -> u64;

impl Collector for Shown {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut rows = Vec::new();
        let mut unroutable = Vec::new();
        self.plane.each(|module, revisions| {
            let (target, name) = (module.target.to_string(), module.module.to_string());
            unroutable
                .push(([("target", target.clone()), ("module", name.clone())], module.unroutable_so_far()));
            rows.extend(revisions.iter().map(|(revision, counts)| Row {
                labels: [
                    ("target", target.clone()),
                    ("module", name.clone()),
                    ("revision", revision.to_string()),
                ],
                count: counts.read(),
                ejections: counts.ejections(),
                microseconds: counts.microseconds(),
            }));
        });
        let columns: [(&Metric, Column); 6] = [
            (&REQUESTS, |row| row.count.requests),
            (&ERRORS, |row| row.count.errors),
            (&RETRIED, |row| row.count.retried),
            (&EJECTED, |row| row.ejections),
            (&CARRIED, |row| row.count.connections),
            (&UNTAKEN, |row| row.count.refused),
        ];
        for (metric, value) in columns {
            let mut family = describe(&mut encoder, metric, MetricType::Counter)?;
            for row in &rows {
                family.encode_family(&row.labels)?.encode_counter::<NoLabelSet, _, u64>(&value(row), None)?;
            }
        }
        let gauges: [(&Metric, Column); 2] =
            [(&IN_FLIGHT, |row| row.count.in_flight), (&PEERS, |row| row.count.connected)];
        for (metric, value) in gauges {
            let mut family = describe(&mut encoder, metric, MetricType::Gauge)?;
            for row in &rows {
                family.encode_family(&row.labels)?.encode_gauge(&(value(row) as i64))?;
            }
        }
        let mut seconds = describe(&mut encoder, &SECONDS, MetricType::Histogram)?;
        for row in &rows {
            let (buckets, sum) = (shown(&row.count.latency), row.microseconds as f64 / 1e6);
            let total = buckets.iter().map(|(_, count)| count).sum();
            seconds.encode_family(&row.labels)?.encode_histogram::<NoLabelSet>(sum, total, &buckets, None)?;
        }
        let mut refused = describe(&mut encoder, &UNROUTABLE, MetricType::Counter)?;
        for (labels, count) in &unroutable {
            refused.encode_family(labels)?.encode_counter::<NoLabelSet, _, u64>(count, None)?;
        }
        describe(&mut encoder, &REFUSED, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, u64>(&self.plane.refused(), None)?;
        describe(&mut encoder, &CONNECTIONS, MetricType::Gauge)?
            .encode_gauge(&(self.plane.connections() as i64))?;
        let away = i64::from(!self.bus.is_connected());
        describe(&mut encoder, &LAST_KNOWN, MetricType::Gauge)?.encode_gauge(&away)
    }
}

/// The format itself adds `_total` to counters.
fn describe<'a>(
    encoder: &'a mut DescriptorEncoder<'_>,
    metric: &'a Metric,
    kind: MetricType,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    encoder.encode_descriptor(metric.name.trim_end_matches("_total"), metric.help, None, kind)
}

/// The fine buckets summed up to the shown bounds: seconds and how many lie between this bound and the one before.
fn shown(latency: &[(u32, u64)]) -> Vec<(f64, u64)> {
    let mut buckets: Vec<(f64, u64)> = BOUNDS.iter().map(|bound| (*bound as f64 / 1e6, 0)).collect();
    buckets.push((f64::INFINITY, 0));
    for (bucket, count) in latency {
        let micros = stats::histogram::middle_of(*bucket);
        let at = BOUNDS.iter().position(|bound| micros <= *bound as f64).unwrap_or(BOUNDS.len());
        buckets[at].1 += count;
    }
    buckets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fine_buckets_are_summed_up_to_the_shown_bounds() {
        let micros = [500, 1_500, 1_600, 60_000_000];
        let latency: Vec<(u32, u64)> =
            micros.iter().map(|micros| (stats::histogram::bucket_of(*micros), 1)).collect();

        let counts: Vec<u64> = shown(&latency).into_iter().map(|(_, count)| count).collect();

        assert_eq!(counts, [1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    }
}
