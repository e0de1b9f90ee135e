//! The encoding of SSH: a length of four bytes, then so many bytes (RFC 4251, section 5).

/// Reads parts one after the other; nothing is read beyond the end.
pub(crate) struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Parts<'a> {
        Parts(bytes)
    }

    /// So many bytes as they are.
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn number(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    pub(crate) fn part(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        self.take(length)
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.part()?).ok()
    }

    /// Everything was read.
    pub(crate) fn is_done(&self) -> bool {
        self.0.is_empty()
    }
}

/// Writes one part.
pub(crate) fn put(bytes: &mut Vec<u8>, part: &[u8]) {
    // What we write is shorter than 4 GiB: statements and keys are bounded.
    bytes.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(part);
}
