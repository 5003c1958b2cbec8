//! Issuers that are not known when the verifier is built: who is trusted, and what is kept of it.

mod answers;
mod lookup;
mod rate;
mod stats;
mod template;

use tower_revoke_core::{BoxError, BoxFuture};

pub(crate) use self::{
    answers::Resolved,
    lookup::{Limits, ResolvedIssuers},
    rate::RateLimit,
};
pub use self::{
    stats::IssuerStats,
    template::{IssuerTemplate, IssuerTemplateError, TemplateResolver},
};
use crate::TrustedIssuer;

/// Decides which issuers are trusted that were not known when the verifier was built: those of a
/// customer's tenant, or of one that is looked up in a database.
///
/// The verifier makes no URL of a token's `iss`: keys are fetched from where the resolver says. A
/// resolver that turns `iss` into a URL itself lets any caller choose a server that this program
/// connects to, and then trusts it. [`IssuerTemplate`] compares `iss` byte by byte with a URL in which
/// only the tenant varies.
///
/// # What is asked, and how often
/// The verifier asks about the `iss` of a token that is not verified yet, so of whatever a caller made
/// up. An `iss` of a configured issuer is never asked about, nor one of more than 2,048 bytes or with
/// other characters than printable ASCII; that is rejected with 401.
///
/// | `iss` is | a token is |
/// |---|---|
/// | trusted, by an answer that is not older than [`issuer_max_age`](crate::JwtVerifierBuilder::issuer_max_age) | verified by the keys and rules of the answer |
/// | not trusted, or [`may_trust`](Self::may_trust) rejects it | rejected with 401 |
/// | being asked about | held until there is an answer, for [`key_fetch_timeout`](crate::JwtVerifierBuilder::key_fetch_timeout) at most |
/// | one that the resolver could not answer, or that it may not be asked about, see [`issuer_lookups_per_second`](crate::JwtVerifierBuilder::issuer_lookups_per_second) | rejected with 503 |
///
/// At most one question about an issuer is open at any time, and another one is asked only after
/// [`issuer_retry_interval`](crate::JwtVerifierBuilder::issuer_retry_interval). From half of
/// `issuer_max_age` on, the next token asks again in the background. An answer with other keys or rules
/// applies to the tokens that were verified before, too; one that no longer trusts the issuer rejects
/// them on their next use.
///
/// # Examples
/// Customers bring issuers of their own, which are in a database:
///
/// ```
/// # use std::collections::HashMap;
/// use tower_revoke_core::BoxError;
/// use tower_revoke_jwt::{IssuerResolver, JwtVerifier, TrustedIssuer};
/// # if cfg!(not(all(feature = "aws-lc-rs", feature = "https"))) { return Ok(()) }
///
/// # struct Customer { issuer: String, audience: String }
/// # struct Database;
/// # impl Database {
/// #     async fn customer_of(&self, issuer: &str) -> Result<Option<Customer>, BoxError> { Ok(None) }
/// # }
/// # let database = Database;
/// struct Customers(Database);
///
/// impl IssuerResolver for Customers {
///     async fn resolve(&self, issuer: &str) -> Result<Option<TrustedIssuer>, BoxError> {
///         let customer = self.0.customer_of(issuer).await?;
///         // The URL is the one that the customer has registered.
///         Ok(customer.map(|it| TrustedIssuer::new(it.issuer).discover().audience(it.audience)))
///     }
/// }
///
/// let tokens = JwtVerifier::issuer_resolver(Customers(database))
///     .without_revocations() // or .revocations(list)
///     .build()?;
/// # Ok::<(), BoxError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't resolve issuers",
    note = "implement `IssuerResolver`, or use `IssuerTemplate::resolver`"
)]
pub trait IssuerResolver: Send + Sync + 'static {
    /// Returns whether `issuer` may be a trusted one, as far as that can be said at once and at no
    /// cost, such as by its form. Defaults to true.
    ///
    /// It is called for each token of an issuer that is not known to be trusted. What it rejects takes
    /// neither a question nor memory, so a flood of made-up issuers that it recognizes costs nothing.
    fn may_trust(&self, issuer: &str) -> bool {
        let _ = issuer;
        true
    }

    /// Returns the keys and rules of `issuer`, or `None` if it is not trusted. The name of the
    /// [`TrustedIssuer`] must be `issuer`, byte by byte.
    ///
    /// It runs in a task of its own, and is dropped after `key_fetch_timeout`.
    ///
    /// # Errors
    /// Why it can't be said now, which is logged. It must not hold a secret.
    fn resolve(
        &self,
        issuer: &str,
    ) -> impl Future<Output = Result<Option<TrustedIssuer>, BoxError>> + Send;
}

/// [`IssuerResolver`], as an object.
pub(crate) trait DynResolver: Send + Sync {
    fn may_trust(&self, issuer: &str) -> bool;

    fn resolve<'a>(
        &'a self,
        issuer: &'a str,
    ) -> BoxFuture<'a, Result<Option<TrustedIssuer>, BoxError>>;
}

impl<R: IssuerResolver> DynResolver for R {
    fn may_trust(&self, issuer: &str) -> bool {
        IssuerResolver::may_trust(self, issuer)
    }

    fn resolve<'a>(
        &'a self,
        issuer: &'a str,
    ) -> BoxFuture<'a, Result<Option<TrustedIssuer>, BoxError>> {
        Box::pin(IssuerResolver::resolve(self, issuer))
    }
}
