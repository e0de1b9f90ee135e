//! The consensus library: what an opinion costs, how near the kernels come to the machine's peak, and how right the
//! methods are on votes with a known truth.
//!
//! Times are processor time of the measuring thread unless a figure says otherwise: on a shared machine the clock on the
//! wall measures the neighbours.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use benches::{
    Options,
    figure::{Aim, Better, Figure},
    output,
};
use clap::Parser;
use model::expert::{
    Advice, Answer, AnswerStatus, Ballot, ExpertId, Observation, Stance, Topic, Usage, Weight,
};
use nix::time::{ClockId, clock_gettime};
use opinion::{
    Facts, Panel, Policy, Records, Said, State,
    batch::{Method, Posterior, Rows, Stop, Votes, dawid_skene, evaluate, read, score},
    kernel::{self, DIMS, Kernel, Load},
    pattern::{Thresholds, analyse, sample::Sample},
    pool::{Pool, Threads},
    vector::{Scratch, similarities},
    weigh,
};
use rayon::prelude::*;

/// Weighs, compares and evaluates, and prints what it takes.
#[derive(Parser)]
#[command(name = "opinions")]
struct Arguments {
    #[command(flatten)]
    options: Options,
    /// Folder of sets with label.csv and truth.csv each.
    #[arg(long, default_value = "libs/opinion/tests/data")]
    data: PathBuf,
    /// Also run crowd-kit from PyPI on the same sets, in an environment of its own that is made when it is not there.
    #[arg(long)]
    crowdkit: bool,
}

const EXPERTS: usize = 8;
const BYTES: usize = 4096;

fn main() -> Result<()> {
    let Arguments { options, data, crowdkit } = Arguments::parse();
    let mut figures = Vec::new();
    output::line(kernel::calibrate(&mut || now()).to_string());
    let cases = Cases::new();
    whole(&options, &cases, &mut figures)?;
    votes_only(&options, &cases, &mut figures);
    many(&options, &cases, &mut figures)?;
    parts(&options, &cases, &mut figures);
    share_of_peak(&options, &mut figures);
    patterns(&mut figures);
    sets(&data, crowdkit, &options, &mut figures)?;
    output::finish("opinions", "make bench ARGS=opinions", &options, figures)
}

/// Processor time of this thread.
fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}

/// Time on the wall.
fn wall() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default()
}

/// The fastest of some rounds: the others were disturbed.
fn fastest(rounds: usize, mut work: impl FnMut()) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..rounds {
        let began = now();
        work();
        best = best.min(now() - began);
    }
    best
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
    }
}

const WORDS: [&str; 40] = [
    "the",
    "deployment",
    "rolls",
    "out",
    "a",
    "new",
    "revision",
    "of",
    "checkout",
    "and",
    "its",
    "migration",
    "drops",
    "column",
    "that",
    "is",
    "still",
    "read",
    "by",
    "old",
    "code",
    "memory",
    "limits",
    "are",
    "tight",
    "at",
    "peak",
    "traffic",
    "so",
    "canary",
    "should",
    "wait",
    "for",
    "latency",
    "in",
    "each",
    "step",
    "before",
    "going",
    "on",
];

/// Questions to eight experts of five families, each answered with 4 KiB of text.
struct Cases {
    experts: Vec<ExpertId>,
    facts: Facts,
    questions: Vec<Vec<Ballot>>,
    records: Records,
    policy: Policy,
}

impl Cases {
    fn new() -> Cases {
        let mut random = Random(1);
        let token =
            |text: String| text.parse().unwrap_or_else(|_| unreachable!("lower-case letters and digits"));
        let experts: Vec<ExpertId> = (0..EXPERTS)
            .map(|at| ExpertId {
                name: token(format!("expert-{at}")),
                family: token(format!("family-{}", at % 5)),
                version: format!("model-{at}"),
            })
            .collect();
        let facts = Facts { evidence: vec!["plan".to_owned()], ..Facts::default() };
        let (mut records, policy) = (Records::default(), Policy::default());
        for case in 0..200 {
            let truth = [State::Safe, State::Unsafe, State::Fixable][case % 3];
            let right = |random: &mut Random| if random.below(100) < 85 { case % 3 } else { random.below(3) };
            let ballots = experts.iter().map(|one| {
                let vote = right(&mut random);
                ballot(one, vote, &mut random, 1)
            });
            let ballots: Vec<Ballot> = ballots.collect();
            records.learn(&ballots, truth, &policy);
        }
        let questions = (0..64)
            .map(|_| {
                let lean = random.below(3);
                let vote = |random: &mut Random| if random.below(4) > 0 { lean } else { random.below(3) };
                let ballots = experts.iter().map(|one| {
                    let vote = vote(&mut random);
                    ballot(one, vote, &mut random, BYTES)
                });
                ballots.collect()
            })
            .collect();
        Cases { experts, facts, questions, records, policy }
    }
}

