//! CloudEvents 1.0 in JSON; the data is the OCSF event, as SIEMs take it.

use model::audit::AuditEntry;
use serde_json::{Map, Value, json};

pub(super) fn event(origin: &str, entry: &AuditEntry) -> Value {
    let record = &entry.record;
    let mut event = Map::new();
    event.insert("specversion".to_owned(), json!("1.0"));
    event.insert("id".to_owned(), json!(format!("{origin}/{}", entry.index)));
    event.insert("source".to_owned(), json!(format!("//{origin}")));
    event.insert("type".to_owned(), json!(format!("dev.code.audit.{}", record.action)));
    event.insert("subject".to_owned(), json!(record.subject));
    event.insert("time".to_owned(), json!(record.at.to_string()));
    event.insert("datacontenttype".to_owned(), json!("application/json"));
    if let Some(trace) = &record.trace {
        event.insert("traceparent".to_owned(), json!(trace));
    }
    event.insert("data".to_owned(), super::ocsf::event(origin, entry));
    Value::Object(event)
}
