//! One trace per deployment.

use bus::subjects;
use model::{Verdict, command::Action};
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_sdk::{propagation::TraceContextPropagator, trace::SdkTracerProvider};
use testkit::nats;
use tracing::Instrument;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::layer::SubscriberExt;

use crate::world::*;

#[tokio::test]
async fn every_record_and_every_job_of_a_deployment_is_in_the_trace_of_its_request() {
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    let provider = SdkTracerProvider::builder().build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    // For the whole binary: beside threads without a subscriber, a scoped one may miss spans.
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer)).unwrap();
    let nats = nats().await;
    let agents = agents(&nats.bus, None).await;
    let one = orchestrator(&nats).await;
    let first = ask(&nats.bus, &submit(shop("1.0.0"))).await;
    verdict(&nats.bus, &first).await;
    agents.traces.lock().unwrap().clear();

    let request = tracing::info_span!("request");
    let trace = request.context().span().span_context().trace_id().to_string();
    let second = ask(&nats.bus, &submit(shop("2.0.0"))).instrument(request).await;
    until(&nats.bus, &second, "the canary pauses", waits_in_pause).await;
    one.crash();
    let _two = orchestrator(&nats).await;
    until(&nats.bus, &second, "another owns it", |view| {
        view.owner.as_ref().is_some_and(|(owner, _)| *owner != one.replica.to_string())
    })
    .await;
    command(&nats.bus, &second, Action::Promote { full: false }).await.unwrap();
    assert_eq!(verdict(&nats.bus, &second).await, Verdict::Promoted);

    let records = history(&nats.bus, &second).await;
    let begun = records[0].trace.clone().unwrap();
    assert!(begun.contains(&trace), "{begun} is not in {trace}");
    assert!(records.iter().all(|record| record.trace.as_ref() == Some(&begun)), "{records:?}");
    let jobs = agents.traces.lock().unwrap().clone();
    assert!(!jobs.is_empty());
    for job in jobs {
        assert!(job.as_ref().is_some_and(|job| job.contains(&trace)), "{job:?} is not in {trace}");
    }
    let token = "default.scripted.shop".parse::<model::TargetId>().unwrap().token();
    let target = nats.bus.load(&subjects::target::JOURNAL, &token).await.unwrap();
    assert!(target.iter().any(|entry| entry.record.trace.as_ref() == Some(&begun)));
}
