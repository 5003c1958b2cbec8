//! Header fields that are lists.

use http::{HeaderMap, HeaderName};

/// Returns the members of the list in all lines of a header. Spaces, tabs and empty members are left
/// out (RFC 9110 §5.6.1).
pub fn list_members<'a>(
    headers: &'a HeaderMap,
    field: &HeaderName,
) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    headers
        .get_all(field)
        .into_iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}
