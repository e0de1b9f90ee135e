//! Rounds that take turns, and closed loops of work.

use std::{future::Future, time::Duration};

use anyhow::{Result, bail};
use tokio::{task::JoinSet, time::Instant};

use crate::figure::{Better, Figure};

/// What the rounds of both sides gave, in the order they were run.
#[derive(Clone, Debug, Default)]
pub struct Pair {
    /// Ours, by round.
    pub ours: Vec<f64>,
    /// The baseline, by round.
    pub baseline: Vec<f64>,
}

impl Pair {
    /// Runs ours and the baseline `rounds` times, in turns: A B, B A, A B, … One round of each goes before and is
    /// not counted.
    pub async fn run(
        rounds: usize,
        mut ours: impl AsyncFnMut() -> Result<f64>,
        mut baseline: impl AsyncFnMut() -> Result<f64>,
    ) -> Result<Pair> {
        ours().await?;
        baseline().await?;
        let mut pair = Pair::default();
        for round in 0..rounds {
            if round % 2 == 0 {
                pair.ours.push(ours().await?);
                pair.baseline.push(baseline().await?);
            } else {
                pair.baseline.push(baseline().await?);
                pair.ours.push(ours().await?);
            }
        }
        Ok(pair)
    }

    /// The figure: medians of both sides, and the median of the rounds' ratios, which a drift of the machine does
    /// not move.
    pub fn figure(&self, name: impl Into<String>, unit: &str, better: Better, baseline: &str) -> Figure {
        let ratios: Vec<f64> = self
            .ours
            .iter()
            .zip(&self.baseline)
            .map(|(ours, baseline)| match better {
                Better::More => ours / baseline,
                Better::Less => baseline / ours,
            })
            .filter(|ratio| ratio.is_finite())
            .collect();
        let mut figure =
            Figure::new(name, unit, better, median(&self.ours)).against(baseline, median(&self.baseline));
        if !ratios.is_empty() {
            figure.ratio = Some(median(&ratios));
            let low = ratios.iter().copied().fold(f64::INFINITY, f64::min);
            figure.spread = Some((low, ratios.iter().copied().fold(0.0, f64::max)));
        }
        figure
    }
}

/// The middle value, or the mean of the two middle ones; not-a-number of nothing.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => sorted[length / 2],
        length => f64::midpoint(sorted[length / 2 - 1], sorted[length / 2]),
    }
}

/// How long each of many things took.
#[derive(Clone, Debug, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    /// One more.
    pub fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The time within which the share `q` (0 to 1) was done, in milliseconds; not-a-number of nothing.
    pub fn millis(&self, q: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (q * sorted.len() as f64).ceil() as usize;
        sorted
            .get(rank.clamp(1, sorted.len().max(1)) - 1)
            .map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: Times) {
        self.0.extend(other.0);
    }
}

/// What a closed loop did.
#[derive(Clone, Debug, Default)]
pub struct Done {
    /// From the first begin to the last end.
    pub took: Duration,
    /// Every piece of work.
    pub times: Times,
}

impl Done {
    /// Pieces of work per second.
    pub fn per_second(&self) -> f64 {
        self.times.count() as f64 / self.took.as_secs_f64()
    }
}

/// Runs `concurrency` loops side by side, each doing its share of `total` pieces of work, the next one when the last
/// one is done. `body` is given the loop's number and its share, and times its pieces. The first error ends all.
pub async fn closed_loop<F>(
    concurrency: usize,
    total: usize,
    body: impl Fn(usize, usize) -> F,
) -> Result<Done>
where
    F: Future<Output = Result<Times>> + Send + 'static,
{
    let share = total.div_ceil(concurrency.max(1)).max(1);
    let began = Instant::now();
    let mut loops = JoinSet::new();
    for number in 0..concurrency.max(1) {
        loops.spawn(body(number, share));
    }
    let mut times = Times::default();
    while let Some(ended) = loops.join_next().await {
        match ended {
            Ok(done) => times.merge(done?),
            Err(error) => bail!("a loop broke: {error}"),
        }
    }
    Ok(Done { took: began.elapsed(), times })
}

/// Times one piece of work.
pub async fn timed<T>(times: &mut Times, work: impl Future<Output = Result<T>>) -> Result<T> {
    let began = Instant::now();
    let done = work.await?;
    times.add(began.elapsed());
    Ok(done)
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc};

    use super::*;

    #[tokio::test]
    async fn rounds_take_turns_and_the_first_of_each_is_not_counted() {
        let order = Rc::new(RefCell::new(String::new()));
        let (a, b) = (order.clone(), order.clone());

        let ours = async || {
            a.borrow_mut().push('A');
            Ok(a.borrow().len() as f64)
        };
        let baseline = async || {
            b.borrow_mut().push('B');
            Ok(1.0)
        };
        let pair = Pair::run(3, ours, baseline).await.unwrap();

        assert_eq!(*order.borrow(), "ABABBAAB");
        assert_eq!(pair.ours, [3.0, 6.0, 7.0]);
    }

    #[test]
    fn the_ratio_is_the_median_of_the_rounds_ratios() {
        let pair = Pair { ours: vec![9.0, 80.0, 10.0], baseline: vec![10.0, 100.0, 10.0] };

        let figure = pair.figure("x", "1/s", Better::More, "raw");

        assert_eq!((figure.ratio, figure.spread), (Some(0.9), Some((0.8, 1.0))));
    }

    #[tokio::test]
    async fn a_closed_loop_does_all_of_the_work() {
        let done = closed_loop(4, 10, |_, share| async move {
            let mut times = Times::default();
            for _ in 0..share {
                timed(&mut times, async { Ok(()) }).await?;
            }
            Ok(times)
        })
        .await
        .unwrap();

        assert_eq!(done.times.count(), 12);
    }
}
