//! How clients authenticate (RFC 6749 §2.3), and what slows guessing.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use http::header;
use tokio::time::Instant;
use tower_revoke_core::{BoxFuture, IdentitySlot};
use tower_revoke_endpoints::{
    AuthenticationError, ClientAuthMethod, ClientAuthentication, ClientAuthenticator,
    ClientCredentials, IntrospectionEndpoint, SecretHash, StaticClients,
};

use crate::support::{BANK, SHOP, any_method, basic, call, clients, endpoint, is_revoked, post};

fn in_form(id: &str, secret: &str) -> String {
    let mut form = form_urlencoded::Serializer::new("token=shop.1".to_owned());
    form.append_pair("client_id", id);
    form.append_pair("client_secret", secret);
    form.finish()
}

#[tokio::test]
async fn rfc6749_2_3_1_basic_is_the_default_and_challenged() {
    let (endpoint, list) = endpoint(clients());
    for form in [
        &*in_form("shop", SHOP),
        "token=cli.1&client_id=cli",
        "token=shop.1",
    ] {
        let answer = call(&endpoint, post(None, form)).await;
        assert_eq!(answer.error(), (401, "invalid_client"), "{form}");
        let challenge = &answer.headers[header::WWW_AUTHENTICATE];
        assert_eq!(challenge, r#"Basic realm="api", charset="UTF-8""#);
    }
    assert!(!is_revoked(&list, "shop.1").await);
    let answer = call(&endpoint, post(Some(&basic("shop", SHOP)), "token=shop.1")).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn methods_are_allowed_one_by_one() {
    let shop = basic("shop", SHOP);
    let requests = || {
        [
            (
                ClientAuthMethod::SecretBasic,
                post(Some(&shop), "token=shop.1"),
            ),
            (
                ClientAuthMethod::SecretPost,
                post(None, &in_form("shop", SHOP)),
            ),
            (
                ClientAuthMethod::None,
                post(None, "token=cli.1&client_id=cli"),
            ),
        ]
    };
    for (allowed, _) in requests() {
        let clients = ClientAuthentication::new(clients()).methods([allowed]);
        let (endpoint, _) = endpoint(clients);
        for (method, request) in requests() {
            let answer = call(&endpoint, request).await;
            let expected = if method == allowed { 200 } else { 401 };
            assert_eq!(
                answer.status, expected,
                "{method:?}, {allowed:?} is allowed"
            );
            let has_challenge = answer.headers.contains_key(header::WWW_AUTHENTICATE);
            let is_basic = allowed == ClientAuthMethod::SecretBasic;
            assert_eq!(has_challenge, expected == 401 && is_basic);
        }
    }
}

/// As an empty `client_secret` in the form (RFC 6749 §2.3.1).
#[tokio::test]
async fn an_empty_secret_in_basic_is_none() {
    let cli = basic("cli", "");
    for (allowed, expected) in [
        (ClientAuthMethod::SecretBasic, 401),
        (ClientAuthMethod::None, 200),
    ] {
        let clients = ClientAuthentication::new(clients()).methods([allowed]);
        let (endpoint, _) = endpoint(clients);
        let answer = call(&endpoint, post(Some(&cli), "token=cli.1")).await;
        assert_eq!(answer.status, expected, "{allowed:?} is allowed");
    }
}

#[tokio::test(start_paused = true)]
async fn rfc6749_5_2_wrong_credentials_are_rejected_alike() {
    let (endpoint, list) = endpoint(any_method());
    let in_header = |value: String| (Some(value), "token=shop.1".to_owned());
    for (authorization, form) in [
        in_header(basic("shop", BANK)),
        in_header(basic("nobody", SHOP)),
        in_header(basic("shop", "")),
        in_header(basic("", SHOP)),
        in_header(basic("cli", SHOP)),
        in_header("Basic".to_owned()),
        in_header("Basic !".to_owned()),
        in_header("Basic c2hvcA==".to_owned()),
        in_header(format!("Bearer {SHOP}")),
        (None, in_form("shop", BANK)),
        (None, in_form("cli", SHOP)),
        (None, "token=shop.1&client_id=shop".to_owned()),
        (None, "token=shop.1&client_id=nobody".to_owned()),
    ] {
        let answer = call(&endpoint, post(authorization.as_deref(), &form)).await;
        let case = format!("{authorization:?} {form}");
        assert_eq!(answer.error(), (401, "invalid_client"), "{case}");
        let text = answer.body.to_string();
        assert!(!text.contains("shop") && !text.contains("secret of"));
    }
    assert!(!is_revoked(&list, "shop.1").await);
}

/// RFC 6749 §2.3: a client must not use more than one method.
#[tokio::test]
async fn rfc6749_2_3_credentials_in_header_and_form_are_rejected() {
    let (endpoint, list) = endpoint(any_method());
    let shop = basic("shop", SHOP);
    for form in [
        &*in_form("shop", SHOP),
        "token=shop.1&client_secret=x",
        "token=shop.1&client_id=bank",
        "token=shop.1&client_id=shop&client_id=shop",
    ] {
        let answer = call(&endpoint, post(Some(&shop), form)).await;
        assert_eq!(answer.error(), (400, "invalid_request"), "{form}");
    }
    let mut twice = post(Some(&shop), "token=shop.1");
    let value = basic("bank", BANK).parse().expect("a header value");
    twice.headers_mut().append(header::AUTHORIZATION, value);
    let answer = call(&endpoint, twice).await;
    assert_eq!(answer.error(), (400, "invalid_request"));
    assert!(!is_revoked(&list, "shop.1").await);
    // The id alone is no credential, and many clients send it.
    let form = "token=shop.1&client_id=shop";
    assert_eq!(call(&endpoint, post(Some(&shop), form)).await.status, 200);
}

/// RFC 6749 §2.3.1 has id and secret form-urlencoded before they are put into `Basic`. Some clients
/// do it, others don't.
#[tokio::test]
async fn rfc6749_2_3_1_basic_credentials_may_be_form_urlencoded_or_not() {
    let id = "https://shop.example.com/?a=b&c d";
    let secret = "p%41ss+w=rd&of an unusual 100%+ client";
    let encoded = |word: &str| form_urlencoded::byte_serialize(word.as_bytes()).collect::<String>();
    let hash = SecretHash::of(secret).expect("a hash");
    let clients = StaticClients::new().secret(id, hash).secret("plain", hash);
    let (endpoint, _) = endpoint(clients);
    for credentials in [
        basic("plain", secret),
        basic("plain", &encoded(secret)),
        basic(&encoded(id), &encoded(secret)),
        basic("plain", &encoded(secret).replace('+', "%20")),
        basic("plain", secret).replace('=', ""),
        basic("plain", secret).replacen("Basic", "bASIC", 1),
    ] {
        let answer = call(&endpoint, post(Some(&credentials), "token=unknown")).await;
        assert_eq!(answer.status, 200, "{credentials}");
    }
}

#[tokio::test]
async fn both_secrets_are_valid_during_a_rotation() {
    let hash = |secret| SecretHash::of(secret).expect("a hash");
    let clients = StaticClients::new()
        .secret("shop", hash(SHOP))
        .secret("shop", hash(BANK))
        .public("shop");
    let methods = [ClientAuthMethod::SecretBasic, ClientAuthMethod::None];
    let (endpoint, _) = endpoint(ClientAuthentication::new(clients).methods(methods));
    for secret in [SHOP, BANK] {
        let shop = basic("shop", secret);
        let answer = call(&endpoint, post(Some(&shop), "token=unknown")).await;
        assert_eq!(answer.status, 200);
    }
    let without = call(&endpoint, post(None, "token=unknown&client_id=shop")).await;
    assert_eq!(without.status, 401, "a client with a secret is not public");
}

#[tokio::test]
async fn the_form_fields_and_the_realm_are_settings() {
    let clients = ClientAuthentication::new(clients())
        .methods([ClientAuthMethod::SecretPost, ClientAuthMethod::SecretBasic])
        .form_fields("user", "key")
        .realm("a \"b\"\r\n\\c");
    let (endpoint, _) = endpoint(clients);
    let form = format!("token=unknown&user=shop&key={}", SHOP.replace(' ', "+"));
    assert_eq!(call(&endpoint, post(None, &form)).await.status, 200);
    let answer = call(&endpoint, post(None, &in_form("shop", SHOP))).await;
    assert_eq!(answer.status, 401);
    let challenge = &answer.headers[header::WWW_AUTHENTICATE];
    assert_eq!(challenge, r#"Basic realm="a \"b\"??\\c", charset="UTF-8""#);
}

/// Accepts the secret `right`, and counts how often it is asked.
#[derive(Clone, Default)]
struct Counted(Arc<AtomicU32>);

impl ClientAuthenticator for Counted {
    fn authenticate<'a>(
        &'a self,
        credentials: ClientCredentials<'a>,
    ) -> BoxFuture<'a, Result<(), AuthenticationError>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let result = match credentials.secret() {
            Some("right") => Ok(()),
            Some("down") => Err(AuthenticationError::Unavailable("refused".into())),
            _ => Err(AuthenticationError::WrongSecret),
        };
        Box::pin(std::future::ready(result))
    }
}