fn ballot(expert: &ExpertId, vote: usize, random: &mut Random, bytes: usize) -> Ballot {
    let mut rationale = String::with_capacity(bytes + 16);
    while rationale.len() < bytes {
        rationale.push_str(WORDS[random.below(WORDS.len())]);
        rationale.push(if random.below(12) == 0 { '\n' } else { ' ' });
    }
    rationale.truncate(bytes);
    Ballot {
        expert: expert.clone(),
        status: AnswerStatus::Ok,
        answer: Some(Answer {
            nonce: "n".to_owned(),
            verdict: [Stance::Approve, Stance::Reject, Stance::NeedsChange][vote],
            confidence_pct: 60 + random.below(40) as u8,
            findings: vec![Observation {
                category: Topic::Config,
                severity: Weight::Minor,
                evidence_ref: "plan".to_owned(),
                statement: "no readiness probe is set".to_owned(),
            }],
            strategy: Advice::Canary,
            strategy_ranking: vec![Advice::Canary, Advice::Rolling, Advice::BlueGreen],
            canary_steps_pct: vec![5, 25, 50, 100],
            bake_minutes: 10,
            rationale,
        }),
        reason: String::new(),
        took_ms: 1,
        usage: Usage::default(),
        prompt: None,
        cached: false,
        late: false,
    }
}

/// A whole consensus: everything that `weigh` does, on one thread.
fn whole(options: &Options, cases: &Cases, figures: &mut Vec<Figure>) -> Result<()> {
    let rounds = options.size(20_000, 3_000);
    let mut took = Vec::with_capacity(rounds);
    let mut on_wall = Vec::with_capacity(rounds);
    for round in 0..rounds {
        let ballots = &cases.questions[round % cases.questions.len()];
        let (began, began_on_wall) = (now(), wall());
        let opinion = weigh(&cases.facts, ballots, &cases.records, &cases.policy);
        took.push((now() - began).as_secs_f64() * 1e6);
        on_wall.push((wall() - began_on_wall).as_secs_f64() * 1e6);
        if opinion.votes as usize != EXPERTS {
            bail!("{} of {EXPERTS} votes were counted", opinion.votes);
        }
    }
    let mean = took.iter().sum::<f64>() / rounds as f64;
    let (p99, p99_on_wall) = (percentile(&mut took, 0.99), percentile(&mut on_wall, 0.99));
    let name = "consensus of 8 answers of 4 KiB";
    figures.push(Figure::new(format!("{name}, p99"), "µs", Better::Less, p99).aims(Aim::AtMost(250.0)));
    figures.push(
        Figure::new(format!("{name}, p99 on the wall"), "µs", Better::Less, p99_on_wall)
            .note("with whatever else ran on the machine"),
    );
    figures.push(
        Figure::new(format!("{name}, per core"), "/s", Better::More, 1e6 / mean).aims(Aim::AtLeast(8000.0)),
    );
    Ok(())
}

fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = (values.len() as f64 * share).ceil() as usize;
    values.get(place.clamp(1, values.len().max(1)) - 1).copied().unwrap_or(f64::NAN)
}

