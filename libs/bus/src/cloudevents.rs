//! CloudEvents 1.0 from the world, in both NATS content modes. Pure: bytes and headers in, an event or complaints out.

use std::collections::BTreeMap;

use model::fault::Complaint;
use serde_json::{Map, Value};

/// The content type of structured mode.
pub(crate) const STRUCTURED: &str = "application/cloudevents+json";

/// What an event carries.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Nothing.
    None,
    /// A JSON value.
    Json(Value),
    /// A text that is not JSON, such as a spec in YAML.
    Text(String),
}

/// One event from outside.
#[derive(Clone, Debug, PartialEq)]
pub struct CloudEvent {
    /// Unique within its source: together they are the idempotency key.
    pub id: String,
    /// Who says it, a URI reference.
    pub source: String,
    /// What kind it is.
    pub kind: String,
    /// What it is about.
    pub subject: Option<String>,
    /// When it happened, RFC 3339, as written.
    pub time: Option<String>,
    /// The media type of the data, as written.
    pub content_type: Option<String>,
    /// All further attributes.
    pub extensions: BTreeMap<String, String>,
    /// What it carries.
    pub data: Data,
}

impl CloudEvent {
    /// The same for every delivery of the same event.
    pub fn key(&self) -> String {
        format!("{}\n{}", self.source, self.id)
    }

    /// The data as a document text: JSON or what was written; empty when there is none.
    pub fn document(&self) -> String {
        match &self.data {
            Data::None => String::new(),
            Data::Json(Value::String(text)) | Data::Text(text) => text.clone(),
            Data::Json(value) => value.to_string(),
        }
    }
}

/// Reads an event. `header` gives a header's value by its lower-case name; `names` lists all of them.
/// Each missing attribute is its own complaint.
pub(crate) fn parse(
    headers: &BTreeMap<String, String>,
    payload: &[u8],
) -> Result<CloudEvent, Vec<Complaint>> {
    let content_type = headers.get("content-type").map(String::as_str).unwrap_or_default();
    let media = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if media.starts_with("application/cloudevents") && media != STRUCTURED {
        let message = format!("{media} is not supported");
        return Err(vec![complaint(
            "content-type",
            message,
            "send application/cloudevents+json or binary mode",
        )]);
    }
    if media == STRUCTURED {
        return structured(payload);
    }
    if headers.keys().any(|name| name.starts_with("ce-")) {
        return binary(headers, content_type, payload);
    }
    // Without headers it may still be a structured event.
    match serde_json::from_slice::<Value>(payload) {
        Ok(Value::Object(object)) if object.contains_key("specversion") => structured(payload),
        _ => {
            let cure = "set the header Content-Type: application/cloudevents+json, or the headers ce-id, ce-source, \
                        ce-type and ce-specversion";
            Err(vec![complaint("", "the message is not a CloudEvent".to_owned(), cure)])
        }
    }
}

fn structured(payload: &[u8]) -> Result<CloudEvent, Vec<Complaint>> {
    let mut object: Map<String, Value> = serde_json::from_slice(payload).map_err(|error| {
        let message = format!("the body is not a JSON object: {error}");
        let mut complaint = complaint("", message, "send one CloudEvent as a JSON object");
        (complaint.line, complaint.column) =
            (u32::try_from(error.line()).unwrap_or(0), u32::try_from(error.column()).unwrap_or(0));
        vec![complaint]
    })?;
    let mut complaints = Vec::new();
    let data = match (object.remove("data"), object.remove("data_base64")) {
        (None | Some(Value::Null), None) => Data::None,
        (Some(Value::String(text)), None) => Data::Text(text),
        (Some(value), None) => Data::Json(value),
        (_, Some(_)) => {
            complaints.push(complaint(
                "data_base64",
                "is not supported".to_owned(),
                "send the document as data",
            ));
            Data::None
        }
    };
    let mut attributes = BTreeMap::new();
    for (name, value) in object {
        match value {
            Value::String(text) => drop(attributes.insert(name, text)),
            Value::Bool(_) | Value::Number(_) => drop(attributes.insert(name, value.to_string())),
            Value::Null => {}
            Value::Array(_) | Value::Object(_) => {
                complaints.push(complaint(&name, "is not a text, number or boolean".to_owned(), ""));
            }
        }
    }
    event(attributes, data, complaints)
}

