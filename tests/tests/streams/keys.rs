//! What ends a stream, and what does not.

use std::num::NonZeroU32;

use tower_revoke::{
    Lift, Revocation, RevocationKey, TokenId, TokenLifetimeLayer,
    core::{Use, UseId},
};

use crate::{
    kit::{App, ISSUER},
    websocket::{closes, echoes, open},
};

#[tokio::test]
async fn a_revocation_of_any_key_ends_its_streams_and_no_other() {
    for key in [
        TokenId::of_jwt(ISSUER, "ann's").into(),
        RevocationKey::subject(ISSUER, "ann"),
        RevocationKey::client(ISSUER, "client_id of ann"),
        RevocationKey::session(ISSUER, "sid of ann"),
        RevocationKey::claim(ISSUER, "tenant", "tenant of ann"),
        RevocationKey::issuer(ISSUER),
    ] {
        let app = App::start(TokenLifetimeLayer::new()).await;
        let (ann, bob) = (app.token("ann's", "ann"), app.token("bob's", "bob"));
        let anns = app.listen("/events", &ann, &[]).await;
        let over_http_2 = ["--http2-prior-knowledge"];
        let anns_chunks = app.listen("/chunks", &ann, &over_http_2).await;
        let mut bobs = app.listen("/events", &bob, &[]).await;
        let anns_chat = open(&app, &ann).await;
        let mut bobs_chat = open(&app, &bob).await;
        let is_issuer = key == RevocationKey::issuer(ISSUER);
        app.list
            .revoke(match &key {
                RevocationKey::Token(id) => Revocation::of_token(*id, None),
                rule => Revocation::all_of(rule.clone()).expect("a rule"),
            })
            .await
            .expect("revoked");
        assert_eq!(anns.ended().await.0, Some(0), "{key:?}");
        assert_eq!(anns_chunks.ended().await.0, Some(92), "{key:?}");
        closes(anns_chat).await;
        if is_issuer {
            assert_eq!(bobs.ended().await.0, Some(0), "{key:?}");
            closes(bobs_chat).await;
        } else {
            bobs.goes_on().await;
            echoes(&mut bobs_chat).await;
        }
    }
}

/// Of three uses, the third call doesn't end the first two.
#[tokio::test]
async fn a_token_that_is_spent_or_whose_revocation_is_lifted_in_time_has_not_ended() {
    let grace = std::time::Duration::from_secs(30);
    let app = App::start(TokenLifetimeLayer::new().revocation_grace(grace)).await;
    let token = app.token("1", "ann");
    let mut streams = [
        app.listen("/events", &token, &[]).await,
        app.listen("/chunks", &token, &[]).await,
    ];
    let id = TokenId::of_jwt(ISSUER, "1");
    let single = Use::new(id, UseId::from_bytes([1; 16]), NonZeroU32::MIN, None);
    app.list.take_use(single).await.expect("taken");
    let spent = Revocation::of_spent_token(id, None);
    app.list.revoke(spent).await.expect("revoked");
    for stream in &mut streams {
        stream.goes_on().await;
    }
    assert_eq!(app.list.stats().ended_watches, 0);

    let key = RevocationKey::subject(ISSUER, "ann");
    let rule = Revocation::all_of(key.clone()).expect("a rule");
    app.list.revoke(rule).await.expect("revoked");
    assert_eq!(app.list.stats().ended_watches, 2);
    let lift = Lift::new(key).by("ann").because("a mistake");
    assert!(app.list.lift(lift).await.expect("lifted"));
    for stream in &mut streams {
        stream.goes_on().await;
    }
}
