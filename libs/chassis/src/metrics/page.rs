//! One page for all services of a process.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
    sync::Arc,
};

use parking_lot::{Mutex, MutexGuard};
use prometheus_client::encoding::text::encode;

use super::Metrics;

/// The metrics of all services in this process. Cheap to clone; clones are the same page.
#[derive(Clone, Debug, Default)]
pub struct Page(Arc<Mutex<Vec<Metrics>>>);

impl Page {
    /// The content type of [`Page::text`].
    pub const CONTENT_TYPE: &'static str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// Shows these metrics too.
    pub fn add(&self, metrics: &Metrics) {
        self.all().push(metrics.clone());
    }

    /// No longer shows these metrics.
    pub fn remove(&self, metrics: &Metrics) {
        self.all().retain(|other| !Arc::ptr_eq(&other.0, &metrics.0));
    }

    /// OpenMetrics text. A metric that several services have is described once, as the format wants.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut families: BTreeMap<String, Family> = BTreeMap::new();
        for metrics in self.all().iter() {
            let mut text = String::new();
            encode(&mut text, &metrics.registry())?;
            gather(&text, &mut families);
        }
        let mut page = String::new();
        for family in families.values() {
            write!(page, "{}{}", family.about, family.samples)?;
        }
        page.push_str("# EOF\n");
        Ok(page)
    }

    fn all(&self) -> MutexGuard<'_, Vec<Metrics>> {
        self.0.lock()
    }
}

#[derive(Default)]
struct Family {
    about: String,
    samples: String,
}

/// Adds a page to the families. The encoder writes each family's `#` lines and then its samples.
fn gather(text: &str, families: &mut BTreeMap<String, Family>) {
    let mut name = String::new();
    let mut described = false;
    for line in text.lines().filter(|line| *line != "# EOF") {
        let into = if let Some(about) = line.strip_prefix("# ") {
            let of = about.split(' ').nth(1).unwrap_or_default();
            if of != name {
                name = of.to_owned();
                described = families.contains_key(&name);
            }
            if described {
                continue;
            }
            &mut families.entry(name.clone()).or_default().about
        } else {
            &mut families.entry(name.clone()).or_default().samples
        };
        into.push_str(line);
        into.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Buckets, Metric};

    const JOBS: Metric = Metric::new("code_test_jobs_total", "jobs that ended.");
    const DEPTH: Metric = Metric::new("code_test_queue_depth", "jobs that wait");
    const TIME: Metric = Metric::new("code_test_time_seconds", "time for a job");

    #[test]
    fn a_metric_of_two_services_is_described_once() {
        let page = Page::default();
        for service in ["one", "two"] {
            let metrics = Metrics::labelled(&[("service", service.to_owned())]);
            metrics.counter(&JOBS).inc();
            metrics.gauge(&DEPTH).set(3);
            page.add(&metrics);
        }

        let text = page.text().unwrap();

        let expected = "\
# HELP code_test_jobs jobs that ended.
# TYPE code_test_jobs counter
code_test_jobs_total{service=\"one\"} 1
code_test_jobs_total{service=\"two\"} 1
# HELP code_test_queue_depth jobs that wait.
# TYPE code_test_queue_depth gauge
code_test_queue_depth{service=\"one\"} 3
code_test_queue_depth{service=\"two\"} 3
# EOF
";
        assert_eq!(text, expected);
    }

    #[test]
    fn families_carry_labels_and_histograms_their_buckets() {
        let page = Page::default();
        let metrics = Metrics::default();
        page.add(&metrics);
        metrics.counters::<1>(&JOBS).get_or_create(&[("outcome", "good".to_owned())]).inc_by(2);
        let buckets = Buckets { least: 1.0, times: 2.0, count: 2 };
        metrics.histograms::<1>(&TIME, buckets).get_or_create(&[("lane", "a".to_owned())]).observe(1.5);

        let text = page.text().unwrap();

        for line in [
            "code_test_jobs_total{outcome=\"good\"} 2",
            "code_test_time_seconds_bucket{le=\"1.0\",lane=\"a\"} 0",
            "code_test_time_seconds_bucket{le=\"2.0\",lane=\"a\"} 1",
            "code_test_time_seconds_bucket{le=\"+Inf\",lane=\"a\"} 1",
            "code_test_time_seconds_sum{lane=\"a\"} 1.5",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn a_service_that_is_gone_is_no_longer_shown() {
        let page = Page::default();
        let metrics = Metrics::default();
        metrics.counter(&JOBS);
        page.add(&metrics);

        page.remove(&metrics);

        assert_eq!(page.text().unwrap(), "# EOF\n");
    }
}
