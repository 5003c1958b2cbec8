//! tower-revoke
