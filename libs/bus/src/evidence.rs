//! Evidence: bytes that are known by their digest, such as full test reports.

use async_nats::jetstream::object_store::{GetErrorKind, InfoErrorKind, ObjectStore};
use model::Digest;
use tokio::io::AsyncReadExt;

use crate::{Bus, Error, streams::EVIDENCE};

impl Bus {
    /// Stores the bytes under their digest. Storing the same again costs one look.
    pub async fn put_evidence(&self, bytes: &[u8]) -> Result<Digest, Error> {
        let digest = Digest::of_bytes(bytes);
        let name = digest.to_string();
        let store = self.evidence().await?;
        match store.info(&name).await {
            Ok(info) if !info.deleted => return Ok(digest),
            Ok(_) => {}
            Err(error) if error.kind() == InfoErrorKind::NotFound => {}
            Err(error) => return Err(Error::broker(format!("looking for evidence {name}"), error)),
        }
        let mut reader = bytes;
        store
            .put(name.as_str(), &mut reader)
            .await
            .map_err(|error| Error::broker(format!("storing evidence {name}"), error))?;
        Ok(digest)
    }

    /// The bytes of a digest, checked against it. [`Error::Missing`] when there are none.
    pub async fn get_evidence(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        let name = digest.to_string();
        let mut object = match self.evidence().await?.get(&name).await {
            Ok(object) => object,
            Err(error) if error.kind() == GetErrorKind::NotFound => {
                return Err(Error::Missing(format!("evidence {name}")));
            }
            Err(error) => return Err(Error::broker(format!("reading evidence {name}"), error)),
        };
        let mut bytes = Vec::new();
        object
            .read_to_end(&mut bytes)
            .await
            .map_err(|error| Error::broker(format!("reading evidence {name}"), error))?;
        if Digest::of_bytes(&bytes) != *digest {
            return Err(Error::Corrupt { digest: name });
        }
        Ok(bytes)
    }

    async fn evidence(&self) -> Result<ObjectStore, Error> {
        self.jetstream
            .get_object_store(EVIDENCE)
            .await
            .map_err(|error| Error::broker("opening the object store for evidence", error))
    }
}
