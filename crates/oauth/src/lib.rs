//! RFC 7009 for tower-revoke: the authorization server is told.
