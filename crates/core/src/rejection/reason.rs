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
    /// The token is longer than allowed.
    TokenTooLong,
    /// The token's algorithm is not allowed.
    AlgorithmNotAllowed,
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
        match self {
            Self::NoToken => "no_token",
            Self::MalformedRequest => "malformed_request",
            Self::NamedInConnection => "named_in_connection",
            Self::AmbiguousPath => "ambiguous_path",
            Self::MalformedToken => "malformed_token",
            Self::TokenTooLong => "token_too_long",
            Self::AlgorithmNotAllowed => "algorithm_not_allowed",
            Self::UnknownKey => "unknown_key",
            Self::BadSignature => "bad_signature",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongAudience => "wrong_audience",
            Self::WrongType => "wrong_type",
            Self::MissingClaim => "missing_claim",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::LifeTooLong => "life_too_long",
            Self::Bound => "bound",
            Self::Revoked => "revoked",
            Self::Spent => "spent",
            Self::ClaimsDoNotFit => "claims_do_not_fit",
            Self::InsufficientScope => "insufficient_scope",
            Self::Unavailable => "unavailable",
            Self::Busy => "busy",
            Self::NotRecorded => "not_recorded",
            Self::Misconfigured => "misconfigured",
        }
    }

    /// Returns the description that the caller gets, in characters that fit an `error_description`.
    pub fn description(self) -> &'static str {
        match self {
            Self::NoToken => "a bearer token is required",
            Self::MalformedRequest => "the credentials can't be read",
            Self::NamedInConnection => "Connection names a field that is meant for the upstream",
            Self::AmbiguousPath => "the path is ambiguous",
            Self::MalformedToken => "the token is malformed",
            Self::TokenTooLong => "the token is too long",
            Self::AlgorithmNotAllowed => "the token's algorithm is not allowed",
            Self::UnknownKey => "the token's key is unknown",
            Self::BadSignature => "the token's signature is wrong",
            Self::WrongIssuer => "the token's issuer is not trusted",
            Self::WrongAudience => "the token is for another audience",
            Self::WrongType => "the token is of another type",
            Self::MissingClaim => "the token lacks a required claim",
            Self::Expired => "the token has expired",
            Self::NotYetValid => "the token is not valid yet",
            Self::LifeTooLong => "the token lives longer than allowed",
            Self::Bound => "the token is bound to a key, which can't be checked here",
            Self::Revoked => "the token was revoked",
            Self::Spent => "the token was used up",
            Self::ClaimsDoNotFit => "the token's claims are not as expected",
            Self::InsufficientScope => "the token doesn't grant this",
            Self::Unavailable => "the token can't be checked now",
            Self::Busy => "too many revocations are pending",
            Self::NotRecorded => "the revocation of the token could not be recorded",
            Self::Misconfigured => "the server is misconfigured",
        }
    }
}
