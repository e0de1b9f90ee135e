//! A figure: ours, the baseline, their ratio, and what we aim at.

use serde::{Deserialize, Serialize};

/// What would be good enough.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aim {
    /// The ratio is at least this.
    Ratio(f64),
    /// Our value is at most this, in the figure's unit.
    AtMost(f64),
    /// Our value is at least this, in the figure's unit.
    AtLeast(f64),
    /// There is none: the figure is for comparison.
    None,
}

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// Rates.
    More,
    /// Times and costs.
    Less,
}

/// What ours stands against.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// What it is, in words.
    pub name: String,
    /// Measured in the same run, in the figure's unit.
    pub value: f64,
}

/// One figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// Unit of ours and of the baseline.
    pub unit: String,
    /// Which way is better.
    pub better: Better,
    /// Our value: the median of the rounds where there are several.
    pub ours: f64,
    /// What it stands against.
    pub baseline: Option<Baseline>,
    /// How good we are against the baseline: above 1 is better than it, whichever way the unit goes. The median of
    /// the rounds' own ratios where there are several.
    pub ratio: Option<f64>,
    /// The lowest and the highest ratio of a round.
    pub spread: Option<(f64, f64)>,
    /// What would be good enough.
    pub aim: Aim,
    /// What a reader has to know besides.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

impl Figure {
    /// A figure without a baseline or an aim.
    pub fn new(name: impl Into<String>, unit: &str, better: Better, ours: f64) -> Figure {
        Figure {
            name: name.into(),
            unit: unit.to_owned(),
            better,
            ours,
            baseline: None,
            ratio: None,
            spread: None,
            aim: Aim::None,
            note: String::new(),
        }
    }

    /// Sets it against a baseline.
    pub fn against(mut self, name: impl Into<String>, value: f64) -> Figure {
        self.ratio = match self.better {
            Better::More => ratio(self.ours, value),
            Better::Less => ratio(value, self.ours),
        };
        self.baseline = Some(Baseline { name: name.into(), value });
        self
    }

    /// What would be good enough.
    pub fn aims(mut self, aim: Aim) -> Figure {
        self.aim = aim;
        self
    }

    /// What a reader has to know besides.
    pub fn note(mut self, note: impl Into<String>) -> Figure {
        self.note = note.into();
        self
    }

    /// Whether the aim is met; none when there is none.
    pub fn is_met(&self) -> Option<bool> {
        match self.aim {
            Aim::Ratio(least) => Some(self.ratio.is_some_and(|ratio| ratio >= least)),
            Aim::AtMost(most) => Some(self.ours <= most),
            Aim::AtLeast(least) => Some(self.ours >= least),
            Aim::None => None,
        }
    }
}

fn ratio(above: f64, below: f64) -> Option<f64> {
    (below > 0.0 && above.is_finite()).then_some(above / below)
}

/// What one program measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The program.
    pub program: String,
    /// The command that makes these figures again.
    pub command: String,
    /// Small rounds.
    pub quick: bool,
    /// Processes that wanted a core during the last minute, when it ended: with other work on the machine the
    /// figures scatter.
    pub load: f64,
    /// The figures.
    pub figures: Vec<Figure>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_above_one_is_better_whichever_way_the_unit_goes() {
        let rate = Figure::new("rate", "calls/s", Better::More, 90.0).against("raw", 100.0);
        let time = Figure::new("time", "ms", Better::Less, 50.0).against("raw", 100.0);

        assert_eq!((rate.ratio, time.ratio), (Some(0.9), Some(2.0)));
    }

    #[test]
    fn an_aim_at_a_ratio_is_not_met_without_one() {
        let figure =
            Figure::new("rate", "calls/s", Better::More, 90.0).against("raw", 0.0).aims(Aim::Ratio(0.9));

        assert_eq!((figure.ratio, figure.is_met()), (None, Some(false)));
    }
}
