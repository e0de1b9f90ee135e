//! Images: there, fetched, and the one the spec pins.

use bollard::{Docker, models::ImageInspect, query_parameters::CreateImageOptions};
use futures::StreamExt as _;
use platform::{Error, Result, StartOrder};
use tracing::info;

use crate::{
    Settings,
    engine::{is_status, said},
};

/// Makes sure that the order's image is on the machine and has the digest the spec asks for.
pub(crate) async fn ensure(docker: &Docker, order: &StartOrder, settings: &Settings) -> Result<()> {
    let image = order.module.run.image.as_deref().unwrap_or_default();
    let found = match look(docker, image).await? {
        Some(found) => found,
        None => {
            fetch(docker, image, settings).await?;
            let missing = || Error::ArtefactMissing {
                artefact: image.to_owned(),
                reason: "the engine fetched it but does not have it".to_owned(),
            };
            look(docker, image).await?.ok_or_else(missing)?
        }
    };
    let Some(asked) = &order.module.run.digest else { return Ok(()) };
    let has = digests(&found);
    if has.contains(&asked.to_string()) {
        return Ok(());
    }
    Err(Error::WrongDigest { artefact: image.to_owned(), found: has.join(", "), asked: asked.to_string() })
}

/// The digests an image is known by: of its configuration (its id) and of its manifests.
fn digests(image: &ImageInspect) -> Vec<String> {
    let manifests =
        image.repo_digests.iter().flatten().filter_map(|name| Some(name.split_once('@')?.1.to_owned()));
    image.id.iter().cloned().chain(manifests).collect()
}

async fn look(docker: &Docker, image: &str) -> Result<Option<ImageInspect>> {
    match docker.inspect_image(image).await {
        Ok(found) => Ok(Some(found)),
        Err(error) if is_status(&error, 404) => Ok(None),
        Err(error) => Err(said(format!("look at image {image}"), error)),
    }
}

async fn fetch(docker: &Docker, image: &str, settings: &Settings) -> Result<()> {
    let missing = |reason: String| Error::ArtefactMissing { artefact: image.to_owned(), reason };
    if !settings.pull {
        return Err(missing("it is not on this machine and fetching is switched off".to_owned()));
    }
    if let (Some(registry), Some(registries)) = (registry(image), &settings.registries) {
        let denied =
            |why| Error::Denied { what: format!("image {image} is not fetched from {registry}: {why}") };
        registries.check_registry(registry).await.map_err(denied)?;
    }
    info!(image, "fetching an image");
    let options = CreateImageOptions { from_image: Some(tagged(image)), ..Default::default() };
    let mut parts = docker.create_image(Some(options), None, None);
    let fetched = async {
        while let Some(part) = parts.next().await {
            let failed = match part {
                Ok(part) => part.error_detail.and_then(|detail| detail.message),
                Err(error) => match said(format!("fetch image {image}"), error) {
                    error @ (Error::DiskFull { .. } | Error::Unavailable { .. }) => return Err(error),
                    error => Some(model::Fault::from(error).message),
                },
            };
            if let Some(reason) = failed {
                return Err(missing(format!("it is not on this machine and cannot be fetched: {reason}")));
            }
        }
        Ok(())
    };
    match tokio::time::timeout(settings.pull_timeout, fetched).await {
        Ok(done) => done,
        Err(_) => {
            Err(Error::Timeout { what: format!("fetching image {image}"), limit: settings.pull_timeout })
        }
    }
}

/// The host, with its port if it has one, that an image's name says it is fetched from. None: from wherever the engine is
/// set up to fetch, Docker Hub unless told otherwise; told apart as the engine does.
pub fn registry(image: &str) -> Option<&str> {
    let (first, _) = image.split_once('/')?;
    let is_host = first.contains(['.', ':']) || first == "localhost" || first.contains(char::is_uppercase);
    is_host.then_some(first)
}

/// A name without tag or digest means `latest`; said outright, since the engine would fetch every tag.
fn tagged(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains(':') || last.contains('@') { image.to_owned() } else { format!("{image}:latest") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_is_what_stands_before_the_first_slash_if_it_is_a_host() {
        for (image, host) in [
            ("registry.example.com/shop/web:1", Some("registry.example.com")),
            ("localhost/web", Some("localhost")),
            ("localhost:5000/web@sha256:ab", Some("localhost:5000")),
            ("127.0.0.1:5000/web", Some("127.0.0.1:5000")),
            ("[::1]:5000/web", Some("[::1]:5000")),
            ("Inside/web", Some("Inside")),
            ("web:1", None),
            ("shop/web:1", None),
            ("web@sha256:ab", None),
        ] {
            assert_eq!(registry(image), host, "{image}");
        }
    }

    #[test]
    fn a_name_without_a_tag_means_the_latest() {
        assert_eq!(tagged("localhost:5000/web"), "localhost:5000/web:latest");
        assert_eq!(tagged("web:1"), "web:1");
        assert_eq!(tagged("web@sha256:ab"), "web@sha256:ab");
    }
}
