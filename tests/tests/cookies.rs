//! TRAPS 50: browsers send every cookie of one name that a host, its parent domains and its paths
//! have set. Tested over sockets, with a real verifier and a list over a store.

use std::time::Duration;

use axum::{Router, routing::get};
use tower_revoke::{Authenticated, MemoryStore, RequireBearerLayer, RevocationList, UseLimitLayer};
use tower_revoke_testing::{Behavior, ScriptedStore, TestAlgorithm, TestIssuer};
use tower_revoke_tests::{
    Server, World,
    curl::{WIRES, call},
};

async fn serve(world: &World) -> Server {
    let subject = async |caller: Authenticated| caller.subject().unwrap_or("nobody").to_owned();
    let router = Router::new()
        .route("/", get(subject))
        .route("/once", get(subject).layer(UseLimitLayer::single()))
        .layer(RequireBearerLayer::new(world.tokens.clone()).cookie("token"));
    Server::start(router).await
}

/// Returns status and error code, and the subject if the request was accepted.
async fn ask(server: &Server, wire: &str, path: &str, fields: &[String]) -> String {
    let fields: Vec<_> = fields
        .iter()
        .map(|field| format!("Cookie: {field}"))
        .collect();
    let mut arguments = vec![wire];
    for field in &fields {
        arguments.extend(["-H", field]);
    }
    let reply = call(server.addr, path, &arguments).await;
    match reply.status {
        200 => format!("200 {}", reply.body),
        _ => reply.verdict(),
    }
}

fn token(world: &World, subject: &str) -> String {
    world.issuer.token().audience("api").subject(subject).sign()
}

fn expired(world: &World) -> String {
    world.issuer.token().audience("api").expired().sign()
}

#[tokio::test]
async fn trap_50_a_stale_cookie_beside_a_valid_one_locks_no_user_out() {
    let world = World::new();
    let server = serve(&world).await;
    // The same issuer name, with a key that our issuer doesn't have.
    let other = TestIssuer::with(world.issuer.issuer(), TestAlgorithm::ES256);
    let foreign = TestIssuer::with("https://old.example.com", TestAlgorithm::ES256);
    let good = token(&world, "ann");
    let fresher = token(&world, "ann");
    for wire in WIRES {
        let stale = [
            expired(&world),
            other.token().audience("api").sign(),
            foreign.token().audience("api").sign(),
            world.issuer.token().audience("others").sign(),
            "c2Vzc2lvbg".to_owned(),
            "no token".to_owned(),
        ];
        for stale in &stale {
            for fields in [
                &[format!("theme=dark; token={good}; token={stale}; lang=en")][..],
                &[format!("token={stale}; token={good}")],
                &[format!("token=\"{stale}\"; token=\"{good}\"")],
                &[format!("token={stale}"), format!("token={good}")],
                &[
                    format!("token={good}; x=1"),
                    "y=2".to_owned(),
                    format!("token={stale}"),
                ],
                &[format!("token={stale}; token={fresher}; token={good}")],
            ] {
                assert_eq!(
                    ask(&server, wire, "/", fields).await,
                    "200 ann",
                    "{fields:?}"
                );
            }
            let none = [format!("token={stale}"), "token=another".to_owned()];
            let alone = ask(&server, wire, "/", &none[..1]).await;
            assert_eq!(ask(&server, wire, "/", &none).await, alone, "{none:?}");
        }
    }
}

#[tokio::test]
async fn trap_50_a_session_that_has_ended_is_not_replaced_by_a_planted_one() {
    let world = World::new();
    let server = serve(&world).await;
    for wire in WIRES {
        let (ended, planted) = (token(&world, "ann"), token(&world, "mallory"));
        let both = |a: &str, b: &str| [format!("token={a}; token={b}")];
        let orders = [both(&ended, &planted), both(&planted, &ended)];
        // While both tokens are valid, the session is ambiguous.
        for fields in &orders {
            assert_eq!(ask(&server, wire, "/", fields).await, "400 invalid_request");
        }
        let once = [format!("token={ended}")];
        assert_eq!(ask(&server, wire, "/once", &once).await, "200 ann");
        for fields in &orders {
            assert_eq!(ask(&server, wire, "/", fields).await, "401 invalid_token");
        }
    }
}

#[tokio::test]
async fn trap_50_a_failing_store_is_a_503() {
    // Every new token is looked up in the store, and answers stay fresh for the whole test.
    let (store, script) = ScriptedStore::over(MemoryStore::new());
    let list = RevocationList::builder(store)
        .mirror_capacity(0)
        .max_staleness(Duration::from_secs(3600))
        .build()
        .expect("valid settings");
    let world = World::over(list, script);
    let server = serve(&world).await;
    for wire in WIRES {
        let known = token(&world, "ann");
        let cookies = |other: &str| [format!("token={other}; token={known}")];
        assert_eq!(
            ask(&server, wire, "/", &cookies(&expired(&world))).await,
            "200 ann"
        );
        world.store.set_all(Behavior::Fails);
        let unknown = token(&world, "ann");
        assert_eq!(ask(&server, wire, "/", &cookies(&unknown)).await, "503");
        // A token that fails verification causes no lookup.
        assert_eq!(
            ask(&server, wire, "/", &cookies(&expired(&world))).await,
            "200 ann"
        );
        world.store.set_all(Behavior::Works);
        assert_eq!(ask(&server, wire, "/", &cookies(&unknown)).await, "200 ann");
    }
}

#[tokio::test]
async fn trap_50_too_many_cookies_are_rejected() {
    let world = World::new();
    let server = serve(&world).await;
    let good = token(&world, "ann");
    let fields = |stale: usize| {
        let stale = (0..stale).map(|number| format!("token=stale{number}; "));
        [stale.collect::<String>() + &format!("token={good}; token={good}")]
    };
    for wire in WIRES {
        assert_eq!(ask(&server, wire, "/", &fields(2)).await, "200 ann");
        assert_eq!(
            ask(&server, wire, "/", &fields(3)).await,
            "400 invalid_request"
        );
    }
}
