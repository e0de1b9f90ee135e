//! Values that travel as JSON within a `code.v1.Document`.

use prost::Message as _;
use serde::{Serialize, de::DeserializeOwned};

use crate::{Error, Message, check, proto};

pub(crate) fn pack<T: Serialize>(kind: &'static str, value: &T) -> proto::Document {
    // None of our types fails here (no map has a non-text key); if one did, the reader refuses the empty document.
    proto::Document { kind: kind.to_owned(), json: serde_json::to_vec(value).unwrap_or_default() }
}

pub(crate) fn unpack<T: DeserializeOwned>(
    kind: &'static str,
    document: &proto::Document,
) -> Result<T, Error> {
    if document.kind != kind {
        return Err(Error::Name { expected: kind, found: document.kind.clone() });
    }
    serde_json::from_slice(&document.json).map_err(|source| Error::Document { name: kind, source })
}

macro_rules! documents {
    ($($type:ty => $name:literal),+ $(,)?) => {
        $(impl Message for $type {
            const NAME: &'static str = $name;

            fn encode(&self) -> Vec<u8> {
                pack(Self::NAME, self).encode_to_vec()
            }

            fn decode(bytes: &[u8]) -> Result<Self, Error> {
                unpack(Self::NAME, &check::frame(Self::NAME, bytes)?)
            }
        })+

        /// Every document's name, for the test that no two share one.
        #[cfg(test)]
        const NAMES: &[&str] = &[$($name),+];
    };
}

documents! {
    model::command::Submit => "code.v1.Submit",
    model::command::Submitted => "code.v1.Submitted",
    model::command::PlanRequest => "code.v1.PlanRequest",
    model::command::PlanReply => "code.v1.PlanReply",
    model::command::ReviewRequest => "code.v1.ReviewRequest",
    model::command::Reviews => "code.v1.Reviews",
    model::command::StatusRequest => "code.v1.StatusRequest",
    model::command::StatusReply => "code.v1.StatusReply",
    model::command::ListRequest => "code.v1.ListRequest",
    model::command::ListReply => "code.v1.ListReply",
    model::command::HistoryRequest => "code.v1.HistoryRequest",
    model::command::HistoryReply => "code.v1.HistoryReply",
    model::command::Command => "code.v1.Command",
    model::command::Accepted => "code.v1.Accepted",
    model::command::TargetCommand => "code.v1.TargetCommand",
    model::command::TargetView => "code.v1.TargetView",
    model::command::DriftRequest => "code.v1.DriftRequest",
    model::command::DriftReply => "code.v1.DriftReply",
    model::command::HoldingsRequest => "code.v1.HoldingsRequest",
    model::command::HoldingsReply => "code.v1.HoldingsReply",
    model::journal::JournalRequest => "code.v1.JournalRequest",
    model::journal::JournalReply => "code.v1.JournalReply",
    model::view::Summary => "code.v1.Summary",
    model::expert::Question => "code.v1.Question",
    model::expert::Consultation => "code.v1.Consultation",
    model::expert::Opinion => "code.v1.Opinion",
    model::expert::WeighRequest => "code.v1.WeighRequest",
    model::expert::Matter => "code.v1.Matter",
    model::expert::PlanAdvice => "code.v1.PlanAdvice",
    model::expert::AdviceJob => "code.v1.AdviceJob",
    model::expert::AdviceReport => "code.v1.AdviceReport",
    model::expert::ExpertsRequest => "code.v1.ExpertsRequest",
    model::expert::ExpertsReply => "code.v1.ExpertsReply",
    model::expert::TestRequest => "code.v1.TestRequest",
    model::expert::TestReply => "code.v1.TestReply",
    model::expert::ConsultationsRequest => "code.v1.ConsultationsRequest",
    model::expert::ConsultationsReply => "code.v1.ConsultationsReply",
    model::expert::ConsultationLine => "code.v1.ConsultationLine",
    model::expert::ConsultationRequest => "code.v1.ConsultationRequest",
    model::expert::ConsultationReply => "code.v1.ConsultationReply",
    model::expert::ReplayReply => "code.v1.ReplayReply",
    model::expert::ConsultationProgress => "code.v1.ConsultationProgress",
    model::audit::AuditRecord => "code.v1.AuditRecord",
    model::audit::AuditAppend => "code.v1.AuditAppend",
    model::audit::AuditReceipts => "code.v1.AuditReceipts",
    model::audit::AuditAwait => "code.v1.AuditAwait",
    model::audit::AuditAwaited => "code.v1.AuditAwaited",
    model::audit::AuditStatusRequest => "code.v1.AuditStatusRequest",
    model::audit::AuditStatus => "code.v1.AuditStatus",
    model::audit::AuditProofRequest => "code.v1.AuditProofRequest",
    model::audit::AuditProof => "code.v1.AuditProof",
    model::audit::AuditConsistencyRequest => "code.v1.AuditConsistencyRequest",
    model::audit::AuditConsistency => "code.v1.AuditConsistency",
    model::audit::AuditEntriesRequest => "code.v1.AuditEntriesRequest",
    model::audit::AuditEntries => "code.v1.AuditEntries",
    model::audit::AuditSearch => "code.v1.AuditSearch",
    model::audit::AuditPage => "code.v1.AuditPage",
    model::audit::AuditReportRequest => "code.v1.AuditReportRequest",
    model::audit::AuditReport => "code.v1.AuditReport",
    model::audit::AuditFence => "code.v1.AuditFence",
    model::DeploymentSpec => "code.v1.DeploymentSpec",
    model::Step => "code.v1.Step",
    model::step::StepResult => "code.v1.StepResult",
    model::GateResult => "code.v1.GateResult",
    model::certificate::CertificateEntry => "code.v1.CertificateEntry",
    serde_json::Value => "code.v1.Value",
}

#[cfg(test)]
mod tests {
    use model::{DeploymentId, command::StatusRequest};

    use super::*;

    #[test]
    fn no_two_documents_share_a_name() {
        let mut names = NAMES.to_vec();
        names.sort_unstable();
        names.dedup();

        assert_eq!(names.len(), NAMES.len());
    }

    #[test]
    fn a_document_reads_back_as_it_was() {
        let request = StatusRequest { deployment: DeploymentId::new() };

        assert_eq!(StatusRequest::decode(&request.encode()).unwrap(), request);
    }

    #[test]
    fn a_document_of_another_kind_is_refused() {
        let bytes = StatusRequest { deployment: DeploymentId::new() }.encode();

        let error = model::command::HistoryRequest::decode(&bytes).unwrap_err();

        assert!(matches!(error, Error::Name { expected: "code.v1.HistoryRequest", .. }), "{error}");
    }

    #[test]
    fn an_id_of_another_kind_in_a_document_is_refused() {
        let document = proto::Document {
            kind: "code.v1.StatusRequest".into(),
            json: br#"{"deployment":"rep-1"}"#.to_vec(),
        };

        let error = StatusRequest::decode(&document.encode_to_vec()).unwrap_err();

        assert!(matches!(error, Error::Document { .. }), "{error}");
    }
}
