//! Names that are signed.

/// The predicate type. A name, not an address: it is documented in `docs/approvals.md`.
pub const TYPE: &str = "https://code.example/attestation/approval/v1";
/// The namespace of the signatures, so that one that was made for something else is no approval.
pub const NAMESPACE: &str = "code-approval@code.example";
