//! Unknown fields, missing fields and values of a wrong type.

use super::*;

#[test]
fn the_base_has_no_mistakes() {
    assert_eq!(complaints(BASE), "none");
}

#[test]
fn a_complaint_reads_as_in_the_documentation() {
    let text = "\
apiVersion: code/v1
name: shop
target: docker
modules:
  - name: a
    run:
      image: nginx
  - name: web
    version: 1.0.0
    run:
      image: nginx
    # how many
    # of them
    replicas: -2
";
    let fault = spec::read(text).unwrap_err();
    assert_eq!(fault.to_string(), "the spec has a mistake");
    assert_eq!(
        fault.complaints[0].to_string(),
        "14:15: modules[1].replicas: -2 is not a number of replicas\n  a module runs 1 to 1000 replicas; to stop it, remove the module"
    );
}

#[test]
fn all_mistakes_are_named_at_once_in_order_of_place() {
    let text = "\
apiVersion: code/v2
nmae: shop
name: Shop
target: docker
modules:
- name: web
  run: {image: nginx}
  replica: 3
  expose: {listen: 99999}
- name: web
  image: nginx
  run: {image: [nginx]}
  replicas: many
";
    assert_eq!(
        complaints(text),
        "\
2:1: nmae: unknown field `nmae`; did you mean `name`?
3:7: name: \"Shop\" is not a name: expected a-z, 0-9 and -, beginning with a letter or digit, at most 63 characters
8:3: modules[0].replica: unknown field `replica`; did you mean `replicas`?
9:20: modules[0].expose.listen: 99999 is not a port
11:3: modules[1].image: unknown field `image`; it belongs into `run`
12:9: modules[1].run.image: a list stands where text is expected
13:13: modules[1].replicas: \"many\" is not a number of replicas"
    );
}

#[test]
fn mistakes_of_type_do_not_hide_those_of_meaning() {
    let text = format!("{BASE}  replicas: -2\n  version: one\nwhenbusy: queue\ndeadlines: {{total: 1ms}}\n");
    assert_eq!(
        complaints(&text),
        "\
7:13: modules[0].replicas: -2 is not a number of replicas
8:12: modules[0].version: \"one\" is not a version
9:1: whenbusy: unknown field `whenbusy`; did you mean `whenBusy`?
10:1: deadlines.step: a step may take 10m, longer than all of it, 1ms
10:20: deadlines.total: 1ms is out of range"
    );
}

#[test]
fn a_cure_tells_what_is_known() {
    let fault = spec::read(&format!("{BASE}  expose: {{listen: 1, prot: x}}\n")).unwrap_err();
    assert_eq!(
        fault.complaints[0].to_string(),
        "7:23: modules[0].expose.prot: unknown field `prot`; did you mean `port`?\n  known here: listen, port, stickyCookie, previewHeader, requestTimeout"
    );
    let fault = spec::read("apiVersion: code/v1\nname: shop\ntarget: docker\n").unwrap_err();
    assert_eq!(
        fault.complaints[0].to_string(),
        "1:1: modules: `modules` is missing\n  what is deployed, 1 to 100 modules"
    );
}

#[test]
fn forms_are_read_leniently_where_the_meaning_is_clear() {
    let one = |text: &str| spec::read(&format!("{BASE}{text}")).unwrap();
    assert_eq!(one("  strategy: recreate\n"), one("  strategy: {recreate: {}}\n"));
    assert_eq!(one("  strategy: rolling\n"), one("  strategy: {rolling: }\n"));
    assert_eq!(
        one("  version: 1.10.0\n  replicas:\n  labels:\n".trim_end_matches("  labels:\n")),
        one("  version: \"1.10.0\"\n")
    );
    assert_eq!(one("  resources: {cpu: 2}\n"), one("  resources: {cpu: \"2\"}\n"));
    assert_eq!(
        one("  environment: {PORT: 0x10, NO: no}\n"),
        one("  environment: {PORT: \"0x10\", NO: \"no\"}\n")
    );
    let metrics =
        |provider| format!("  analysis: {{metrics: [{{name: a, provider: {provider}, success: < 1}}]}}\n");
    assert_eq!(one(&metrics("errorRate")), one(&metrics("{errorRate: {}}")));
}

