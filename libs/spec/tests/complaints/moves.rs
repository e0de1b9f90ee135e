//! The rules for strategies, analyses and the release as a whole.

use super::*;

#[test]
fn how_it_moves() {
    let steps = |steps: &str| in_module(&format!("strategy: {{canary: {{steps: {steps}}}}}"));
    check(
        &[
            ("[]", "7:23: modules[0].strategy.canary.steps: a canary of 0 steps"),
            (
                "[{setWeight: 101}]",
                "7:43: modules[0].strategy.canary.steps[0].setWeight: 101 is not a weight in percent",
            ),
            (
                "[{setWeight: 50}, {setWeight: 20}]",
                "7:60: modules[0].strategy.canary.steps[1].setWeight: the weight falls from 50 to 20",
            ),
            ("[{setWeight: 50}, {setWeight: 50}, pause]", "none"),
            (
                "[{pause: {duration: 0s}}]",
                "7:50: modules[0].strategy.canary.steps[0].pause.duration: 0s is out of range",
            ),
            (
                "[{analysis: {metrics: []}}]",
                "7:43: modules[0].strategy.canary.steps[0].analysis.metrics: an analysis of 0 metrics",
            ),
        ],
        steps,
    );
    check(
        &[
            (
                "strategy: {rolling: {maxSurge: 0}}",
                "7:14: modules[0].strategy.rolling: maxSurge and maxUnavailable are both 0, so no instance could ever be replaced",
            ),
            (
                "strategy: {rolling: {maxSurge: 2000}}",
                "7:34: modules[0].strategy.rolling.maxSurge: 2000 is out of range",
            ),
            (
                "strategy: {blueGreen: {hold: 25h}}",
                "7:32: modules[0].strategy.blueGreen.hold: 1day1h is out of range",
            ),
            (
                "strategy: {blueGreen: {prePromotion: {metrics: []}}}",
                "7:41: modules[0].strategy.blueGreen.prePromotion.metrics: an analysis of 0 metrics",
            ),
            (
                "strategy: {blueGreen: {postPromotion: {metrics: []}}}",
                "7:42: modules[0].strategy.blueGreen.postPromotion.metrics: an analysis of 0 metrics",
            ),
        ],
        in_module,
    );
    assert_eq!(
        in_release("strategy: {canary: {steps: []}}"),
        "7:21: strategy.canary.steps: a canary of 0 steps"
    );
}

