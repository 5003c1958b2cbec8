//! Administrators list and end what a subject has.

use std::{
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::Full;
use serde_json::{Value, json};
use tower_revoke_core::{
    Clock, IssuedToken, RecordFilter, Revocation, RevocationKey, Revocations, Store, TokenHash,
    TokenKind, TokenStatus, UnixTime, VerifiedToken, retention::MARGIN,
};
use tower_revoke_endpoints::AdministrationEndpoint;
use tower_revoke_list::{MemoryStore, RevocationList};
use tower_revoke_testing::{Behavior, RecordedLog, ScriptedStore, StoreOp};

use crate::support::{Answer, BANK, ISSUER, SHOP, any_method, basic, call};

const NOW: UnixTime = UnixTime::from_secs(1_000);

/// A list at [`NOW`], and the endpoint with the administrator `shop`.
fn administration() -> (AdministrationEndpoint, RevocationList, MemoryStore) {
    let store = MemoryStore::new();
    let (clock, _) = Clock::manual(NOW);
    let list = RevocationList::builder(store.clone()).clock(clock).build();
    let list = list.expect("a list");
    let endpoint = AdministrationEndpoint::new(list.clone(), any_method());
    let endpoint = endpoint.administrator(ISSUER, "shop").store(store.clone());
    let endpoint = endpoint.access_token_lifetime(Duration::ZERO);
    (endpoint, list, store)
}

fn request(body: &Value) -> Request<Full<Bytes>> {
    Request::post("/admin")
        .header(header::CONTENT_TYPE, "application/json; charset=utf-8")
        .header(header::AUTHORIZATION, basic("shop", SHOP))
        .body(Full::from(body.to_string()))
        .expect("a request")
}

async fn ask(endpoint: &AdministrationEndpoint, body: &Value) -> Answer {
    call(endpoint, request(body)).await
}

/// An access token of Ann's.
fn issued(number: u8, at: u64, exp: Option<u64>) -> IssuedToken {
    let hash = TokenHash::of(&[number]);
    let at = UnixTime::from_secs(at);
    let mut token = IssuedToken::new(hash, TokenKind::ACCESS, ISSUER, "shop", at);
    token.subject = Some("ann".to_owned());
    token.expires_at = exp.map(UnixTime::from_secs);
    token
}

async fn insert(store: &MemoryStore, token: IssuedToken) {
    let issued = store.issued_tokens().expect("issued tokens");
    issued.insert(&token).await.expect("it is stored");
}

/// Two grants, one with a session, and tokens that don't count.
async fn fill(store: &MemoryStore) {
    for (number, at, exp, client, grant, session) in [
        (1, 100, Some(5_000), "shop", Some("g1"), Some("s1")),
        (2, 200, Some(9_000), "shop", Some("g1"), Some("s1")),
        (3, 300, Some(5_000), "bank", Some("g2"), Some("s1")),
        (4, 400, None, "bank", Some("g2"), None),
        (5, 500, Some(5_000), "bank", None, None),
        (6, 100, Some(900), "shop", Some("expired"), Some("expired")),
    ] {
        let mut token = issued(number, at, exp);
        token.client = client.to_owned();
        (token.grant, token.session) = (grant.map(str::to_owned), session.map(str::to_owned));
        insert(store, token).await;
    }
    let mut bobs = issued(7, 100, None);
    (bobs.subject, bobs.grant) = (Some("bob".to_owned()), Some("g3".to_owned()));
    insert(store, bobs).await;
}

fn list_of(subject: &str) -> Value {
    json!({"action": "list", "issuer": ISSUER, "subject": subject})
}

fn end(key: &str, value: &str) -> Value {
    json!({"action": "end", "issuer": ISSUER, key: value, "reason": "laptop lost"})
}

#[tokio::test]
async fn grants_and_sessions_of_a_subject_are_listed() {
    let (endpoint, list, store) = administration();
    fill(&store).await;
    let grants = |first: bool, second: bool| {
        json!([
            {
                "grant": "g1", "clients": ["shop"], "tokens": 2, "issued_at": 200,
                "expires_at": 9_000, "revoked": first,
            },
            {
                "grant": "g2", "clients": ["bank"], "tokens": 2, "issued_at": 400,
                "expires_at": null, "revoked": second,
            },
        ])
    };
    let sessions = |revoked: bool| {
        json!([{
            "session": "s1", "clients": ["bank", "shop"], "tokens": 3, "issued_at": 300,
            "expires_at": 9_000, "revoked": revoked,
        }])
    };
    let answer = ask(&endpoint, &list_of("ann")).await;
    assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/json");
    let expected = json!({
        "issuer": ISSUER, "subject": "ann", "revoked": null, "is_complete": true,
        "grants": grants(false, false), "sessions": sessions(false),
    });
    assert_eq!((answer.status.as_u16(), &answer.body), (200, &expected));

    // A rule that doesn't concern the latest token of the grant.
    let grant = RevocationKey::grant(ISSUER, "g1");
    let older = Revocation::rule(grant, UnixTime::from_secs(199)).expect("a rule");
    list.revoke(older).await.expect("a revocation");
    assert_eq!(
        ask(&endpoint, &list_of("ann")).await.body["grants"],
        grants(false, false)
    );
    ask(&endpoint, &end("grant", "g1")).await;
    let answer = ask(&endpoint, &list_of("ann")).await.body;
    assert_eq!(
        (&answer["grants"], &answer["sessions"]),
        (&grants(true, false), &sessions(false))
    );
    ask(&endpoint, &end("session", "s1")).await;
    assert_eq!(
        ask(&endpoint, &list_of("ann")).await.body["sessions"],
        sessions(true)
    );

    ask(&endpoint, &end("subject", "ann")).await;
    let answer = ask(&endpoint, &list_of("ann")).await.body;
    assert_eq!(answer["grants"], grants(true, true));
    let revoked = json!({
        "at": 1_000, "by": "shop", "reason": "laptop lost", "issued_at_or_before": 1_000,
    });
    assert_eq!(answer["revoked"], revoked);
    let nobody = ask(&endpoint, &list_of("nobody")).await.body;
    assert_eq!(
        (&nobody["grants"], &nobody["revoked"]),
        (&json!([]), &Value::Null)
    );
}

#[tokio::test]
async fn ending_revokes_what_it_names_and_nothing_else() {
    for (key, value, concerns) in [
        ("subject", "ann", [true, true, true, false]),
        ("session", "s1", [true, false, false, false]),
        ("grant", "g1", [true, true, false, false]),
    ] {
        let (endpoint, list, store) = administration();
        fill(&store).await;
        let answer = ask(&endpoint, &end(key, value)).await;
        let expected = json!({"ended": {"issuer": ISSUER, key: value}});
        assert_eq!((answer.status.as_u16(), &answer.body), (200, &expected));
        let list: Arc<dyn Revocations> = list.into();
        for (at, claims) in [
            json!({"sub": "ann", "sid": "s1", "grant_id": "g1"}),
            json!({"sub": "ann", "grant_id": "g1"}),
            json!({"sub": "ann", "sid": "s2", "grant_id": "g2"}),
            json!({"sub": "bob", "sid": "s3"}),
        ]
        .into_iter()
        .enumerate()
        {
            let mut claims = claims;
            (claims["iss"], claims["iat"], claims["exp"]) =
                (ISSUER.into(), 900.into(), 8_000.into());
            let claims = tower_revoke_core::Claims::from_value(claims).expect("claims");
            let id = tower_revoke_core::TokenId::of_jwt(ISSUER, "1");
            let token = VerifiedToken::new(id, claims, Duration::ZERO);
            let status = list.status(&token).await.expect("a status");
            assert_eq!(status == TokenStatus::Revoked, concerns[at], "{key} {at}");
        }
    }
}

/// A grant that was ended has no later token either, and its revocation ends with its last token.
#[tokio::test]
async fn a_grant_ends_whenever_its_tokens_are_issued_and_is_not_kept_for_ever() {
    let (endpoint, list, store) = administration();
    fill(&store).await;
    let kept = async |grant: &str| {
        ask(&endpoint, &end("grant", grant)).await;
        let inspected = list.inspect(RevocationKey::grant(ISSUER, grant)).await;
        let record = inspected.expect("an answer").record.expect("a record");
        assert_eq!((&*record.by, &*record.reason), ("shop", "laptop lost"));
        let revocation = record.revocation().expect("known");
        (
            revocation.issued_at_or_before(),
            revocation.retained_until(),
        )
    };
    let whenever = Some(tower_revoke_core::internal::WHENEVER_ISSUED);
    // A token that was being issued meanwhile lives as long as the others: 8,800 s.
    let until = UnixTime::from_secs(1_000 + 8_800).saturating_add(MARGIN);
    assert_eq!(kept("g1").await, (whenever, Some(until)));
    assert_eq!(kept("g2").await, (whenever, None));
    // One of which the store knows nothing.
    assert_eq!(kept("unknown").await, (Some(NOW), None));
}

#[tokio::test]
async fn only_a_named_administrator_with_a_secret_may_call() {
    let (endpoint, list, _) = administration();
    let body = end("subject", "ann");
    let as_client = |authorization: &str| {
        let mut request = request(&body);
        let value = authorization.parse().expect("a value");
        request.headers_mut().insert(header::AUTHORIZATION, value);
        request
    };
    let denied = call(&endpoint, as_client(&basic("bank", BANK))).await;
    assert_eq!(denied.error(), (403, "access_denied"));
    let public = endpoint.clone().administrator(ISSUER, "cli");
    for wrong in [basic("shop", BANK), basic("cli", ""), "Bearer x".to_owned()] {
        let rejected = call(&public, as_client(&wrong)).await;
        assert_eq!(rejected.error(), (401, "invalid_client"), "{wrong}");
        assert!(rejected.headers.contains_key(header::WWW_AUTHENTICATE));
    }
    let mut without = request(&body);
    without.headers_mut().remove(header::AUTHORIZATION);
    assert_eq!(
        call(&endpoint, without).await.error(),
        (401, "invalid_client")
    );
    let other = json!({"action": "end", "issuer": "https://other.example.net", "subject": "ann"});
    assert_eq!(ask(&endpoint, &other).await.error(), (403, "access_denied"));
    assert_eq!(list.count(RecordFilter::all()).await.expect("a count"), 0);
}

/// A slip of the pen must not end more than was meant.
#[tokio::test]
async fn a_call_that_is_not_understood_ends_nothing() {
    let (endpoint, list, _) = administration();
    let raw = |body: &str| {
        let mut request = request(&Value::Null);
        *request.body_mut() = Full::from(body.to_owned());
        request
    };
    for body in [
        "",
        "null",
        "[]",
        r#"{"action":"end","issuer":"https://id.example.com"}"#,
        r#"{"action":"end","subject":"ann"}"#,
        r#"{"action":"end","issuer":"https://id.example.com","subject":"ann","session":"s1"}"#,
        r#"{"action":"end","issuer":"https://id.example.com","subject":"ann","sesion":"s1"}"#,
        r#"{"action":"end","issuer":"https://id.example.com","subject":"ann","subject":"bob"}"#,
        r#"{"action":"end","issuer":"https://id.example.com","subject":""}"#,
        r#"{"action":"end","issuer":"","subject":"ann"}"#,
        r#"{"action":"end","issuer":"https://id.example.com","subject":7}"#,
        r#"{"action":"end","action":"list","issuer":"https://id.example.com","subject":"ann"}"#,
        r#"{"action":"End","issuer":"https://id.example.com","subject":"ann"}"#,
        r#"{"action":"list","issuer":"https://id.example.com","session":"s1"}"#,
        r#"{"action":"end","issuer":"https://id.example.com","subject":"ann"} x"#,
    ] {
        let rejected = call(&endpoint, raw(body)).await;
        assert_eq!(rejected.error(), (400, "invalid_request"), "{body}");
        assert_eq!(rejected.headers[header::CACHE_CONTROL], "no-store");
    }
    let mut form = request(&end("subject", "ann"));
    let value = "application/x-www-form-urlencoded"
        .parse()
        .expect("a value");
    form.headers_mut().insert(header::CONTENT_TYPE, value);
    assert_eq!(
        call(&endpoint, form).await.error(),
        (400, "invalid_request")
    );
    let mut get = request(&list_of("ann"));
    *get.method_mut() = Method::GET;
    assert_eq!(call(&endpoint, get).await.status, 405);
    let long = format!("{{\"reason\":\"{}\"}}", "x".repeat(16 * 1024));
    assert_eq!(call(&endpoint, raw(&long)).await.status, 413);
    assert_eq!(list.count(RecordFilter::all()).await.expect("a count"), 0);
}

#[tokio::test]
async fn without_a_store_calls_end_what_was_issued_so_far() {
    let list = RevocationList::in_memory();
    let endpoint = AdministrationEndpoint::new(list.clone(), any_method());
    let endpoint = endpoint.administrator(ISSUER, "shop");
    let nothing = json!({"issuer": ISSUER, "subject": "ann", "revoked": null});
    assert_eq!(ask(&endpoint, &list_of("ann")).await.body, nothing);
    assert_eq!(ask(&endpoint, &end("grant", "g1")).await.status, 200);
    let inspected = list.inspect(RevocationKey::grant(ISSUER, "g1")).await;
    assert!(inspected.expect("an answer").listed.is_some());
}

#[tokio::test]
async fn a_store_that_is_down_is_a_503() {
    let memory = MemoryStore::new();
    let (of_list, lists) = ScriptedStore::over(memory.clone());
    let (store, stores) = ScriptedStore::over(memory);
    let list = RevocationList::builder(of_list).mirror_capacity(0).build();
    let endpoint = AdministrationEndpoint::new(list.expect("a list"), any_method());
    let endpoint = endpoint.administrator(ISSUER, "shop").store(store);
    for script in [lists, stores] {
        script.set_all(Behavior::Fails);
    }
    for body in [list_of("ann"), end("subject", "ann"), end("grant", "g1")] {
        let answer = ask(&endpoint, &body).await;
        assert_eq!(answer.error(), (503, "temporarily_unavailable"));
        assert!(answer.headers.contains_key(header::RETRY_AFTER));
    }
}

#[tokio::test]
async fn every_call_is_in_the_audit_log_without_secrets() {
    let (endpoint, _, store) = administration();
    fill(&store).await;
    let log = RecordedLog::start();
    ask(&endpoint, &end("session", "s1")).await;
    ask(&endpoint, &end("grant", "g1")).await;
    ask(&endpoint, &list_of("ann")).await;
    ask(&endpoint, &json!({"action": "rename"})).await;
    let mut denied = request(&list_of("ann"));
    let bank = basic("bank", BANK).parse().expect("a value");
    denied.headers_mut().insert(header::AUTHORIZATION, bank);
    call(&endpoint, denied).await;
    let expected = [
        r#"action="revoke" by="shop" ISSUER claim="sid" value="s1" reason="laptop lost" outcome="done""#,
        r#"action="revoke" by="shop" ISSUER claim="grant_id" value="g1" reason="laptop lost" until=10100 outcome="done""#,
        r#"action="list" by="shop" ISSUER claim="sub" value="ann" outcome="done""#,
        r#"by="shop" outcome="rejected" error="invalid_request""#,
        r#"action="list" by="bank" ISSUER claim="sub" value="ann" outcome="rejected" error="access_denied""#,
    ];
    assert_eq!(audited(&log), expected);
    for secret in [SHOP, BANK, "Basic"] {
        assert!(!log.text().contains(secret));
    }
}

/// Whoever leaves before the response must not leave no trace.
#[tokio::test]
async fn a_call_whose_client_leaves_is_in_the_audit_log() {
    let (store, script) = ScriptedStore::over(MemoryStore::new());
    let list = RevocationList::builder(store).mirror_capacity(0).build();
    let endpoint = AdministrationEndpoint::new(list.expect("a list"), any_method());
    let endpoint = endpoint.administrator(ISSUER, "shop");
    script.set(StoreOp::Revoke, Behavior::Frozen);
    let log = RecordedLog::start();
    let body = end("subject", "ann");
    let mut leaving = Box::pin(ask(&endpoint, &body));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(leaving.as_mut().poll(&mut cx).is_pending());
    assert_eq!(script.calls(StoreOp::Revoke), 1);
    drop(leaving);
    let expected = r#"action="revoke" by="shop" ISSUER claim="sub" value="ann" reason="laptop lost" outcome="abandoned""#;
    assert_eq!(audited(&log), [expected]);
}

/// The events for audit, without what all have in common.
fn audited(log: &RecordedLog) -> Vec<String> {
    let via = "INFO message=an administrative action via=\"administration_endpoint\" ";
    let lines = log.of_target("tower_revoke::audit");
    let fields = lines.iter().map(|line| line.strip_prefix(via));
    let issuer = format!("issuer={ISSUER:?}");
    let fields = fields.map(|fields| fields.expect("an event").replace(&issuer, "ISSUER"));
    fields.collect()
}

/// TRAPS 48.
#[tokio::test(start_paused = true)]
async fn trap_48_calls_without_a_client_are_audited_once_a_minute() {
    let (clock, hand) = Clock::manual(NOW);
    let list = RevocationList::builder(MemoryStore::new()).clock(clock);
    let list = list.build().expect("a list");
    let endpoint = AdministrationEndpoint::new(list, any_method());
    let log = RecordedLog::start();
    let wrong = basic("shop", "a wrong secret").parse();
    let wrong: header::HeaderValue = wrong.expect("a value");
    for call_of in 0..4 {
        let mut guess = request(&list_of("ann"));
        match call_of {
            0 => drop(guess.headers_mut().remove(header::AUTHORIZATION)),
            _ => drop(
                guess
                    .headers_mut()
                    .insert(header::AUTHORIZATION, wrong.clone()),
            ),
        }
        assert_eq!(call(&endpoint, guess).await.status, 401);
        hand.advance(Duration::from_secs(25));
    }
    let expected = [
        r#"outcome="rejected" error="invalid_client" count=1"#,
        r#"outcome="rejected" error="invalid_client" count=3"#,
    ];
    assert_eq!(audited(&log), expected);
    assert!(!log.text().contains("a wrong secret"));
}

#[tokio::test]
async fn what_the_store_fails_is_in_the_audit_log() {
    let (store, script) = ScriptedStore::over(MemoryStore::new());
    let list = RevocationList::builder(store).mirror_capacity(0).build();
    let endpoint = AdministrationEndpoint::new(list.expect("a list"), any_method());
    let endpoint = endpoint.administrator(ISSUER, "shop");
    script.set_all(Behavior::Fails);
    let log = RecordedLog::start();
    ask(&endpoint, &end("subject", "ann")).await;
    let expected = r#"action="revoke" by="shop" ISSUER claim="sub" value="ann" reason="laptop lost" outcome="failed" error="temporarily_unavailable""#;
    assert_eq!(audited(&log), [expected]);
}
