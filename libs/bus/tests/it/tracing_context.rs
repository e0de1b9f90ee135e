use std::sync::{Arc, Mutex};

use bus::subjects::orchestrator;
use model::{
    DeploymentId,
    command::{HistoryReply, HistoryRequest},
};
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_sdk::trace::SdkTracerProvider;
use testkit::nats;
use tracing::Instrument;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::layer::SubscriberExt;

use crate::LONG;

#[tokio::test]
async fn the_handlers_span_continues_the_askers_trace() {
    let tracer = SdkTracerProvider::builder().build().tracer("test");
    let subscriber = tracing_subscriber::registry().with(tracing_opentelemetry::layer().with_tracer(tracer));
    // The runtime of this test has one thread, so the handler runs under it too.
    let _active = tracing::subscriber::set_default(subscriber);
    let nats = nats().await;
    let trace_id = || tracing::Span::current().context().span().span_context().trace_id();
    let heard = Arc::new(Mutex::new(None));
    let seen = heard.clone();
    let _serving = nats
        .bus
        .answer(&orchestrator::HISTORY, 1, move |_, _| {
            *seen.lock().unwrap() = Some(trace_id());
            async { Ok(HistoryReply { records: vec![] }) }
        })
        .await
        .unwrap();

    let asked = async {
        let question = HistoryRequest { deployment: DeploymentId::new() };
        nats.bus.call(&orchestrator::HISTORY, &question, LONG).await.unwrap();
        trace_id()
    };
    let said = asked.instrument(tracing::info_span!("ask")).await;

    assert_eq!(*heard.lock().unwrap(), Some(said));
    assert_ne!(said, opentelemetry::TraceId::INVALID);
}
