//! W3C trace context over message headers, so that one trace spans all services.

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use rand::Rng;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The traceparent of what runs now; a new trace when tracing is not active.
pub(crate) fn current() -> String {
    let context = Span::current().context();
    let span = context.span();
    let span = span.span_context();
    if span.is_valid() {
        return format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags().to_u8());
    }
    let mut random = rand::rng();
    // A zero would be invalid; one bit makes sure. The flag 00: nobody recorded this.
    format!("00-{:032x}-{:016x}-00", random.random::<u128>() | 1, random.random::<u64>() | 1)
}

/// Makes `span` a child of the sender's span. A header that is not a traceparent is ignored.
pub(crate) fn continue_in(span: &Span, traceparent: &str) {
    if let Some(parent) = parse(traceparent) {
        let context = opentelemetry::Context::new().with_remote_span_context(parent);
        // Without an OpenTelemetry layer there is nothing to continue.
        let _ = span.set_parent(context);
    }
}

fn parse(text: &str) -> Option<SpanContext> {
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if version.len() != 2 || version == "ff" || trace.len() != 32 || span.len() != 16 || flags.len() != 2 {
        return None;
    }
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()?),
        true,
        TraceState::default(),
    );
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_tracing_a_new_valid_trace_begins() {
        let (one, two) = (current(), current());

        assert!(parse(&one).is_some(), "{one}");
        assert_ne!(one, two);
    }

    #[test]
    fn what_is_not_a_traceparent_is_ignored() {
        for bad in
            ["", "00", "00-0-0-00", "00-00000000000000000000000000000000-0000000000000001-00", "x-y-z-w"]
        {
            assert!(parse(bad).is_none(), "{bad:?}");
        }
        assert!(parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").is_some());
    }
}
