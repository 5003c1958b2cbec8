//! Tests a key file that changes at run time.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, UNIX_EPOCH},
};

use serde_json::json;
use tempfile::TempDir;
use tower_revoke_core::{Clock, ManualClock, Reason, TokenVerifier};
use tower_revoke_jwt::{Algorithm, IssuerError, JwtVerifier, JwtVerifierError, KeySetError};
use tower_revoke_testing::{RecordedLog, TestAlgorithm, TestIssuer};

use crate::support::*;

struct Setup {
    issuer: TestIssuer,
    tokens: JwtVerifier,
    hand: ManualClock,
    path: PathBuf,
    _folder: TempDir,
}

impl Setup {
    fn new() -> Self {
        let (issuer, clock, hand) = issuer();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        issuer.write_jwks(&path).unwrap();
        let tokens = build(&path, &clock).unwrap();
        Self {
            issuer,
            tokens,
            hand,
            path,
            _folder: folder,
        }
    }

    fn publish(&self) {
        self.issuer.write_jwks(&self.path).unwrap();
    }

    /// Sets the file's modification time.
    fn written_at(&self, secs: u64) {
        let at = UNIX_EPOCH + Duration::from_secs(secs);
        let file = fs::File::options().write(true).open(&self.path).unwrap();
        file.set_times(fs::FileTimes::new().set_modified(at))
            .unwrap();
    }

    /// Advances the time until the file is checked again.
    fn later(&self) {
        self.hand.advance(Duration::from_secs(1));
    }
}

fn build(path: &PathBuf, clock: &Clock) -> Result<JwtVerifier, JwtVerifierError> {
    JwtVerifier::issuer(ISSUER)
        .audience("orders")
        .jwks_file(path)
        .clock(clock.clone())
        .without_revocations()
        .build()
}

#[tokio::test]
async fn a_rotated_key_is_accepted_as_soon_as_it_is_published() {
    let setup = Setup::new();
    let old = setup.issuer.token().sign();
    verify(&setup.tokens, &old).await.unwrap();
    setup.issuer.rotate();
    let new = setup.issuer.token().sign();
    setup.publish();
    // No time has passed: the unknown kid triggers a check of the file.
    assert!(verify(&setup.tokens, &new).await.is_ok());
    assert!(
        cached(&setup.tokens, &old).unwrap().is_ok(),
        "the old key is still there"
    );
}

#[tokio::test]
async fn a_candidate_signed_with_a_key_just_published_is_accepted() {
    let setup = Setup::new();
    setup.issuer.rotate();
    setup.publish();
    let new = bearer(&setup.issuer.token().sign());
    assert!(setup.tokens.verify_candidate(&new).await.is_ok());
}

#[tokio::test]
async fn unknown_kids_check_the_file_at_a_limited_rate() {
    let setup = Setup::new();
    let made_up = setup.issuer.token().header("kid", "made up").sign();
    assert_eq!(rejection(&setup.tokens, &made_up).await, Reason::UnknownKey);
    setup.issuer.rotate();
    setup.publish();
    let new = setup.issuer.token().sign();
    assert_eq!(
        rejection(&setup.tokens, &new).await,
        Reason::UnknownKey,
        "checked just now"
    );
    setup.hand.advance(Duration::from_millis(100));
    assert!(verify(&setup.tokens, &new).await.is_ok());
}

