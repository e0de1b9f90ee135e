//! `codectl down`: what of an engine ends, and what goes on.

use std::{collections::BTreeMap, path::Path, time::Duration};

use ground::holder::Who;
use model::Token;
use serde_json::json;

use super::Defaults;
use crate::{
    cli::{Down, Global},
    failure::Failure,
    home::{self, Home},
    output::{self, paint},
    plane, sources,
};

/// How long is waited for the engine: longer than its services may take to hand over.
const STOP: Duration = Duration::from_secs(40);
/// How long an instance may take to end by itself.
const GRACE: Duration = Duration::from_secs(5);

/// Instances that were ended: how many, by target and module.
pub type Ended = BTreeMap<String, BTreeMap<Token, usize>>;

/// `codectl down`
pub async fn down(global: &Global, down: &Down) -> Result<u8, Failure> {
    let home = Home::of(global);
    let engine = home.process();
    end(engine, &home).await?;
    let files = plane::Files::of(&home.0);
    let ports = files.ports().await;
    if down.all {
        let plane = files.stop().await?;
        let ended = take_down(&home.0, down.config.as_deref()).await?;
        say_all(engine, &home, plane, &ports, &ended);
    } else {
        say_rest(engine, &home, files.holder().map(|who| who.pid), &ports);
    }
    Ok(0)
}

/// Ends the engine, or what one that was killed left behind.
async fn end(engine: Option<(i32, u64)>, home: &Home) -> Result<(), Failure> {
    if let Some((pid, began)) = engine {
        plane::end(Who { pid, began }, "engine", STOP).await?;
    } else if home.0.exists() {
        // An engine that was killed leaves its NATS server behind. With the lock nobody else's can be meant.
        let _lock = home.lock_within(home::DYING).await?;
        home.end_orphans().await?;
        home.withdraw();
    }
    Ok(())
}

/// What goes on without the engine: the data plane, of this process.
fn say_rest(engine: Option<(i32, u64)>, home: &Home, serves: Option<i32>, ports: &[u16]) {
    if output::json() {
        let plane = serves.map(|pid| json!({"process": pid, "ports": ports}));
        return output::document(&json!({"stopped": engine.is_some(), "dataPlane": plane}));
    }
    say_engine(engine, home);
    match serves {
        Some(pid) => {
            output::line(format!("the data plane serves on, process {pid}{}", at(ports)));
            output::line(paint::faint("what was deployed goes on running; codectl down --all ends it all"));
        }
        None if !ports.is_empty() => output::line(paint::warn(
            "no data plane runs here: what was deployed goes on running, and nobody reaches it until codectl up",
        )),
        None => {}
    }
}

/// What was ended with the engine: the data plane, of this process, and instances.
fn say_all(engine: Option<(i32, u64)>, home: &Home, plane: Option<i32>, ports: &[u16], ended: &Ended) {
    if output::json() {
        return output::document(&json!({
            "stopped": engine.is_some(),
            "dataPlane": plane.map(|pid| json!({"process": pid, "ports": ports})),
            "instances": ended,
        }));
    }
    say_engine(engine, home);
    match plane {
        Some(pid) => {
            output::line(format!("{} the data plane, process {pid}{}", paint::good("stopped"), at(ports)))
        }
        None => output::line("no data plane runs here"),
    }
    for (target, modules) in ended {
        let modules: Vec<String> =
            modules.iter().map(|(module, count)| format!("{count} of {module}")).collect();
        output::line(format!("{} {target}: {}", paint::good("stopped"), modules.join(", ")));
    }
    if ended.is_empty() {
        output::line("nothing that was deployed from here runs");
    } else {
        output::line(paint::faint("the journals stay; after codectl up, codectl apply starts it again"));
    }
}

fn say_engine(engine: Option<(i32, u64)>, home: &Home) {
    match engine {
        Some((pid, _)) => output::line(format!("{} the engine, process {pid}", paint::good("stopped"))),
        None => output::line(format!("no engine runs in {}", home.0.display())),
    }
}

fn at(ports: &[u16]) -> String {
    let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
    match ports.len() {
        0 => String::new(),
        1 => format!(", at port {}", ports[0]),
        _ => format!(", at ports {}", ports.join(", ")),
    }
}

/// Ends every instance that was started from this home: after the engine is gone nobody else writes there.
pub async fn take_down(home: &Path, config: Option<&Path>) -> Result<Ended, Failure> {
    let sources = chassis::config::Sources::read(config);
    let sources = sources.map_err(|error| Failure::invalid(chassis::chain(&error)))?;
    let config = Defaults(home).agents(sources::of(&sources)?.1);
    if !config.state_dir.exists() {
        return Ok(Ended::new());
    }
    let stopped = agents::take_down(&config, GRACE).await;
    let stopped = stopped.map_err(|error| Failure::other(chassis::chain(&error)))?;
    let mut ended = Ended::new();
    for (target, instance) in stopped {
        *ended.entry(target.to_string()).or_default().entry(instance.module).or_default() += 1;
    }
    Ok(ended)
}
