use model::{
    DeploymentSpec, GateResult, Span, Step, Timestamp, Token,
    deployment::{
        StepAnswer, StepJob, StepProgress, StepQuestion, StepReport, StepState, StepStop, StopKind,
    },
    step::StepResult,
};
use prost::Message as _;

use crate::{
    Error, Message,
    check::{self, At},
    document::{pack, unpack},
    proto,
};

impl Message for StepJob {
    const NAME: &'static str = "code.v1.StepJob";

    fn encode(&self) -> Vec<u8> {
        proto::StepJob {
            deployment: self.deployment.to_string(),
            step: Some(pack(Step::NAME, &self.step)),
            attempt: self.attempt,
            idem_key: self.idem_key.clone(),
            fence: check::fence(self.fence),
            until: self.until.0,
            spec: Some(pack(DeploymentSpec::NAME, &self.spec)),
            baseline: self.baseline.as_ref().map(|spec| pack(DeploymentSpec::NAME, spec)),
            plan: self.plan.to_string(),
            extend_ms: self.extend.map(|span| check::millis(span.0)),
        }
        .encode_to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let at = At(Self::NAME);
        let job: proto::StepJob = check::frame(Self::NAME, bytes)?;
        if job.attempt == 0 {
            return Err(at.bad("attempt", "is 0, the first is 1"));
        }
        let spec = |spec: proto::Document| unpack::<Box<DeploymentSpec>>(DeploymentSpec::NAME, &spec);
        Ok(StepJob {
            deployment: at.text("deployment", &job.deployment)?,
            step: unpack(Step::NAME, &at.some("step", job.step)?)?,
            attempt: job.attempt,
            idem_key: job.idem_key,
            fence: at.fence("fence", job.fence)?,
            until: Timestamp(job.until),
            spec: spec(at.some("spec", job.spec)?)?,
            baseline: job.baseline.map(spec).transpose()?,
            plan: at.text("plan", &job.plan)?,
            extend: job.extend_ms.map(Span::millis),
        })
    }
}

impl Message for StepReport {
    const NAME: &'static str = "code.v1.StepReport";

    fn encode(&self) -> Vec<u8> {
        proto::StepReport {
            deployment: self.deployment.to_string(),
            step: self.step.to_string(),
            attempt: self.attempt,
            fence: check::fence(self.fence),
            runner: self.runner.clone(),
            result: self.result.as_ref().map(|result| pack(StepResult::NAME, result)),
        }
        .encode_to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let at = At(Self::NAME);
        let report: proto::StepReport = check::frame(Self::NAME, bytes)?;
        if report.attempt == 0 {
            return Err(at.bad("attempt", "is 0, the first is 1"));
        }
        Ok(StepReport {
            deployment: at.text("deployment", &report.deployment)?,
            step: at.text("step", &report.step)?,
            attempt: report.attempt,
            fence: at.fence("fence", report.fence)?,
            runner: report.runner,
            result: report.result.map(|result| unpack(StepResult::NAME, &result)).transpose()?,
        })
    }
}

impl Message for StepQuestion {
    const NAME: &'static str = "code.v1.StepQuestion";

    fn encode(&self) -> Vec<u8> {
        proto::StepQuestion {
            deployment: self.deployment.to_string(),
            step: self.step.to_string(),
            attempt: self.attempt,
            idem_key: self.idem_key.clone(),
            fence: check::fence(self.fence),
            hold_ms: check::millis(self.hold.0),
        }
        .encode_to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let at = At(Self::NAME);
        let question: proto::StepQuestion = check::frame(Self::NAME, bytes)?;
        if question.attempt == 0 {
            return Err(at.bad("attempt", "is 0, the first is 1"));
        }
        Ok(StepQuestion {
            deployment: at.text("deployment", &question.deployment)?,
            step: at.text("step", &question.step)?,
            attempt: question.attempt,
            idem_key: question.idem_key,
            fence: at.fence("fence", question.fence)?,
            hold: Span::millis(question.hold_ms),
        })
    }
}

impl Message for StepAnswer {
    const NAME: &'static str = "code.v1.StepAnswer";

