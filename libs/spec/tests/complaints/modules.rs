//! The rules for one module.

use super::*;

#[test]
fn what_runs() {
    check(
        &[
            ("version: 1.0", "7:12: modules[0].version: \"1.0\" is not a version"),
            ("replicas: 0", "7:13: modules[0].replicas: 0 is not a number of replicas"),
            ("replicas: 1001", "7:13: modules[0].replicas: 1001 is not a number of replicas"),
            ("resources: {cpu: lots}", "7:20: modules[0].resources.cpu: \"lots\" is not a processor share"),
            ("resources: {cpu: 0}", "7:20: modules[0].resources.cpu: \"0\" is not a processor share"),
            ("resources: {memory: 5}", "7:23: modules[0].resources.memory: \"5\" is not an amount of memory"),
            (
                "resources: {request: {cpu: lots}}",
                "7:30: modules[0].resources.request.cpu: \"lots\" is not a processor share",
            ),
            (
                "resources: {cpu: 1, request: {cpu: 1500m}}",
                "7:38: modules[0].resources.request.cpu: more cpu is set aside than an instance may use",
            ),
            (
                "resources: {memory: 1Gi, request: {memory: 2Gi}}",
                "7:46: modules[0].resources.request.memory: more memory is set aside than an instance may use",
            ),
            ("resources: {cpu: 2, memory: 1Gi, request: {cpu: 100m, memory: 64Mi}}", "none"),
            (
                "resources: {memory: 1GB}",
                "7:23: modules[0].resources.memory: \"1GB\" is not an amount of memory",
            ),
        ],
        in_module,
    );
    let run = |run: &str| complaints(&BASE.replace("{image: nginx}", run));
    check(
        &[
            ("{}", "6:3: modules[0].run: nothing says which image runs"),
            ("{command: [a]}", "6:3: modules[0].run: nothing says which image runs"),
            ("{image: a b}", "6:16: modules[0].run.image: \"a b\" is not an image"),
            ("{image: a, command: [\"\"]}", "6:19: modules[0].run.command: the command is empty"),
            (
                "{image: a, command: [a, \"b\\0\"]}",
                "6:32: modules[0].run.command[1]: the argument holds a NUL character",
            ),
            (
                "{image: a, command: [a, \"{port:x}\"]}",
                "6:32: modules[0].run.command[1]: no port is named \"x\"",
            ),
            (
                "{image: a, arguments: [a, \"{port}\"]}",
                "6:34: modules[0].run.arguments[1]: {port} stands here, and the module has no port",
            ),
            (
                "{image: a, command: [b], arguments: [c]}",
                "6:33: modules[0].run.arguments: both `command` and `arguments` say what runs",
            ),
            (
                "{image: a, command: [b], entrypoint: []}",
                "6:33: modules[0].run.entrypoint: both `command` and `entrypoint` say what runs",
            ),
            ("{image: a, entrypoint: [\"\"]}", "6:19: modules[0].run.entrypoint: the command is empty"),
            ("{image: a, entrypoint: []}", "none"),
            ("{image: a, entrypoint: [b], arguments: [\"\"]}", "none"),
            (
                "{image: a, privileged: true}",
                "6:31: modules[0].run.privileged: a privileged container is refused: it could take over its host",
            ),
            ("{image: a, user: \"a b\"}", "6:25: modules[0].run.user: \"a b\" is not a user"),
            (
                "{image: a, workingDirectory: ../a}",
                "6:37: modules[0].run.workingDirectory: \"../a\" is not a folder",
            ),
            (
                "{image: a, digest: sha256:12}",
                "6:27: modules[0].run.digest: \"sha256:12\" is not a digest: expected sha256: and 64 hex digits",
            ),
            ("{image: a, user: 10001}", "none"),
        ],
        run,
    );
    let pinned = format!("{{image: \"a@sha256:{}\", digest: \"sha256:{}\"}}", "a".repeat(64), "b".repeat(64));
    assert_eq!(run(&pinned), "6:101: modules[0].run.digest: the image is pinned to another digest");
    let on =
        |target: &str, run: &str| complaints(&BASE.replace("docker", target).replace("{image: nginx}", run));
    assert_eq!(
        on("process", "{image: a}"),
        "6:16: modules[0].run.image: an image cannot run on the process platform"
    );
    assert_eq!(on("process", "{}"), "6:3: modules[0].run: nothing says what runs");
    assert_eq!(on("process", "{arguments: [a]}"), "6:3: modules[0].run: nothing says what runs");
    assert_eq!(on("process", "{entrypoint: [a], arguments: [b]}"), "none");
    assert_eq!(on("process", "{command: [a]}"), "none");
    assert_eq!(on("scripted", "{}"), "6:3: modules[0].run: nothing says what runs");
    assert_eq!(
        on("scripted", "{image: a, command: [a]}"),
        "6:3: modules[0].run: both `image` and `command` say what runs"
    );
    assert_eq!(on("scripted", "{image: a}"), "none");
    assert_eq!(on("moon", "{image: a}"), "3:9: target: \"moon\" is not a platform");
}