#[test]
fn how_it_is_judged() {
    let metric = |fields: &str| in_module(&format!("analysis: {{metrics: [{{name: a, {fields}}}]}}"));
    check(
        &[
            (
                "provider: errorRate",
                "7:24: modules[0].analysis.metrics[0]: nothing says when a value is good or bad",
            ),
            ("provider: errorRate, dryRun: true", "none"),
            (
                "provider: errorRate, success: small",
                "7:64: modules[0].analysis.metrics[0].success: \"small\" is not a condition",
            ),
            (
                "provider: errorRate, failure: \"> \"",
                "7:64: modules[0].analysis.metrics[0].failure: \"> \" is not a condition",
            ),
            ("provider: errorRate, success: in 1..5", "none"),
            (
                "provider: errorRate, success: < 1, confidence: 1",
                "7:81: modules[0].analysis.metrics[0].confidence: 1 is not a confidence",
            ),
            (
                "provider: {prometheus: {address: \"https://prometheus\", query: up}}, success: < 1",
                "7:67: modules[0].analysis.metrics[0].provider.prometheus.address: \"https://prometheus\" asks for https, which the agents do not speak",
            ),
            (
                "provider: {latency: 1}, success: < 1",
                "7:54: modules[0].analysis.metrics[0].provider.latency: 1 is not a quantile",
            ),
            (
                "provider: {latency: 0.0}, success: < 1",
                "7:54: modules[0].analysis.metrics[0].provider.latency: 0 is not a quantile",
            ),
            (
                "provider: {http: {url: a, pointer: /a}}, success: < 1",
                "7:57: modules[0].analysis.metrics[0].provider.http.url: \"a\" is not an address",
            ),
            (
                "provider: {http: {url: \"https://a/b\", pointer: /a}}, success: < 1",
                "7:57: modules[0].analysis.metrics[0].provider.http.url: \"https://a/b\" asks for https, which the agents do not speak",
            ),
            (
                "provider: {http: {url: \"http://a\", pointer: a}}, success: < 1",
                "7:78: modules[0].analysis.metrics[0].provider.http.pointer: \"a\" is not a JSON pointer",
            ),
            (
                "provider: {prometheus: {address: a, query: b}}, success: < 1",
                "7:67: modules[0].analysis.metrics[0].provider.prometheus.address: \"a\" is not an address",
            ),
            (
                "provider: {prometheus: {address: \"http://a\", query: \"\"}}, success: < 1",
                "7:86: modules[0].analysis.metrics[0].provider.prometheus.query: the query is empty",
            ),
            (
                "provider: errorRate, baseline: {tolerance: -1}",
                "7:77: modules[0].analysis.metrics[0].baseline.tolerance: -1 is not a tolerance",
            ),
            (
                "provider: errorRate, baseline: {confidence: 0.4}",
                "7:78: modules[0].analysis.metrics[0].baseline.confidence: 0.4 is not a confidence",
            ),
            (
                "provider: errorRate, success: < 1, interval: 0s",
                "7:79: modules[0].analysis.metrics[0].interval: 0s is out of range",
            ),
            (
                "provider: errorRate, success: < 1, initialDelay: 25h",
                "7:83: modules[0].analysis.metrics[0].initialDelay: 1day1h is out of range",
            ),
        ],
        metric,
    );
    let two = "analysis: {duration: 2d, metrics: [{name: a, provider: errorRate, success: < 1}, {name: a, provider: errorRate, success: < 1}]}";
    assert_eq!(
        in_module(two),
        "7:24: modules[0].analysis.duration: 2days is out of range\n7:91: modules[0].analysis.metrics[1].name: a second metric named \"a\""
    );
    assert_eq!(
        in_module("analysis: {metrics: [{name: \"\", provider: errorRate, success: < 1}]}"),
        "7:31: modules[0].analysis.metrics[0].name: \"\" is not a name"
    );
}