#[tokio::test]
async fn without_the_clients_the_answer_is_503() {
    let (endpoint, _) = endpoint(Counted::default());
    let shop = basic("shop", "down");
    let answer = call(&endpoint, post(Some(&shop), "token=unknown")).await;
    assert_eq!(answer.error(), (503, "temporarily_unavailable"));
}

/// With paused time, only what waits takes time.
#[tokio::test(start_paused = true)]
async fn rfc7009_5_failures_wait_longer_each_time_and_a_right_secret_never_does() {
    let (endpoint, _) = endpoint(Counted::default());
    let timed = async |id, secret| {
        let start = Instant::now();
        let credentials = basic(id, secret);
        let answer = call(&endpoint, post(Some(&credentials), "token=unknown")).await;
        (answer.status.as_u16(), start.elapsed())
    };
    for wait in [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000] {
        let wait = Duration::from_millis(wait);
        assert_eq!(timed("shop", "wrong").await, (401, wait));
        assert_eq!(timed("shop", "right").await, (200, Duration::ZERO));
    }
    let of_another = timed("bank", "wrong").await;
    assert_eq!(of_another, (401, Duration::from_millis(100)));
}

#[tokio::test(start_paused = true)]
async fn failures_are_counted_by_address_too() {
    let clients = ClientAuthentication::new(clients()).peer_address(|parts| {
        let is_local = parts.headers.contains_key("x-local");
        is_local.then_some(IpAddr::from(Ipv4Addr::LOCALHOST))
    });
    let (endpoint, _) = endpoint(clients);
    for (number, wait) in [(1, 100), (2, 200), (3, 400)] {
        let unknown = basic(&format!("client {number}"), SHOP);
        let mut request = post(Some(&unknown), "token=unknown");
        let yes = "1".parse().expect("a header value");
        request.headers_mut().insert("x-local", yes);
        let start = Instant::now();
        assert_eq!(call(&endpoint, request).await.status, 401);
        assert_eq!(start.elapsed(), Duration::from_millis(wait));
    }
}

