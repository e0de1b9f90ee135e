//! What a Compose file becomes, and what is said about the rest.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::collections::BTreeMap;

use model::spec::{Probe, SecretFrom};
use proptest::prelude::*;
use spec::import::{Imported, Options, compose};

/// The last note of every import.
const CONFINED: &str = "containers run without Linux capabilities, new privileges and swap, and with a bounded number of processes: an image that begins as root to become another user needs `user`";

fn options() -> Options {
    Options { name: Some("app".parse().unwrap()), ..Options::default() }
}

#[track_caller]
fn import(text: &str) -> (model::DeploymentSpec, Imported) {
    let imported =
        compose(text, &options()).unwrap_or_else(|fault| panic!("{fault}\n{:#?}", fault.complaints));
    (spec::read(&imported.spec_yaml).unwrap().spec, imported)
}

/// The notes on a service with these fields, without what holds for every import.
#[track_caller]
fn notes(fields: &str) -> Vec<String> {
    let mut notes = import(&format!("services:\n  web:\n    image: nginx\n    {fields}\n")).1.notes;
    assert!(notes.pop().unwrap().starts_with("containers run without Linux capabilities"));
    notes.retain(|note| !note.starts_with("open ports are the data plane's"));
    notes
}

#[test]
fn the_example_reads_as_a_person_would_write_it() {
    let imported =
        compose(include_str!("../../../examples/specs/compose.yaml"), &Options::default()).unwrap();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/compose.imported.yaml");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &imported.spec_yaml).unwrap();
    }
    let expected = std::fs::read_to_string(path).unwrap();
    assert_eq!(imported.spec_yaml, expected, "run this test with UPDATE=1 and read what changed");
}

#[test]
fn nothing_is_lost_in_silence() {
    for (fields, note) in [
        ("build: .", "web: build is not carried over: build and push the image nginx"),
        (
            "restart: always",
            "web: restart is not carried over: an instance that ends after the promotion stays ended",
        ),
        ("privileged: true", "web: privileged is refused: the container runs without it"),
        ("env_file: .env", "web: env_file is not read: add its variables to `environment`"),
        ("networks: [a]", "networks are not kept apart: all modules of the release share one"),
        ("labels: {a: b}", "web: `labels` is not carried over"),
        ("cap_add: [NET_ADMIN]", "web: `cap_add` is not carried over"),
        ("container_name: web1", "web: container_name is not carried over: instances get names of their own"),
        ("ports: [\"53:53/udp\"]", "web: udp port 53 is not carried over"),
        ("ports: [80]", "web: port 80 has no fixed port outside and is not opened"),
        ("ports: [\"80:80\", \"81:81\"]", "web: port 81:81 is not opened: a module has one open port"),
        ("ports: [\"127.0.0.1:80:80\"]", "web: the address 127.0.0.1 of a port is not carried over"),
        ("environment: [HOME]", "web: the variable HOME comes from the shell and is left out"),
        ("environment: {A B: c}", "web: \"A B\" is no variable's name and is left out"),
        ("environment: {A: $B}", "variable B has no value and became empty"),
        ("environment: {A: \"${B-c}\"}", "variable B has its default"),
        ("healthcheck: {disable: true}", "web: its health check is switched off; the module has none"),
        ("healthcheck: {test: [NONE]}", "web: its health check is switched off; the module has none"),
        ("healthcheck: {interval: 1s}", "web: the health check of its image is not carried over"),
        (
            "healthcheck: {test: a, start_interval: 1s}",
            "web: `start_interval` of its health check is not carried over: `interval` holds from the start",
        ),
        ("deploy: {mode: global}", "web: `mode` of deploy is not carried over"),
        ("deploy: {replicas: 0}", "web: 0 replicas are asked for; the module runs 1, remove it to run none"),
        ("deploy: {resources: {limits: {pids: 1}}}", "web: `pids` of limits is not carried over"),
        ("mem_limit: some", "web: \"some\" is no memory we know and is left out"),
        ("volumes: [/data]", "web: the volume at /data has no name and is left out"),
        (
            "volumes: [\"./a:/data\"]",
            "web: the folder ./a at /data is left out: give `host` with an absolute path",
        ),
        ("volumes: [{type: tmpfs, target: /tmp}]", "web: the tmpfs at /tmp is not carried over"),
        ("configs: [a]", "web: the config a for /a is left out: its text is not in the file"),
        (
            "secrets: [a]",
            "web: secret a comes as the variable A, not as a file in /run/secrets, and is read from the file a in the agents' `secrets_dir`",
        ),
    ] {
        assert_eq!(notes(fields), [note], "{fields}");
    }
    let top = "services: {web_1: {image: a}}\nnetworks: {a: }\nvolumes: {v: {driver: nfs}}\nmodels: {m: {}}\nx-a: b\n";
    assert_eq!(
        import(top).1.notes,
        [
            "networks are not kept apart: all modules of the release share one",
            "volume v: driver is not carried over",
            "`models` is not carried over",
            "service web_1 is named web-1 here",
            CONFINED,
        ]
    );
    assert_eq!(notes("version: 1"), ["web: `version` is not carried over"]);
    assert_eq!(
        compose("services: {a: {image: b}}", &Options::default()).unwrap().notes,
        ["the Compose file has no name; the application is named app", CONFINED]
    );
}

