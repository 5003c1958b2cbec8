//! The reasons to reject, each with its status and error code.

use http::StatusCode;

/// Why a request was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The request has no bearer credentials.
    NoToken,
    /// The credentials can't be read, or came more than once.
    MalformedRequest,
    /// `Connection` asks a proxy to drop a field that is meant for the upstream, such as
    /// `Authorization`.
    NamedInConnection,
    /// Servers may read the path differently, and a rule depends on it.
    AmbiguousPath,
    /// The token can't be read, or its claims are malformed.
    MalformedToken,
    /// No verifier takes tokens of this form, see [`VerifierSet`](crate::VerifierSet).
    UnknownForm,
    /// The token is longer than allowed.
    TokenTooLong,
    /// The token's algorithm is not allowed.
    AlgorithmNotAllowed,
    /// The token is opaque, and nothing is known of it: it was never issued, or expired long ago.
    UnknownToken,
    /// The authorization server says that the token is not active: it is unknown, expired, revoked, or
    /// not for this service.
    Inactive,
    /// The token names a key that its issuer doesn't have.
    UnknownKey,
    /// The token's signature is wrong.
    BadSignature,
    /// The token's issuer is not trusted here.
    WrongIssuer,
    /// The token is for another audience.
    WrongAudience,
    /// The token is of another type.
    WrongType,
    /// The token lacks a required claim.
    MissingClaim,
    /// A claim of the token has none of the values that are accepted.
    WrongClaim,
    /// The token has expired, or has no expiry.
    Expired,
    /// The token is not valid yet.
    NotYetValid,
    /// The token lives longer than allowed.
    LifeTooLong,
    /// The token is bound to a key of its holder (`cnf`), which can't be checked here.
    Bound,
    /// The token was revoked.
    Revoked,
    /// The token has no uses left.
    Spent,
    /// The token's claims are not of the type that the program reads.
    ClaimsDoNotFit,
    /// The token doesn't grant what the request needs.
    InsufficientScope,
    /// The token can't be checked now: the list or the keys are unavailable.
    Unavailable,
    /// Too many revocations are pending.
    Busy,
    /// A stream can't be cut off over HTTP/1.0 so that the client sees it.
    HttpVersion,
    /// The inner service has answered, and the revocation could not be recorded.
    NotRecorded,
    /// The stack is misconfigured: a layer is missing, or two disagree.
    Misconfigured,
}

impl Reason {
    /// Returns the HTTP status. Over gRPC that is 200, beside [`grpc_status`](Self::grpc_status).
    pub fn status(self) -> StatusCode {
        match self {
            Self::MalformedRequest | Self::NamedInConnection | Self::AmbiguousPath => {
                StatusCode::BAD_REQUEST
            }
            Self::InsufficientScope => StatusCode::FORBIDDEN,
            Self::Unavailable | Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::HttpVersion => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::NotRecorded | Self::Misconfigured => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::UNAUTHORIZED,
        }
    }

    /// Returns the gRPC status: 16 UNAUTHENTICATED, 7 PERMISSION_DENIED, 14 UNAVAILABLE, 13 INTERNAL.
    pub fn grpc_status(self) -> u8 {
        match self.status() {
            StatusCode::FORBIDDEN => 7,
            StatusCode::SERVICE_UNAVAILABLE => 14,
            StatusCode::INTERNAL_SERVER_ERROR => 13,
            _ => 16,
        }
    }

    /// Returns the error code of RFC 6750 §3.1. `None` if there are no credentials, or if the reason
    /// is not about them.
    pub fn error_code(self) -> Option<&'static str> {
        match self.status() {
            StatusCode::BAD_REQUEST => Some("invalid_request"),
            StatusCode::FORBIDDEN => Some("insufficient_scope"),
            StatusCode::UNAUTHORIZED if self != Self::NoToken => Some("invalid_token"),
            _ => None,
        }
    }

    /// Returns a short name, for logs and metric labels.
    pub fn label(self) -> &'static str {
        self.texts().0
    }

    /// Returns the description that the caller gets, in characters that fit an `error_description`.
    pub fn description(self) -> &'static str {
        self.texts().1
    }

    /// The label and the description.
    #[rustfmt::skip]
    fn texts(self) -> (&'static str, &'static str) {
        match self {
            Self::NoToken => ("no_token", "a bearer token is required"),
            Self::MalformedRequest => ("malformed_request", "the credentials can't be read"),
            Self::NamedInConnection => ("named_in_connection", "Connection names a field that is meant for the upstream"),
            Self::AmbiguousPath => ("ambiguous_path", "the path is ambiguous"),
            Self::MalformedToken => ("malformed_token", "the token is malformed"),
            Self::UnknownForm => ("unknown_form", "tokens of this form are not accepted"),
            Self::TokenTooLong => ("token_too_long", "the token is too long"),
            Self::AlgorithmNotAllowed => ("algorithm_not_allowed", "the token's algorithm is not allowed"),
            Self::UnknownToken => ("unknown_token", "the token is unknown"),
            Self::Inactive => ("inactive_token", "the token is not active"),
            Self::UnknownKey => ("unknown_key", "the token's key is unknown"),
            Self::BadSignature => ("bad_signature", "the token's signature is wrong"),
            Self::WrongIssuer => ("wrong_issuer", "the token's issuer is not trusted"),
            Self::WrongAudience => ("wrong_audience", "the token is for another audience"),
            Self::WrongType => ("wrong_type", "the token is of another type"),
            Self::MissingClaim => ("missing_claim", "the token lacks a required claim"),
            Self::WrongClaim => ("wrong_claim", "a claim of the token has another value"),
            Self::Expired => ("expired", "the token has expired"),
            Self::NotYetValid => ("not_yet_valid", "the token is not valid yet"),
            Self::LifeTooLong => ("life_too_long", "the token lives longer than allowed"),
            Self::Bound => ("bound", "the token is bound to a key, which can't be checked here"),
            Self::Revoked => ("revoked", "the token was revoked"),
            Self::Spent => ("spent", "the token was used up"),
            Self::ClaimsDoNotFit => ("claims_do_not_fit", "the token's claims are not as expected"),
            Self::InsufficientScope => ("insufficient_scope", "the token doesn't grant this"),
            Self::Unavailable => ("unavailable", "the token can't be checked now"),
            Self::Busy => ("busy", "too many revocations are pending"),
            Self::HttpVersion => ("http_version", "HTTP/1.1 or later is required"),
            Self::NotRecorded => ("not_recorded", "the revocation of the token could not be recorded"),
            Self::Misconfigured => ("misconfigured", "the server is misconfigured"),
        }
    }
}