#[test]
fn how_it_is_reached() {
    let ports = "ports: [{name: http, container: 80}]\n  ";
    check(
        &[
            ("ports: [{name: a, container: 0}]", "7:32: modules[0].ports[0].container: 0 is not a port"),
            (
                "ports: [{name: a, container: 70000}]",
                "7:32: modules[0].ports[0].container: 70000 is not a port",
            ),
            ("ports: [{name: a}]", "7:11: modules[0].ports[0]: port a has no number"),
            (
                "ports: [{name: a, container: 1}, {name: a, container: 2}]",
                "7:43: modules[0].ports[1].name: a second port named a",
            ),
            (
                "ports: [{name: a, container: 1}, {name: b, container: 1}]",
                "7:57: modules[0].ports[1].container: a second port with the number 1",
            ),
            ("expose: {listen: 80}", "7:3: modules[0].expose: the module has no port"),
            ("health: {probe: tcp}", "7:19: modules[0].health.probe.tcp: the module has no port"),
            ("smoke: [{path: /}]", "7:11: modules[0].smoke[0]: the module has no port"),
            ("health: {probe: {command: []}}", "7:20: modules[0].health.probe.command: the command is empty"),
            ("openapi: api.json", "7:12: modules[0].openapi: \"api.json\" is not the path of a request"),
        ],
        in_module,
    );
    check(
        &[
            ("expose: {listen: 0}", "8:20: modules[0].expose.listen: 0 is not a port"),
            ("expose: {listen: 1, port: x}", "8:29: modules[0].expose.port: no port is named x"),
            (
                "expose: {listen: 1, stickyCookie: a b}",
                "8:37: modules[0].expose.stickyCookie: \"a b\" is not a cookie's name",
            ),
            (
                "expose: {listen: 1, previewHeader: x}",
                "8:38: modules[0].expose.previewHeader: \"x\" is not a header with a value",
            ),
            (
                "expose: {listen: 1, requestTimeout: 0s}",
                "8:39: modules[0].expose.requestTimeout: 0s is out of range",
            ),
            (
                "health: {probe: {http: {path: health}}}",
                "8:33: modules[0].health.probe.http.path: \"health\" is not the path of a request",
            ),
            (
                "health: {probe: {http: {path: /, port: x}}}",
                "8:42: modules[0].health.probe.http.port: no port is named x",
            ),
            ("health: {probe: tcp, interval: 0s}", "8:34: modules[0].health.interval: 0s is out of range"),
            ("health: {probe: tcp, timeout: 2d}", "8:33: modules[0].health.timeout: 2days is out of range"),
            (
                "health: {probe: tcp, healthyAfter: 2m}",
                "8:38: modules[0].health.healthyAfter: an instance must be well for 2m and may take only 1m to be so",
            ),
            (
                "health: {probe: tcp, unhealthyThreshold: 0}",
                "8:44: modules[0].health.unhealthyThreshold: 0 probes cannot fail in a row",
            ),
            ("smoke: [{path: a}]", "8:18: modules[0].smoke[0].path: \"a\" is not the path of a request"),
            (
                "smoke: [{path: /, status: 600}]",
                "8:29: modules[0].smoke[0].status: 600 is not an HTTP status",
            ),
            (
                "smoke: [{path: /, status: 70000}]",
                "8:29: modules[0].smoke[0].status: 70000 is not an HTTP status",
            ),
            ("smoke: [{path: /, times: 0}]", "8:28: modules[0].smoke[0].times: 0 is out of range"),
        ],
        |field| in_module(&format!("{ports}{field}")),
    );
    assert_eq!(on_process("ports: [{name: http}]"), "none");
}

