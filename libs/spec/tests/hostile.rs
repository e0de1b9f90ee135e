//! Texts that mean harm are refused with a complaint, quickly and in bounded memory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use model::{Code, Fault};
use proptest::prelude::*;
use serde_json::Value;

const SPEC: &str = include_str!("../../../examples/specs/shop.yaml");

fn refused(text: &str) -> Fault {
    let fault = spec::read(text).expect_err("it was taken");
    assert_eq!(fault.code, Code::Invalid);
    assert!(!fault.complaints.is_empty(), "no complaint");
    fault
}

#[track_caller]
fn assert_refused(text: &str, complaint: &str) {
    let fault = refused(text);
    let first = fault.complaints.first().unwrap().to_string();
    assert_eq!(first.lines().next().unwrap(), complaint);
}

#[test]
fn a_billion_laughs_stop_at_the_budget() {
    let mut bomb = "a: &a [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for (name, before) in ('b'..='j').zip('a'..) {
        bomb += &format!("{name}: &{name} [{}]\n", vec![format!("*{before}"); 10].join(", "));
    }
    assert_refused(&bomb, "5:16: e[2]: the document expands to more than 50000 values or 2097152 bytes here");
}

#[test]
fn many_aliases_of_one_long_text_stop_at_the_budget() {
    let bomb = format!("a: &a {}\nb: [{}]\n", "x".repeat(400_000), vec!["*a"; 1000].join(","));
    assert_refused(&bomb, "2:14: b[3]: the document expands to more than 50000 values or 2097152 bytes here");
}

#[test]
fn an_alias_within_its_own_anchor_is_refused() {
    assert_refused("a: &a [1, *a]\n", "1:11: a[1]: this alias stands within its own anchor");
}

#[test]
fn depth_is_bounded_in_every_notation() {
    let deep = "the document is nested deeper than 32";
    for text in [
        "[".repeat(10_000),
        "{a: ".repeat(10_000),
        "- ".repeat(10_000),
        (0..10_000).map(|n| format!("{}a:\n", " ".repeat(n.min(40)))).collect::<String>(),
    ] {
        let fault = refused(&text);
        assert!(
            fault.complaints[0].message == deep
                || fault.complaints[0].message.starts_with("this is not YAML")
        );
    }
    assert_eq!(refused(&"- ".repeat(10_000)).complaints[0].message, deep);
    assert_eq!(refused(&"[".repeat(10_000)).complaints[0].message, deep);
}

#[test]
fn depth_by_aliases_is_bounded_too() {
    let mut text = "a0: &a0 [x]\n".to_owned();
    for level in 1..40 {
        text += &format!("a{level}: &a{level} [*a{}]\n", level - 1);
    }
    assert_eq!(refused(&text).complaints[0].message, "the document is nested deeper than 32");
}

#[test]
fn ten_megabytes_are_refused_unread() {
    assert_refused(&"a: b\n".repeat(2 << 20), "1:1: the document has 10485760 bytes, more than 524288");
}

#[test]
fn control_characters_are_named_by_place() {
    assert_refused("a: b\nc: d\0e\n", "2:5: the control character U+0000 stands here");
    assert_refused("a: \u{7}\n", "1:4: the control character U+0007 stands here");
    assert_refused("a: b\r\nc: \u{9f}\n", "2:4: the control character U+009F stands here");
}

#[test]
fn bytes_that_are_no_text_are_named_by_place() {
    let fault = spec::read_bytes(b"name: a\ntarget: \xff\xfe").unwrap_err();
    assert_eq!(fault.complaints[0].to_string(), "2:9: byte 16 is not UTF-8 text\n  save the spec as UTF-8");
    assert!(spec::read_bytes(&[0x7f, b'E', b'L', b'F', 0, 0, 0xff]).is_err());
    assert!(spec::read_bytes(SPEC.as_bytes()).is_ok());
}

#[test]
fn an_empty_document_is_refused() {
    for empty in ["", "\n\n", "# only a comment\n", "\u{feff}"] {
        assert_refused(empty, "1:1: the document is empty");
    }
    assert_refused("---\n", "2:1: nothing stands where a mapping is expected");
    assert_refused("just text", "1:1: \"just text\" stands where a mapping is expected");
    assert_refused("[]", "1:1: a list stands where a mapping is expected");
}

#[test]
fn a_second_document_is_refused() {
    assert_refused(
        &format!("{SPEC}---\n{SPEC}"),
        &format!("{}:1: a second document begins here", SPEC.lines().count() + 1),
    );
}

#[test]
fn tabs_in_the_indentation_are_named() {
    assert_refused("modules:\n\t- name: web\n", "2:1: modules: a tab stands in the indentation");
}

#[test]
fn tags_are_refused_but_those_of_the_core_schema() {
    assert_refused("a: !include /etc/passwd\n", "1:4: a: the tag \"!include\" means nothing here");
    assert_refused(
        "a: !!python/object:os.system x\n",
        "1:4: a: the tag \"!!python/object:os.system\" means nothing here",
    );
    assert!(spec::read(&SPEC.replace("listen: 18081", "listen: !!int 18081")).is_ok());
}

