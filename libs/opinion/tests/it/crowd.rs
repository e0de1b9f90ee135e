//! Accuracy and calibration on real votes, against figures that another implementation printed.
//!
//! All 15 sets are part of the repository, in `tests/data`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use opinion::batch::{
    Method, Posterior, Rows, Stop, Truth, Votes, calibration_error, choose, dawid_skene, error_correlation,
    evaluate, majority, read, score, temper_on, tempered,
};

use crate::circle::Random;

/// Accuracy by a numpy reference: majority, Wawa, one-coin, Dawid-Skene, Dawid-Skene with prior.
const REFERENCE: [(&str, [f64; 5]); 15] = [
    ("bluebird", [0.7593, 0.7593, 0.7222, 0.8981, 0.8889]),
    ("rte", [0.8969, 0.9213, 0.9237, 0.9275, 0.9275]),
    ("dog", [0.8222, 0.8290, 0.8315, 0.8426, 0.8401]),
    ("face", [0.6367, 0.6301, 0.6284, 0.6404, 0.6421]),
    ("cf", [0.8822, 0.8933, 0.8867, 0.8300, 0.8900]),
    ("ms", [0.7042, 0.7986, 0.7957, 0.7686, 0.7900]),
    ("sp_amt", [0.9430, 0.9440, 0.9460, 0.9440, 0.9440]),
    ("zc_all", [0.8292, 0.8373, 0.8289, 0.7907, 0.7917]),
    ("zc_in", [0.7400, 0.7451, 0.7721, 0.7564, 0.7662]),
    ("possent", [0.9335, 0.9510, 0.9500, 0.9600, 0.9590]),
    ("product", [0.8966, 0.8966, 0.9280, 0.9400, 0.9371]),
    ("web", [0.7307, 0.8168, 0.8270, 0.8217, 0.7557]),
    ("adult", [0.7583, 0.7628, 0.7628, 0.7387, 0.7477]),
    ("trec", [0.6514, 0.6457, 0.5736, 0.7020, 0.7051]),
    ("rel", [0.5433, 0.5592, 0.5170, 0.6114, 0.6105]),
];
/// iBCC as published with the sets.
const IBCC: [(&str, f64); 14] = [
    ("bluebird", 0.888889),
    ("rte", 0.9275),
    ("dog", 0.83891),
    ("face", 0.640411),
    ("cf", 0.883333),
    ("ms", 0.79),
    ("sp_amt", 0.944),
    ("zc_all", 0.795098),
    ("zc_in", 0.769608),
    ("possent", 0.96),
    ("product", 0.938304),
    ("web", 0.750848),
    ("adult", 0.744745),
    ("trec", 0.705495),
];
/// EBCC as published with the sets.
const EBCC: [(&str, f64); 14] = [
    ("bluebird", 0.861111),
    ("rte", 0.93125),
    ("dog", 0.840149),
    ("face", 0.635274),
    ("cf", 0.883333),
    ("ms", 0.787143),
    ("sp_amt", 0.944),
    ("zc_all", 0.862255),
    ("zc_in", 0.780882),
    ("possent", 0.961),
    ("product", 0.934937),
    ("web", 0.768564),
    ("adult", 0.747748),
    ("trec", 0.703736),
];
const WITHIN: f64 = 0.003;

fn own() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

fn sets() -> Vec<(&'static str, [f64; 5], Votes, Truth)> {
    let read = |(set, reference)| {
        let (votes, truth) = read(&own().join(set)).unwrap();
        (set, reference, votes, truth)
    };
    REFERENCE.into_iter().map(read).collect()
}

/// The numbers of nats and cells above are chosen on these sets, which the documentation says.
#[test]
fn the_chosen_method_is_as_right_as_the_best_and_honest_on_every_set() {
    let mut short = Vec::new();

    for (set, ..) in REFERENCE {
        let judged = evaluate(&own().join(set)).unwrap();
        let best = judged.scores.iter().map(|score| score.accuracy).fold(0.0, f64::max);
        let (chosen, scores) = (judged.chosen, &judged.scores);
        let ebcc = scores.iter().find(|score| score.method == Method::Ebcc).unwrap();
        println!(
            "{set:9} {:18} {:.4} / {:.3}, best {best:.4}; EBCC {:.4} / {:.3}; short {:.4}: {}",
            chosen.method.name(),
            chosen.accuracy,
            chosen.calibration_error,
            ebcc.accuracy,
            ebcc.calibration_error,
            scores[4].accuracy,
            judged.why
        );
        if chosen.accuracy < best - WITHIN || chosen.calibration_error > 0.10 {
            short.push(set);
        }
    }

    assert!(short.is_empty(), "{short:?}");
}

