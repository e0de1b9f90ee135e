use model::{Code, Fault, fault::Complaint};
use prost::Message as _;

use crate::{Error, Message, check, proto};

impl Message for Fault {
    const NAME: &'static str = "code.v1.Fault";

    fn encode(&self) -> Vec<u8> {
        let complaint = |complaint: &Complaint| proto::Complaint {
            field: complaint.field.clone(),
            line: complaint.line,
            column: complaint.column,
            message: complaint.message.clone(),
            cure: complaint.cure.clone(),
        };
        proto::Fault {
            code: self.code.as_str().to_owned(),
            message: self.message.clone(),
            complaints: self.complaints.iter().map(complaint).collect(),
        }
        .encode_to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let fault: proto::Fault = check::frame(Self::NAME, bytes)?;
        let complaint = |complaint: proto::Complaint| Complaint {
            field: complaint.field,
            line: complaint.line,
            column: complaint.column,
            message: complaint.message,
            cure: complaint.cure,
        };
        Ok(Fault {
            code: Code::from_text(&fault.code),
            message: fault.message,
            complaints: fault.complaints.into_iter().map(complaint).collect(),
            confidential: false,
        })
    }
}