#[tokio::test]
async fn a_withdrawn_key_is_rejected_on_the_next_call() {
    let setup = Setup::new();
    let token = setup.issuer.token().sign();
    verify(&setup.tokens, &token).await.unwrap();
    let old = setup.issuer.key_id();
    setup.issuer.rotate();
    setup.issuer.withdraw(&old);
    setup.publish();
    setup.later();
    assert!(cached(&setup.tokens, &token).is_none());
    assert_eq!(rejection(&setup.tokens, &token).await, Reason::UnknownKey);
    assert!(
        verify(&setup.tokens, &setup.issuer.token().sign())
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_withdrawn_key_signs_no_new_token_either() {
    let setup = Setup::new();
    let unseen = setup.issuer.token().sign();
    let old = setup.issuer.key_id();
    setup.issuer.rotate();
    setup.issuer.withdraw(&old);
    setup.publish();
    setup.later();
    assert_eq!(rejection(&setup.tokens, &unseen).await, Reason::UnknownKey);
}

/// TRAPS 49: a file that is emptied by mistake, and one whose keys were withdrawn after a theft.
#[tokio::test]
async fn trap_49_the_keys_of_an_emptied_file_stay_for_ten_minutes() {
    for (keys, settled) in [
        (r#"{"keys":[]}"#, false),
        (r#"{"keys":["no key"]}"#, false),
        (r#"{"keys":[]}"#, true),
    ] {
        let setup = Setup::new();
        let seen = setup.issuer.token().expires_in(Duration::from_secs(9_000));
        let seen = seen.sign();
        let unseen = setup.issuer.token().sign();
        verify(&setup.tokens, &seen).await.unwrap();
        let old = setup.issuer.jwks().to_string();
        setup.issuer.rotate();
        let new = setup.issuer.token().sign();
        fs::write(&setup.path, keys).unwrap();
        if settled {
            setup.written_at(START.as_secs() - 60);
        }
        let log = RecordedLog::start();
        setup.later();
        assert!(cached(&setup.tokens, &seen).unwrap().is_ok());
        setup.hand.advance(Duration::from_secs(599));
        assert!(cached(&setup.tokens, &seen).unwrap().is_ok());
        verify(&setup.tokens, &unseen).await.unwrap();
        assert_eq!(rejection(&setup.tokens, &new).await, Reason::Unavailable);
        setup.later();
        assert!(cached(&setup.tokens, &seen).is_none());
        assert_eq!(rejection(&setup.tokens, &seen).await, Reason::Unavailable);
        assert_eq!(rejection(&setup.tokens, &new).await, Reason::Unavailable);
        setup.later();
        let lines = log.lines().into_iter();
        let lines: Vec<_> = lines.filter(|line| !line.contains("skipped")).collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        fs::write(&setup.path, old).unwrap();
        setup.later();
        verify(&setup.tokens, &seen).await.unwrap();
        assert_eq!(rejection(&setup.tokens, &new).await, Reason::UnknownKey);
    }
}

/// TRAPS 44: the unreadable file may contain the key.
#[tokio::test]
async fn trap_44_a_new_key_is_unavailable_while_the_file_is_broken() {
    let setup = Setup::new();
    setup.issuer.rotate();
    let new = setup.issuer.token().sign();
    for broken in ["", "{", "[]"] {
        fs::write(&setup.path, broken).unwrap();
        setup.later();
        assert_eq!(rejection(&setup.tokens, &new).await, Reason::Unavailable);
    }
    fs::remove_file(&setup.path).unwrap();
    setup.later();
    assert_eq!(rejection(&setup.tokens, &new).await, Reason::Unavailable);
    setup.publish();
    setup.later();
    verify(&setup.tokens, &new).await.unwrap();
    let made_up = setup.issuer.token().header("kid", "made up").sign();
    assert_eq!(rejection(&setup.tokens, &made_up).await, Reason::UnknownKey);
}

/// Otherwise the mistake would go unnoticed until a token needs a key of the file.
#[test]
fn trap_49_an_empty_file_beside_valid_keys_fails_the_build() {
    let (issuer, clock, _hand) = issuer();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    fs::write(&path, r#"{"keys":[]}"#).unwrap();
    let built = for_issuer(&issuer, &clock)
        .jwks_file(&path)
        .without_revocations()
        .build();
    assert!(matches!(
        built,
        Err(JwtVerifierError::Issuer(_, IssuerError::NoUsableKey { .. }))
    ));
}

#[tokio::test]
async fn a_key_replaced_under_its_kid_is_withdrawn() {
    let setup = Setup::new();
    let token = setup.issuer.token().sign();
    verify(&setup.tokens, &token).await.unwrap();
    let other = TestIssuer::with(ISSUER, TestAlgorithm::ES256);
    let mut jwks = other.jwks();
    jwks["keys"][0]["kid"] = json!(setup.issuer.key_id());
    fs::write(&setup.path, jwks.to_string()).unwrap();
    setup.later();
    assert!(cached(&setup.tokens, &token).is_none());
    assert_eq!(rejection(&setup.tokens, &token).await, Reason::BadSignature);
}

#[tokio::test]
async fn a_file_written_in_place_is_noticed_even_with_the_same_length() {
    let setup = Setup::new();
    // Written in the same moment, by the verifier's clock.
    setup.later();
    setup.written_at(START.as_secs());
    let token = setup.issuer.token().sign();
    verify(&setup.tokens, &token).await.unwrap();
    let text = fs::read_to_string(&setup.path).unwrap();
    let other = text.replace(&setup.issuer.key_id(), "another-kid");
    assert_eq!(text.len(), other.len());
    fs::write(&setup.path, other).unwrap();
    setup.written_at(START.as_secs());
    // The same length, inode and time as before: only the content differs.
    setup.later();
    assert_eq!(rejection(&setup.tokens, &token).await, Reason::UnknownKey);
}

#[tokio::test]
async fn a_change_of_a_settled_file_is_noticed_by_its_stamp() {
    let setup = Setup::new();
    let long_ago = 1_000_000_000;
    setup.written_at(long_ago);
    setup.later();
    let token = setup.issuer.token().sign();
    verify(&setup.tokens, &token).await.unwrap();
    setup.issuer.rotate();
    setup.publish();
    setup.written_at(long_ago);
    setup.later();
    assert!(
        verify(&setup.tokens, &setup.issuer.token().sign())
            .await
            .is_ok()
    );
    assert!(cached(&setup.tokens, &token).unwrap().is_ok());
}

/// A check that finds no change costs one `stat`.
#[tokio::test]
async fn a_settled_file_is_not_read_again() {
    let setup = Setup::new();
    let long_ago = 1_000_000_000;
    setup.written_at(long_ago);
    setup.later();
    let token = setup.issuer.token().sign();
    verify(&setup.tokens, &token).await.unwrap();
    let len = fs::metadata(&setup.path).unwrap().len() as usize;
    let empty = format!("{:len$}", r#"{"keys":[]}"#);
    fs::write(&setup.path, empty).unwrap();
    setup.written_at(long_ago);
    setup.later();
    assert!(cached(&setup.tokens, &token).unwrap().is_ok());
}

/// TRAPS 14: the last good set stays in use.
#[tokio::test]
async fn trap_14_a_broken_or_vanished_file_keeps_the_last_good_set() {
    let setup = Setup::new();
    let (seen, new) = (setup.issuer.token().sign(), setup.issuer.token().sign());
    verify(&setup.tokens, &seen).await.unwrap();
    let too_large = " ".repeat((1 << 20) + 1);
    let too_many = json!({ "keys": vec![setup.issuer.jwks()["keys"][0].clone(); 257] });
    for broken in [
        "",
        "{",
        "[]",
        "{}",
        r#"{"keys":7}"#,
        &too_large,
        &too_many.to_string(),
    ] {
        fs::write(&setup.path, broken).unwrap();
        setup.later();
        assert!(cached(&setup.tokens, &seen).unwrap().is_ok());
        assert!(verify(&setup.tokens, &new).await.is_ok());
    }
    fs::remove_file(&setup.path).unwrap();
    setup.later();
    assert!(verify(&setup.tokens, &new).await.is_ok());
    fs::create_dir(&setup.path).unwrap();
    setup.later();
    assert!(verify(&setup.tokens, &new).await.is_ok());
    // The file is read again when it is back.
    fs::remove_dir(&setup.path).unwrap();
    let old = setup.issuer.key_id();
    setup.issuer.rotate();
    setup.issuer.withdraw(&old);
    setup.publish();
    setup.later();
    assert_eq!(rejection(&setup.tokens, &new).await, Reason::UnknownKey);
    assert!(
        verify(&setup.tokens, &setup.issuer.token().sign())
            .await
            .is_ok()
    );
}

#[test]
fn the_build_fails_without_a_valid_file() {
    let (issuer, clock, _hand) = issuer();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    let failure = || match build(&path, &clock) {
        Err(JwtVerifierError::Issuer(
            _,
            IssuerError::BadKeyFile {
                error, path: named, ..
            },
        )) => {
            assert_eq!(named, path);
            error
        }
        other => panic!("{other:?}"),
    };
    assert!(matches!(failure(), KeySetError::Io(_)));
    fs::write(&path, "{").unwrap();
    assert!(matches!(failure(), KeySetError::NotAKeySet(_)));
    fs::write(&path, " ".repeat((1 << 20) + 1)).unwrap();
    assert!(matches!(failure(), KeySetError::TooLarge(_)));
    let mut largest = issuer.jwks().to_string();
    largest.extend(std::iter::repeat_n(' ', (1 << 20) - largest.len()));
    fs::write(&path, largest).unwrap();
    assert!(build(&path, &clock).is_ok());
    let key = issuer.jwks()["keys"][0].clone();
    fs::write(&path, json!({ "keys": vec![key.clone(); 257] }).to_string()).unwrap();
    assert!(matches!(failure(), KeySetError::TooManyKeys(256)));
    fs::write(&path, json!({ "keys": vec![key; 256] }).to_string()).unwrap();
    assert!(build(&path, &clock).is_ok());
    fs::write(&path, r#"{"keys":[]}"#).unwrap();
    assert!(matches!(
        build(&path, &clock),
        Err(JwtVerifierError::Issuer(
            _,
            IssuerError::NoUsableKey { skipped: 0, .. }
        ))
    ));
}

#[tokio::test]
async fn a_static_key_works_beside_a_file() {
    let setup = Setup::new();
    let pinned = TestIssuer::with(ISSUER, TestAlgorithm::EdDSA);
    let tokens = JwtVerifier::issuer(ISSUER)
        .audience("orders")
        .jwks_file(&setup.path)
        .public_pem(Algorithm::EdDSA, pinned.public_pem())
        .without_revocations()
        .build()
        .unwrap();
    let system = TestIssuer::with(ISSUER, TestAlgorithm::EdDSA);
    assert!(verify(&tokens, &pinned.token().sign()).await.is_ok());
    assert_eq!(
        rejection(&tokens, &system.token().sign()).await,
        Reason::BadSignature
    );
}

/// Bounds the signature checks for a token without a kid.
#[tokio::test]
async fn without_a_kid_no_more_than_eight_keys_are_tried() {
    let (issuer, clock, _hand) = issuer_with(TestAlgorithm::EdDSA);
    let first = issuer.token().without_header("kid").sign();
    for _ in 0..7 {
        issuer.rotate();
    }
    let eighth = issuer.token().without_header("kid").sign();
    issuer.rotate();
    let ninth = issuer.token().without_header("kid");
    let tokens = verifier(&issuer, &clock);
    for token in [first, eighth, issuer.token().sign()] {
        assert!(verify(&tokens, &token).await.is_ok());
    }
    assert_eq!(
        rejection(&tokens, &ninth.sign()).await,
        Reason::BadSignature
    );
}
