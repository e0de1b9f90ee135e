//! How a module moves.

use model::{
    limits,
    spec::{CanaryStep, Strategy},
};

use super::{Found, analysis};
use crate::document::Path;

/// Most steps of a canary.
const STEPS: usize = 100;

pub(super) fn check(strategy: &Strategy, path: &Path, found: &mut Found) {
    match strategy {
        Strategy::Canary(canary) => steps(&canary.steps, &path.to("canary.steps"), found),
        Strategy::BlueGreen(blue_green) => {
            let path = path.field("blueGreen");
            if let Some(analysis) = &blue_green.pre_promotion {
                analysis::check(analysis, &path.field("prePromotion"), found);
            }
            if let Some(analysis) = &blue_green.post_promotion {
                analysis::check(analysis, &path.field("postPromotion"), found);
            }
            found.span_or_none(path.field("hold"), blue_green.hold);
        }
        Strategy::Rolling(rolling) => {
            let path = path.field("rolling");
            if rolling.max_surge == 0 && rolling.max_unavailable == 0 {
                let message = "maxSurge and maxUnavailable are both 0, so no instance could ever be replaced";
                found.add(path.clone(), message, "set one of them to 1 or more");
            }
            for (name, count) in
                [("maxSurge", rolling.max_surge), ("maxUnavailable", rolling.max_unavailable)]
            {
                if count > limits::REPLICAS {
                    found.add(path.field(name), format!("{count} is out of range"), "it may be 0 to 1000");
                }
            }
        }
        Strategy::Recreate {} => {}
    }
}

fn steps(steps: &[CanaryStep], path: &Path, found: &mut Found) {
    if steps.is_empty() || steps.len() > STEPS {
        let message = format!("a canary of {} steps", steps.len());
        found.add(path.clone(), message, "a canary has 1 to 100 steps, such as `- setWeight: 10`");
    }
    let mut last = 0;
    for (at, step) in steps.iter().enumerate() {
        let path = path.index(at);
        match step {
            CanaryStep::SetWeight(weight) => {
                let path = path.field("setWeight");
                if *weight > 100 {
                    found.add(path, format!("{weight} is not a weight in percent"), "a weight is 0 to 100");
                    continue;
                }
                if *weight < last {
                    let message = format!("the weight falls from {last} to {weight}");
                    found.add(
                        path,
                        message,
                        "the weights of a canary only grow; the way back is the rollback",
                    );
                }
                last = *weight;
            }
            CanaryStep::Pause { duration: Some(duration) } => {
                found.span(path.to("pause.duration"), *duration)
            }
            CanaryStep::Pause { duration: None } => {}
            CanaryStep::Analysis(analysis) => analysis::check(analysis, &path.field("analysis"), found),
        }
    }
}
