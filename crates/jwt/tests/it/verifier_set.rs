//! Tests verifiers of JWTs in a set.

use tower_revoke_core::{BearerToken, Reason, TokenStatus, TokenVerifier, VerifierSet};
use tower_revoke_testing::{TestAlgorithm, TestIssuer};

use crate::support::*;

#[tokio::test]
async fn verifiers_of_two_issuers_keep_their_caches_and_lists() {
    let (issuer, clock, _hand) = issuer();
    let partner = TestIssuer::with("https://partner.example.net", TestAlgorithm::HS256);
    let partner = partner.clock(clock.clone());
    let list = FakeList::default();
    let theirs = for_issuer(&partner, &clock).revocations(list.clone());
    let set = VerifierSet::builder()
        .jwt(verifier(&issuer, &clock))
        .issuer(partner.issuer(), theirs.build().unwrap())
        .build()
        .unwrap();
    set.ready().await.unwrap();
    assert_eq!(set.issuers(), [ISSUER, partner.issuer()]);
    for issuer in [&issuer, &partner] {
        let token = bearer(&issuer.token().sign());
        let is_partner = issuer.issuer() == partner.issuer();
        let verified = set.verify(&token).await.unwrap();
        assert_eq!(verified.issuer(), Some(issuer.issuer()));
        let known = set.verify_cached(&token).unwrap().unwrap();
        assert_eq!(known.token_id(), verified.token_id());
        list.list(verified.token_id(), TokenStatus::Revoked);
        let again = set.verify(&token).await;
        match is_partner {
            true => assert_eq!(again.unwrap_err().reason(), Reason::Revoked),
            false => assert!(again.is_ok()),
        }
    }
}

/// What has another prefix is not the token that was signed.
#[tokio::test]
async fn a_jwt_with_a_prefix_of_opaque_tokens_is_not_verified_as_jwt() {
    let (issuer, clock, _hand) = issuer();
    let set = VerifierSet::builder()
        .jwt(verifier(&issuer, &clock))
        .prefix("acme_", verifier(&issuer, &clock))
        .build()
        .unwrap();
    let token = issuer.token().sign();
    set.verify(&bearer(&token)).await.unwrap();
    assert!(set.verify_cached(&bearer(&token)).unwrap().is_ok());
    let prefixed = BearerToken::new(&format!("acme_{token}")).unwrap();
    assert!(set.verify_cached(&prefixed).is_none());
    let rejected = set.verify(&prefixed).await.unwrap_err();
    assert_eq!(rejected.reason(), Reason::MalformedToken);
}
