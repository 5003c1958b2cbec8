//! tower-revoke-jwt