#[test]
fn ebcc_reaches_what_was_published_on_every_set_but_one() {
    let published = BTreeMap::from(EBCC);
    let mut short = Vec::new();

    for (set, _, votes, truth) in sets() {
        let Some(expected) = published.get(set) else { continue };
        let got = score(Method::Ebcc, &Method::Ebcc.run(&votes), &truth).accuracy;
        println!("{set}: {got:.4}, published {expected:.4}");
        if got < expected - 0.01 {
            short.push(format!("{set} {got:.3}, not {expected:.3}"));
        }
    }

    // There a row of a kind would have fewer than six votes; docs/consensus.md says it.
    assert_eq!(short, ["web 0.751, not 0.769"]);
}

/// The votes of `zc_all` by workers who are not those of `zc_in`: taken for the published set `zc_us`, which nothing here proves. Workers have other
/// numbers there, and are told by their votes.
fn american() -> (Votes, Truth) {
    let lines = |set: &str| {
        let text = std::fs::read_to_string(own().join(set).join("label.csv")).unwrap();
        let mut by_worker: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
        for line in text.lines().skip(1) {
            let parts: Vec<String> = line.split(',').map(str::to_owned).collect();
            let [item, worker, label] = parts.try_into().unwrap();
            by_worker.entry(worker).or_default().push((item, label));
        }
        by_worker.values_mut().for_each(|votes| votes.sort_unstable());
        by_worker
    };
    let (mut all, indian) = (lines("zc_all"), lines("zc_in"));
    all.retain(|_, votes| !indian.values().any(|known| known == votes));
    let votes = all.iter().flat_map(|(worker, votes)| {
        votes.iter().map(move |(item, label)| format!("{item},{worker},{label}\n"))
    });
    let folder = std::env::temp_dir().join(format!("opinion-american-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("label.csv"), "item,worker,label\n".to_owned() + &votes.collect::<String>())
        .unwrap();
    std::fs::copy(own().join("zc_all/truth.csv"), folder.join("truth.csv")).unwrap();
    let found = read(&folder).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    found
}

/// Where .912 was published for EBCC; the others end between .826 and .880.
#[test]
fn ebcc_is_right_where_the_others_follow_workers_who_err_together() {
    let (votes, truth) = american();
    assert_eq!((votes.items, votes.workers, truth.len()), (2040, 53, 2040));

    let right = |method: Method| score(method, &method.run(&votes), &truth).accuracy;

    let ebcc = right(Method::Ebcc);
    println!("zc_us: {ebcc:.4}, published 0.912");
    assert!((ebcc - 0.9074).abs() < 0.001 && ebcc > 0.912 - 0.01, "{ebcc:.4}");
    for method in Method::ALL.into_iter().filter(|method| *method != Method::Ebcc) {
        assert!(right(method) < 0.885, "{}: {:.4}", method.name(), right(method));
    }
}

#[test]
fn the_choice_does_not_depend_on_the_truth_or_the_names() {
    let (votes, _) = read(&own().join("zc_in")).unwrap();
    let raw: Vec<(u64, u64, u32)> = (0..votes.items)
        .flat_map(|item| {
            votes
                .of(item)
                .iter()
                .map(move |(worker, label)| (item as u64 * 7, u64::from(*worker) + 90, *label))
        })
        .collect();

    assert_eq!(choose(&Votes::new(&raw)), choose(&votes));
}

#[test]
fn accuracy_is_that_of_the_reference_on_every_set() {
    let methods =
        [Method::Majority, Method::Wawa, Method::OneCoin, Method::DawidSkene, Method::DawidSkenePrior];
    let mut apart = Vec::new();

    for (set, reference, votes, truth) in sets() {
        for (method, expected) in methods.into_iter().zip(reference) {
            let got = score(method, &method.run(&votes), &truth).accuracy;
            if (got - expected).abs() > WITHIN {
                apart.push(format!("{set} {}: {got:.4}, not {expected:.4}", method.name()));
            }
        }
    }

    assert!(apart.is_empty(), "{}", apart.join("\n"));
}

#[test]
fn an_early_end_is_nearly_as_right_in_fewer_turns() {
    let (mut still, mut early, mut sets_there) = (0.0, 0.0, 0.0);

    for (set, _, votes, truth) in sets() {
        let accuracy = |posterior: &Posterior| score(Method::DawidSkene, posterior, &truth).accuracy;
        let posterior = dawid_skene(&votes, Rows::Smoothed, Stop::Still);
        let ended = dawid_skene(&votes, Rows::Smoothed, Stop::Gain(1e-5));

        assert!((accuracy(&posterior) - accuracy(&ended)).abs() < 0.01, "{set}");
        (still, early, sets_there) =
            (still + accuracy(&posterior), early + accuracy(&ended), sets_there + 1.0);
    }

    assert!(early > still - 0.003 * sets_there, "{early} {still}");
}

#[test]
fn variational_rows_are_near_what_was_published() {
    let published = BTreeMap::from(IBCC);
    let mut apart = Vec::new();

    for (set, _, votes, truth) in sets() {
        let Some(expected) = published.get(set) else { continue };
        let got = score(Method::Ibcc, &Method::Ibcc.run(&votes), &truth).accuracy;
        if (got - expected).abs() > 0.015 {
            apart.push(format!("{set}: {got:.4}, not {expected:.4}"));
        }
    }

    assert!(apart.is_empty(), "{}", apart.join("\n"));
}

/// The items of a draw without replacement.
fn draw(random: &mut Random, truth: &Truth, count: usize) -> Truth {
    let mut items: Vec<(usize, usize)> = truth.iter().map(|(item, label)| (*item, *label)).collect();
    random.shuffle(&mut items);
    items.into_iter().take(count).collect()
}

fn rest(truth: &Truth, gold: &Truth) -> Truth {
    truth.iter().filter(|(item, _)| !gold.contains_key(item)).map(|(item, label)| (*item, *label)).collect()
}

#[test]
fn a_temper_from_fifty_known_cases_makes_probabilities_as_honest_as_vote_shares() {
    const DRAWS: usize = 20;
    let mut broken = Vec::new();

    for (set, _, votes, truth) in sets() {
        let posterior = Method::DawidSkenePrior.run(&votes);
        let shares = majority(&votes);
        let mut random = Random(50);
        let (mut fitted, mut plain) = (0.0, 0.0);
        for _ in 0..DRAWS {
            let gold = draw(&mut random, &truth, 50);
            let test = rest(&truth, &gold);
            let temper = temper_on(&posterior, &gold);
            fitted += calibration_error(&tempered(&posterior, temper), &test) / DRAWS as f64;
            plain += calibration_error(&shares, &test) / DRAWS as f64;
        }
        println!("{set}: vote share {plain:.3}, tempered {fitted:.3}");
        // Ten labels and four votes: `ms` is the known exception. `zc_in` was not part of the reference.
        let exempt = ["ms", "zc_in"].contains(&set);
        if !exempt && (fitted > plain + 0.01 || fitted > 0.10) {
            broken.push(format!("{set}: {fitted:.3} against {plain:.3}"));
        }
    }

    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn a_folder_is_evaluated_by_every_method() {
    let evaluation = evaluate(&own().join("rte")).unwrap();

    assert_eq!((evaluation.items, evaluation.workers, evaluation.votes), (800, 164, 8000));
    assert_eq!((evaluation.labels, evaluation.known, evaluation.scores.len()), (2, 800, 8));
    assert!((evaluation.scores[0].calibration_error - 0.147).abs() < 0.005, "{:?}", evaluation.scores[0]);
    assert_eq!(evaluation.chosen.method, Method::DawidSkeneShort);
    assert!(evaluation.why.contains("21 votes per worker"), "{}", evaluation.why);
    assert!(serde_json::to_string(&evaluation).unwrap().contains("\"method\":\"dawid_skene\""));
}

#[test]
fn a_bad_folder_says_which_line_of_which_file() {
    let folder = std::env::temp_dir().join(format!("opinion-votes-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let with = |label: &str, truth: &str| {
        std::fs::write(folder.join("label.csv"), label).unwrap();
        std::fs::write(folder.join("truth.csv"), truth).unwrap();
        evaluate(&folder).map(|_| ()).map_err(|error| error.to_string())
    };

    let blank = with("item,worker,label\n0,0,1\n0,,1\n", "item,truth\n").unwrap_err();
    let short = with("item,worker,label\n0,0\n", "item,truth\n").unwrap_err();
    let large = with("item,worker,label\n0,0,4000000000\n", "item,truth\n").unwrap_err();
    let empty = with("item,worker,label\n", "item,truth\n").unwrap_err();
    let alone = with("item,worker,label\r\n7,9,0\r\n", "item,truth\n7,0\n8,1\n");

    assert!(
        blank.ends_with("label.csv:3: \"0,,1\" is not item,worker,label, each a number or a word"),
        "{blank}"
    );
    assert!(short.contains("label.csv:2") && large.contains("label.csv:2"), "{short} {large}");
    assert!(empty.ends_with("label.csv holds no votes"), "{empty}");
    assert_eq!(alone, Ok(()));
    assert!(evaluate(Path::new("there/is/no/such/folder")).is_err());
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn words_are_as_good_as_numbers() {
    let folder = std::env::temp_dir().join(format!("opinion-words-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let write = |words: bool| {
        let name = |word: &str, number: usize| if words { word.to_owned() } else { number.to_string() };
        let (mut label, mut truth) = ("item,worker,label\n".to_owned(), "item,truth\n".to_owned());
        let stances = ["approve", "needs change", "reject"];
        for item in 0..40 {
            let item_name = name(&format!("dep-{item:02}"), item);
            for (worker, who) in ["claude", "gemini", "gpt"].iter().enumerate() {
                let stance = (item + worker * (item % 4) / 3) % 3;
                label += &format!("{item_name},{},{}\n", name(who, worker), name(stances[stance], stance));
            }
            truth += &format!("{item_name},{}\n", name(stances[item % 3], item % 3));
        }
        std::fs::write(folder.join("label.csv"), label).unwrap();
        std::fs::write(folder.join("truth.csv"), truth).unwrap();
        evaluate(&folder).unwrap()
    };

    let (numbers, words) = (write(false), write(true));
    std::fs::remove_dir_all(&folder).unwrap();

    assert_eq!(words, numbers);
    assert_eq!((words.labels, words.workers, words.known), (3, 3, 40));
}

#[test]
fn of_two_votes_by_one_worker_the_first_counts() {
    let votes = Votes::new(&[(5, 8, 1), (5, 8, 0), (5, 9, 1)]);

    assert_eq!((votes.items, votes.workers, votes.len(), votes.labels), (1, 2, 2, 2));
    assert_eq!(majority(&votes).row(0), [0.0, 1.0]);
}

#[test]
fn workers_that_err_together_are_told_from_those_that_do_not() {
    let correlated = |together: f64| {
        let mut random = Random(8);
        let (mut raw, mut truth) = (Vec::new(), Truth::new());
        for item in 0..2000u64 {
            truth.insert(item as usize, 0);
            let common = random.share() < 0.3;
            for worker in 0..4u64 {
                let wrong = if random.share() < together { common } else { random.share() < 0.3 };
                raw.push((item, worker, u32::from(wrong)));
            }
        }
        error_correlation(&Votes::new(&raw), &truth, 100).unwrap()
    };

    assert!(correlated(0.0).abs() < 0.05);
    assert!((correlated(0.5f64.sqrt()) - 0.5).abs() < 0.05, "{}", correlated(0.5f64.sqrt()));
}

#[test]
fn methods_live_with_no_votes_and_with_one() {
    let one = Votes::new(&[(0, 0, 0)]);
    let none = Votes::new(&[]);

    for method in Method::ALL {
        assert_eq!(method.run(&one).best(0), [0], "{}", method.name());
        assert!(method.run(&none).shares.is_empty());
    }
}

#[test]
fn votes_on_nothing_that_is_known_are_not_judged() {
    let folder = std::env::temp_dir().join(format!("opinion-unknown-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("label.csv"), "item,worker,label\na,x,0\na,y,1\nb,x,0\n").unwrap();
    let judged = |truth: &str| {
        std::fs::write(folder.join("truth.csv"), truth).unwrap();
        evaluate(&folder).map_err(|error| error.to_string())
    };

    let (nothing, others, one) =
        (judged("item,truth\n"), judged("item,truth\nc,0\n"), judged("item,truth\nb,0\n"));
    std::fs::remove_dir_all(&folder).unwrap();

    for refused in [nothing, others] {
        let why = refused.unwrap_err();
        assert!(why.starts_with("no item of ") && why.contains("label.csv has a truth in "), "{why}");
    }
    assert_eq!(one.unwrap().known, 1);
    let score = opinion::batch::score(Method::Majority, &majority(&Votes::new(&[(0, 0, 0)])), &Truth::new());
    assert!(score.accuracy == 0.0 && score.accuracy.is_sign_positive(), "{}", score.accuracy);
}