#[test]
fn types() {
    check(
        &[
            ("replicas: two", "7:13: modules[0].replicas: \"two\" is not a number of replicas"),
            (
                "replicas: [1]",
                "7:3: modules[0].replicas: a list stands where a number of replicas is expected",
            ),
            ("health: 5", "7:11: modules[0].health: 5 stands where a mapping is expected"),
            ("ports: http", "7:10: modules[0].ports: \"http\" stands where a list is expected"),
            ("environment: {A: true}", "7:20: modules[0].environment.A: true is not text"),
            ("environment: {A: }", "7:17: modules[0].environment.A: a text is missing here"),
            ("environment: [A=1]", "7:3: modules[0].environment: a list stands where a mapping is expected"),
            (
                "volumes: [{path: /a, name: b, readOnly: yes}]",
                "7:43: modules[0].volumes[0].readOnly: \"yes\" is not true or false",
            ),
            ("run: {image: nginx}", "7:3: modules[0].run: `run` stands twice in this mapping"),
            (
                "strategy: canari",
                "7:13: modules[0].strategy: unknown choice `canari`; did you mean `canary`?",
            ),
            ("strategy: canary", "7:13: modules[0].strategy.canary.steps: `steps` is missing"),
            (
                "strategy: {canari: {}}",
                "7:14: modules[0].strategy.canari: unknown choice `canari`; did you mean `canary`?",
            ),
            ("strategy: {}", "7:3: modules[0].strategy: nothing is chosen here"),
            (
                "strategy: 5",
                "7:13: modules[0].strategy: 5 is not one of canary, blueGreen, rolling, recreate",
            ),
            (
                "strategy: {rolling: {}, recreate: {}}",
                "7:3: modules[0].strategy: 2 things are chosen here: rolling, recreate",
            ),
            (
                "strategy: {canary: {steps: [{setWeight: 300}]}}",
                "7:43: modules[0].strategy.canary.steps[0].setWeight: 300 is not a weight in percent",
            ),
            (
                "strategy: {canary: {steps: [{pause: {for: 1s}}]}}",
                "7:40: modules[0].strategy.canary.steps[0].pause.for: unknown field `for`",
            ),
            (
                "strategy: {canary: {steps: [setWeight]}}",
                "7:31: modules[0].strategy.canary.steps[0]: `setWeight` needs a value",
            ),
            (
                "strategy: {recreate: {gap: 1s}}",
                "7:25: modules[0].strategy.recreate.gap: unknown field `gap`",
            ),
            ("health: {probe: {http: {}}}", "7:20: modules[0].health.probe.http.path: `path` is missing"),
            (
                "health: {interval: 1}",
                "7:3: modules[0].health.probe: `probe` is missing\n7:22: modules[0].health.interval: \"1\" is not a span of time: write a number and a unit, such as 250ms, 30s, 5m or 2h",
            ),
            ("run2: {digest: x}", "7:3: modules[0].run2: unknown field `run2`; did you mean `run`?"),
            (
                "analysis: {metrics: [{name: a, provider: {latency: fast}}]}",
                "7:54: modules[0].analysis.metrics[0].provider.latency: \"fast\" is not a number",
            ),
            (
                "dependsOn: [{module: We B}]",
                "7:24: modules[0].dependsOn[0].module: \"We B\" is not a name: expected a-z, 0-9 and -, beginning with a letter or digit, at most 63 characters",
            ),
        ],
        in_module,
    );
    check(
        &[
            ("whenBusy: wait", "7:11: whenBusy: unknown choice `wait`"),
            ("gates: {experts: no}", "7:18: gates.experts: unknown choice `no`"),
            (
                "gates: {approvals: {required: -1}}",
                "7:31: gates.approvals.required: -1 is not a number of approvals",
            ),
            ("hooks: [{name: a, when: later, command: [a]}]", "7:25: hooks[0].when: unknown choice `later`"),
            ("modules: []", "7:1: modules: `modules` stands twice in this mapping"),
        ],
        in_release,
    );
}
