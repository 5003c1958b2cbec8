//! The reasons to reject, each with its status and error code.

use http::StatusCode;

/// Why a request was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// No bearer credentials came.
    NoToken,
    /// Credentials came that can't be read, or more than once.
    MalformedRequest,
    /// `Connection` asks a proxy to drop what is meant for the upstream, such as `Authorization`.
    NamedInConnection,
    /// Servers may read the path differently, and a rule depends on it.
    AmbiguousPath,
    /// The token is none, or says things that no token can say.
    MalformedToken,
    /// The token is longer than is allowed.
    TokenTooLong,
    /// Its algorithm is not among those allowed.
    AlgorithmNotAllowed,
    /// It names a key that its issuer doesn't have.
    UnknownKey,
    /// Its signature is wrong.
    BadSignature,
    /// It is from an issuer that is not trusted here.
    WrongIssuer,
    /// It is for somebody else.
    WrongAudience,
    /// It is a token of another kind.
    WrongType,
    /// It lacks a claim that is required.
    MissingClaim,
    /// Its time is past, or it doesn't say when that is.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// Its life is longer than is allowed.
    LifeTooLong,
    /// It is bound to a key of its holder, and that binding can't be checked here (`cnf`).
    Bound,
    /// It was revoked.
    Revoked,
    /// Its uses are gone.
    Spent,
    /// Its claims are not of the type that the program reads.
    ClaimsDoNotFit,
    /// It doesn't grant what is asked.
    InsufficientScope,
    /// Whether it is good can't be known now: the list or the keys can't be asked.
    Unavailable,
    /// Too many responses are owed a revocation already.
    Busy,
    /// The inner service has answered, and the token's end could not be written down.
    NotRecorded,
    /// The stack is misconfigured: a layer is missing, or two disagree.
    Misconfigured,
}

impl Reason {
    /// The status over HTTP. Over gRPC it is 200 and [`grpc_status`](Self::grpc_status) counts.
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

    /// The gRPC status: 16 UNAUTHENTICATED, 7 PERMISSION_DENIED, 14 UNAVAILABLE, 13 INTERNAL.
    pub fn grpc_status(self) -> u8 {
        match self.status() {
            StatusCode::FORBIDDEN => 7,
            StatusCode::SERVICE_UNAVAILABLE => 14,
            StatusCode::INTERNAL_SERVER_ERROR => 13,
            _ => 16,
        }
    }

    /// The error code of RFC 6750 §3.1; none if no credentials came, or if it isn't about them.
    pub fn error_code(self) -> Option<&'static str> {
        match self.status() {
            StatusCode::BAD_REQUEST => Some("invalid_request"),
            StatusCode::FORBIDDEN => Some("insufficient_scope"),
            StatusCode::UNAUTHORIZED if self != Self::NoToken => Some("invalid_token"),
            _ => None,
        }
    }

    /// A short name, for logs and metric labels.
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

    /// What the caller is told, in words that fit an `error_description`.
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
            Self::MissingClaim => "the token lacks a claim that is required",
            Self::Expired => "the token has expired",
            Self::NotYetValid => "the token is not valid yet",
            Self::LifeTooLong => "the token lives longer than is allowed",
            Self::Bound => "the token is bound to a key, which can't be checked here",
            Self::Revoked => "the token was revoked",
            Self::Spent => "the token was used up",
            Self::ClaimsDoNotFit => "the token's claims are not what is expected",
            Self::InsufficientScope => "the token doesn't grant this",
            Self::Unavailable => "the token can't be checked now",
            Self::Busy => "too many requests are being finished",
            Self::NotRecorded => "the end of the token could not be recorded",
            Self::Misconfigured => "the server is misconfigured",
        }
    }
}
