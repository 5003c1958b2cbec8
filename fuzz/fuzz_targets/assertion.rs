#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tower_revoke_properties::check("assertion", input));
