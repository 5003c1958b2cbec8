//! tower-revoke-list
