//! Counters per service and client for tower-revoke.
