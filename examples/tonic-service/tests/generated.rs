//! Checks that the code in `src/generated` is up to date. After a change of the proto, `cargo test
//! -p tonic-service` regenerates it and fails once.

use std::{fs, path::Path};

use prost::Message;

const PROTO: &str = "orders/v1/orders.proto";

#[test]
fn the_generated_code_is_current() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = protox::compile([PROTO], [here.join("proto")]).expect("the proto compiles");
    let out = tempfile::tempdir().expect("a temp dir");
    fs::write(out.path().join("orders.v1.bin"), files.encode_to_vec()).expect("a file");
    tonic_prost_build::configure()
        .emit_rerun_if_changed(false)
        .out_dir(out.path())
        .compile_fds(files)
        .expect("the code is generated");

    let mut changed = Vec::new();
    for name in ["orders.v1.bin", "orders.v1.rs"] {
        let now = fs::read(out.path().join(name)).expect("it was generated");
        let kept = here.join("src/generated").join(name);
        if fs::read(&kept).ok().as_ref() != Some(&now) {
            fs::write(&kept, now).expect("a file");
            changed.push(name);
        }
    }
    assert!(changed.is_empty(), "regenerated, commit it: {changed:?}");
}