fn votes_only(options: &Options, cases: &Cases, figures: &mut Vec<Figure>) {
    let seats: Vec<&ExpertId> = cases.experts.iter().collect();
    let panel = Panel::new(&seats, &cases.records, &cases.policy);
    let said = said(options.size(200_000, 50_000));
    let mut safe = 0.0;
    let took = fastest(5, || {
        for one in said.chunks_exact(EXPERTS) {
            safe += panel.tally(one).posterior[0];
        }
    });
    let rate = (said.len() / EXPERTS) as f64 / took.as_secs_f64();
    figures.push(
        Figure::new("votes of 8 without text, per core", "/s", Better::More, rate)
            .aims(Aim::AtLeast(500_000.0))
            .note(format!(
                "posterior, losses and action; mean share of safe {:.2}",
                safe / said.len() as f64 * 1.6
            )),
    );
}

fn said(questions: usize) -> Vec<Said> {
    let mut random = Random(3);
    let stances = [Stance::Approve, Stance::Reject, Stance::NeedsChange, Stance::Abstain];
    (0..questions * EXPERTS).map(|_| Said::of(stances[random.below(4)], 80)).collect()
}

/// All cores, on the wall.
fn many(options: &Options, cases: &Cases, figures: &mut Vec<Figure>) -> Result<()> {
    let pool = Pool::start(Threads::default())?;
    output::line(pool.to_string());
    let seats: Vec<&ExpertId> = cases.experts.iter().collect();
    let panel = Panel::new(&seats, &cases.records, &cases.policy);
    let said = said(options.size(400_000, 100_000));
    let mut best = f64::MAX;
    for _ in 0..5 {
        let began = wall();
        let tallies: Vec<_> = pool
            .run(|| said.par_chunks_exact(EXPERTS).with_min_len(512).map(|said| panel.tally(said)).collect());
        best = best.min((wall() - began).as_secs_f64() / tallies.len().max(1) as f64);
    }
    let name = format!("votes of 8 in batches, {} threads", pool.threads());
    figures.push(Figure::new(name, "/s", Better::More, 1.0 / best).note("on the wall"));
    let batch: Vec<(Facts, Vec<Ballot>)> =
        cases.questions.iter().map(|ballots| (cases.facts.clone(), ballots.clone())).collect();
    let mut best = f64::MAX;
    for _ in 0..options.size(40, 10) {
        let began = wall();
        let opinions: Vec<_> = pool.run(|| {
            let weigh = |(facts, ballots): &(_, Vec<_>)| weigh(facts, ballots, &cases.records, &cases.policy);
            batch.par_iter().with_min_len(8).map(weigh).collect()
        });
        best = best.min((wall() - began).as_secs_f64() / opinions.len().max(1) as f64);
    }
    let name = format!("consensus of 8 answers of 4 KiB in batches, {} threads", pool.threads());
    figures.push(Figure::new(name, "/s", Better::More, 1.0 / best).note("on the wall"));
    Ok(())
}

/// What of a consensus goes into text.
fn parts(options: &Options, cases: &Cases, figures: &mut Vec<Figure>) {
    let texts: Vec<&str> = cases.questions[0]
        .iter()
        .filter_map(|ballot| ballot.answer.as_ref())
        .map(|answer| answer.rationale.as_str())
        .collect();
    let mut scratch = Scratch::default();
    let repeat = options.size(200, 50);
    let mut compare = |kernel: Kernel| {
        let took = fastest(9, || {
            for _ in 0..repeat {
                similarities(texts.iter().copied(), kernel, &mut scratch);
            }
        });
        took.as_secs_f64() * 1e6 / repeat as f64
    };
    let plain = compare(Kernel::scalar());
    let ours = compare(Kernel::active());
    let name = format!("8 texts of 4 KiB vectorised and compared, {}", Kernel::active().path());
    figures.push(
        Figure::new(name, "µs", Better::Less, ours).against("plain Rust", plain).aims(Aim::AtMost(65.0)),
    );
    let rows = unit_rows(EXPERTS, DIMS);
    let pairs = |kernel: Kernel| all_pairs(kernel, &rows, DIMS, repeat);
    let (plain, ours) = (pairs(Kernel::scalar()), pairs(Kernel::active()));
    figures.push(
        Figure::new("all pairs of 8 × 4096", "µs", Better::Less, ours)
            .against("plain Rust", plain)
            .aims(Aim::AtMost(5.0)),
    );
}

