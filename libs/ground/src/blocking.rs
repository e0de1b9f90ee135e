//! Work that waits for a disk or computes for long.

/// The work did not end: it panicked, or the process is stopping.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("work on a thread of its own broke off: {0}")]
pub struct Broken(pub String);

/// Does `work` on a thread where it holds nobody up. It goes on to its end even when the caller is dropped.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Broken> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Broken(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_panics_is_an_error_that_says_so() {
        let fine = blocking(|| 3).await;
        let broken: Result<(), Broken> = blocking(|| panic!("no such disk")).await;

        assert_eq!(fine, Ok(3));
        assert!(broken.unwrap_err().0.contains("no such disk"));
    }

    #[tokio::test]
    async fn work_goes_on_when_nobody_waits_for_it_any_more() {
        let (begin, begun) = std::sync::mpsc::channel::<()>();
        let (end, ended) = tokio::sync::oneshot::channel();
        let work = blocking(move || {
            begun.recv().unwrap();
            end.send(()).unwrap();
        });

        let mut work = Box::pin(work);
        assert!(futures::poll!(work.as_mut()).is_pending());
        drop(work);
        begin.send(()).unwrap();

        assert_eq!(ended.await, Ok(()));
    }
}
