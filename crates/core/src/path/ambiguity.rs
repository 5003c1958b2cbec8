//! The classes of ambiguities, and which of them are allowed.

use http::Extensions;

/// Why two servers may read a path differently.
///
/// A rule over paths, the router behind it and the upstream behind that must read the same path;
/// otherwise the rule is evaded by another spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PathAmbiguity {
    /// The path doesn't start with a slash.
    NotAbsolute,
    /// A segment is empty (`//`), or has only matrix parameters. A trailing slash is none.
    EmptySegment,
    /// A segment is `.` or `..`, whether encoded or with matrix parameters. Other names that start
    /// with a dot, such as `.well-known`, are none.
    DotSegment,
    /// A backslash, raw or as `%5c`.
    Backslash,
    /// A slash as `%2f`.
    EncodedSlash,
    /// A percent sign as `%25`, which becomes another escape when it is decoded twice.
    EncodedPercent,
    /// A control character (U+0000 to U+001F, U+007F), raw or encoded, or a raw space.
    Control,
    /// A percent sign that two hexadecimal digits don't follow, such as `%zz`, `%2` or `%u0069`.
    InvalidEscape,
    /// The decoded path is not UTF-8; overlong forms aren't either.
    NotUtf8,
    /// A raw `?` or `#`: this is more than a path.
    QueryOrFragment,
    /// A `?` as `%3f` or a `#` as `%23`, which ends the path where a server sends on what it has
    /// decoded (nginx's `proxy_pass http://upstream$uri`, CVE-2024-38474 in Apache's httpd).
    EncodedQueryOrFragment,
    /// A semicolon as `%3b`.
    EncodedSemicolon,
    /// A raw semicolon: matrix parameters (path parameters), which some servers strip.
    MatrixParameters,
    /// An encoded letter, digit, `-`, `.`, `_` or `~` (RFC 3986 §2.3).
    EncodedUnreserved,
}

impl PathAmbiguity {
    /// What is wrong with the path, in words that fit an `error_description`.
    pub fn description(self) -> &'static str {
        match self {
            Self::NotAbsolute => "the path does not start with a slash",
            Self::EmptySegment => "the path has an empty segment",
            Self::DotSegment => "the path has a dot segment",
            Self::Backslash => "the path has a backslash",
            Self::EncodedSlash => "the path has an encoded slash",
            Self::EncodedPercent => "the path has an encoded percent sign",
            Self::Control => "the path has a control character",
            Self::InvalidEscape => "the path has an invalid escape",
            Self::NotUtf8 => "the path is not UTF-8",
            Self::QueryOrFragment => "the path has a query or a fragment",
            Self::EncodedQueryOrFragment => "the path has an encoded question mark or number sign",
            Self::EncodedSemicolon => "the path has an encoded semicolon",
            Self::MatrixParameters => "the path has matrix parameters",
            Self::EncodedUnreserved => "the path has an encoded unreserved character",
        }
    }

    /// All of them, in the order in which they are reported.
    pub(super) const ALL: [Self; 14] = [
        Self::NotAbsolute,
        Self::EmptySegment,
        Self::DotSegment,
        Self::Backslash,
        Self::EncodedSlash,
        Self::EncodedPercent,
        Self::Control,
        Self::InvalidEscape,
        Self::NotUtf8,
        Self::QueryOrFragment,
        Self::EncodedQueryOrFragment,
        Self::EncodedSemicolon,
        Self::MatrixParameters,
        Self::EncodedUnreserved,
    ];
}

impl std::fmt::Display for PathAmbiguity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.description())
    }
}

impl std::error::Error for PathAmbiguity {}

/// Which ambiguities of a path are allowed; none by default.
///
/// A layer that guards the paths of a service leaves its allowances in the request's extensions, so
/// that layers further in don't reject what it allowed.
///
/// ```
/// use tower_revoke_core::{PathAllowances, PathAmbiguity, read_path};
///
/// let allowed = PathAllowances::default().matrix_parameters();
/// assert_eq!(read_path("/invoices;v=2/1", allowed)?, "/invoices/1");
/// assert_eq!(
///     read_path("/orders/..;/invoices", allowed),
///     Err(PathAmbiguity::DotSegment),
/// );
/// # Ok::<_, PathAmbiguity>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathAllowances {
    pub(super) allowed: Classes,
}

impl PathAllowances {
    /// Allows [`PathAmbiguity::EncodedUnreserved`]. Dot segments stay rejected.
    #[must_use]
    pub const fn encoded_unreserved(self) -> Self {
        self.with(PathAmbiguity::EncodedUnreserved)
    }

    /// Allows [`PathAmbiguity::MatrixParameters`]. Rules don't see the parameters.
    #[must_use]
    pub const fn matrix_parameters(self) -> Self {
        self.with(PathAmbiguity::MatrixParameters)
    }

    /// The allowances that a layer further out left in the request's extensions.
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get().copied().unwrap_or_default()
    }

    pub(super) const fn with(self, ambiguity: PathAmbiguity) -> Self {
        Self {
            allowed: self.allowed.with(ambiguity),
        }
    }
}

/// A set of ambiguities, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Classes(u16);

impl Classes {
    pub(super) const fn with(self, ambiguity: PathAmbiguity) -> Self {
        Self(self.0 | 1 << ambiguity as u16)
    }

    pub(super) const fn contains(self, ambiguity: PathAmbiguity) -> bool {
        self.0 & (1 << ambiguity as u16) != 0
    }

    pub(super) fn first_besides(self, allowed: Self) -> Option<PathAmbiguity> {
        let rest = Self(self.0 & !allowed.0);
        match rest.0 {
            0 => None,
            _ => PathAmbiguity::ALL
                .into_iter()
                .find(|ambiguity| rest.contains(*ambiguity)),
        }
    }
}