#[test]
fn commands_are_split_as_a_shell_would() {
    let (spec, _) = import("services: {web: {image: a, entrypoint: [/run], command: serve --name 'a b'}}");
    assert_eq!(spec.modules[0].run.entrypoint.as_deref().unwrap(), ["/run"]);
    assert_eq!(spec.modules[0].run.arguments, ["serve", "--name", "a b"]);
}

#[test]
fn requests_become_http_probes_and_the_rest_stays_a_command() {
    let probe = |test: &str| {
        let text =
            format!("services: {{web: {{image: a, ports: [\"1:8080\"], healthcheck: {{test: {test}}}}}}}");
        import(&text).0.modules[0].health.clone().unwrap().probe
    };
    let http = |path: &str, port: Option<&str>| Probe::Http {
        path: path.to_owned(),
        port: port.map(|port| port.parse().unwrap()),
    };
    assert_eq!(probe("[CMD, curl, -f, \"http://localhost:8080/health\"]"), http("/health", None));
    assert_eq!(probe("curl -fsS http://127.0.0.1:8080 || exit 1"), http("/", None));
    assert_eq!(probe("[CMD-SHELL, \"wget -q --spider localhost:8080/a?b=c\"]"), http("/a?b=c", None));
    assert_eq!(probe("[CMD, curl, --fail, --silent, \"http://[::1]:8080/\"]"), http("/", None));
    assert_eq!(probe("curl -f http://localhost/x"), http("/x", Some("http-80")));
    for line in [
        "curl -f http://localhost:8080/ | grep ok",
        "curl -f https://localhost:8080/",
        "curl -s http://localhost:8080/",
        "curl -fL http://localhost:8080/",
        "curl -f -I http://localhost:8080/",
        "curl -X POST http://localhost:8080/",
        "curl http://other:8080/",
    ] {
        assert_eq!(
            probe(&format!("{line:?}")),
            Probe::Command(vec!["/bin/sh".into(), "-c".into(), line.into()])
        );
    }
    assert_eq!(
        probe("[CMD, pg_isready, -U, a]"),
        Probe::Command(vec!["pg_isready".into(), "-U".into(), "a".into()])
    );
}

