//! CloudEvents 1.0 from the world, in both NATS content modes. Pure: bytes and headers in, an event or complaints out.

use std::collections::BTreeMap;

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use model::{
    fault::Complaint,
    principal::{BadName, Name},
};
use serde_json::{Map, Value};

/// The content type of structured mode.
pub(crate) const STRUCTURED: &str = "application/cloudevents+json";

/// The content type of a batch, which is not taken.
const BATCH: &str = "application/cloudevents-batch+json";
/// RFC 4648 section 4; padding may be left out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

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
    pub source: Name,
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
        format!("{}\n{}", self.source.as_str(), self.id)
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
    if media == BATCH {
        return Err(vec![batch()]);
    }
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
        Ok(Value::Array(_)) => Err(vec![batch()]),
        _ => {
            let cure = "set the header Content-Type: application/cloudevents+json, or the headers ce-id, ce-source, \
                        ce-type and ce-specversion";
            Err(vec![complaint("", "the message is not a CloudEvent".to_owned(), cure)])
        }
    }
}

fn batch() -> Complaint {
    let message = "the message is a batch of events, and a batch has no single answer".to_owned();
    complaint("", message, "send each event as a message of its own, as application/cloudevents+json")
}

fn structured(payload: &[u8]) -> Result<CloudEvent, Vec<Complaint>> {
    let whole: Value = serde_json::from_slice(payload).map_err(|error| {
        let message = format!("the body is not a JSON object: {error}");
        let mut complaint = complaint("", message, "send one CloudEvent as a JSON object");
        (complaint.line, complaint.column) =
            (u32::try_from(error.line()).unwrap_or(0), u32::try_from(error.column()).unwrap_or(0));
        vec![complaint]
    })?;
    let mut object = match whole {
        Value::Object(object) => object,
        Value::Array(_) => return Err(vec![batch()]),
        _ => {
            let message = "the body is JSON and not an object".to_owned();
            return Err(vec![complaint("", message, "send one CloudEvent as a JSON object")]);
        }
    };
    let mut complaints = Vec::new();
    let data = carried(&mut object).unwrap_or_else(|complaint| {
        complaints.push(complaint);
        Data::None
    });
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

/// The data of an event in the JSON format (section 3.1): a text that is not JSON stands as a string in `data`, bytes
/// stand in `data_base64`. Without a content type the data is JSON.
fn carried(object: &mut Map<String, Value>) -> Result<Data, Complaint> {
    let content_type = object.get("datacontenttype").and_then(Value::as_str).unwrap_or_default().to_owned();
    let encoded = match (object.remove("data"), object.remove("data_base64")) {
        (None | Some(Value::Null), None | Some(Value::Null)) => return Ok(Data::None),
        (Some(Value::String(text)), None | Some(Value::Null))
            if !content_type.is_empty() && !is_json(&content_type) =>
        {
            return Ok(Data::Text(text));
        }
        (Some(value), None | Some(Value::Null)) => return Ok(Data::Json(value)),
        (None | Some(Value::Null), Some(Value::String(encoded))) => encoded,
        (None | Some(Value::Null), Some(_)) => {
            return Err(complaint("data_base64", "is not a string".to_owned(), "encode the bytes in Base64"));
        }
        (Some(_), Some(_)) => {
            let message = "stands beside data, and an event has one of the two".to_owned();
            return Err(complaint("data_base64", message, "leave one of them out"));
        }
    };
    let bytes = BASE64.decode(encoded.as_bytes()).map_err(|error| {
        let message = format!("is not Base64: {error}");
        complaint("data_base64", message, "encode the bytes as RFC 4648 section 4 says")
    })?;
    // A document without a content type may be YAML: what is no JSON is the text that it is.
    let data = document(&bytes, &content_type, "data_base64");
    match data {
        Err(_) if content_type.is_empty() => document(&bytes, "text/plain", "data_base64"),
        data => data,
    }
}

/// Bytes as what their content type says they are; JSON when it says nothing.
fn document(bytes: &[u8], content_type: &str, field: &str) -> Result<Data, Complaint> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        complaint(field, format!("is not UTF-8 text: {error}"), "send the document as UTF-8")
    })?;
    if text.is_empty() {
        return Ok(Data::None);
    }
    if !content_type.is_empty() && !is_json(content_type) {
        return Ok(Data::Text(text.to_owned()));
    }
    serde_json::from_str(text).map(Data::Json).map_err(|error| {
        let message = format!("is not JSON, as its content type says: {error}");
        complaint(field, message, "send JSON, or name the content type, such as application/yaml")
    })
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
    let content_type = attributes.get("datacontenttype").map(String::as_str).unwrap_or_default();
    // In this mode nothing is implied: a text without a content type is a text.
    let media = if content_type.is_empty() { "text/plain" } else { content_type };
    let data = document(payload, media, "data").unwrap_or_else(|complaint| {
        complaints.push(complaint);
        Data::None
    });
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
    let named: Result<Name, BadName> = source.parse();
    if let (Err(error), false) = (&named, source.is_empty()) {
        complaints.push(complaint("source", error.to_string(), "set a short URI, such as /ci/pipeline"));
    }
    let source = match named {
        Ok(source) if complaints.is_empty() => source,
        Ok(_) | Err(_) => return Err(complaints),
    };
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
    fn a_source_that_is_no_name_is_refused_and_named() {
        let long = format!(r#"{{"specversion":"1.0","id":"7","source":"/{}","type":"t"}}"#, "x".repeat(300));
        let odd =
            r#"{"specversion":"1.0","id":"7","source":"/ci\nCode-Principal: engine:x/rep-1","type":"t"}"#;
        for (text, said) in [(long.as_str(), "has 301 bytes"), (odd, "has a control character at place 4")] {
            let complaints = parse(&headers(&[("content-type", STRUCTURED)]), text.as_bytes()).unwrap_err();

            assert_eq!(complaints.len(), 1, "{complaints:?}");
            assert_eq!(complaints[0].field, "source");
            assert!(complaints[0].message.contains(said), "{}", complaints[0].message);
        }
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

    fn carried_by(members: &str) -> Result<Data, Vec<String>> {
        let text = format!(r#"{{"specversion":"1.0","id":"7","source":"/ci","type":"t",{members}}}"#);
        let event = parse(&headers(&[("content-type", STRUCTURED)]), text.as_bytes());
        event.map(|event| event.data).map_err(|complaints| {
            complaints.into_iter().map(|it| format!("{} {}", it.field, it.message)).collect()
        })
    }

    #[test]
    fn bytes_in_base64_are_the_document_that_their_content_type_says() {
        let yaml = Data::Text("name: shop\n".to_owned());
        let json = Data::Json(serde_json::json!({"a": 1}));
        for (members, wanted) in [
            (r#""datacontenttype":"application/yaml","data_base64":"bmFtZTogc2hvcAo=""#, &yaml),
            (r#""data_base64":"bmFtZTogc2hvcAo""#, &yaml),
            (r#""data":null,"data_base64":"bmFtZTogc2hvcAo=""#, &yaml),
            (r#""datacontenttype":"application/json","data_base64":"eyJhIjoxfQ==""#, &json),
            (r#""data_base64":"eyJhIjoxfQ==""#, &json),
            (
                r#""datacontenttype":"application/vnd.shop+json; charset=utf-8","data_base64":"eyJhIjoxfQ==""#,
                &json,
            ),
            (r#""data":{"a":1},"data_base64":null"#, &json),
            (r#""datacontenttype":"application/yaml","data_base64":"""#, &Data::None),
        ] {
            assert_eq!(carried_by(members).as_ref(), Ok(wanted), "{members}");
        }
    }

    #[test]
    fn bytes_that_are_no_document_are_told_apart() {
        for (members, said) in [
            (r#""data_base64":"n&t""#, "data_base64 is not Base64"),
            (r#""data_base64":7"#, "data_base64 is not a string"),
            (r#""data":"a","data_base64":"YQ==""#, "data_base64 stands beside data"),
            (r#""datacontenttype":"application/yaml","data_base64":"/w==""#, "data_base64 is not UTF-8"),
            (
                r#""datacontenttype":"application/json","data_base64":"bmFtZTogc2hvcAo=""#,
                "data_base64 is not JSON",
            ),
        ] {
            let complaints = carried_by(members).unwrap_err();
            assert!(complaints.len() == 1 && complaints[0].starts_with(said), "{members}: {complaints:?}");
        }
    }

    #[test]
    fn a_string_is_a_value_of_json_and_a_text_of_anything_else() {
        let text = r#"{"apiVersion":"code/v1"}"#.to_owned();
        let quoted = serde_json::to_string(&text).unwrap();

        for (media, wanted) in [
            (r#""datacontenttype":"application/json","#, Data::Json(Value::String(text.clone()))),
            ("", Data::Json(Value::String(text.clone()))),
            (r#""datacontenttype":"application/yaml","#, Data::Text(text.clone())),
        ] {
            let event = carried_by(&format!("{media}\"data\":{quoted}")).unwrap();
            assert_eq!(event, wanted, "{media}");
        }
        let pairs = [("ce-id", "7"), ("ce-source", "/ci"), ("ce-type", "t"), ("ce-specversion", "1.0")];
        let mut named = headers(&pairs);
        named.insert("ce-datacontenttype".to_owned(), "application/json".to_owned());
        let binary = parse(&named, quoted.as_bytes()).unwrap();
        assert_eq!((&binary.data, binary.document()), (&Data::Json(Value::String(text.clone())), text));
    }

    #[test]
    fn a_batch_is_told_to_come_one_by_one() {
        let one = r#"[{"specversion":"1.0","id":"7","source":"/ci","type":"t"}]"#;

        for media in [BATCH, STRUCTURED, "application/json"] {
            let complaints = parse(&headers(&[("content-type", media)]), one.as_bytes()).unwrap_err();
            assert!(complaints[0].message.contains("batch of events"), "{media}: {complaints:?}");
            assert!(complaints[0].cure.contains("message of its own"), "{media}: {complaints:?}");
        }
        let number = parse(&headers(&[("content-type", STRUCTURED)]), b"7").unwrap_err();
        assert!(number[0].message.contains("not an object"), "{number:?}");
    }

    #[test]
    fn what_is_no_event_at_all_is_told_how_to_become_one() {
        let complaints = parse(&headers(&[]), b"name: shop").unwrap_err();

        assert!(complaints[0].cure.contains("ce-specversion"), "{complaints:?}");
    }
}
