//! Nothing that is left out of a certificate turns a "no" into a "yes".

use base64::{Engine as _, engine::general_purpose::STANDARD};
use certificate::{
    Certificate, Deployment,
    bundle::Bundle,
    dsse::Envelope,
    verify::{self, check},
    vsa,
};
use model::{Record, digest::canonical_json};
use proptest::{prelude::*, sample::Index};
use serde_json::Value;

use crate::{
    fixture::{NOW, Office, facts, promoted_with, rejected, rolled_back},
    mutations::sign,
    recounted::measured,
};

/// The way to a value.
#[derive(Clone, Debug, PartialEq)]
enum Part {
    Field(String),
    Element(usize),
}

/// The way to every field and every element.
fn places(value: &Value, way: &mut Vec<Part>, found: &mut Vec<Vec<Part>>) {
    let parts: Vec<(Part, &Value)> = match value {
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (Part::Field(name.clone()), value)).collect()
        }
        Value::Array(elements) => {
            elements.iter().enumerate().map(|(at, value)| (Part::Element(at), value)).collect()
        }
        _ => Vec::new(),
    };
    for (part, value) in parts {
        way.push(part);
        found.push(way.clone());
        places(value, way, found);
        way.pop();
    }
}

fn all_places(value: &Value) -> Vec<Vec<Part>> {
    let mut found = Vec::new();
    places(value, &mut Vec::new(), &mut found);
    found
}

fn without(value: &Value, way: &[Part]) -> Value {
    let mut value = value.clone();
    let (last, path) = way.split_last().unwrap();
    let mut place = &mut value;
    for part in path {
        place = match part {
            Part::Field(name) => &mut place[name.as_str()],
            Part::Element(at) => &mut place[*at],
        };
    }
    match last {
        Part::Field(name) => drop(place.as_object_mut().unwrap().remove(name)),
        Part::Element(at) => drop(place.as_array_mut().unwrap().remove(*at)),
    }
    value
}

/// A promotion, an unproven one, a rollback, a refusal.
fn journals() -> [Vec<Record>; 4] {
    [measured(), promoted_with(Vec::new()), rolled_back(), rejected()]
}

#[tokio::test]
async fn a_certificate_from_which_anything_is_missing_is_not_valid() {
    let office = Office::open();
    let trust = office.ready();

    for records in journals() {
        let file: Value = serde_json::from_slice(&office.issue(&records).await.to_bytes()).unwrap();
        let places = all_places(&file);
        assert!(places.len() > 20);
        for way in places {
            let bytes = serde_json::to_vec(&without(&file, &way)).unwrap();
            assert!(verify::verify(&bytes, &trust, NOW).is_err(), "{way:?} may be missing");
        }
    }
}

/// Signs this statement as it is, with a summary that fits.
async fn sign_statement(
    office: &Office,
    statement: &Value,
    facts: &Deployment,
    whole: &Certificate,
) -> Certificate {
    let (classic, quantum) = office.signers();
    let envelope = Envelope::sign(&canonical_json(statement), &[classic]).await.unwrap();
    let summary = vsa::summary(facts, &envelope.digest());
    Certificate {
        bundle: Bundle::new(classic.key(), envelope),
        vsa: Envelope::sign(&canonical_json(&summary), &[classic, quantum]).await.unwrap(),
        ..whole.clone()
    }
}

#[tokio::test]
async fn a_signed_statement_without_one_of_its_fields_is_not_read() {
    let office = Office::open();
    let trust = office.ready();

    for records in journals() {
        let (facts, _) = facts(&records);
        let whole = office.issue(&records).await;
        let payload = STANDARD.decode(&whole.bundle.dsse_envelope.payload).unwrap();
        let statement: Value = serde_json::from_slice(&payload).unwrap();
        let fields =
            all_places(&statement).into_iter().filter(|way| matches!(way.last(), Some(Part::Field(_))));
        for way in fields {
            let signed = sign_statement(&office, &without(&statement, &way), &facts, &whole).await;
            assert!(check(&signed, &trust, NOW).is_err(), "{way:?} may be missing");
        }
    }
}

#[tokio::test]
async fn a_no_from_which_anything_was_left_out_before_signing_stays_a_no() {
    let office = Office::open();
    let trust = office.ready();

    for records in journals().into_iter().skip(1) {
        let (facts, _) = facts(&records);
        let whole = office.issue(&records).await;
        let statement: Value = serde_json::to_value(&facts).unwrap();
        for way in all_places(&statement) {
            let Ok(told) = serde_json::from_value::<Deployment>(without(&statement, &way)) else { continue };
            let signed = sign(&office, &told, whole.documents.clone(), whole.journal.clone()).await;
            let positive = check(&signed, &trust, NOW).is_ok_and(|verified| verified.is_positive());
            assert!(!positive, "{way:?} left out makes it a yes");
        }
    }
}

#[test]
fn a_broken_certificate_is_not_mended_by_leaving_something_out() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let office = Office::open();
    let trust = office.ready();
    let files = journals().map(|records| {
        let bytes = runtime.block_on(office.issue(&records)).to_bytes();
        serde_json::from_slice::<Value>(&bytes).unwrap()
    });

    let cases = ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(cases, |(which in 0..files.len(), broken: Index, left_out: Index, twice: Index)| {
        let mut file = files[which].clone();
        let texts: Vec<Vec<Part>> =
            all_places(&file).into_iter().filter(|way| at(&file, way).is_string()).collect();
        let way = broken.get(&texts);
        set(&mut file, way, "AAAA");
        prop_assert!(verify::verify(&serde_json::to_vec(&file).unwrap(), &trust, NOW).is_err());

        for index in [left_out, twice] {
            let places = all_places(&file);
            file = without(&file, index.get::<Vec<Part>>(&places));
            let bytes = serde_json::to_vec(&file).unwrap();
            prop_assert!(verify::verify(&bytes, &trust, NOW).is_err());
        }
    });
}

fn at<'a>(value: &'a Value, way: &[Part]) -> &'a Value {
    way.iter().fold(value, |value, part| match part {
        Part::Field(name) => &value[name.as_str()],
        Part::Element(at) => &value[*at],
    })
}

fn set(value: &mut Value, way: &[Part], text: &str) {
    let place = way.iter().fold(value, |value, part| match part {
        Part::Field(name) => &mut value[name.as_str()],
        Part::Element(at) => &mut value[*at],
    });
    *place = Value::from(text);
}
