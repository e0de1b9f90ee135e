//! The rules of the house, as tests: layers, sizes, names, who may speak to what. Nothing is built for them: manifests
//! and sources are read as text.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops where its ground is missing"
)]

mod circles;
mod makes;
mod texts;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Longest source file.
const LINES: usize = 600;
/// Longest `lib.rs`: a table of contents.
const LIB_LINES: usize = 120;
/// Longest `main.rs` of a service: one call.
const MAIN_LINES: usize = 10;

/// Libraries that stand on one beside them, by name: the one that uses, the one that is used.
const BESIDE: [(&str, &str); 10] = [
    ("platform-docker", "platform"),
    ("providers", "resilience"),
    ("certificate", "approval"),
    ("certificate", "ledger"),
    ("certificate", "gates"),
    ("certificate", "stats"),
    ("gates", "stats"),
    ("spec", "scrub"),
    ("contract", "spec"),
    ("opinion", "scrub"),
];

/// Externals that bring much with them, each with the one crate that names it. Some of these crates are not built yet: until
/// then nobody names what they will.
const OWNERS: [(&str, &str); 11] = [
    ("async-nats", "libs/bus"),
    ("nkeys", "libs/bus"),
    ("bollard", "libs/platform-docker"),
    ("landlock", "libs/sandbox"),
    ("seccompiler", "libs/sandbox"),
    ("openraft", "libs/quorum"),
    ("sled", "libs/quorum"),
    ("kube", "libs/platform-kubernetes"),
    ("k8s-openapi", "libs/platform-kubernetes"),
    ("rmcp", "libs/mcp"),
    ("cedar-policy", "libs/policy"),
];

/// Crates that measure the broker itself, so that our share of a figure can be told from its share.
const MEASURES_THE_BROKER: [&str; 1] = ["benches"];

/// Sources beside the chassis that read the environment, each with its reason.
const READS_ENVIRONMENT: [(&str, &str); 9] = [
    ("libs/testkit/src/skip.rs", "whether a test may be skipped is said by who runs the tests"),
    (
        "libs/bus/src/server.rs",
        "finds the broker's program for codectl and for tests, before there is a service",
    ),
    ("services/agents/src/deploy/secrets.rs", "secrets that a spec takes from the agents' environment"),
    ("services/experts/src/keys.rs", "keys of providers, by the names that their catalogue gives"),
    ("services/codectl/src/", "a command line: NO_COLOR and where the person stands"),
    ("libs/platform/sample/", "a program that is deployed in tests, not a service"),
    ("examples/", "programs that are deployed, not services"),
    ("benches/", "programs for measuring"),
    ("loadtests/", "programs for measuring"),
];

/// What stands once in `libs/ground`, as text that is not found elsewhere: the text, then what to use instead.
const GROUND: [(&str, &str); 6] = [
    ("fs::rename(", "ground::file::replace, which a crash does not halve"),
    ("PoisonError", "parking_lot, whose locks a panic does not poison"),
    ("spawn_blocking(", "ground::blocking"),
    ("SystemTime::now()", "ground::Clock"),
    ("struct Secret(String", "ground::Secret"),
    ("Zeroizing<String>", "ground::Secret"),
];

