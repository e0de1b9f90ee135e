//! Threads in their places, and the same results on any number of them.

use std::collections::BTreeSet;

use model::expert::{Ballot, Stance};
use opinion::{
    Facts, Panel, Policy, Records, Said,
    pool::{Pool, Processor, Threads, Topology},
    weigh,
};

use crate::circle::{ballot, expert};

fn processor(number: usize, package: usize, core: usize, cache: usize) -> Processor {
    Processor { number, package, core, cache }
}

#[test]
fn whole_cores_of_one_cache_come_first_and_siblings_last() {
    // Two caches of two cores each; siblings are four apart.
    let cores = [(0, 0), (1, 0), (2, 2), (3, 2)];
    let processors = (0..8).map(|number| {
        let (core, cache) = cores[number % 4];
        processor(number, 0, core, cache)
    });
    let topology = Topology { processors: processors.collect() };

    assert_eq!(topology.order(), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(topology.cores(), 4);

    let paired = Topology {
        processors: vec![
            processor(0, 0, 0, 0),
            processor(1, 0, 0, 0),
            processor(2, 1, 0, 2),
            processor(3, 1, 0, 2),
        ],
    };
    assert_eq!(paired.order(), [0, 2, 1, 3]);
}

#[test]
fn a_folder_that_tells_nothing_gives_single_cores() {
    let topology = Topology::of_folder(std::path::Path::new("no/such/folder"), &[3, 5]);

    assert_eq!(topology.order(), [3, 5]);
    assert_eq!(topology.cores(), 2);
}

#[test]
fn threads_say_where_they_are() {
    let pinned = Pool::start(Threads { count: 2, pinned: true }).unwrap();
    let free = Pool::start(Threads { count: 3, pinned: false }).unwrap();

    assert_eq!((pinned.threads(), free.threads()), (2, 3));
    assert!(free.to_string().contains("3 threads") && free.to_string().contains("unpinned"), "{free}");
    if cfg!(target_os = "linux") {
        assert!(pinned.to_string().contains("pinned, processors"), "{pinned}");
    }
    let names: BTreeSet<String> = (0..20)
        .map(|_| pinned.run(|| std::thread::current().name().unwrap_or_default().to_owned()))
        .collect();
    assert!(names.iter().all(|name| name.starts_with("consensus-")), "{names:?}");
}

#[test]
fn votes_alone_give_the_posterior_of_the_whole() {
    let experts = [expert("c", "z"), expert("a", "x"), expert("b", "x")];
    let seats: Vec<&_> = experts.iter().collect();
    let panel = Panel::new(&seats, &Records::default(), &Policy::default());
    let stances = [Stance::Reject, Stance::Approve, Stance::Approve];
    let ballots: Vec<Ballot> = experts
        .iter()
        .zip(stances)
        .map(|(expert, stance)| Ballot {
            expert: expert.clone(),
            ..ballot(expert.name.as_str(), expert.family.as_str(), stance)
        })
        .collect();
    let said = stances.map(|stance| Said::of(stance, 80));

    let tally = panel.tally(&said);
    let opinion = weigh(&Facts::default(), &ballots, &Records::default(), &Policy::default());

    for (state, share) in opinion::policy::STATES.iter().zip(tally.posterior) {
        assert!((opinion.posterior[*state] - share).abs() < 1e-12);
    }
}
