//! YAML as libyaml reads it, which is what most other tools read with.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use proptest::prelude::*;

const PLAIN: &str = "\
apiVersion: code/v1
name: a
target: docker
modules:
  - name: web
    run: {image: nginx, command: [prog, \"--port\", \"80 81\"]}
    environment: {A: one, B: \"x\\ny\"}
";

/// The spec above in other words.
const OTHERS: [(&str, &str, &str); 12] = [
    (
        "a closing bracket in its key's column",
        "    run: {image: nginx, command: [prog, \"--port\", \"80 81\"]}\n",
        "    run:\n      image: nginx\n      command: [\n        prog, \"--port\", \"80 81\"\n      ]\n",
    ),
    (
        "closing braces at the margin",
        "    environment: {A: one, B: \"x\\ny\"}\n",
        "    environment: {\n  A: one,\nB: \"x\\ny\",\n}\n",
    ),
    ("tabs within brackets", "[prog, \"--port\", \"80 81\"]", "[\n\tprog,\t\"--port\",\n\t\"80 81\"\n]"),
    ("a tab behind a colon", "name: a\n", "name:\ta\n"),
    ("a comment right behind a quote", "\"80 81\"]}", "\"80 81\"#c\n]}#d\n"),
    ("a quoted text that goes on at the margin", "\"80 81\"", "\"80\n81\""),
    ("a plain text over two lines", "\"80 81\"", "80\n          81"),
    ("keys with a question mark", "target: docker", "? target\n: docker"),
    ("a directive and markers", "apiVersion", "%YAML 1.2\n---\napiVersion"),
    ("an explicit text", "name: a\n", "name: !!str a\n"),
    ("a break by an empty line", "B: \"x\\ny\"}", "B: x\n\n      y}"),
    ("a mark of the byte order", "apiVersion", "\u{feff}apiVersion"),
];

#[test]
fn other_ways_to_write_a_spec_mean_the_same() {
    let plain = spec::read(PLAIN).unwrap();
    for (how, from, to) in OTHERS {
        assert!(PLAIN.contains(from), "{how}");
        let other = PLAIN.replacen(from, to, 1);

        let read =
            spec::read(&other).unwrap_or_else(|fault| panic!("{how}: {:#?}\n{other}", fault.complaints));

        assert_eq!(read.digest, plain.digest, "{how}\n{other}");
    }
    let windows = spec::read(&PLAIN.replace('\n', "\r\n")).unwrap();
    assert_eq!(windows.digest, plain.digest);
}

#[test]
fn an_alias_may_be_a_key() {
    let text = PLAIN.replacen("target: docker\n", "&t target: docker\nlabels: {*t : x}\n", 1);

    assert_eq!(spec::read(&text).unwrap().spec.labels["target"], "x");
}

#[test]
fn a_block_at_the_end_of_the_text_ends_where_the_text_does() {
    let ending = |block: &str| {
        let text = PLAIN.replace(
            "    environment: {A: one, B: \"x\\ny\"}\n",
            &format!("    environment:\n      A: {block}"),
        );
        spec::read(&text).unwrap().spec.modules[0].environment["A"].clone()
    };
    for (block, value) in [
        ("|\n        x", "x"),
        ("|\n        x\n", "x\n"),
        ("|-\n        x\n", "x"),
        ("|+\n        x\n\n", "x\n\n"),
        (">\n        x\n        y", "x y"),
    ] {
        assert_eq!(ending(block), value, "{block:?}");
    }
}

#[test]
fn what_is_not_yaml_is_named_with_its_place() {
    for (text, complaint) in [
        (
            "a: [b\n",
            "2:1: a[1]: this is not YAML: while parsing a flow sequence did not find expected ',' or ']'",
        ),
        ("a: *b\n", "1:4: a: no anchor before this alias is named \"b\""),
        ("a: [!x, b]\n", "1:4: a[0]: this is not YAML: a tag or a character stands where it cannot be read"),
        (
            "a: \"b\n",
            "2:1: a: this is not YAML: while scanning a quoted scalar found unexpected end of stream",
        ),
    ] {
        let fault = spec::read(text).unwrap_err();
        assert_eq!(fault.complaints[0].to_string().lines().next().unwrap(), complaint, "{text}");
    }
}

#[test]
fn words_that_look_like_placeholders_are_warned_of_and_stay() {
    let text = PLAIN.replace("A: one", "A: \"http://{host}/{Port}\"");

    let read = spec::read(&text).unwrap();

    let warnings: Vec<String> = read.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "7:22: modules[0].environment.A: {host}, {Port} is no placeholder and stays as it is\n  placeholders are {port}, {port:NAME} and {brace}"
        ]
    );
    assert_eq!(spec::read(PLAIN).unwrap().warnings, []);
}

proptest! {
    /// Whatever the text, reading it ends with a spec or with complaints.
    #[test]
    fn no_text_ends_the_reader(pieces in prop::collection::vec(
        prop::sample::select(vec!["a: ", "- ", "[", "]", "{", "}", ",", "!x", "!!str ", "&a ", "*a", "|", ">-", "\n", "\n  ", "\t", "\"", "'", "#", "? ", "---\n", "...", "%", "é", "\r\n", "<<: "]),
        0..24,
    )) {
        let text = pieces.concat();
        if let Err(fault) = spec::read(&text) {
            prop_assert!(!fault.complaints.is_empty(), "{text:?}");
        }
    }
}
