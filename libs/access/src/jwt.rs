//! JSON Web Tokens: our own for one act, and those of other issuers. The signature is checked by `jsonwebtoken`; what may
//! stand in a token at all, and that it says one thing only, is checked here before.

pub mod actor;
pub mod foreign;
pub mod strict;
