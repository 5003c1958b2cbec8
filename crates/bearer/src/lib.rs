//! tower-revoke-bearer
