use proptest::prelude::*;

use super::*;

fn spec(replicas: u32, memory: &str, strategy: &str) -> DeploymentSpec {
    let text = format!(
        r#"{{"apiVersion":"code/v1","name":"shop","target":"process","strategy":{strategy},
            "modules":[{{"name":"web","version":"1.0.0","run":{{"command":["web","{memory}"]}},"replicas":{replicas},
                        "resources":{{"cpu":"100m","memory":"{memory}"}}}}]}}"#
    );
    serde_json::from_str(&text).unwrap()
}

fn free(mebibytes: u64) -> Capacity {
    Capacity {
        cpu_millis: 8000,
        memory_bytes: 64 << 30,
        free_cpu_millis: 8000,
        free_memory_bytes: mebibytes << 20,
    }
}

fn told(spec: &DeploymentSpec, baseline: Option<&DeploymentSpec>, capacity: Capacity) -> Vec<String> {
    check(spec, baseline, capacity)
        .0
        .into_iter()
        .map(|found| format!("{}: {}", found.rule, found.message))
        .collect()
}

const ROLLING: &str = r#"{"rolling":{}}"#;
const BLUE_GREEN: &str = r#"{"blueGreen":{}}"#;
const RECREATE: &str = r#"{"recreate":{}}"#;

#[test]
fn a_release_that_does_not_fit_is_told_with_its_numbers() {
    let told = told(&spec(3, "512Mi", ROLLING), None, free(900));

    assert_eq!(told, ["architect/no-room: module web asks for 512 MiB × 3, 900 MiB free"]);
}

#[test]
fn a_limit_of_the_processor_takes_no_room_and_a_request_does() {
    let crowded = Capacity { free_cpu_millis: 50, ..free(4096) };
    let mut spec = spec(1, "512Mi", ROLLING);

    assert_eq!(told(&spec, None, crowded), Vec::<String>::new());

    spec.modules[0].resources.request.cpu = Some("80m".to_owned());
    assert_eq!(
        told(&spec, None, crowded),
        ["architect/no-room: module web asks for 80m of a core × 1, 50m free"]
    );
}

#[test]
fn the_strategy_decides_what_a_move_takes_on_top() {
    let old = spec(3, "256Mi", ROLLING);
    for (strategy, count) in [(ROLLING, 1), (BLUE_GREEN, 3), (RECREATE, 0)] {
        let mut new = spec(3, "256Mi", strategy);
        new.modules[0].environment.insert("A".to_owned(), "b".to_owned());
        let asks = asks(&new, Some(&old));
        assert_eq!(asks.iter().map(|ask| ask.count).sum::<u64>(), count, "{strategy}");
    }
    assert!(asks(&old, Some(&old)).is_empty(), "what does not change takes nothing");
}

#[test]
fn a_larger_revision_that_rolls_takes_the_difference_of_every_instance() {
    let asks = asks(&spec(4, "512Mi", ROLLING), Some(&spec(4, "256Mi", ROLLING)));

    let all: u64 = asks.iter().map(|ask| ask.count * ask.memory_bytes).sum();
    assert_eq!(all >> 20, 512 + 4 * 256);
}

#[test]
fn two_small_places_hold_what_neither_holds_alone() {
    let ask = Ask { module: "web".parse().unwrap(), count: 4, cpu_millis: 500, memory_bytes: 1 << 30 };
    let room = |name: &str| Room { name: name.to_owned(), cpu_millis: 1000, memory_bytes: 8 << 30 };

    let (placed, refused) = pack(&[ask], vec![room("a"), room("b")]);

    assert!(refused.is_empty());
    assert_eq!(placed.iter().map(|placed| placed.count).collect::<Vec<_>>(), [2, 2]);
}

#[test]
fn the_compose_file_names_what_runs() {
    let text = render(&spec(3, "512Mi", ROLLING));

    assert!(text.contains("\n  web:\n"), "{text}");
    assert!(text.contains("replicas: 3"), "{text}");
    assert!(text.contains("memory: \"536870912\""), "{text}");
    assert!(text.contains("entrypoint: [\"web\",\"512Mi\"]"), "a command is the whole line: {text}");
}

proptest! {
    /// Nothing is placed twice or lost, and no place is overfilled.
    #[test]
    fn packing_never_overfills(
        asks in prop::collection::vec((1u64..5, 0u64..600, 1u64..600), 0..8),
        rooms in prop::collection::vec((0u64..2000, 0u64..2000), 1..4),
    ) {
        let asks: Vec<Ask> = asks.into_iter().enumerate().map(|(at, (count, cpu_millis, memory_bytes))| {
            Ask { module: format!("m{at}").parse().unwrap(), count, cpu_millis, memory_bytes }
        }).collect();
        let rooms: Vec<Room> = rooms.into_iter().enumerate().map(|(at, (cpu_millis, memory_bytes))| {
            Room { name: format!("r{at}"), cpu_millis, memory_bytes }
        }).collect();

        let (placed, refused) = pack(&asks, rooms.clone());

        for room in &rooms {
            let used = |of: fn(&Ask) -> u64| placed.iter().filter(|placed| placed.place == room.name).map(|placed| {
                placed.count * asks.iter().find(|ask| ask.module == placed.module).map_or(0, of)
            }).sum::<u64>();
            prop_assert!(used(|ask| ask.cpu_millis) <= room.cpu_millis);
            prop_assert!(used(|ask| ask.memory_bytes) <= room.memory_bytes);
        }
        for ask in &asks {
            let here: u64 = placed.iter().filter(|placed| placed.module == ask.module).map(|placed| placed.count).sum();
            let not: u64 = refused.iter().filter(|refused| refused.ask.module == ask.module).map(|refused| refused.ask.count).sum();
            prop_assert_eq!(here + not, ask.count);
        }
    }
}

#[test]
fn a_limit_that_cannot_be_enforced_is_told_and_in_the_way_only_where_it_would_be_refused() {
    let limits = sandbox::Limits { cpu_millis: Some(100), ..sandbox::Limits::default() };
    let fact = sandbox::Groups::default().missing(&limits).remove(0);
    let found = |refused| Unenforced { module: "web".parse().unwrap(), fact: fact.clone(), refused };

    let told = unenforced(vec![found(false), found(true)]);

    let severities: Vec<Severity> = told.iter().map(|one| one.severity).collect();
    assert_eq!(severities, [Severity::Low, Severity::High]);
    assert!(told[0].message.contains("web: the limit of processor time is not enforced: "), "{told:?}");
    assert!(judged(Agent::Architect, told[..1].to_vec()).outcome == model::Outcome::Succeeded);
}