#[test]
fn keys_are_texts_that_stand_once() {
    assert_refused("a: 1\nb: 2\na: 3\n", "1:1: a: unknown field `a`");
    let fault = refused("name: x\nname: y\n");
    assert_eq!(
        fault.complaints.iter().find(|complaint| complaint.line == 2).unwrap().to_string(),
        "2:1: name: `name` stands twice in this mapping\n  keep one of the two; the first is at 1:1"
    );
    assert_refused("? [a, b]\n: c\n", "1:3: a list or mapping stands where a key is expected");
    assert_refused(
        "a: &x [b]\n*x : c\n",
        "2:1: an alias of a list or mapping stands where a key is expected",
    );
    assert_refused("<<: 5\n", "1:1: << takes a mapping or a list of mappings");
}

#[test]
fn numbers_beyond_all_measure_are_refused_where_they_stand() {
    let with = |value: &str| SPEC.replace("replicas: 2", &format!("replicas: {value}"));
    for value in ["99999999999999999999999999", ".nan", ".inf", "-.inf", "1e999", "4294967296", "1.5", "1e3"]
    {
        assert_refused(
            &with(value),
            &format!("36:15: modules[1].replicas: {value} is not a number of replicas"),
        );
    }
}

#[test]
fn thousands_of_mistakes_are_counted_not_listed() {
    let text: String = (0..5000).map(|n| format!("field{n}: x\n")).collect();
    let fault = refused(&text);
    assert_eq!(fault.complaints.len(), 101);
    assert_eq!(fault.complaints[100].message, "4904 more mistakes are not listed");
}

#[test]
fn long_values_are_not_repeated_in_full() {
    let fault = refused(&SPEC.replace("target: docker", &format!("target: {}", "X".repeat(100_000))));
    assert!(fault.complaints.iter().all(|complaint| complaint.to_string().len() < 500));
}

/// Half a megabyte of whatever costs a parser most: the test runner's own time limit is the judge.
#[test]
fn the_largest_documents_are_read_in_bounded_time() {
    let size = 500_000;
    for piece in [
        "{\"a\":", "[1,", "- a\n", "a: b\n", "? ", "&a ", "*a ", "\"", "'", "|\n ", "# x\n", "a", "!",
        "%T\n", ": ", "- - - \n", "\n", "a: [", "{", "}", ",", "&a [*a,",
    ] {
        let text = piece.repeat(size / piece.len());
        refused(&text);
        refused(&format!("[{text}"));
        refused(&format!("a: {{{text}"));
    }
    let numbered = |piece: &str| (0..20_000).map(|n| piece.replace('N', &n.to_string())).collect::<String>();
    refused(&numbered("aN: b\n"));
    refused(&format!("[{}]", numbered("\"\\ud83d\\ude00\",")));
    refused(&format!("services:\n  web:\n    image: a\n{}", numbered("    kN: b\n")));
    refused(&format!(
        "apiVersion: code/v1\nname: a\ntarget: docker\nmodules:\n{}",
        numbered("- {name: mN}\n")
    ));
    let lost = format!("services:\n  web:\n    image: a\n{}", numbered("    kN: b\n"));
    assert_eq!(spec::import::compose(&lost, &Default::default()).unwrap().notes.len(), 20_002);
    assert_refused(
        &format!("? {}\n: {{{}}}\n", "k".repeat(300_000), numbered("aN: b,")),
        &format!("1:3: [\"{}…\"]: a key of 300000 bytes, more than 1024", "k".repeat(60)),
    );
}

/// Paths of all values in a document, for mutations.
fn pointers(value: &Value, at: String, all: &mut Vec<String>) {
    match value {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(n, v)| pointers(v, format!("{at}/{n}"), all))
        }
        Value::Object(map) => {
            map.iter().for_each(|(k, v)| pointers(v, format!("{at}/{}", k.replace('/', "~1")), all))
        }
        _ => {}
    }
    all.push(at);
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        let _ = spec::read(&text);
    }

    #[test]
    fn any_yaml_like_text_is_read_or_refused(text in "[-a-c0-2:,\\[\\]{}&*!|>?'\"%@`#~. \t\n<=]{0,80}") {
        let _ = spec::read(&text);
        let _ = spec::import::compose(&text, &spec::import::Options::default());
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = spec::read_bytes(&bytes);
    }

    #[test]
    fn a_spec_with_a_hole_or_a_scar_is_read_or_refused(at in 0..SPEC.len(), cut in 0..40usize, scar in "[-a:,\\[\\]{}&*!|>'\"#\t\n ]{0,6}") {
        let (mut from, mut to) = (at, (at + cut).min(SPEC.len()));
        while !SPEC.is_char_boundary(from) { from -= 1; }
        while !SPEC.is_char_boundary(to) { to += 1; }
        let _ = spec::read(&format!("{}{scar}{}", &SPEC[..from], &SPEC[to..]));
    }

    /// Any value replaced by any other: either it still reads, or each complaint has a place within the text.
    #[test]
    fn every_complaint_has_a_place(pick in any::<prop::sample::Index>(), other in 0..9usize) {
        let mut value = serde_json::to_value(spec::read(SPEC).unwrap().spec).unwrap();
        let mut all = Vec::new();
        pointers(&value, String::new(), &mut all);
        let others = serde_json::json!([null, true, -1, 1e300, "", "Ä b", [], {}, {"a": [1]}]);
        let pointer: &String = pick.get(&all);
        *value.pointer_mut(pointer).unwrap() = others[other].clone();

        let text = serde_json::to_string_pretty(&value).unwrap();
        if let Err(fault) = spec::read(&text) {
            let lines = text.lines().count() as u32;
            prop_assert!(!fault.complaints.is_empty());
            for complaint in &fault.complaints {
                prop_assert!((1..=lines).contains(&complaint.line) && complaint.column > 0, "{complaint}");
            }
        }
    }
}
