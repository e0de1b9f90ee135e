//! Evidence: bytes that are known by their digest, such as full test reports.

use async_nats::jetstream::object_store::{InfoErrorKind, ObjectInfo, ObjectStore};
use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use model::Digest;

use crate::{Bus, Error, subjects::evidence::ALL};

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
    ///
    /// Read message by message from the stream's leader: the client's own way makes a consumer that pushes, and whoever may
    /// make one may have the broker publish wherever it likes.
    pub async fn get_evidence(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        let (name, stream) = (digest.to_string(), ALL.stream());
        let missing = || Error::Missing(format!("evidence {name}"));
        let place = format!("$O.{}.M.{}", ALL.name, URL_SAFE.encode(&name));
        let told = self.last_on(&stream, &place).await?.ok_or_else(missing)?;
        let info: ObjectInfo = serde_json::from_slice(&told.payload)
            .map_err(|error| Error::broker(format!("reading evidence {name}"), error))?;
        if info.deleted {
            return Err(missing());
        }
        let chunks = format!("$O.{}.C.{}", ALL.name, info.nuid);
        let (mut bytes, mut next) = (Vec::new(), 1);
        for _ in 0..info.chunks {
            let chunk = self.next_on(&stream, &chunks, next).await?.ok_or_else(missing)?;
            next = chunk.sequence + 1;
            bytes.extend_from_slice(&chunk.payload);
        }
        if Digest::of_bytes(&bytes) != *digest {
            return Err(Error::Corrupt { digest: name });
        }
        Ok(bytes)
    }

    async fn evidence(&self) -> Result<ObjectStore, Error> {
        self.jetstream
            .get_object_store(ALL.name)
            .await
            .map_err(|error| Error::broker("opening the object store for evidence", error))
    }
}