    fn encode(&self) -> Vec<u8> {
        let (state, result) = match &self.state {
            StepState::Running => (proto::StepState::Running, None),
            StepState::Ended(result) => (proto::StepState::Ended, Some(pack(StepResult::NAME, result))),
            StepState::Unknown => (proto::StepState::Unknown, None),
            StepState::Dropped => (proto::StepState::Dropped, None),
        };
        proto::StepAnswer { runner: self.runner.clone(), state: state.into(), result }.encode_to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let at = At(Self::NAME);
        let answer: proto::StepAnswer = check::frame(Self::NAME, bytes)?;
        let state = match proto::StepState::try_from(answer.state) {
            Ok(proto::StepState::Running) => StepState::Running,
            Ok(proto::StepState::Ended) => {
                StepState::Ended(unpack(StepResult::NAME, &at.some("result", answer.result)?)?)
            }
            Ok(proto::StepState::Unknown) => StepState::Unknown,
            Ok(proto::StepState::Dropped) => StepState::Dropped,
            Ok(proto::StepState::Unspecified) | Err(_) => {
                return Err(at.bad("state", format_args!("{} is unknown", answer.state)));
            }
        };
        Ok(StepAnswer { runner: answer.runner, state })
    }
}

impl Message for StepProgress {
    const NAME: &'static str = "code.v1.StepProgress";

    fn encode(&self) -> Vec<u8> {
        let share = |(revision, percent): &(String, f64)| proto::TrafficShare {
            revision: revision.clone(),
            percent: *percent,
        };
        proto::StepProgress {
            deployment: self.deployment.to_string(),
            step: self.step.to_string(),
            text: self.text.clone(),
            share: self.share,
            traffic: self.traffic.iter().map(share).collect(),
            gates: self.gates.iter().map(|gate| pack(GateResult::NAME, gate)).collect(),
        }
        .encode_to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let at = At(Self::NAME);
        let progress: proto::StepProgress = check::frame(Self::NAME, bytes)?;
        if progress.share.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
            return Err(at.bad("share", "is not between 0 and 1"));
        }
        Ok(StepProgress {
            deployment: at.text("deployment", &progress.deployment)?,
            step: at.text("step", &progress.step)?,
            text: progress.text,
            share: progress.share,
            traffic: progress.traffic.into_iter().map(|share| (share.revision, share.percent)).collect(),
            gates: progress
                .gates
                .iter()
                .map(|gate| unpack(GateResult::NAME, gate))
                .collect::<Result<_, _>>()?,
        })
    }
}

impl Message for StepStop {
    const NAME: &'static str = "code.v1.StepStop";

    fn encode(&self) -> Vec<u8> {
        let kind = match self.kind {
            StopKind::Cancel => proto::StopKind::Cancel,
            StopKind::Finish => proto::StopKind::Finish,
        };
        proto::StepStop {
            deployment: self.deployment.to_string(),
            step: self.step.as_ref().map(Token::to_string),
            below: check::fence(self.below),
            kind: kind.into(),
        }
        .encode_to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let at = At(Self::NAME);
        let stop: proto::StepStop = check::frame(Self::NAME, bytes)?;
        let kind = match proto::StopKind::try_from(stop.kind) {
            Ok(proto::StopKind::Cancel) => StopKind::Cancel,
            Ok(proto::StopKind::Finish) => StopKind::Finish,
            Ok(proto::StopKind::Unspecified) | Err(_) => {
                return Err(at.bad("kind", format_args!("{} is unknown", stop.kind)));
            }
        };
        Ok(StepStop {
            deployment: at.text("deployment", &stop.deployment)?,
            step: stop.step.map(|step| at.text("step", &step)).transpose()?,
            below: at.fence("below", stop.below)?,
            kind,
        })
    }
}

#[cfg(test)]
mod tests {
    use model::{DeploymentId, Fence, Outcome};

    use super::*;

