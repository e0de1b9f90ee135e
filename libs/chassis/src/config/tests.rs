use std::collections::BTreeMap;

use model::{Span, fault::Complaint};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Agents {
    slots: u32,
    sweep: Span,
    label: String,
    token: Secret,
    tools: Vec<String>,
    folder: Option<String>,
    retry: Retry,
    weights: BTreeMap<String, f64>,
}

/// Does not refuse unknown fields by itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Retry {
    most: u32,
}

impl Default for Agents {
    fn default() -> Agents {
        Agents {
            slots: 4,
            sweep: Span::seconds(10),
            label: "plain".to_owned(),
            token: Secret::default(),
            tools: Vec::new(),
            folder: None,
            retry: Retry { most: 3 },
            weights: BTreeMap::new(),
        }
    }
}

impl Config for Agents {
    const SERVICE: &'static str = "agents";

    fn check(&self) -> Result<(), Vec<Complaint>> {
        if self.slots == 0 {
            return Err(vec![complaint("slots", "0 slots do no work", "give it 1 to 64 slots")]);
        }
        Ok(())
    }
}

fn load(file: &str, variables: &[(&str, &str)]) -> Loaded<Agents> {
    Sources::given(Some(file), variables.iter().copied()).load().unwrap_or_else(|error| panic!("{error}"))
}