/// 10,000 wrong secrets at one time: each costs one authentication, a bounded number of them waits,
/// and the client with the right secret gets through.
#[tokio::test(start_paused = true)]
async fn rfc7009_5_a_flood_of_wrong_secrets_costs_no_more_than_its_requests() {
    let counted = Counted::default();
    let (endpoint, _) = endpoint(counted.clone());
    let calls = (0..10_000).map(|_| {
        let endpoint = endpoint.clone();
        let request = post(Some(&basic("shop", "wrong")), "token=unknown");
        tokio::spawn(async move { call(&endpoint, request).await })
    });
    let calls: Vec<_> = calls.collect();
    tokio::task::yield_now().await;
    let shop = basic("shop", "right");
    let answer = call(&endpoint, post(Some(&shop), "token=unknown")).await;
    assert_eq!(answer.status, 200);
    let (mut waited, mut busy) = (0, 0);
    for answer in calls {
        match answer.await.expect("no panic").error() {
            (401, "invalid_client") => waited += 1,
            (429, "invalid_client") => busy += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((waited, busy), (1_024, 10_000 - 1_024));
    assert_eq!(counted.0.load(Ordering::Relaxed), 10_001);
}

/// A `+` or `%` gives a secret two readings.
#[tokio::test(start_paused = true)]
async fn two_readings_are_one_guess() {
    let counted = Counted::default();
    let (endpoint, _) = endpoint(counted.clone());
    for wait in [100, 200] {
        let start = Instant::now();
        let shop = basic("shop", "a+b");
        let answer = call(&endpoint, post(Some(&shop), "token=unknown")).await;
        assert_eq!(answer.status, 401);
        assert_eq!(start.elapsed(), Duration::from_millis(wait));
    }
    assert_eq!(counted.0.load(Ordering::Relaxed), 4);
}

/// A monitor counts by it. Anybody can act as a public client.
#[tokio::test]
async fn a_client_with_a_secret_is_told_to_an_outer_layer_and_a_public_one_is_not() {
    let (revoke, _) = endpoint(any_method());
    let introspect = IntrospectionEndpoint::new(any_method());
    let shop = basic("shop", SHOP);
    for (request, told) in [
        (post(Some(&shop), "token=shop.1"), Some("shop")),
        // It has authenticated, but may not do this.
        (post(Some(&shop), "token=bank.1"), Some("shop")),
        (post(None, &in_form("bank", BANK)), Some("bank")),
        (post(None, "token=cli.1&client_id=cli"), None),
        (post(Some(&basic("cli", "")), "token=cli.1"), None),
        (post(Some(&basic("shop", BANK)), "token=shop.1"), None),
        (post(None, "token=shop.1"), None),
    ] {
        let slots = [IdentitySlot::default(), IdentitySlot::default()];
        let [first, second] = slots.clone().map(|slot| {
            let mut request = request.clone();
            request.extensions_mut().insert(slot);
            request
        });
        call(&revoke, first).await;
        call(&introspect, second).await;
        assert_eq!(slots.each_ref().map(IdentitySlot::client), [told; 2]);
        assert!(slots.iter().all(|slot| slot.get().is_none()));
    }
}