fn unit_rows(texts: usize, dims: usize) -> Vec<f32> {
    let mut random = Random(9);
    let mut rows: Vec<f32> = (0..texts * dims).map(|_| random.below(2000) as f32 / 1000.0 - 1.0).collect();
    for row in rows.chunks_exact_mut(dims) {
        let length = row.iter().map(|one| one * one).sum::<f32>().sqrt();
        row.iter_mut().for_each(|one| *one /= length);
    }
    rows
}

/// Microseconds for all pairs.
fn all_pairs(kernel: Kernel, rows: &[f32], dims: usize, repeat: usize) -> f64 {
    let mut out = Vec::new();
    let took = fastest(15, || {
        for _ in 0..repeat {
            kernel.all_pairs(rows, dims, &mut out);
        }
    });
    took.as_secs_f64() * 1e6 / repeat as f64
}

fn share_of_peak(options: &Options, figures: &mut Vec<Figure>) {
    let kernel = Kernel::active();
    let times = options.size(4_000_000, 1_000_000);
    let mut peak = 0.0f64;
    for _ in 0..7 {
        let began = now();
        let operations = Load::of(kernel).run(times);
        peak = peak.max(operations as f64 / (now() - began).as_secs_f64() / 1e9);
    }
    figures.push(Figure::new(
        format!("peak of {} in registers", kernel.path()),
        "GFLOP/s",
        Better::More,
        peak,
    ));
    let mut best = (0.0, String::new());
    let mut all = Vec::new();
    for (texts, dims) in
        [(8, 1024), (8, 4096), (16, 512), (16, 768), (32, 512), (32, 1536), (64, 1536), (64, 4096)]
    {
        let rows = unit_rows(texts, dims);
        let useful = (texts * (texts + 1) * dims) as f64;
        let repeat = ((2e7 / useful) as usize).max(1) * options.size(4, 1);
        let rate = useful / all_pairs(kernel, &rows, dims, repeat) / 1e3;
        all.push(format!("{texts} × {dims} {rate:.0}"));
        if rate > best.0 {
            best = (rate, format!("{texts} × {dims}"));
        }
    }
    figures.push(
        Figure::new(
            format!("share of it by all pairs, best size {}", best.1),
            "%",
            Better::More,
            best.0 / peak * 100.0,
        )
        .aims(Aim::AtLeast(70.0))
        .note(format!("useful arithmetic in GFLOP/s, half the matrix: {}", all.join(", "))),
    );
}

fn patterns(figures: &mut Vec<Figure>) {
    let sample = Sample::new(120, true, 1);
    let patterns = analyse(&sample.notes, &Thresholds::default());
    let kinds = [
        ("recurring findings", sample.recurring(&patterns, false)),
        ("recurring findings, one of two in other words", sample.recurring(&patterns, true)),
        ("contradictions", sample.contradictions(&patterns)),
        ("copies", sample.copies(&patterns)),
    ];
    for (name, hits) in kinds {
        figures.push(Figure::new(format!("{name}: recall"), "%", Better::More, hits.recall * 100.0).note(
            format!(
                "precision {:.1} %, {} pairs of {} notes",
                hits.precision * 100.0,
                hits.pairs,
                sample.notes.len()
            ),
        ));
    }
}

/// Accuracy, calibration and time by set and method.
fn sets(data: &Path, crowdkit: bool, options: &Options, figures: &mut Vec<Figure>) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(data) else {
        output::line(format!("{} is not there: no accuracy is measured", data.display()));
        return Ok(());
    };
    let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    folders.retain(|folder| folder.join("label.csv").is_file() && folder.join("truth.csv").is_file());
    folders.sort();
    let names: Vec<&str> = Method::ALL.iter().map(|method| method.name()).collect();
    output::line(format!("\naccuracy / calibration error\n| set | {} |", names.join(" | ")));
    output::line(format!("|---|{}", "---|".repeat(names.len())));
    for folder in &folders {
        let evaluation = evaluate(folder)?;
        let scores = evaluation.scores.iter();
        let cells: Vec<String> =
            scores.map(|one| format!("{:.4} / {:.3}", one.accuracy, one.calibration_error)).collect();
        output::line(format!("| {} | {} |", name_of(folder), cells.join(" | ")));
    }
    let product = data.join("product");
    if product.is_dir() {
        let (votes, _) = read(&product)?;
        let took = fastest(options.size(5, 2), || {
            Method::DawidSkene.run(&votes);
        });
        figures.push(
            Figure::new("Dawid-Skene on product", "ms", Better::Less, took.as_secs_f64() * 1e3)
                .aims(Aim::AtMost(60.0)),
        );
    }
    if crowdkit { beside_crowdkit(data, &folders, figures) } else { Ok(()) }
}