fn binary(
    headers: &BTreeMap<String, String>,
    content_type: &str,
    payload: &[u8],
) -> Result<CloudEvent, Vec<Complaint>> {
    let mut complaints = Vec::new();
    let mut attributes: BTreeMap<String, String> = headers
        .iter()
        .filter_map(|(name, value)| Some((name.strip_prefix("ce-")?.to_owned(), percent_decoded(value))))
        .collect();
    if !content_type.is_empty() {
        attributes.insert("datacontenttype".to_owned(), content_type.to_owned());
    }
    let data = match std::str::from_utf8(payload) {
        Ok("") => Data::None,
        Ok(text) if is_json(content_type) => match serde_json::from_str(text) {
            Ok(value) => Data::Json(value),
            Err(error) => {
                let message = format!("the body is not JSON, as its content type says: {error}");
                complaints.push(complaint("data", message, ""));
                Data::None
            }
        },
        Ok(text) => Data::Text(text.to_owned()),
        Err(error) => {
            complaints.push(complaint("data", format!("is not UTF-8 text: {error}"), ""));
            Data::None
        }
    };
    event(attributes, data, complaints)
}

fn is_json(content_type: &str) -> bool {
    let media = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media == "application/json" || media.ends_with("+json")
}

fn event(
    mut attributes: BTreeMap<String, String>,
    data: Data,
    mut complaints: Vec<Complaint>,
) -> Result<CloudEvent, Vec<Complaint>> {
    let mut required = |name: &str, cure: &str| match attributes.remove(name) {
        Some(text) if !text.is_empty() => text,
        _ => {
            complaints.push(complaint(name, "is missing".to_owned(), cure));
            String::new()
        }
    };
    let version = required("specversion", "set it to 1.0");
    let id = required("id", "set an id that is unique within the source; the same id is the same event");
    let source = required("source", "set a URI that names the sender, such as /ci/pipeline");
    let kind = required("type", "set the event's type, such as code.deployment.requested.v1");
    if !version.is_empty() && version != "1.0" {
        complaints.push(complaint("specversion", format!("{version:?} is not supported"), "set it to 1.0"));
    }
    if !complaints.is_empty() {
        return Err(complaints);
    }
    let subject = attributes.remove("subject");
    let time = attributes.remove("time");
    let content_type = attributes.remove("datacontenttype");
    attributes.remove("dataschema");
    Ok(CloudEvent { id, source, kind, subject, time, content_type, extensions: attributes, data })
}

fn complaint(field: &str, message: String, cure: &str) -> Complaint {
    Complaint { field: field.to_owned(), line: 0, column: 0, message, cure: cure.to_owned() }
}

/// Header values are percent-encoded by the binding; a percent sign that encodes nothing stays as it is.
fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = bytes.get(at + 1..at + 3).and_then(|pair| hex::decode(pair).ok());
        match (bytes[at], code) {
            (b'%', Some(code)) => {
                decoded.extend(code);
                at += 3;
            }
            (byte, _) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn fields(result: Result<CloudEvent, Vec<Complaint>>) -> Vec<String> {
        result.unwrap_err().into_iter().map(|complaint| complaint.field).collect()
    }

    #[test]
    fn both_modes_read_as_the_same_event() {
        let structured = parse(
            &headers(&[("content-type", "application/cloudevents+json; charset=utf-8")]),
            br#"{"specversion":"1.0","id":"7","source":"/ci","type":"t","team":"core","datacontenttype":"application/json","data":{"a":1}}"#,
        );
        let binary = parse(
            &headers(&[
                ("ce-specversion", "1.0"),
                ("ce-id", "7"),
                ("ce-source", "/ci"),
                ("ce-type", "t"),
                ("ce-team", "core"),
                ("content-type", "application/json"),
            ]),
            br#"{"a":1}"#,
        );

        assert_eq!(structured.unwrap(), binary.unwrap());
    }

    #[test]
    fn every_missing_attribute_is_its_own_complaint() {
        let empty = parse(&headers(&[("content-type", "application/cloudevents+json")]), b"{}");
        let binary = parse(&headers(&[("ce-id", "7")]), b"");

        assert_eq!(fields(empty), ["specversion", "id", "source", "type"]);
        assert_eq!(fields(binary), ["specversion", "source", "type"]);
    }

    #[test]
    fn another_version_of_the_specification_is_refused() {
        let event = parse(
            &headers(&[("ce-specversion", "0.3"), ("ce-id", "7"), ("ce-source", "/ci"), ("ce-type", "t")]),
            b"",
        );

        assert_eq!(fields(event), ["specversion"]);
    }

    #[test]
    fn a_spec_in_yaml_stays_the_text_it_was() {
        let event = parse(
            &headers(&[
                ("ce-specversion", "1.0"),
                ("ce-id", "a%20b"),
                ("ce-source", "/ci"),
                ("ce-type", "t"),
                ("content-type", "application/yaml"),
            ]),
            b"name: shop\n",
        )
        .unwrap();

        assert_eq!((event.document().as_str(), event.id.as_str()), ("name: shop\n", "a b"));
    }

    #[test]
    fn what_is_no_event_at_all_is_told_how_to_become_one() {
        let complaints = parse(&headers(&[]), b"name: shop").unwrap_err();

        assert!(complaints[0].cure.contains("ce-specversion"), "{complaints:?}");
    }
}
