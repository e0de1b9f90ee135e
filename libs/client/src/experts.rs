//! Experts: asked, listed, tested, and what they said before.

use std::time::Duration;

use bus::{Told, subjects};
use futures::{Stream, StreamExt};
use model::{
    Token,
    expert::{
        Consultation, ConsultationLine, ConsultationProgress, ConsultationReply, ConsultationRequest,
        ConsultationsRequest, ExpertsReply, ExpertsRequest, Question, ReplayReply, TestReply, TestRequest,
    },
};

use crate::{Client, Error};

/// What an answer may take beyond the panel's own deadline.
const WAY_BACK: Duration = Duration::from_secs(10);
/// How long a test of all experts may take.
const TEST: Duration = Duration::from_secs(120);

impl Client {
    /// Asks a panel, and waits as long as the question allows.
    pub async fn consult(&self, question: &Question) -> Result<Consultation, Error> {
        let within = Duration::from_millis(question.deadline_ms) + WAY_BACK;
        self.ask_within(&subjects::experts::ASK, question, within).await
    }

    /// How far a question is, from now on; what is missed is missed.
    pub async fn consultation_progress(
        &self,
        question: &str,
    ) -> Result<impl Stream<Item = ConsultationProgress> + Send + Unpin + use<>, Error> {
        let said = self.bus.listen(&subjects::experts::PROGRESS, Some(question)).await?;
        Ok(said.map(|step| step.message))
    }

    /// Who can be asked, and what is left to spend.
    pub async fn experts(&self) -> Result<ExpertsReply, Error> {
        self.ask(&subjects::experts::LIST, &ExpertsRequest {}).await
    }

    /// Has one expert or all judge a good and a bad plan; may take two minutes, and tells meanwhile who answered what. None
    /// when `stop` came first: nobody is asked any more then, as when this is dropped.
    pub async fn test_experts(
        &self,
        expert: Option<Token>,
        mut told: impl FnMut(ConsultationProgress),
        stop: impl Future<Output = ()>,
    ) -> Result<Option<TestReply>, Error> {
        let request = TestRequest { expert };
        let begun = self.bus.begin(&subjects::experts::TEST, &request, TEST).await;
        let mut test = begun.map_err(|error| self.absent(error))?;
        tokio::pin!(stop);
        loop {
            let heard = tokio::select! {
                heard = test.next() => heard,
                () = &mut stop => {
                    test.cancel().await;
                    return Ok(None);
                }
            };
            match heard.map_err(|error| self.absent(error))? {
                Told::Progress(step) => told(step),
                // What is lost was only shown.
                Told::Lost(_) => {}
                Told::Answer(reply) => return Ok(Some(reply)),
            }
        }
    }

    /// Past consultations, newest first.
    pub async fn consultations(&self, limit: u32) -> Result<Vec<ConsultationLine>, Error> {
        let request = ConsultationsRequest { limit: Some(limit) };
        Ok(self.ask(&subjects::experts::HISTORY, &request).await?.consultations)
    }

    /// One past consultation in full.
    pub async fn consultation(&self, question: &Token) -> Result<ConsultationReply, Error> {
        let request = ConsultationRequest { question: question.clone() };
        self.ask(&subjects::experts::SHOW, &request).await
    }

    /// Has a past consultation computed again.
    pub async fn replay(&self, question: &Token) -> Result<ReplayReply, Error> {
        let request = ConsultationRequest { question: question.clone() };
        self.ask(&subjects::experts::REPLAY, &request).await
    }
}
