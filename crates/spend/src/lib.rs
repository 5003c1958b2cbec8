//! tower-revoke-spend
