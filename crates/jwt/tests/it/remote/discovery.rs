//! Keys that are found by the issuer's metadata.

use std::time::Duration;

use tower_revoke_core::{DiscoveryError, MetadataFetchError, Reason};
use tower_revoke_jwt::KeyFetchError;
use tower_revoke_testing::TestAlgorithm;

use super::{Answer, Client, discovering};
use crate::support::*;

#[tokio::test(start_paused = true)]
async fn trap_52_a_remote_issuer_causes_no_request_to_a_local_address() {
    for uri in ["http://localhost/keys", "https://169.254.169.254/keys"] {
        let (issuer, clock, _hand) = issuer_with(TestAlgorithm::EdDSA);
        let (client, _gone) = Client::new(&issuer);
        let metadata = format!(r#"{{"issuer":"{ISSUER}","jwks_uri":"{uri}"}}"#);
        client.then(Answer::Is(200, &[], metadata));
        let tokens = discovering(clock, &client);
        let token = issuer.token().sign();
        assert_eq!(rejection(&tokens, &token).await, Reason::Unavailable);
        let error = tokens.ready().await.unwrap_err();
        assert!(
            matches!(
                keys_unavailable(&error).error(),
                Some(KeyFetchError::Discovery(MetadataFetchError::Unusable(
                    DiscoveryError::Local { .. }
                )))
            ),
            "{error:?}"
        );
        assert_eq!(
            client.urls(),
            [format!("{ISSUER}/.well-known/openid-configuration")]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn discovered_metadata_is_used_for_an_hour() {
    let (issuer, clock, hand) = issuer_with(TestAlgorithm::EdDSA);
    let (client, _gone) = Client::new(&issuer);
    let (at, keys) = (
        format!("{ISSUER}/.well-known/openid-configuration"),
        format!("{ISSUER}/keys"),
    );
    let metadata = format!(r#"{{"issuer":"{ISSUER}","jwks_uri":"{keys}"}}"#);
    client.then(Answer::Is(200, &[], metadata.clone()));
    let tokens = discovering(clock, &client);
    tokens.ready().await.unwrap();
    assert_eq!(client.urls(), [&*at, &*keys]);
    hand.advance(Duration::from_secs(3_599));
    client.sent(3).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(client.urls()[2..], [&*keys]);
    hand.advance(Duration::from_secs(1));
    client.then(Answer::Is(200, &[], metadata));
    client.sent(5).await;
    assert_eq!(client.urls()[3..], [&*at, &*keys]);
}
