//! The connection to the engine, and what its errors mean.

use bollard::{API_DEFAULT_VERSION, Docker, errors::Error as Said};
use platform::{Error, Result, StartOrder};
use tokio::sync::OnceCell;

/// Bound of one request in seconds, fetches of images excepted.
const TIMEOUT_SECONDS: u64 = 60;

/// A connection that is made, and its version negotiated, when it is first needed.
pub(crate) struct Engine {
    endpoint: String,
    docker: OnceCell<Docker>,
}

impl Engine {
    pub fn new(endpoint: &str) -> Engine {
        Engine { endpoint: endpoint.to_owned(), docker: OnceCell::new() }
    }

    pub async fn docker(&self) -> Result<&Docker> {
        self.docker.get_or_try_init(|| self.connect()).await
    }

    async fn connect(&self) -> Result<Docker> {
        let connect = match self.endpoint.starts_with("unix://") || self.endpoint.starts_with('/') {
            true => Docker::connect_with_unix(&self.endpoint, TIMEOUT_SECONDS, API_DEFAULT_VERSION),
            false => Docker::connect_with_http(&self.endpoint, TIMEOUT_SECONDS, API_DEFAULT_VERSION),
        };
        let docker = connect.map_err(away)?;
        docker.negotiate_version().await.map_err(away)
    }
}

fn away(error: Said) -> Error {
    Error::Unavailable { platform: "docker", source: error.into() }
}

/// The engine answered with this HTTP status.
pub(crate) fn is_status(error: &Said, status: u16) -> bool {
    matches!(error, Said::DockerResponseServerError { status_code, .. } if *status_code == status)
}

/// What the engine's error means for whoever attempted `what`.
pub(crate) fn said(what: impl Into<String>, error: Said) -> Error {
    let what = what.into();
    let text = error.to_string().to_lowercase();
    if text.contains("no space left on device") || text.contains("disk quota exceeded") {
        return Error::DiskFull { what };
    }
    match error {
        Said::RequestTimeoutError => {
            Error::Timeout { what, limit: std::time::Duration::from_secs(TIMEOUT_SECONDS) }
        }
        Said::SocketNotFoundError(_)
        | Said::HyperLegacyError { .. }
        | Said::HyperResponseError { .. }
        | Said::IOError { .. } => away(error),
        Said::DockerResponseServerError { status_code: 400, message } => {
            Error::invalid(format!("{what}: {message}"))
        }
        Said::DockerResponseServerError { status_code: 401 | 403, message } => {
            Error::Denied { what: format!("{what}: {message}") }
        }
        error => Error::Engine { what, source: error.into() },
    }
}

/// A container was created but its program could not begin.
pub(crate) fn not_started(order: &StartOrder, error: Said) -> Error {
    let text = error.to_string();
    let program = order.module.run.program().map_or("of the image", String::as_str);
    if text.contains("executable file not found") || text.contains("no such file or directory") {
        let image = order.module.run.image.as_deref().unwrap_or_default();
        return Error::ArtefactMissing {
            artefact: format!("program {program} in image {image}"),
            reason: text,
        };
    }
    said(format!("start container {}", order.id()), error)
}

#[cfg(test)]
mod tests {
    use model::Code;

    use super::*;

    fn answered(status_code: u16, message: &str) -> Said {
        Said::DockerResponseServerError { status_code, message: message.to_owned() }
    }

    #[test]
    fn what_the_engine_says_gets_the_code_that_decides_the_retry() {
        let cases = [
            (answered(500, "write /var/lib/docker/x: no space left on device"), Code::Overloaded),
            (answered(400, "invalid mount path"), Code::Invalid),
            (answered(403, "not you"), Code::Denied),
            (answered(500, "something broke"), Code::Unavailable),
            (Said::RequestTimeoutError, Code::Timeout),
            (Said::SocketNotFoundError("/x".to_owned()), Code::Unavailable),
            (Said::IOError { err: std::io::ErrorKind::ConnectionReset.into() }, Code::Unavailable),
        ];
        for (error, code) in cases {
            assert_eq!(said("try", error).code(), code);
        }
    }

    #[tokio::test]
    async fn an_engine_that_is_away_is_unavailable() {
        let away = Engine::new("unix:///no/such/docker.sock").docker().await.err().unwrap();

        assert_eq!(away.code(), Code::Unavailable);
        assert_eq!(away.to_string(), "platform docker is not reachable");
    }
}