#[test]
fn all_that_means_the_same_is_carried_over() {
    let text = "\
services:
  web:
    image: app:${TAG}
    user: 1000:1000
    working_dir: /srv
    scale: 2
    cpus: 0.25
    mem_limit: 64m
    ports:
      - {target: 9000, published: \"80\", protocol: tcp}
      - \"8000-8001:8000-8001\"
    expose: [\"7000\"]
    environment:
      NUMBER: 5
      SWITCH: true
      TEXT: \"a: b # c\"
      LINES: \"first\\nsecond\\n\"
      COST: $$5
    healthcheck: {test: [CMD, check], interval: 1m30s, timeout: 5s, retries: 4, start_period: 2m}
    depends_on: [db]
    configs: [{source: settings, target: /etc/app.ini}]
    secrets: [{source: api-key}]
    volumes: [\"data:/data:ro\", \"/srv/files:/files\"]
  db:
    image: postgres
configs:
  settings: {content: \"a=1\\nb=2\"}
secrets:
  api-key: {environment: API_KEY}
";
    let values = BTreeMap::from([("TAG".to_owned(), "1.2".to_owned())]);
    let imported = compose(
        text,
        &Options { variables: values, environment: Some("prod".parse().unwrap()), ..options() },
    )
    .unwrap();
    let spec = spec::read(&imported.spec_yaml).unwrap().spec;
    let web = &spec.modules[0];

    assert_eq!(spec.environment.as_str(), "prod");
    assert_eq!(web.run.image.as_deref(), Some("app:1.2"));
    assert_eq!(web.run.user.as_deref(), Some("1000:1000"));
    assert_eq!(web.run.working_directory.as_deref(), Some("/srv"));
    assert_eq!(
        (web.replicas, web.resources.cpu_millis(), web.resources.memory_bytes()),
        (2, Some(250), Some(64 << 20))
    );
    assert_eq!(
        web.ports.iter().filter_map(|port| port.container).collect::<Vec<u16>>(),
        [9000, 8000, 8001, 7000]
    );
    assert_eq!(web.expose.as_ref().unwrap().listen, 80);
    let environment: Vec<(&str, &str)> =
        web.environment.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(
        environment,
        [
            ("COST", "$5"),
            ("LINES", "first\nsecond\n"),
            ("NUMBER", "5"),
            ("SWITCH", "true"),
            ("TEXT", "a: b # c")
        ]
    );
    let health = web.health.as_ref().unwrap();
    assert_eq!(
        format!(
            "{} {} {} {}",
            health.interval, health.timeout, health.healthy_deadline, health.unhealthy_threshold
        ),
        "1m30s 5s 8m 4"
    );
    assert_eq!(web.depends_on[0].module.as_str(), "db");
    assert_eq!((web.config[0].path.as_str(), web.config[0].content.as_str()), ("/etc/app.ini", "a=1\nb=2"));
    assert_eq!(
        (web.secrets[0].name.as_str(), &web.secrets[0].from),
        ("API_KEY", &SecretFrom::Env("CODE_SECRET_API_KEY".to_owned()))
    );
    assert_eq!((web.volumes[0].name.as_ref().unwrap().as_str(), web.volumes[0].read_only), ("data", true));
    assert_eq!(web.volumes[1].host.as_deref(), Some("/srv/files"));
}

#[test]
fn what_is_wrong_in_the_compose_file_is_named_by_place() {
    for (text, complaint) in [
        ("a: b", "1:1: services: the Compose file has no services"),
        ("[]", "1:1: a list is not a Compose file"),
        ("services: {web: {}}", "1:12: services.web: the service has neither `image` nor `build`"),
        ("services: {web: 5}", "1:17: services.web: 5 is not a service"),
        ("services: {\"!\": {image: a}}", "1:12: services[\"!\"]: \"!\" is not a name"),
        (
            "services: {a_b: {image: a}, a-b: {image: a}}",
            "1:12: services.a_b: it would be named a-b, as a-b is",
        ),
        ("services: {web: {image: a, ports: [x]}}", "1:36: services.web.ports[0]: \":x\" is not a port"),
        (
            "services: {web: {image: a, depends_on: [db]}}",
            "1:41: services.web.depends_on[0]: no service is named db",
        ),
        (
            "services: {web: {image: a, volumes: [\"a:b\"]}}",
            "1:38: services.web.volumes[0]: \"b\" is not a path to mount at",
        ),
        (
            "services: {web: {image: a, scale: -1}}",
            "1:35: services.web.scale: \"-1\" is not a number of replicas",
        ),
        (
            "services: {web: {image: a, command: \"'a\"}}",
            "1:37: services.web.command: a quote is not closed in \"'a\"",
        ),
        (
            "services: {web: {image: \"${A:?set it}\"}}",
            "1:25: services.web.image: variable A needs a value: set it",
        ),
        (
            "services: {web: {image: a, image: b}}",
            "1:28: services.web.image: `image` stands twice in this mapping",
        ),
        (
            "services: {web: {image: a, extends: {file: b.yaml, service: c}}}",
            "1:28: services.web.extends: it extends a service of another file, b.yaml",
        ),
        ("services: {web: {image: a}}\ninclude: [b.yaml]", "2:1: include: it takes in other files"),
        (
            "services: {web: {image: a, command: \"echo $1\"}}",
            "1:37: services.web.command: `$1` begins no variable in \"echo $1\"",
        ),
        ("services: {web: {image: A B}}", "modules[0].run.image: \"A B\" is not an image"),
        (
            "services: {a: {image: a, depends_on: [b]}, b: {image: a, depends_on: [a]}}",
            "modules[0].dependsOn: modules depend on each other in a circle: a -> b -> a",
        ),
    ] {
        let fault = compose(text, &options()).unwrap_err();
        assert_eq!(fault.complaints[0].to_string().lines().next().unwrap(), complaint, "{text}");
    }
}

proptest! {
    /// Any value of a variable comes back as it was: what is written is read.
    #[test]
    fn values_survive_the_writing(value in "[ -~\n\tä€😀\u{85}\u{7f}]{0,40}", line in "[a-z:# '\"\\-]{0,20}") {
        let value = format!("{value}{line}");
        let json = serde_json::json!({"services": {"web": {
            "image": "a",
            "environment": {"A": value.replace('$', "$$")},
            "command": ["run", value.replace('$', "$$")],
        }}});
        let (spec, _) = import(&json.to_string().replace('\u{7f}', "\\u007f").replace('\u{85}', "\\u0085"));
        prop_assert_eq!(&spec.modules[0].environment["A"], &value);
        prop_assert_eq!(&spec.modules[0].run.arguments[1], &value);
    }
}