/// Where the text means something else: the source, the text, what it is.
const NOT_OF_THE_GROUND: [(&str, &str, &str); 3] = [
    (
        "libs/sandbox/src/output/keeper.rs",
        "fs::rename(",
        "makes the newer half of an output the older, and stands on std alone",
    ),
    ("services/codectl/src/home/log.rs", "fs::rename(", "sets a full log aside, replaces nothing"),
    ("libs/bus/src/server.rs", "fs::rename(", "gives a folder of streams its new name, replaces nothing"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every file below the folders with our sources whose name ends so, with its path from the root.
fn files(end: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = ["libs", "services", "examples", "benches", "loadtests", "tests"]
        .map(|name| root().join(name))
        .into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if path.is_file() && name.ends_with(end) {
                let short = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
                found.push((short, fs::read_to_string(&path).unwrap_or_default()));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no {end} below {}", root().display());
    found
}

/// The product's part of a source: not what is only built for tests.
fn without_tests(path: &str, text: &str) -> String {
    let is_test = path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs");
    if is_test {
        String::new()
    } else {
        // A module in a file of its own ends its line at once, and the product goes on behind it.
        let is_inline = |rest: &str| !rest.lines().next().unwrap_or_default().ends_with(';');
        let mut parts = text.split("#[cfg(test)]\nmod ");
        let first = parts.next().unwrap_or_default().to_owned();
        parts.take_while(|rest| !is_inline(rest)).fold(first, |kept, rest| kept + "mod " + rest)
    }
}

/// Name and dependencies of a crate, from its manifest: those of the product, then those of its tests.
struct Manifest {
    path: String,
    name: String,
    needs: BTreeSet<String>,
    tests_need: BTreeSet<String>,
}

fn manifests() -> Vec<Manifest> {
    let read = |(path, text): (String, String)| {
        let (mut section, mut name) = (String::new(), String::new());
        let (mut needs, mut tests_need) = (BTreeSet::new(), BTreeSet::new());
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            if let Some(header) = line.strip_prefix('[') {
                section = header.trim_end_matches(']').to_owned();
                let table = section
                    .rsplit_once("dependencies.")
                    .map(|(kind, name)| (kind.to_owned(), name.to_owned()));
                if let Some((kind, name)) = table {
                    if kind.contains("dev-") {
                        tests_need.insert(name)
                    } else {
                        needs.insert(name)
                    };
                }
                continue;
            }
            let Some((key, value)) = line.split_once('=') else { continue };
            let key = key.trim().split('.').next().unwrap_or_default().trim_matches('"').to_owned();
            if section == "package" && key == "name" {
                name = value.trim().trim_matches('"').to_owned();
            } else if section.ends_with("dev-dependencies") {
                tests_need.insert(key);
            } else if section.ends_with("dependencies") {
                needs.insert(key);
            }
        }
        Manifest { path, name, needs, tests_need }
    };
    files("Cargo.toml").into_iter().map(read).collect()
}

/// Where a crate stands in the line of layers.
fn layer(path: &str) -> Option<u32> {
    let folder = path.trim_end_matches("/Cargo.toml");
    Some(match folder {
        "libs/model" => 0,
        // Beside each other: neither knows the other.
        "libs/ground" | "libs/wire" => 1,
        "libs/bus" => 2,
        // Knows nothing of the bus, and other libraries stand on it.
        "libs/chassis" | "libs/resilience" | "libs/sandbox" => 3,
        // Writes the generated code of `wire`; nothing stands on it.
        "libs/wire-gen" => 4,
        // Fuzz targets stand beside their crate, outside the workspace.
        _ if folder.ends_with("/fuzz") => 6,
        _ if folder.starts_with("libs/") => 4,
        _ if folder.starts_with("services/") => 5,
        "tests" | "benches" => 6,
        // Loads a cluster with the measuring tools of `benches`.
        "loadtests" => 7,
        _ if folder.starts_with("examples/") => 6,
        _ => return None,
    })
}

fn assert_none(broken: &[String], rule: &str) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

#[test]
fn a_crate_uses_only_what_stands_below_it() {
    let manifests = manifests();
    let layers: BTreeMap<&str, u32> =
        manifests.iter().filter_map(|one| Some((one.name.as_str(), layer(&one.path)?))).collect();
    let mut broken = Vec::new();

    for one in &manifests {
        let Some(own) = layer(&one.path) else {
            broken.push(format!("{} stands in no layer", one.path));
            continue;
        };
        for (needed, theirs) in one.needs.iter().filter_map(|name| Some((name, *layers.get(name.as_str())?)))
        {
            let all_in_one = one.name == "codectl" && theirs == 5;
            let beside = BESIDE.contains(&(one.name.as_str(), needed.as_str()));
            if theirs >= own && !beside && !all_in_one {
                broken.push(format!("{} uses {needed}", one.name));
            }
        }
        for needed in one.tests_need.iter().filter(|name| layers.contains_key(name.as_str())) {
            let above = layers[needed.as_str()] > own && needed != "testkit";
            let service = layers[needed.as_str()] == 5 && own == 5 && one.name != *needed;
            if above || service {
                broken.push(format!("the tests of {} use {needed}", one.name));
            }
        }
    }

    assert!(layers.len() >= 10, "only {} crates were found", layers.len());
    assert_none(
        &broken,
        "model < ground, wire < bus < chassis < libraries < services < tests; services use no services",
    );
}

#[test]
fn each_heavy_external_is_named_by_one_crate() {
    let mut broken = Vec::new();

    for one in manifests() {
        for (external, owner) in OWNERS {
            let measures = external == "async-nats" && MEASURES_THE_BROKER.contains(&one.name.as_str());
            let names = one.needs.contains(external) || one.tests_need.contains(external);
            if names && !one.path.starts_with(&format!("{owner}/")) && !measures {
                broken.push(format!("{} names {external}, which belongs to {owner}", one.path));
            }
        }
    }

    assert_none(&broken, "heavy externals live in one crate each");
}

#[test]
fn files_stay_short() {
    let mut broken = Vec::new();

    for (path, text) in files(".rs").into_iter().filter(|(path, _)| !path.contains("/gen/")) {
        let lines = text.lines().count();
        let most = match path.rsplit('/').next() {
            Some("lib.rs") => LIB_LINES,
            Some("main.rs") if path.starts_with("services/") && path.ends_with("/src/main.rs") => MAIN_LINES,
            _ => LINES,
        };
        if lines > most {
            broken.push(format!("{path} has {lines} lines, {most} are allowed"));
        }
    }

    assert_none(&broken, "a file that is too long is two files");
}

#[test]
fn no_file_is_named_mod() {
    let is_mod = |path: &String| path.rsplit('/').next() == Some("mod.rs");
    let broken: Vec<String> = files(".rs").into_iter().map(|(path, _)| path).filter(is_mod).collect();

    assert_none(&broken, "foo.rs and foo/, never mod.rs");
}

#[test]
fn every_crate_says_what_it_is_for() {
    let is_root = |path: &str| {
        path.ends_with("/src/lib.rs")
            || path.ends_with("/src/main.rs")
            || path.contains("/src/bin/")
            || path == "tests/it/main.rs"
    };
    let broken: Vec<String> = files(".rs")
        .into_iter()
        .filter(|(path, text)| is_root(path) && !text.starts_with("//! "))
        .map(|(path, _)| path)
        .collect();

    assert_none(&broken, "begins with `//!`: what it is for and what it must never do");
}

#[test]
fn only_the_bus_spells_subjects() {
    let kinds = ["rpc", "job", "log", "evt", "sig", "in", "dead"].map(|kind| format!("\"code.v1.{kind}."));
    let mut broken = Vec::new();

    for (path, text) in files(".rs") {
        let measures = MEASURES_THE_BROKER.iter().any(|name| path.starts_with(&format!("{name}/")));
        if path.starts_with("libs/bus/") || measures {
            continue;
        }
        let text = without_tests(&path, &text);
        broken.extend(
            kinds.iter().filter(|kind| text.contains(*kind)).map(|kind| format!("{path} spells {kind}…\"")),
        );
    }

    assert_none(&broken, "subjects stand in libs/bus/src/subjects.rs");
}

#[test]
fn a_command_line_speaks_through_the_client() {
    let mut broken = Vec::new();

    for (path, text) in files(".rs").into_iter().filter(|(path, _)| path.starts_with("services/codectl/")) {
        if without_tests(&path, &text).contains("subjects::") {
            broken.push(path);
        }
    }

    assert_none(&broken, "what is said to the engine stands in libs/client");
}

#[test]
fn the_client_knows_no_terminal_and_no_service() {
    let strange = ["clap", "chassis", "owo-colors", "terminal_size", "indicatif", "comfy-table"];
    let manifests = manifests();
    let client = manifests.iter().find(|one| one.name == "client");
    let broken: Vec<String> = client
        .into_iter()
        .flat_map(|one| one.needs.iter().filter(|name| strange.contains(&name.as_str())))
        .map(|name| format!("client uses {name}"))
        .collect();

    assert!(client.is_some(), "libs/client is not there");
    assert_none(&broken, "gateways and operators link the client");
}

#[test]
fn only_the_bus_speaks_to_the_broker() {
    let ours = ["libs/bus/", "tests/it/house.rs"];
    let broken: Vec<String> = files(".rs")
        .into_iter()
        .filter(|(path, _)| !ours.iter().any(|own| path.starts_with(own)))
        .filter(|(path, _)| !MEASURES_THE_BROKER.iter().any(|name| path.starts_with(&format!("{name}/"))))
        .filter(|(_, text)| text.contains("async_nats::"))
        .map(|(path, _)| path)
        .collect();

    assert_none(&broken, "async-nats is named in libs/bus only");
}

#[test]
fn only_the_chassis_reads_the_environment() {
    let reads = |text: &str| {
        ["env::var(", "env::var_os(", "env::vars(", "env::vars_os("].iter().any(|call| text.contains(call))
    };
    let mut broken = Vec::new();

    for (path, text) in files(".rs").into_iter().filter(|(path, _)| !path.starts_with("libs/chassis/")) {
        if !reads(&without_tests(&path, &text)) {
            continue;
        }
        if !READS_ENVIRONMENT.iter().any(|(allowed, _)| path.starts_with(allowed)) {
            broken.push(path);
        }
    }

    assert_none(&broken, "settings are read by the chassis");
}

/// Hearts, and the machine of the runner: what the simulation drives as it ships. And what is pure and says so elsewhere.
fn is_heart(path: &str) -> bool {
    path.contains("/src/heart") || path.contains("/src/runner/machine") || path.contains("traffic/src/route")
}

/// Whether a file's first lines call it pure.
fn calls_itself_pure(text: &str) -> bool {
    let says = |line: &str| {
        ["Pure.", "Pure:", "Pure arithmetic", "he pure heart"].iter().any(|word| line.contains(word))
    };
    text.lines().take_while(|line| line.starts_with("//!")).any(says)
}

/// Files that must be pure: hearts, files that call themselves pure, and what lies below these.
fn pure_files() -> Vec<(String, String)> {
    let all = files(".rs");
    let pure = all.iter().filter(|(_, text)| calls_itself_pure(text)).map(|(path, _)| {
        path.strip_suffix("/lib.rs").or(path.strip_suffix(".rs")).unwrap_or(path).to_owned()
    });
    let pure: Vec<String> = pure.collect();
    let below = |path: &str| {
        let rest = |own: &String| path.strip_prefix(own.as_str()).map(str::to_owned);
        pure.iter().filter_map(rest).any(|rest| rest == ".rs" || rest.starts_with('/'))
    };
    all.into_iter().filter(|(path, _)| is_heart(path) || below(path)).collect()
}

#[test]
fn only_the_simulation_leaves_out_a_piece_of_safety() {
    let broken: Vec<String> = files(".rs")
        .into_iter()
        .filter(|(path, text)| !path.starts_with("tests/") && text.contains(".planted("))
        .map(|(path, _)| path)
        .collect();

    assert_none(&broken, "bugs are planted by the simulation only");
}

#[test]
fn a_test_that_cannot_run_says_so_in_one_way() {
    let skips = |(path, text): &(String, String)| {
        text.contains("\"SKIPPED")
            && !path.ends_with("libs/testkit/src/skip.rs")
            && !path.ends_with("tests/it/house.rs")
    };
    let broken: Vec<String> = files(".rs").into_iter().filter(skips).map(|(path, _)| path).collect();

    assert_none(&broken, "a test skips by testkit::skip, which fails where nothing may be skipped");
}

/// The text as a word of its own: an `errand::` is no `rand::`.
fn holds(text: &str, part: &str) -> bool {
    let is_inside =
        |at: usize| text[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_');
    text.match_indices(part).any(|(at, _)| !is_inside(at))
}

#[test]
fn what_calls_itself_pure_is_pure() {
    let impure = [
        "async fn",
        ".await",
        "tokio::",
        "std::fs",
        "TcpStream",
        "TcpListener",
        "UdpSocket",
        "ToSocketAddrs",
        "SystemTime",
        "Instant::now",
        "rand::",
        "std::env",
    ];
    let mut broken = Vec::new();

    let pure = pure_files();
    assert!(pure.len() > 90, "only {} files were found", pure.len());

    for (path, text) in pure {
        let text: String = without_tests(&path, &text)
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect::<Vec<_>>()
            .join("\n");
        broken.extend(
            impure.iter().filter(|part| holds(&text, part)).map(|part| format!("{path} holds {part}")),
        );
    }

    assert_none(&broken, "what is pure does no I/O and knows no clock, no chance and no async");
}

/// A line that makes a span of time by doubling.
fn is_backoff(line: &str) -> bool {
    ["from_millis(", "from_secs(", "Span::millis(", "Span::seconds("].iter().any(|span| {
        let given = line.split_once(span).map_or("", |(_, rest)| rest);
        let first = given.split(", ").next().unwrap_or_default();
        first.contains("<<") || first.contains(".pow(")
    })
}

#[test]
fn what_the_ground_does_is_done_nowhere_else() {
    let apart =
        ["libs/ground/", "libs/platform/src/scenarios/", "libs/platform/sample/", "examples/", "tests/"];
    let mut broken = Vec::new();
    let known = NOT_OF_THE_GROUND.map(|(path, text, _)| (path, text));
    let mut needless = BTreeSet::from(known);

    for (path, text) in files(".rs") {
        if apart.iter().any(|own| path.starts_with(own)) {
            continue;
        }
        for line in without_tests(&path, &text).lines().filter(|line| !line.trim_start().starts_with("//")) {
            let copied = GROUND.iter().filter(|(copy, _)| line.contains(copy)).copied();
            let doubled = is_backoff(line).then_some(("<<", "ground::Backoff"));
            for (copy, instead) in copied.chain(doubled) {
                needless.retain(|(known, text)| *known != path || *text != copy);
                if !known.contains(&(path.as_str(), copy)) {
                    broken.push(format!("{path} holds {copy}: use {instead}"));
                }
            }
        }
    }

    broken.extend(
        needless.iter().map(|(path, text)| format!("{path} no longer holds {text}: take it off the list")),
    );
    assert_none(&broken, "the ground is laid once");
}