fn name_of(folder: &Path) -> String {
    folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// What the script prints of one method on one set.
#[derive(serde::Deserialize)]
struct Peer {
    set: String,
    method: Method,
    accuracy: f64,
    seconds: f64,
}

/// The method that goes on longer than crowd-kit's.
const UNTIL_STILL: &str = "Dawid-Skene until nothing moves";

type Run = fn(&Votes) -> Posterior;

/// What of ours is the same as a method of crowd-kit. Its Dawid-Skene ends when the likelihood hardly gains, so ours is
/// run with that end, and beside it with the end of the reference.
fn ours(method: Method) -> Vec<(&'static str, Run)> {
    match method {
        Method::DawidSkene => vec![
            ("Dawid-Skene with crowd-kit's end", |votes| {
                dawid_skene(votes, Rows::Smoothed, Stop::Gain(1e-5))
            }),
            (UNTIL_STILL, |votes| dawid_skene(votes, Rows::Smoothed, Stop::Still)),
        ],
        Method::OneCoin => vec![("one-coin", opinion::batch::one_coin)],
        Method::Wawa => vec![("Wawa", opinion::batch::wawa)],
        Method::Majority => vec![("majority", opinion::batch::majority)],
        Method::DawidSkeneShort | Method::DawidSkenePrior | Method::Ibcc | Method::Ebcc => Vec::new(),
    }
}

fn beside_crowdkit(data: &Path, folders: &[PathBuf], figures: &mut Vec<Figure>) -> Result<()> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/crowdkit.py");
    let names: Vec<String> = folders.iter().map(|folder| name_of(folder)).collect();
    output::line("running crowd-kit");
    let run = std::process::Command::new("python3")
        .arg(&script)
        .arg(data)
        .args(&names)
        .stderr(std::process::Stdio::inherit())
        .output()
        .with_context(|| format!("running {}", script.display()))?;
    if !run.status.success() {
        bail!("{} ended with {}", script.display(), run.status);
    }
    let peers: Vec<Peer> =
        serde_json::from_slice(&run.stdout).context("understanding what crowd-kit printed")?;
    output::line(
        "\n| set | method | ours | crowd-kit | ours, ms | crowd-kit, ms | ratio |\n|---|---|---|---|---|---|---|",
    );
    let mut sums: BTreeMap<&str, (f64, f64, f64, f64, u32)> = BTreeMap::new();
    for peer in &peers {
        let (votes, truth) = read(&data.join(&peer.set))?;
        for (name, run) in ours(peer.method) {
            let mut posterior = None;
            let took = fastest(3, || posterior = Some(run(&votes))).as_secs_f64();
            let Some(posterior) = posterior else { continue };
            let right = score(peer.method, &posterior, &truth).accuracy;
            output::line(format!(
                "| {} | {name} | {right:.4} | {:.4} | {:.2} | {:.0} | {:.0} |",
                peer.set,
                peer.accuracy,
                took * 1e3,
                peer.seconds * 1e3,
                peer.seconds / took
            ));
            let sum = sums.entry(name).or_default();
            *sum = (sum.0 + took, sum.1 + peer.seconds, sum.2 + right, sum.3 + peer.accuracy, sum.4 + 1);
        }
    }
    for (name, (ours, theirs, right, theirs_right, sets)) in sums {
        let share = |sum: f64| sum / f64::from(sets);
        let figure = Figure::new(format!("{name} on {sets} sets"), "ms", Better::Less, ours * 1e3)
            .against("crowd-kit", theirs * 1e3)
            .note(format!("mean accuracy {:.4} against {:.4}", share(right), share(theirs_right)));
        // crowd-kit does not go on until nothing moves, so that this row compares unlike work.
        figures.push(if name == UNTIL_STILL { figure } else { figure.aims(Aim::Ratio(100.0)) });
    }
    Ok(())
}
