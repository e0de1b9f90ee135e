//! Counters, gauges and histograms, and the page that shows them in OpenMetrics text.
//!
//! A metric is a constant in a service's `metrics.rs`:
//!
//! ```
//! use chassis::metrics::{Metric, Metrics};
//!
//! /// Steps that ended, by outcome.
//! const STEPS: Metric = Metric::new("code_orchestrator_steps_total", "steps that ended");
//!
//! let metrics = Metrics::default();
//! let steps = metrics.counters::<1>(&STEPS);
//! steps.get_or_create(&[("outcome", "succeeded".to_owned())]).inc();
//! ```

mod page;

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use prometheus_client::{
    metrics::{family::MetricConstructor, histogram::exponential_buckets},
    registry::{self, Registry},
};

pub use page::Page;
pub use prometheus_client::{
    collector::Collector,
    encoding,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
};

/// The label names and values of one member of a family. Values must be few: no ids.
pub type Labels<const N: usize> = [(&'static str, String); N];
/// A histogram for each set of labels.
pub type Histograms<const N: usize> = Family<Labels<N>, Histogram, Buckets>;

/// A metric's name and meaning, known when compiling.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// `code_<service>_<thing>_<unit>`; counters end in `_total`.
    pub name: &'static str,
    /// What it counts, in one line.
    pub help: &'static str,
}

impl Metric {
    /// Fails the build when the name is not `code_…` in lower case.
    pub const fn new(name: &'static str, help: &'static str) -> Metric {
        let bytes = name.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let byte = bytes[at];
            assert!(byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_', "a-z, 0-9 and _");
            at += 1;
        }
        let prefixed = bytes.len() > 5
            && bytes[0] == b'c'
            && bytes[1] == b'o'
            && bytes[2] == b'd'
            && bytes[3] == b'e'
            && bytes[4] == b'_';
        assert!(prefixed, "a metric's name begins with code_");
        Metric { name, help }
    }

    /// The name as the registry wants it: the format itself adds `_total` to counters.
    fn stem(&self) -> &'static str {
        self.name.strip_suffix("_total").unwrap_or(self.name)
    }
}

/// The upper bounds of a histogram's buckets: `least`, then `times` as large each, `count` of them.
#[derive(Clone, Copy, Debug)]
pub struct Buckets {
    /// The first bound.
    pub least: f64,
    /// The factor from bound to bound, over 1.
    pub times: f64,
    /// How many bounds.
    pub count: u16,
}

impl Buckets {
    /// For a network call or a handler: 1 ms to 33 s.
    pub const SECONDS: Buckets = Buckets { least: 0.001, times: 2.0, count: 16 };
    /// For work such as a step or a deployment: 1 s to 4.5 h.
    pub const LONG_SECONDS: Buckets = Buckets { least: 1.0, times: 2.0, count: 15 };
    /// For sizes: 256 B to 67 MB.
    pub const BYTES: Buckets = Buckets { least: 256.0, times: 4.0, count: 10 };
}

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(exponential_buckets(self.least, self.times, self.count))
    }
}

/// The metrics of one service. Cheap to clone; clones are the same metrics. Register each once, at start.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Metrics {
    /// No metrics yet; every one of them will carry these labels.
    pub fn labelled(labels: &[(&'static str, String)]) -> Metrics {
        let labels = labels.iter().map(|(name, value)| ((*name).into(), value.clone().into()));
        Metrics(Arc::new(Mutex::new(Registry::with_labels(labels))))
    }

    /// A number that only grows.
    pub fn counter(&self, metric: &Metric) -> Counter {
        self.register(metric, Counter::default())
    }

    /// Counters by labels.
    pub fn counters<const N: usize>(&self, metric: &Metric) -> Family<Labels<N>, Counter> {
        self.register(metric, Family::default())
    }

    /// A number that goes up and down.
    pub fn gauge(&self, metric: &Metric) -> Gauge {
        self.register(metric, Gauge::default())
    }

    /// Gauges by labels.
    pub fn gauges<const N: usize>(&self, metric: &Metric) -> Family<Labels<N>, Gauge> {
        self.register(metric, Family::default())
    }

    /// How values spread.
    pub fn histogram(&self, metric: &Metric, buckets: Buckets) -> Histogram {
        self.register(metric, buckets.new_metric())
    }

    /// How values spread, by labels.
    pub fn histograms<const N: usize>(&self, metric: &Metric, buckets: Buckets) -> Histograms<N> {
        self.register(metric, Family::new_with_constructor(buckets))
    }

    /// What is asked for whenever the page is shown.
    pub fn collect(&self, collector: impl Collector) {
        self.registry().register_collector(Box::new(collector));
    }

    fn register<M: registry::Metric + Clone>(&self, metric: &Metric, value: M) -> M {
        // The registry ends the help text with a full stop itself.
        self.registry().register(metric.stem(), metric.help.trim_end_matches('.'), value.clone());
        value
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.0.lock()
    }
}
