//! The examples and the documentation say what is true.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::{collections::BTreeSet, path::Path};

use spec::import::{Options, compose};

fn file(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)).unwrap()
}

fn read(path: &str) -> spec::Read {
    spec::read(&file(path)).unwrap_or_else(|fault| panic!("{path}: {fault}\n{:#?}", fault.complaints))
}

#[test]
fn every_example_is_a_valid_spec() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/specs");
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name != "compose.yaml" {
            read(&format!("examples/specs/{name}"));
            names.insert(name);
        }
    }
    for name in ["shop.yaml", "greeter.yaml", "bluegreen.yaml", "rolling.yaml"] {
        assert!(names.contains(name), "{name} is missing");
    }
}

#[test]
fn the_shop_moves_from_the_database_up() {
    let waves = spec::order(&read("examples/specs/shop.yaml").spec).unwrap();
    assert_eq!(format!("{waves:?}"), "[[database], [orders], [web]]");
}

#[test]
fn the_compose_example_becomes_a_spec() {
    let imported = compose(&file("examples/specs/compose.yaml"), &Options::default()).unwrap();
    let spec = spec::read(&imported.spec_yaml).unwrap().spec;

    assert_eq!(spec.name.as_str(), "guestbook");
    assert_eq!(format!("{:?}", spec::order(&spec).unwrap()), "[[cache], [web]]");
}

#[test]
fn the_documented_example_is_a_valid_spec() {
    let doc = file("docs/spec.md");
    let examples: Vec<&str> =
        doc.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(!examples.is_empty());
    for example in examples.iter().filter(|example| example.contains("apiVersion")) {
        spec::read(example).unwrap_or_else(|fault| panic!("{fault}\n{:#?}", fault.complaints));
    }
}

#[test]
fn the_documented_fields_are_those_of_the_types() {
    let doc = file("docs/spec.md");
    let mut table = spec::reference();
    if std::env::var_os("UPDATE").is_some() {
        let (head, rest) = doc.split_once("<!-- fields -->\n").unwrap();
        let (_, tail) = rest.split_once("<!-- end of fields -->").unwrap();
        let updated = format!("{head}<!-- fields -->\n{table}<!-- end of fields -->{tail}");
        std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/spec.md"), updated).unwrap();
    }
    table.push_str("<!-- end of fields -->");
    assert!(
        file("docs/spec.md").contains(&table),
        "docs/spec.md is out of date: run this test with UPDATE=1"
    );
}