    fn job() -> StepJob {
        let spec: DeploymentSpec = serde_json::from_value(serde_json::json!({
            "apiVersion": "code/v1", "name": "shop", "target": "process", "modules": [],
        }))
        .unwrap();
        let step: Step = serde_json::from_value(serde_json::json!({
            "id": "03-web-scale", "wave": 3, "stage": "execute", "agent": "deployer", "deadline": "10m",
            "do": "scale", "module": "web", "revision": "aaa", "count": 2,
        }))
        .unwrap();
        StepJob {
            deployment: DeploymentId::derived("a"),
            step,
            attempt: 1,
            idem_key: "k".into(),
            fence: Fence { lock: 4, epoch: 9 },
            until: Timestamp(7),
            spec: Box::new(spec.clone()),
            baseline: Some(Box::new(spec.clone())),
            plan: model::Digest::of(&spec),
            extend: Some(Span::millis(250)),
        }
    }

    #[test]
    fn a_job_reads_back_as_it_was_and_its_spec_keeps_its_digest() {
        let read = StepJob::decode(&job().encode()).unwrap();

        assert_eq!(read, job());
        assert_eq!(model::Digest::of(&read.spec), read.plan);
    }

    #[test]
    fn a_job_with_something_that_is_no_digest_for_a_plan_is_refused() {
        let mut frame = proto::StepJob::decode(job().encode().as_slice()).unwrap();
        frame.plan = "sha256:12".into();

        let error = StepJob::decode(&frame.encode_to_vec()).unwrap_err();

        assert!(error.to_string().starts_with("reading code.v1.StepJob: plan:"), "{error}");
    }

    fn report() -> StepReport {
        StepReport {
            deployment: DeploymentId::derived("a"),
            step: "03-web-scale".parse().unwrap(),
            attempt: 2,
            fence: Fence { lock: 4, epoch: 9 },
            runner: "rep-7".into(),
            result: Some(StepResult::new(Outcome::Failed, "error-rate 0.3, limit < 0.05")),
        }
    }

    #[test]
    fn a_report_reads_back_as_it_was() {
        assert_eq!(StepReport::decode(&report().encode()).unwrap(), report());
    }

    #[test]
    fn a_report_without_a_fence_is_refused() {
        let mut frame = proto::StepReport::decode(report().encode().as_slice()).unwrap();
        frame.fence = None;

        let error = StepReport::decode(&frame.encode_to_vec()).unwrap_err();

        assert_eq!(error.to_string(), "reading code.v1.StepReport: fence: is missing");
    }

    #[test]
    fn a_step_name_that_could_break_a_subject_is_refused() {
        let mut frame = proto::StepReport::decode(report().encode().as_slice()).unwrap();
        frame.step = "a.>".into();

        assert!(StepReport::decode(&frame.encode_to_vec()).is_err());
    }

    #[test]
    fn an_answer_of_every_state_reads_back_as_it_was_and_an_unknown_one_is_refused() {
        let result = Box::new(StepResult::new(Outcome::Failed, "error-rate 0.3, limit < 0.05"));
        for state in [StepState::Running, StepState::Ended(result), StepState::Unknown, StepState::Dropped] {
            let answer = StepAnswer { runner: "rep-7".into(), state };
            assert_eq!(StepAnswer::decode(&answer.encode()).unwrap(), answer);
        }
        let unknown = proto::StepAnswer { runner: "rep-7".into(), state: 9, result: None };
        assert!(StepAnswer::decode(&unknown.encode_to_vec()).is_err());
        let no_result = proto::StepAnswer { runner: "rep-7".into(), state: 2, result: None };
        assert!(StepAnswer::decode(&no_result.encode_to_vec()).is_err());
    }

    #[test]
    fn a_question_reads_back_as_it_was() {
        let question = StepQuestion {
            deployment: DeploymentId::derived("a"),
            step: "03-web-scale".parse().unwrap(),
            attempt: 2,
            idem_key: "key".into(),
            fence: Fence { lock: 4, epoch: 9 },
            hold: Span::seconds(2),
        };
        assert_eq!(StepQuestion::decode(&question.encode()).unwrap(), question);
    }

    #[test]
    fn a_stop_of_an_unknown_kind_is_refused() {
        let stop = StepStop {
            deployment: DeploymentId::new(),
            step: None,
            below: Fence::default(),
            kind: StopKind::Finish,
        };
        assert_eq!(StepStop::decode(&stop.encode()).unwrap(), stop);
        let mut frame = proto::StepStop::decode(stop.encode().as_slice()).unwrap();
        frame.kind = 9;

        assert!(StepStop::decode(&frame.encode_to_vec()).is_err());
    }
}
