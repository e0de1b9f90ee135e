//! OCSF 1.6.0, pinned: later versions change the meaning of fields that are used here.

use model::audit::{AuditEntry, AuditOutcome, AuditRecord};
use serde_json::{Value, json};

/// A class and an activity: `type_uid` is `class_uid * 100 + activity_id`.
struct Kind {
    category: u32,
    category_name: &'static str,
    class: u32,
    class_name: &'static str,
    activity: u32,
    activity_name: &'static str,
}

const APPLICATION: u32 = 6;

fn kind(record: &AuditRecord) -> Kind {
    let application = |class, class_name, activity, activity_name| Kind {
        category: APPLICATION,
        category_name: "Application Activity",
        class,
        class_name,
        activity,
        activity_name,
    };
    let action = record.action.as_str();
    let verb = action.rsplit('.').next().unwrap_or_default();
    if action.starts_with(crate::heart::detect::ALERT) {
        return Kind {
            category: 2,
            category_name: "Findings",
            class: 2004,
            class_name: "Detection Finding",
            activity: 1,
            activity_name: "Create",
        };
    }
    if action.starts_with("login.") || action.starts_with("session.") {
        return Kind {
            category: 3,
            category_name: "Identity & Access Management",
            class: 3002,
            class_name: "Authentication",
            activity: if verb == "ended" { 2 } else { 1 },
            activity_name: if verb == "ended" { "Logoff" } else { "Logon" },
        };
    }
    match (action, verb) {
        ("deployment.promoted", _) => application(6002, "Application Lifecycle", 1, "Install"),
        ("deployment.rolled_back", _) => application(6002, "Application Lifecycle", 99, "Other"),
        ("deployment.execution_began", _) => application(6002, "Application Lifecycle", 3, "Start"),
        (_, "received" | "created" | "granted") => application(6003, "API Activity", 1, "Create"),
        (_, "read" | "listed") => application(6003, "API Activity", 2, "Read"),
        (_, "revoked" | "deleted") => application(6003, "API Activity", 4, "Delete"),
        _ if action.starts_with("deployment.") || action.starts_with("target.") => {
            application(6003, "API Activity", 3, "Update")
        }
        _ => application(6003, "API Activity", 99, "Other"),
    }
}

pub(super) fn event(origin: &str, entry: &AuditEntry) -> Value {
    let record = &entry.record;
    let kind = kind(record);
    let alert = kind.class == 2004;
    let (status_id, status) = match record.outcome {
        AuditOutcome::Done => (1, "Success"),
        AuditOutcome::Denied | AuditOutcome::Failed => (2, "Failure"),
    };
    let (severity_id, severity) = match record.outcome {
        _ if alert => (4, "High"),
        AuditOutcome::Done => (1, "Informational"),
        AuditOutcome::Denied => (3, "Medium"),
        AuditOutcome::Failed => (2, "Low"),
    };
    let uid = format!("{origin}/{}", entry.index);
    let mut event = json!({
        "category_uid": kind.category,
        "category_name": kind.category_name,
        "class_uid": kind.class,
        "class_name": kind.class_name,
        "activity_id": kind.activity,
        "activity_name": kind.activity_name,
        "type_uid": kind.class * 100 + kind.activity,
        "type_name": format!("{}: {}", kind.class_name, kind.activity_name),
        "time": record.at.0,
        "severity_id": severity_id,
        "severity": severity,
        "status_id": status_id,
        "status": status,
        "status_detail": record.reason.clone().unwrap_or_default(),
        "message": format!("{} {} on {} by {}", record.action, record.outcome.as_str(), record.subject, record.actor),
        "actor": { "user": { "name": record.actor } },
        "metadata": {
            "version": "1.6.0",
            "uid": uid,
            "log_name": origin,
            "logged_time": record.at.0,
            "sequence": entry.index,
            "product": { "name": "CODE", "vendor_name": "CODE", "version": env!("CARGO_PKG_VERSION") },
        },
        "unmapped": record,
    });
    let detail = match kind.class {
        2004 => {
            json!({ "finding_info": { "uid": uid, "title": record.action, "desc": record.reason.clone().unwrap_or_default() } })
        }
        3002 => json!({ "user": { "name": record.actor } }),
        6002 => json!({ "app": { "name": record.subject } }),
        _ => json!({
            "api": { "operation": record.action, "service": { "name": record.source } },
            "resources": [{ "name": record.subject }],
            "src_endpoint": { "name": record.source },
        }),
    };
    if let (Value::Object(event), Value::Object(detail)) = (&mut event, detail) {
        event.extend(detail);
    }
    event
}
