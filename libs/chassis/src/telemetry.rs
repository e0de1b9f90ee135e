//! Log lines and traces of the whole process.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use opentelemetry::{KeyValue, global, trace::TracerProvider as _};
use opentelemetry_otlp::{ExporterBuildError, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracerProvider},
};
use tracing_subscriber::{
    EnvFilter, Layer, Registry, filter::ParseError, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::config::{Common, LogFormat};

/// Traces that leave the process, if they do.
#[derive(Debug, Default)]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

/// Why log lines and traces cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter in `log` cannot be read.
    #[error("cannot use the log filter {filter:?}")]
    Filter {
        /// The filter.
        filter: String,
        /// Why.
        #[source]
        source: ParseError,
    },
    /// The endpoint cannot be used.
    #[error("cannot send traces to {endpoint}")]
    Exporter {
        /// The endpoint.
        endpoint: String,
        /// Why.
        #[source]
        source: ExporterBuildError,
    },
    /// There is a subscriber already: a process has one.
    #[error("log lines are shown by someone else already")]
    Taken(#[source] tracing_subscriber::util::TryInitError),
}

/// Flushing gives up after this: a stop must not hang on a collector that is down.
const FLUSH: Duration = Duration::from_secs(3);

impl Telemetry {
    /// Shows log lines on standard error, and sends traces if `otlp_endpoint` is set. Once per process; call it
    /// within a tokio runtime. A collector that is down costs traces, never work.
    pub fn start(process: &str, common: &Common) -> Result<Telemetry, Error> {
        let telemetry = Telemetry { traces: exporter(process, common)? };
        let filter = EnvFilter::try_new(&common.log)
            .map_err(|source| Error::Filter { filter: common.log.clone(), source })?;
        // The exporter's own connection must not be traced into itself.
        let traces = telemetry.traces.as_ref().map(|provider| {
            let own = tracing_subscriber::filter::filter_fn(|metadata| {
                !["h2", "hyper", "tonic", "tower", "opentelemetry"]
                    .iter()
                    .any(|own| metadata.target().starts_with(own))
            });
            tracing_opentelemetry::layer().with_tracer(provider.tracer("code")).with_filter(own)
        });
        tracing_subscriber::registry()
            .with(lines(common.log_format))
            .with(traces)
            .with(filter)
            .try_init()
            .map_err(Error::Taken)?;
        global::set_text_map_propagator(TraceContextPropagator::new());
        Ok(telemetry)
    }

    /// Sends what is held, at most 3 s, and ends. Blocks.
    pub fn flush(&self) {
        let Some(traces) = &self.traces else { return };
        if let Err(error) = traces.shutdown_with_timeout(FLUSH) {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}

fn lines(format: LogFormat) -> Box<dyn Layer<Registry> + Send + Sync> {
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    match format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).boxed(),
        LogFormat::Json => {
            lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed()
        }
    }
}

fn exporter(process: &str, common: &Common) -> Result<Option<SdkTracerProvider>, Error> {
    let Some(endpoint) = &common.otlp_endpoint else { return Ok(None) };
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(FLUSH)
        .build()
        .map_err(|source| Error::Exporter { endpoint: endpoint.clone(), source })?;
    let resource = Resource::builder()
        .with_service_name(process.to_owned())
        .with_attribute(KeyValue::new("service.namespace", "code"))
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(common.trace_sample)));
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource)
        .with_sampler(sampler)
        .build();
    Ok(Some(provider))
}
