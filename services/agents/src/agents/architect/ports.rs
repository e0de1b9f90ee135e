//! The ports that a release asks for: whether another target has them, and what clients notice of a change. Pure.

use model::{
    DeploymentSpec, Finding, Severity, Token,
    route::RouteTable,
    spec::{Module, PROCESS},
};

use super::super::finding;

/// Ports that other targets hold block the release: whoever asked there would go on reaching the other service. A port
/// that changes is told, since it closes for those who know only the old one.
pub fn ports(
    spec: &DeploymentSpec,
    baseline: Option<&DeploymentSpec>,
    tables: &[RouteTable],
) -> Vec<Finding> {
    let target = spec.target_id();
    let mut findings = Vec::new();
    for module in &spec.modules {
        let Some(port) = listen(module) else { continue };
        let mut say = |rule, severity, text, cure: String| {
            let mut found = finding(rule, severity, Some(&module.name), text);
            (found.field, found.cure) = ("expose.listen".to_owned(), cure);
            findings.push(found);
        };
        let is_held = |table: &&RouteTable| {
            (table.target != target && !table.internal && table.listen == port)
                || table.peers.values().any(|peer| peer.listen == port)
        };
        if let Some(holder) = tables.iter().find(is_held) {
            let text = format!("port {port} is held by {} of {}", holder.module, holder.target);
            say(
                "architect/port-held",
                Severity::High,
                text,
                "choose another port, or free that one".to_owned(),
            );
        }
        let Some(old) = baseline.and_then(|spec| spec.module(&module.name)).and_then(listen) else {
            continue;
        };
        let goes_on = spec.modules.iter().any(|other| listen(other) == Some(old));
        if old != port && !goes_on {
            let text =
                format!("port {old} closes as soon as port {port} is open: clients of {old} are refused");
            let cure = format!("tell them, or expose {old} on a module of its own until they have moved");
            say("architect/port-moves", Severity::Medium, text, cure);
        }
    }
    for old in baseline.iter().flat_map(|spec| &spec.modules) {
        let Some(port) = listen(old) else { continue };
        if spec.module(&old.name).and_then(listen).is_some() {
            continue;
        }
        let text = match spec.modules.iter().find(|module| listen(module) == Some(port)) {
            Some(heir) => format!("port {port} of {} passes to {} without closing", old.name, heir.name),
            None => format!("port {port} of {} closes: its clients are refused", old.name),
        };
        let mut found = finding("architect/port-leaves", Severity::Low, Some(&old.name), text);
        found.field = "expose.listen".to_owned();
        findings.push(found);
    }
    findings
}

/// Where modules know each other by names, a port that changes its number is not found by those that were told the old one
/// and stay as they are. Those that depend on the module block the release. With `through_plane` exposed modules are known
/// by the data plane's port instead.
pub fn peers(spec: &DeploymentSpec, baseline: Option<&DeploymentSpec>, through_plane: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let before = |name: &Token| baseline.and_then(|spec| spec.module(name));
    let stays =
        |module: &&Module| before(&module.name).is_some_and(|old| old.revision() == module.revision());
    for module in spec.modules.iter().filter(|module| !(through_plane && module.expose.is_some())) {
        let Some(old) = before(&module.name).filter(|_| spec.target.as_str() != PROCESS) else { continue };
        let users: Vec<&Module> =
            spec.modules.iter().filter(|other| other.name != module.name).filter(stays).collect();
        let depends = |user: &&Module| user.depends_on.iter().any(|on| on.module == module.name);
        let moved = module.ports.iter().filter_map(|port| {
            let was = old.ports.iter().find(|was| was.name == port.name)?.container?;
            Some((port, was, port.container?)).filter(|(_, was, is)| was != is)
        });
        for (port, was, is) in moved.filter(|_| !users.is_empty()) {
            let names: Vec<&str> = users.iter().map(|user| user.name.as_str()).collect();
            let text = format!(
                "port {} of {} becomes {is}: {} stay as they are and know it as {}:{was}",
                port.name,
                module.name,
                names.join(", "),
                module.name
            );
            let severity = if users.iter().any(depends) { Severity::High } else { Severity::Medium };
            let mut found = finding("architect/peer-moves", severity, Some(&module.name), text);
            found.field = "ports".to_owned();
            found.cure = "keep the number, or change something of those modules too, so that they start anew"
                .to_owned();
            findings.push(found);
        }
    }
    findings
}

