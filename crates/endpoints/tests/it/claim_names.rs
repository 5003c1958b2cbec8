//! The client of a token is the one that its verifier reads.

use tower_revoke_core::{ClaimNames, RecordFilter};
use tower_revoke_endpoints::{IntrospectionEndpoint, RevocationEndpoint};
use tower_revoke_jwt::{Algorithm, JwtVerifier};
use tower_revoke_list::RevocationList;
use tower_revoke_testing::{TestAlgorithm, TestIssuer};

use crate::support::{BANK, ISSUER, SHOP, any_method, basic, call, post};

#[tokio::test]
async fn the_owner_is_the_client_that_the_verifier_reads() {
    let issuer = TestIssuer::with(ISSUER, TestAlgorithm::HS256);
    let list = RevocationList::in_memory();
    let tokens = JwtVerifier::issuer(ISSUER)
        .any_audience()
        .secret(Algorithm::HS256, issuer.secret())
        .claim_names(ClaimNames::default().client("cid").scopes("rights"))
        .revocations(list.clone())
        .build()
        .expect("a verifier");
    // The gateway through which the token was requested is not its client.
    let token = issuer
        .token()
        .claim("client_id", "bank")
        .claim("cid", "shop")
        .claim("rights", "read")
        .claim("scope", "admin")
        .sign();
    let introspect = IntrospectionEndpoint::new(any_method()).verifier(tokens.clone());
    let revoke = RevocationEndpoint::new(list.clone(), any_method()).verifier(tokens);
    let (shop, bank) = (basic("shop", SHOP), basic("bank", BANK));
    let form = format!("token={token}");
    let ask = |as_client: &str| {
        let request = post(Some(as_client), &form);
        async { call(&introspect, request).await.body }
    };

    assert_eq!(ask(&bank).await["active"], false);
    let seen = ask(&shop).await;
    assert_eq!(
        (&seen["client_id"], &seen["scope"]),
        (&"shop".into(), &"read".into())
    );

    let rejected = call(&revoke, post(Some(&bank), &form)).await;
    assert_eq!(rejected.error(), (400, "invalid_grant"));
    assert_eq!(list.count(RecordFilter::all()).await.expect("a count"), 0);
    assert_eq!(call(&revoke, post(Some(&shop), &form)).await.status, 200);
    assert_eq!(ask(&shop).await["active"], false);
}
