//! What a good spec becomes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use proptest::prelude::*;
use spec::read;

const SHOP: &str = include_str!("../../../examples/specs/shop.yaml");

#[test]
fn a_spec_survives_json() {
    let from_yaml = read(SHOP).unwrap();
    for json in [
        serde_json::to_string(&from_yaml.spec).unwrap(),
        serde_json::to_string_pretty(&from_yaml.spec).unwrap(),
    ] {
        assert_eq!(read(&json).unwrap(), from_yaml);
    }
}

#[test]
fn json_with_tabs_and_escapes_is_read() {
    let json = "{\n\t\"apiVersion\": \"code\\/v1\",\n\t\"name\": \"\\u0073hop\", \"target\":\"docker\",\n\t\"modules\": [{\"name\":\"web\",\"run\":{\"image\":\"nginx\"},\"environment\":{\"SMILE\":\"\\ud83d\\ude00 \\\\ud83d\"}}]\n}\n";

    let spec = read(json).unwrap().spec;

    assert_eq!(spec.name.as_str(), "shop");
    assert_eq!(spec.modules[0].environment["SMILE"], "\u{1f600} \\ud83d");
}

#[test]
fn escaped_characters_do_not_shift_places() {
    let json = r#"{"labels": {"a": "\ud83d\ude00 \u0041"}, "nmae": 1, "apiVersion": "\\ud83d"}"#;

    let fault = read(json).unwrap_err();

    assert_eq!(json.find("\"nmae"), Some(41));
    let at = |field: &str| fault.complaints.iter().find(|c| c.field == field).map(|c| (c.line, c.column));
    assert_eq!(at("nmae"), Some((1, 42)));
    assert!(read(r#"["\ud83d alone"]"#).is_err());
}

#[test]
fn a_mistake_in_json_has_its_place_too() {
    let json = "{\"apiVersion\": \"code/v1\", \"name\": \"shop\", \"target\": \"docker\",\n \"modules\": [{\"name\": \"web\", \"run\": {\"image\": \"nginx\"},\n   \"replicas\": 0}]}";
    let fault = read(json).unwrap_err();
    assert_eq!((fault.complaints[0].line, fault.complaints[0].column), (3, 16));
}

#[test]
fn what_means_the_same_has_the_same_digest() {
    let one = "apiVersion: code/v1\nname: a\ntarget: docker\nmodules: [{name: web, run: {image: nginx}}]\n";
    let two = "# another\ntarget: docker\nmodules:\n  - run:\n      image: \"nginx\"\n    replicas: 1\n    name: web\nname: a\napiVersion: code/v1\nwhenBusy: queue\n";
    assert_eq!(read(one).unwrap().digest, read(two).unwrap().digest);
    assert_ne!(read(one).unwrap().digest, read(&one.replace("nginx", "nginx:2")).unwrap().digest);
}

#[test]
fn anchors_and_merge_keys_save_words() {
    let text = "\
apiVersion: code/v1
name: a
target: docker
modules:
- &web
  name: web
  run: &run {image: nginx, user: nobody}
  replicas: 2
- <<: *web
  name: other
- <<: [{name: third}, *web]
  run: {<<: *run, image: httpd}
";
    let spec = read(text).unwrap().spec;
    let all: Vec<String> = spec
        .modules
        .iter()
        .map(|m| format!("{} {} {:?} {}", m.name, m.run.image.as_deref().unwrap(), m.run.user, m.replicas))
        .collect();
    assert_eq!(
        all,
        ["web nginx Some(\"nobody\") 2", "other nginx Some(\"nobody\") 2", "third httpd Some(\"nobody\") 2"]
    );
}

#[test]
fn a_mistake_behind_an_alias_stands_at_its_anchor() {
    let text = "apiVersion: code/v1\nname: a\ntarget: docker\nmodules:\n- {name: a, run: {image: a}, smoke: &s [{path: x}], ports: [{name: a, container: 1}]}\n- {name: b, run: {image: a}, smoke: *s, ports: [{name: a, container: 1}]}\n";
    let fault = read(text).unwrap_err();
    let places: Vec<(u32, u32, &str)> =
        fault.complaints.iter().map(|c| (c.line, c.column, c.field.as_str())).collect();
    assert_eq!(places, [(5, 48, "modules[0].smoke[0].path"), (5, 48, "modules[1].smoke[0].path")]);
}

#[test]
fn a_byte_order_mark_and_foreign_line_ends_are_nothing() {
    let text = format!("\u{feff}{}", SHOP.replace('\n', "\r\n"));
    assert_eq!(read(&text).unwrap(), read(SHOP).unwrap());
}

#[test]
fn check_says_the_same_without_places() {
    let mut spec = read(SHOP).unwrap().spec;
    assert_eq!(spec::check(&spec), []);

    spec.modules[1].replicas = 0;

    let complaints = spec::check(&spec);
    assert_eq!(complaints.len(), 1);
    assert_eq!((complaints[0].field.as_str(), complaints[0].line), ("modules[1].replicas", 0));
}

/// A release of modules that each depend on some of the others.
fn release(needs: &[Vec<usize>]) -> model::DeploymentSpec {
    let modules: Vec<serde_json::Value> = needs
        .iter()
        .enumerate()
        .map(|(n, needs)| {
            let needs: Vec<_> =
                needs.iter().map(|need| serde_json::json!({"module": format!("m{need}")})).collect();
            serde_json::json!({"name": format!("m{n}"), "run": {"image": "a"}, "dependsOn": needs})
        })
        .collect();
    serde_json::from_value(
        serde_json::json!({"apiVersion": "code/v1", "name": "a", "target": "docker", "modules": modules}),
    )
    .unwrap()
}

#[test]
fn a_circle_is_shown_as_it_is_walked() {
    let spec = release(&[vec![1], vec![2], vec![3], vec![1]]);
    assert_eq!(spec::order(&spec).unwrap_err().to_string(), "m1 -> m2 -> m3 -> m1");
    assert_eq!(spec::order(&release(&[vec![0]])).unwrap_err().to_string(), "m0 -> m0");
}

proptest! {
    /// Whatever the dependencies: either every module stands in exactly one wave, right after the last it needs, or
    /// the circle that is named is one.
    #[test]
    fn waves_respect_every_dependency(needs in proptest::collection::vec(proptest::collection::vec(0..12usize, 0..3), 1..12)) {
        let spec = release(&needs);
        match spec::order(&spec) {
            Ok(waves) => {
                let rank = |name: &model::Token| waves.iter().position(|wave| wave.contains(name));
                prop_assert_eq!(waves.iter().map(Vec::len).sum::<usize>(), spec.modules.len());
                for module in &spec.modules {
                    let needed = module.depends_on.iter().filter(|on| spec.module(&on.module).is_some());
                    let after = needed.map(|on| rank(&on.module).unwrap() + 1).max().unwrap_or(0);
                    prop_assert_eq!(rank(&module.name), Some(after));
                }
            }
            Err(cycle) => {
                let next = cycle.modules.iter().cycle().skip(1);
                for (module, next) in cycle.modules.iter().zip(next) {
                    prop_assert!(spec.module(module).unwrap().depends_on.iter().any(|on| on.module == *next));
                }
            }
        }
    }
}