fn listen(module: &Module) -> Option<u16> {
    module.expose.as_ref().map(|expose| expose.listen)
}

#[cfg(test)]
mod tests {
    use model::{Fence, Span, route::Weights};

    use super::*;

    fn spec(target: &str, modules: &[(&str, u16)]) -> DeploymentSpec {
        let module = |(name, port): &(&str, u16)| {
            format!(
                r#"{{"name":"{name}","version":"1.0.0","run":{{"command":["x"]}},"ports":[{{"name":"http"}}],
                    "expose":{{"listen":{port}}}}}"#
            )
        };
        let modules: Vec<String> = modules.iter().map(module).collect();
        let modules = modules.join(",");
        let text = format!(
            r#"{{"apiVersion":"code/v1","name":"{target}","target":"process","modules":[{modules}]}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn held(by: &DeploymentSpec) -> Vec<RouteTable> {
        let table = |module: &Module| RouteTable {
            target: by.target_id(),
            module: module.name.clone(),
            listen: module.expose.as_ref().unwrap().listen,
            internal: false,
            peers: Default::default(),
            version: 1,
            fence: Fence::default(),
            weights: Weights::all_to(module.revision()),
            endpoints: Default::default(),
            pins: Vec::new(),
            sticky_cookie: None,
            request_timeout: Span::seconds(30),
        };
        by.modules.iter().map(table).collect()
    }

    fn told(findings: Vec<Finding>) -> Vec<(Severity, String)> {
        findings.into_iter().map(|found| (found.severity, found.message)).collect()
    }

    #[test]
    fn a_port_of_another_target_blocks_the_release_and_the_holder_is_named() {
        let (blog, shop) = (spec("blog", &[("site", 8080)]), spec("shop", &[("web", 8080), ("api", 8081)]));

        let found = told(ports(&shop, None, &held(&blog)));
        let own = told(ports(&shop, Some(&shop), &held(&shop)));

        assert_eq!(found, [(Severity::High, format!("port 8080 is held by site of {}", blog.target_id()))]);
        assert_eq!(own, []);
    }

    #[test]
    fn clients_are_told_of_a_port_that_moves_leaves_or_is_handed_on() {
        let old = spec("shop", &[("web", 8080), ("api", 8081)]);

        let moved = told(ports(&spec("shop", &[("web", 9090), ("api", 8081)]), Some(&old), &[]));
        let renamed = told(ports(&spec("shop", &[("site", 8080), ("api", 8081)]), Some(&old), &[]));
        let gone = told(ports(&spec("shop", &[("web", 8080)]), Some(&old), &[]));
        let swapped = told(ports(&spec("shop", &[("web", 8081), ("api", 8080)]), Some(&old), &[]));

        let moves = "port 8080 closes as soon as port 9090 is open: clients of 8080 are refused";
        assert_eq!(moved, [(Severity::Medium, moves.to_owned())]);
        assert_eq!(renamed, [(Severity::Low, "port 8080 of web passes to site without closing".to_owned())]);
        assert_eq!(gone, [(Severity::Low, "port 8081 of api closes: its clients are refused".to_owned())]);
        assert_eq!(swapped, []);
    }

    #[test]
    fn on_docker_a_port_that_changes_its_number_is_told_and_blocks_where_somebody_depends_on_it() {
        let release = |port: u16, depends: &str, web: &str| -> DeploymentSpec {
            let text = format!(
                r#"{{"apiVersion":"code/v1","name":"shop","target":"docker","modules":[
                    {{"name":"db","run":{{"image":"a"}},"ports":[{{"name":"pg","container":{port}}}]}},
                    {{"name":"web","run":{{"image":"{web}"}},"dependsOn":[{depends}]}}]}}"#
            );
            serde_json::from_str(&text).unwrap()
        };
        let depends = r#"{"module":"db"}"#;
        let text = "port pg of db becomes 5433: web stay as they are and know it as db:5432".to_owned();

        for (old, new, expected) in [
            (
                release(5432, depends, "web:1"),
                release(5433, depends, "web:1"),
                vec![(Severity::High, text.clone())],
            ),
            (release(5432, "", "web:1"), release(5433, "", "web:1"), vec![(Severity::Medium, text)]),
            (release(5432, depends, "web:1"), release(5433, depends, "web:2"), vec![]),
            (release(5432, depends, "web:1"), release(5432, depends, "web:1"), vec![]),
        ] {
            assert_eq!(told(peers(&new, Some(&old), true)), expected);
        }
    }
}
