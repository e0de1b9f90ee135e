use model::{Code, Fault};

/// Bytes that are not a valid message. The same bytes fail the same way for ever: never retry.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not protobuf of this shape.
    #[error("reading {name}: not a protobuf message of this shape")]
    Malformed {
        /// The message that was expected.
        name: &'static str,
        /// What protobuf says.
        #[source]
        source: prost::DecodeError,
    },
    /// The frame is fine, the document in it is not.
    #[error("reading {name}: the document does not fit its schema")]
    Document {
        /// The document that was expected.
        name: &'static str,
        /// What JSON says, with the place.
        #[source]
        source: serde_json::Error,
    },
    /// Another message or another version of it.
    #[error("expected {expected}, found {found:?}: unknown message or version")]
    Name {
        /// What was expected.
        expected: &'static str,
        /// What the bytes say they are.
        found: String,
    },
    /// One field has a value that the type does not allow.
    #[error("reading {name}: {field}: {reason}")]
    Field {
        /// The message.
        name: &'static str,
        /// The field, by its protobuf name.
        field: &'static str,
        /// What is wrong, with the value.
        reason: String,
    },
}

impl Error {
    /// What the sender may do: nothing but send something else.
    pub fn code(&self) -> Code {
        match self {
            Error::Malformed { .. } | Error::Document { .. } | Error::Name { .. } | Error::Field { .. } => {
                Code::Invalid
            }
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        let mut message = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(source) = cause {
            message.push_str(": ");
            message.push_str(&source.to_string());
            cause = source.source();
        }
        Fault::new(error.code(), message)
    }
}