#[test]
fn what_is_put_into_it() {
    check(
        &[
            (
                "environment: {\"A B\": x}",
                "7:17: modules[0].environment[\"A B\"]: \"A B\" is not a variable's name",
            ),
            ("environment: {A: \"\\0\"}", "7:20: modules[0].environment.A: the value holds a NUL character"),
            ("environment: {discovery.type: x}", "none"),
            (
                "config: [{path: a, content: b}]",
                "7:19: modules[0].config[0].path: \"a\" is not a path of a file",
            ),
            (
                "config: [{path: /a/, content: b}]",
                "7:19: modules[0].config[0].path: \"/a/\" is not a path of a file",
            ),
            (
                "config: [{path: /a, content: b}, {path: /a, content: b}]",
                "7:43: modules[0].config[1].path: \"/a\" is written twice",
            ),
            (
                "secrets: [{name: A-B, from: {file: a}}]",
                "7:20: modules[0].secrets[0].name: \"A-B\" is not a variable's name",
            ),
            (
                "secrets: [{name: A, from: {env: API_KEY}}]",
                "7:35: modules[0].secrets[0].from.env: \"API_KEY\" may not be read by the agents",
            ),
            (
                "secrets: [{name: A, from: {env: 1A}}]",
                "7:35: modules[0].secrets[0].from.env: \"1A\" is not a variable's name",
            ),
            (
                "secrets: [{name: A, from: {file: ../a}}]",
                "7:36: modules[0].secrets[0].from.file: \"../a\" is not a file below the secret folder",
            ),
            (
                "secrets: [{name: A, from: {file: a}}, {name: A, from: {file: b}}]",
                "7:48: modules[0].secrets[1].name: a second secret named \"A\"",
            ),
            (
                "config: [{path: /a, content: \"{port:x}\"}]",
                "7:32: modules[0].config[0].content: no port is named \"x\"",
            ),
            (
                "environment: {A: \"{port}\"}",
                "7:20: modules[0].environment.A: {port} stands here, and the module has no port",
            ),
            ("environment: {A: \"{brace}port} ${port} {{port}}\"}", "none"),
            ("aliases: [a b]", "7:13: modules[0].aliases[0]: \"a b\" is not a host name"),
            ("aliases: [order_api, db.internal]", "none"),
            ("volumes: [{path: /a}]", "7:13: modules[0].volumes[0]: a volume has neither `name` nor `host`"),
            (
                "volumes: [{path: /a, name: a, host: /a}]",
                "7:13: modules[0].volumes[0]: a volume has both `name` and `host`",
            ),
            (
                "volumes: [{path: a, name: a}]",
                "7:20: modules[0].volumes[0].path: \"a\" is not a path to mount at",
            ),
            (
                "volumes: [{path: /, name: a}]",
                "7:20: modules[0].volumes[0].path: \"/\" is not a path to mount at",
            ),
            (
                "volumes: [{path: /a, host: /b/../c}]",
                "7:30: modules[0].volumes[0].host: \"/b/../c\" is not an absolute path",
            ),
            (
                "volumes: [{path: /a, name: a}, {path: /a, name: b}]",
                "7:41: modules[0].volumes[1].path: a second volume is mounted at \"/a\"",
            ),
        ],
        in_module,
    );
    let twice = "environment: {A: x}\n  secrets: [{name: A, from: {file: a}}]";
    assert_eq!(in_module(twice), "8:20: modules[0].secrets[0].name: A also stands in the environment");
    assert_eq!(on_process("config: [{path: a, content: b}]"), "none");
    assert_eq!(on_process("aliases: [b]"), "7:3: modules[0].aliases: the process platform has no host names");
    assert_eq!(
        on_process("config: [{path: ../a, content: b}]"),
        "7:19: modules[0].config[0].path: \"../a\" is not a path of a file"
    );
}
