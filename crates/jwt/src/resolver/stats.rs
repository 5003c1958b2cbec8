//! The statistics of resolved issuers.

/// The state of the issuers that an [`IssuerResolver`](crate::IssuerResolver) resolves. The counts are
/// since the verifier was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct IssuerStats {
    /// Issuers that are trusted now.
    pub trusted: usize,
    /// Questions to the resolver.
    pub lookups: u64,
    /// Questions whose answer was that the issuer is not trusted.
    pub untrusted: u64,
    /// Questions without an answer that can be used.
    pub failures: u64,
    /// Tokens that were rejected with 503 because the resolver was asked too often.
    pub limited: u64,
    /// Issuers that were forgotten because there were more than
    /// [`issuer_capacity`](crate::JwtVerifierBuilder::issuer_capacity).
    pub evicted: u64,
}