fn refused(file: &str, variables: &[(&str, &str)]) -> String {
    match Sources::given(Some(file), variables.iter().copied()).load::<Agents>() {
        Ok(loaded) => panic!("was taken: {loaded:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn without_sources_the_defaults_are_in_force() {
    let loaded: Loaded<Agents> = Sources::default().load().unwrap();

    assert_eq!(loaded.config, Agents::default());
    assert_eq!(loaded.common.nats_url, "nats://127.0.0.1:4222");
}

#[test]
fn the_file_outweighs_the_defaults_and_the_environment_the_file() {
    let file = "[agents]\nslots = 8\nlabel = \"file\"\nretry.most = 5\n[common]\nlog = \"debug\"\n";

    let loaded = load(file, &[("CODE_AGENTS_LABEL", "environment"), ("CODE_LOG", "warn")]);

    assert_eq!((loaded.config.slots, loaded.config.label.as_str()), (8, "environment"));
    assert_eq!(loaded.config.retry.most, 5);
    assert_eq!(loaded.common.log, "warn");
    assert_eq!(loaded.config.sweep, Span::seconds(10), "what nobody sets stays");
}

#[test]
fn the_environment_reaches_nested_fields_lists_spans_and_limits_of_the_bus() {
    let loaded = load(
        "",
        &[
            ("CODE_AGENTS_RETRY__MOST", "9"),
            ("CODE_AGENTS_TOOLS", "[trivy, kubeconform]"),
            ("CODE_AGENTS_SWEEP", "250ms"),
            ("CODE_AGENTS_FOLDER", "/var/lib/agents"),
            ("CODE_NATS_LIMITS__LOG", "1048576"),
            ("CODE_SHUTDOWN_GRACE", "5s"),
            ("CODE_HEALTH_LISTEN", "0.0.0.0:8081"),
        ],
    );

    assert_eq!(loaded.config.retry.most, 9);
    assert_eq!(loaded.config.tools, ["trivy", "kubeconform"]);
    assert_eq!(loaded.config.sweep, Span::millis(250));
    assert_eq!(loaded.config.folder.as_deref(), Some("/var/lib/agents"));
    assert_eq!(loaded.common.nats_limits.log, 1_048_576);
    assert_eq!(loaded.common.shutdown_grace, Span::seconds(5));
    assert_eq!(loaded.common.health_listen.to_string(), "0.0.0.0:8081");
}

#[test]
fn a_text_of_digits_stays_a_text() {
    let loaded = load("", &[("CODE_AGENTS_TOKEN", "0012345"), ("CODE_AGENTS_LABEL", "true")]);

    assert_eq!(loaded.config.token.reveal(), "0012345");
    assert_eq!(loaded.config.label, "true");
}

#[test]
fn texts_of_the_environment_are_read_as_what_they_look_like() {
    let tools = |text| load("", &[("CODE_AGENTS_TOOLS", text)]).config.tools;
    assert_eq!(tools("[\"a, b\", \"c\"]"), ["a, b", "c"]);
    assert_eq!(tools("[a,b , c]"), ["a", "b", "c"]);

    let weights = load("", &[("CODE_AGENTS_WEIGHTS", "{ a = 0.5 }"), ("CODE_TRACE_SAMPLE", "0.25")]);
    assert_eq!(weights.config.weights, BTreeMap::from([("a".to_owned(), 0.5)]));
    assert_eq!(weights.common.trace_sample, 0.25);

    let odd = "\"Σఀ࡞\\ \"";
    assert_eq!(load("", &[("CODE_AGENTS_LABEL", odd)]).config.label, odd, "figment's reader panics on this");
}

#[test]
fn an_unknown_field_is_refused_with_its_line_and_the_nearest_name() {
    assert_eq!(
        refused("[agents]\nslots = 2\n  sweeep = \"10s\"\n", &[]),
        "code.toml:3:3: agents.sweeep: unknown field\n  did you mean sweep?"
    );
}

#[test]
fn an_unknown_field_of_an_inner_struct_is_refused_too() {
    assert_eq!(
        refused("[agents.retry]\nmots = 2\n", &[]),
        "code.toml:2:1: agents.retry.mots: unknown field\n  did you mean most?"
    );
}

#[test]
fn an_unknown_variable_of_this_service_is_refused_by_its_name() {
    let text = refused("", &[("CODE_AGENTS_COLOUR", "red")]);

    assert_eq!(
        text,
        "CODE_AGENTS_COLOUR: agents.colour: unknown field\n  \
         known here: folder, label, retry, slots, sweep, token, tools, weights"
    );
}

#[test]
fn a_misspelt_common_variable_is_refused_and_a_strangers_is_left_alone() {
    let text = refused("", &[("CODE_NATS_URLL", "nats://other:4222")]);
    assert_eq!(text, "CODE_NATS_URLL: common.nats_urll: unknown setting\n  did you mean CODE_NATS_URL?");

    load("", &[("CODE_EDITOR_THEME", "dark"), ("CODE_TRAFFIC_LISTEN", "0.0.0.0:80"), ("PATH", "/bin")]);
}

#[test]
fn what_kubernetes_says_about_its_services_is_no_setting() {
    load(
        "",
        &[
            ("CODE_AGENTS_SERVICE_HOST", "10.0.0.7"),
            ("CODE_AGENTS_SERVICE_PORT_HTTP", "8080"),
            ("CODE_AGENTS_PORT", "tcp://10.0.0.7:8080"),
            ("CODE_AGENTS_PORT_8080_TCP_ADDR", "10.0.0.7"),
        ],
    );
}

#[test]
fn a_value_of_the_wrong_kind_is_refused_with_its_place() {
    assert_eq!(
        refused("[agents]\nslots = \"many\"\n", &[]),
        "code.toml:2:1: agents.slots: found string \"many\", expected u32"
    );
    assert_eq!(
        refused("", &[("CODE_AGENTS_RETRY__MOST", "lots")]),
        "CODE_AGENTS_RETRY__MOST: agents.retry.most: found string \"lots\", expected u32"
    );
    assert_eq!(
        refused("[agents]\nsweep = \"10s\"\n", &[("CODE_AGENTS_SWEEP", "soon")]),
        "CODE_AGENTS_SWEEP: agents.sweep: \"soon\" is not a span of time\n  \
         write a number and a unit, such as 250ms, 30s, 5m or 2h"
    );
}

#[test]
fn complaints_of_the_check_name_where_the_value_came_from() {
    assert_eq!(
        refused("[agents]\nslots = 0\n", &[]),
        "code.toml:2:1: agents.slots: 0 slots do no work\n  give it 1 to 64 slots"
    );
    assert_eq!(
        refused("", &[("CODE_AGENTS_SLOTS", "0")]),
        "CODE_AGENTS_SLOTS: agents.slots: 0 slots do no work\n  give it 1 to 64 slots"
    );
}

#[test]
fn common_settings_are_checked_and_all_problems_are_said_at_once() {
    let text = refused("[common]\nnats_replicas = 2\ntrace_sample = 1.5\n[agents]\nslots = 0\n", &[]);

    let places: Vec<&str> = text.lines().filter(|line| !line.starts_with(' ')).collect();
    assert_eq!(
        places,
        [
            "code.toml:2:1: common.nats_replicas: 2 is not a number of copies",
            "code.toml:3:1: common.trace_sample: 1.5 is not a share",
            "code.toml:5:1: agents.slots: 0 slots do no work",
        ]
    );
}

#[test]
fn one_file_serves_all_services_and_a_misspelt_section_is_refused() {
    load("[orchestrator]\nanything = 1\n", &[]);

    assert_eq!(
        refused("[agnets]\nslots = 1\n", &[]),
        "code.toml:1:2: agnets: unknown section\n  did you mean agents?"
    );
    assert!(refused("slots = 1\n", &[]).starts_with("code.toml:1:1: slots: a setting outside of a section"));
}

#[test]
fn a_file_that_is_not_toml_is_refused_with_its_line() {
    let text = refused("[agents]\nslots = = 1\n", &[]);

    assert!(text.starts_with("code.toml:2:9: "), "{text}");
}

#[test]
fn a_named_file_that_is_not_there_is_an_error() {
    let missing = std::path::Path::new("no-such-folder/code.toml");

    let error = Sources::read(Some(missing)).unwrap_err();

    assert_eq!(error.to_string(), "cannot read the configuration no-such-folder/code.toml");
}

#[test]
fn a_dump_shows_what_is_in_force_and_masks_secrets() {
    let loaded = load("[agents]\nslots = 7\n", &[("CODE_AGENTS_TOKEN", "hunter2")]);

    let text = loaded.dump().unwrap();

    assert!(text.contains("[common]\nnats_url = \"nats://127.0.0.1:4222\"\n"), "{text}");
    assert!(text.contains("slots = 7\n") && text.contains("sweep = \"10s\"\n"), "{text}");
    assert!(text.contains("token = \"***\"\n") && !text.contains("hunter2"), "{text}");
    assert!(!format!("{loaded:?}").contains("hunter2"));
}

#[test]
fn a_dump_masks_the_password_within_an_address() {
    let text = load("", &[("CODE_NATS_URL", "nats://me:hunter2@a:4222,nats://b:4222")]).dump().unwrap();

    assert!(text.contains("nats_url = \"nats://***@a:4222,nats://b:4222\"\n"), "{text}");
    assert!(refused(&text, &[]).contains("*** is the mask of a user and password"));
}

#[test]
fn a_dump_can_be_read_back_once_its_secrets_are_filled_in() {
    let text = load("[agents]\nslots = 7\n[agents.weights]\na = 0.5\n", &[]).dump().unwrap();
    assert_eq!(load(&text, &[]).config.slots, 7);

    let masked = load("", &[("CODE_AGENTS_TOKEN", "hunter2")]).dump().unwrap();
    assert!(refused(&masked, &[]).contains("*** is the mask of a secret"));
}

proptest! {
    #[test]
    fn whatever_the_environment_holds_settings_are_read_or_refused_with_a_place(
        name in "CODE_(AGENTS_)?[A-Z_]{0,12}", text in "\\PC{0,20}",
    ) {
        let sources = Sources::given(None, [(name.as_str(), text.as_str())]);
        if let Err(error) = sources.load::<Agents>() {
            prop_assert!(error.to_string().starts_with(&name), "{error}");
        }
    }

    #[test]
    fn an_integer_in_the_file_arrives(slots in 1u32..) {
        prop_assert_eq!(load(&format!("[agents]\nslots = {slots}\n"), &[]).config.slots, slots);
    }
}
