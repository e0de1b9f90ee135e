//! One trace per deployment: whatever follows from a request stands under the traceparent that the request came with,
//! however many replicas and restarts later.

use std::collections::HashMap;

use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Makes `span` a child of the request's span. Without a traceparent, or one that cannot be read, it begins a trace.
pub fn under(span: Span, traceparent: Option<&str>) -> Span {
    if let Some(traceparent) = traceparent {
        let carrier = HashMap::from([("traceparent".to_owned(), traceparent.to_owned())]);
        let parent = opentelemetry::global::get_text_map_propagator(|read| read.extract(&carrier));
        // Without an OpenTelemetry layer there is nothing to continue.
        let _ = span.set_parent(parent);
    }
    span
}
