//! tower-revoke-testing
