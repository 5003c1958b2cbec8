//! Which verifier a token is for, by its form.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use crate::{Reason, claims::claims_without_names, token::is_b64token};

/// Which tokens one verifier gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    Prefix(String),
    Issuer(String),
    Jwt,
    Other,
}

/// Why a [`VerifierSet`](crate::VerifierSet) can't be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifierSetError {
    /// There is no verifier.
    #[error("the set has no verifier")]
    Empty,
    /// No bearer token begins with the prefix: it is empty, or has a character that no token has.
    #[error("no token begins with the prefix {0:?}: use letters, digits, `-` and `_`")]
    BadPrefix(String),
    /// A signed JWT may begin with the prefix.
    #[error("a JWT may begin with the prefix {0:?}, as with `ey`")]
    JwtPrefix(String),
    /// Two prefixes are equal, or one is the beginning of the other.
    #[error("a token may begin with both prefixes, {0:?} and {1:?}")]
    OverlappingPrefixes(String, String),
    /// An issuer has two verifiers.
    #[error("the issuer {0:?} has two verifiers")]
    DuplicateIssuer(String),
    /// `jwt` or `other` was called twice.
    #[error("`{0}` has two verifiers")]
    Duplicate(&'static str),
}

/// The numbers of the verifiers, by their rules.
#[derive(Debug, Default)]
pub(super) struct Routes {
    prefixes: Vec<(String, usize)>,
    issuers: Vec<(String, usize)>,
    jwt: Option<usize>,
    other: Option<usize>,
}

impl Routes {
    pub(super) fn new(rules: Vec<Rule>) -> Result<Self, VerifierSetError> {
        if rules.is_empty() {
            return Err(VerifierSetError::Empty);
        }
        let mut routes = Self::default();
        for (at, rule) in rules.into_iter().enumerate() {
            match rule {
                Rule::Prefix(prefix) => routes.add_prefix(prefix, at)?,
                Rule::Issuer(issuer) => {
                    if routes.issuers.iter().any(|(other, _)| *other == issuer) {
                        return Err(VerifierSetError::DuplicateIssuer(issuer));
                    }
                    routes.issuers.push((issuer, at));
                }
                Rule::Jwt => add_one("jwt", &mut routes.jwt, at)?,
                Rule::Other => add_one("other", &mut routes.other, at)?,
            }
        }
        Ok(routes)
    }

    fn add_prefix(&mut self, prefix: String, at: usize) -> Result<(), VerifierSetError> {
        if prefix.is_empty() || !prefix.bytes().all(is_b64token) {
            return Err(VerifierSetError::BadPrefix(prefix));
        }
        // The header of a JWT begins with `{"`, with a space or with a line break between them.
        if (["ey", "ew"].iter()).any(|jwt| prefix.starts_with(jwt) || jwt.starts_with(&prefix)) {
            return Err(VerifierSetError::JwtPrefix(prefix));
        }
        let overlaps =
            |(other, _): &&(String, usize)| other.starts_with(&prefix) || prefix.starts_with(other);
        if let Some((other, _)) = self.prefixes.iter().find(overlaps) {
            return Err(VerifierSetError::OverlappingPrefixes(other.clone(), prefix));
        }
        self.prefixes.push((prefix, at));
        Ok(())
    }

    /// The verifier of a token, if its issuer doesn't matter.
    pub(super) fn by_form(&self, token: &[u8]) -> Option<Result<usize, Reason>> {
        let by_prefix = self
            .prefixes
            .iter()
            .find(|(prefix, _)| token.starts_with(prefix.as_bytes()));
        let at = match by_prefix {
            Some((_, at)) => Some(*at),
            None if !is_jwt(token) => self.other,
            None if self.issuers.is_empty() => self.jwt,
            None => return None,
        };
        Some(at.ok_or(Reason::UnknownForm))
    }

    /// The verifier of a token.
    pub(super) fn choose(&self, token: &str) -> Result<usize, Reason> {
        if let Some(at) = self.by_form(token.as_bytes()) {
            return at;
        }
        let at = self.of_issuer(issuer_of(token).as_deref());
        at.ok_or(Reason::WrongIssuer)
    }

    /// The verifier of JWTs of an issuer.
    pub(super) fn of_issuer(&self, issuer: Option<&str>) -> Option<usize> {
        let mut issuers = self.issuers.iter();
        let own = issuers.find(|(name, _)| issuer == Some(name));
        own.map(|(_, at)| *at).or(self.jwt)
    }

    pub(super) fn verifiers_of_jwts(&self) -> impl Iterator<Item = usize> {
        self.issuers.iter().map(|(_, at)| *at).chain(self.jwt)
    }
}

fn add_one(
    rule: &'static str,
    place: &mut Option<usize>,
    at: usize,
) -> Result<(), VerifierSetError> {
    match place.replace(at) {
        Some(_) => Err(VerifierSetError::Duplicate(rule)),
        None => Ok(()),
    }
}

/// Whether it has three parts of base64url characters. A part may be empty.
fn is_jwt(token: &[u8]) -> bool {
    // Without an early exit, so that many bytes are compared at one time.
    let (dots, others) = token
        .iter()
        .fold((0_usize, 0_usize), |(dots, others), byte| {
            let is_in_part = byte.is_ascii_alphanumeric() | (*byte == b'-') | (*byte == b'_');
            let is_dot = *byte == b'.';
            (
                dots + usize::from(is_dot),
                others + usize::from(!(is_in_part | is_dot)),
            )
        });
    dots == 2 && others == 0
}

/// The `iss` of a token, which is not verified.
fn issuer_of(token: &str) -> Option<String> {
    let payload = BASE64_URL_SAFE_NO_PAD
        .decode(token.split('.').nth(1)?)
        .ok()?;
    let claims = claims_without_names(String::from_utf8(payload).ok()?).ok()?;
    claims.issuer().map(str::to_owned)
}
