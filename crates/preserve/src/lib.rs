//! tower-revoke-preserve