#[test]
fn the_release_as_a_whole() {
    check(
        &[
            (
                "gates: {approvals: {required: 0}}",
                "7:31: gates.approvals.required: 0 is not a number of approvals",
            ),
            (
                "gates: {approvals: {required: 11}}",
                "7:31: gates.approvals.required: 11 is not a number of approvals",
            ),
            (
                "gates: {approvals: {required: 2, from: [a]}}",
                "7:31: gates.approvals.required: 2 must approve, but only 1 may",
            ),
            (
                "gates: {approvals: {required: 1, from: [a, a]}}",
                "7:44: gates.approvals.from[1]: \"a\" is named twice",
            ),
            (
                "gates: {approvals: {required: 1, from: [\" \"]}}",
                "7:41: gates.approvals.from[0]: \" \" is nobody",
            ),
            (
                "hooks: [{name: a, when: beforeDeploy, command: []}]",
                "7:39: hooks[0].command: the command is empty",
            ),
            (
                "hooks: [{name: a, when: beforeDeploy, command: [a], timeout: 0s}]",
                "7:62: hooks[0].timeout: 0s is out of range",
            ),
            (
                "hooks: [{name: a, when: beforeDeploy, command: [a], timeout: 11m}]",
                "7:62: hooks[0].timeout: 11m is longer than a step may take, 10m",
            ),
            (
                "hooks: [{name: a, when: beforeDeploy, command: [a]}, {name: a, when: beforeDeploy, command: [a]}]",
                "7:61: hooks[1].name: a second hook named a",
            ),
            ("deadlines: {human: 25h}", "7:20: deadlines.human: 1day1h is out of range"),
            ("deadlines: {rollback: 500ms}", "7:23: deadlines.rollback: 500ms is out of range"),
            ("deadlines: {step: 2h}", "7:19: deadlines.step: a step may take 2h, longer than all of it, 1h"),
            (
                "waivers: [{rule: a, reason: b, expires: 2030-02-30}]",
                "7:41: waivers[0].expires: \"2030-02-30\" is not a day",
            ),
            (
                "waivers: [{rule: a, reason: b, expires: 20300101}]",
                "7:41: waivers[0].expires: \"20300101\" is not a day",
            ),
            (
                "waivers: [{rule: a, reason: \" \", expires: 2030-02-28}]",
                "7:29: waivers[0].reason: the reason is empty",
            ),
            (
                "waivers: [{rule: \"\", reason: a, expires: 2030-02-28}]",
                "7:18: waivers[0].rule: the rule is empty",
            ),
            (
                "waivers: [{rule: a, reason: b, module: x, expires: 2030-02-28}]",
                "7:40: waivers[0].module: no module is named x",
            ),
            ("labels: {\"a b\": c}", "7:10: labels[\"a b\"]: \"a b\" is not a label"),
            (
                "labels: {a: \"\\0\"}",
                "7:13: labels.a: the label's value is too long or holds a NUL character",
            ),
        ],
        in_release,
    );
    assert_eq!(
        complaints(&BASE.replace("code/v1", "code/v2")),
        "1:13: apiVersion: \"code/v2\" is not a version this reads"
    );
    assert_eq!(
        complaints("apiVersion: code/v1\nname: a\ntarget: docker\nmodules: []\n"),
        "4:1: modules: a release of 0 modules"
    );
    let many: String = (0..101).map(|n| format!("- {{name: m{n}, run: {{image: a}}}}\n")).collect();
    let many = format!("apiVersion: code/v1\nname: a\ntarget: docker\nmodules:\n{many}");
    assert_eq!(complaints(&many), "4:1: modules: a release of 101 modules");
}

#[test]
fn modules_together() {
    check(
        &[
            ("- {name: web, run: {image: a}}", "7:10: modules[1].name: a second module named web"),
            (
                "- {name: b, run: {image: a}, dependsOn: [{module: x}]}",
                "7:51: modules[1].dependsOn[0].module: no module is named x",
            ),
            (
                "- {name: b, run: {image: a}, dependsOn: [{module: web, version: new}]}",
                "7:65: modules[1].dependsOn[0].version: \"new\" is not a version constraint",
            ),
            (
                "- {name: b, run: {image: a}, dependsOn: [{module: web, version: \">=1\"}]}",
                "7:65: modules[1].dependsOn[0].version: web 0.0.0 does not meet \">=1\"",
            ),
            (
                "- {name: b, run: {image: a}, dependsOn: [{module: web}, {module: web}]}",
                "7:66: modules[1].dependsOn[1].module: web is named twice",
            ),
            (
                "- {name: b, run: {image: a}, dependsOn: [{module: b}]}",
                "7:30: modules[1].dependsOn: modules depend on each other in a circle: b -> b",
            ),
            (
                "- {name: b, run: {image: a}, dependsOn: [{module: c}]}\n- {name: c, run: {image: a}, dependsOn: [{module: d}]}\n- {name: d, run: {image: a}, dependsOn: [{module: c}, {module: web}]}",
                "8:30: modules[2].dependsOn: modules depend on each other in a circle: c -> d -> c",
            ),
        ],
        in_release,
    );
    let exposed = |name: &str| {
        format!(
            "- {{name: {name}, run: {{image: a}}, ports: [{{name: a, container: 1}}], expose: {{listen: 80}}}}"
        )
    };
    let two = format!("{}\n{}", exposed("a"), exposed("b"));
    assert_eq!(in_release(&two), "8:81: modules[2].expose.listen: port 80 is taken by another module");
}
