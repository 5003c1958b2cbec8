//! What both servers must do for our clients, whatever the method of authentication.

use std::{sync::Arc, time::Duration};

use tower_revoke::{
    JwtVerifier, Reason, RevocationList,
    core::{
        BearerToken, Claims, RemoteRevocation, TokenCopy, TokenHash, TokenId, TokenVerifier,
        VerifiedToken,
    },
};
use tower_revoke_http::HttpsClient;
use tower_revoke_oauth::{
    IntrospectionVerifier, RevocationClient, RevocationClientStats, SigningAlgorithm, SigningKey,
};
use tower_revoke_testing::TestIssuer;
use tower_revoke_tests::servers::{ClientId, Issuer};

const DRAINS_WITHIN: Duration = Duration::from_secs(30);

/// A client of a server, by its method of authentication.
#[derive(Clone, Debug)]
pub(crate) enum Client {
    Basic(ClientId),
    Form(ClientId),
    Key(TestIssuer),
}

pub(crate) fn signing_key(client: &TestIssuer) -> SigningKey {
    let pem = client.private_pem();
    let key = SigningKey::from_pem(SigningAlgorithm::ES256, pem.as_bytes());
    key.expect("a key").key_id(client.key_id())
}

impl Client {
    /// The same client, which can't prove that it is.
    fn impostor(&self) -> Self {
        let wrong = |client: ClientId| ClientId {
            secret: "wrong",
            ..client
        };
        match self {
            Self::Basic(client) => Self::Basic(wrong(*client)),
            Self::Form(client) => Self::Form(wrong(*client)),
            Self::Key(client) => Self::Key(TestIssuer::with(client.issuer(), client.algorithm())),
        }
    }

    /// Fetches a token of its own.
    pub(crate) async fn token(&self, issuer: &Issuer, parameters: &[(&str, &str)]) -> String {
        match self {
            Self::Basic(client) => issuer.token(*client, parameters).await,
            Self::Form(client) => issuer.form_token(*client, parameters).await,
            Self::Key(client) => issuer.signed_token(client, parameters).await,
        }
    }

    /// Returns a verifier that asks the server about every request's token.
    pub(crate) fn verifier(&self, issuer: &Issuer, audience: Option<&str>) -> Verifier {
        let builder = IntrospectionVerifier::discover(&issuer.name)
            .http_client(HttpsClient::new().expect("a client"))
            .revocations(RevocationList::in_memory())
            .max_staleness(Duration::ZERO);
        let builder = match self {
            Self::Basic(client) => builder.client_credentials(client.id, client.secret),
            Self::Form(client) => builder
                .client_credentials(client.id, client.secret)
                .credentials_in_form(),
            Self::Key(client) => builder.private_key_jwt(client.issuer(), signing_key(client)),
        };
        let builder = match audience {
            Some(audience) => builder.audience(audience),
            None => builder.any_audience(),
        };
        Verifier(builder.build().expect("a verifier"))
    }

    /// Revokes a token at the server, as a layer does, and returns what became of it.
    async fn revoke(&self, issuer: &Issuer, token: &str, hint: &str) -> RevocationClientStats {
        let builder = RevocationClient::discover(&issuer.name)
            .http_client(HttpsClient::new().expect("a client"))
            .token_type_hint(hint);
        let builder = match self {
            Self::Basic(client) => builder.client_credentials(client.id, client.secret),
            Self::Form(client) => builder
                .client_credentials(client.id, client.secret)
                .credentials_in_form(),
            Self::Key(client) => builder.private_key_jwt(client.issuer(), signing_key(client)),
        };
        let server = builder.build().expect("a client");
        send(&server, issuer, token).await;
        // Until it was answered: a client that can't authenticate keeps it.
        let _ = tokio::time::timeout(DRAINS_WITHIN, async {
            while server.stats().queued > 0 && !server.stats().needs_operator {
                let _ = server.shutdown(Duration::from_millis(100)).await;
            }
        })
        .await;
        server.stats()
    }
}

/// Queues a token.
pub(crate) async fn send(server: &RevocationClient, issuer: &Issuer, token: &str) {
    let id = TokenId::of_opaque(&issuer.name, &TokenHash::of(token.as_bytes()));
    let claims = Claims::from_json("{}".to_owned()).expect("claims");
    let verified = VerifiedToken::new(id, claims, Duration::ZERO);
    let remote = Arc::<dyn RemoteRevocation>::from(server.clone());
    let slot = remote.reserve(&verified).expect("a slot");
    let presented = BearerToken::new(token).expect("a token");
    slot.send(TokenCopy::from(&presented)).await;
}

/// What the server says of tokens.
pub(crate) struct Verifier(pub(crate) IntrospectionVerifier);

impl Verifier {
    /// Returns why a token is rejected. `None` if it isn't.
    pub(crate) async fn rejection(&self, token: &str) -> Option<Reason> {
        let token = BearerToken::new(token).expect("a token");
        let rejection = self.0.verify(&token).await.err()?;
        Some(rejection.reason())
    }
}

/// `asks` introspects the tokens that `owns` revokes: one with a wrong hint, and garbage.
pub(crate) async fn tokens_are_introspected_and_revoked(
    issuer: &Issuer,
    asks: &Client,
    owns: &Client,
    parameters: &[(&str, &str)],
) {
    let tokens = asks.verifier(issuer, Some("api"));
    for hint in ["access_token", "refresh_token", "unheard-of", ""] {
        let token = owns.token(issuer, parameters).await;
        assert_eq!(tokens.rejection(&token).await, None, "{asks:?}");
        let told = owns.revoke(issuer, &token, hint).await;
        assert_eq!((told.delivered, told.queued), (1, 0), "{owns:?} {hint}");
        let rejection = tokens.rejection(&token).await;
        assert_eq!(rejection, Some(Reason::Inactive), "{owns:?} {hint}");
    }
    for garbage in ["garbage", "gar.ba.ge", "gar+ba/ge=="] {
        let said = tokens.rejection(garbage).await;
        assert_eq!(said, Some(Reason::Inactive), "{asks:?} {garbage}");
        let told = owns.revoke(issuer, garbage, "access_token").await;
        // Whatever the server makes of it, it is final.
        let (queued, done) = (told.queued, told.delivered + told.rejected);
        assert_eq!((queued, done), (0, 1), "{owns:?} {garbage}");
    }
}

/// Neither is told anything about a token, nor can end it.
pub(crate) async fn strangers_end_nothing(
    issuer: &Issuer,
    asks: &Client,
    owns: &Client,
    another: &Client,
    parameters: &[(&str, &str)],
) {
    let token = owns.token(issuer, parameters).await;
    let impostor = asks.impostor().verifier(issuer, Some("api"));
    let rejection = impostor.rejection(&token).await;
    assert_eq!(rejection, Some(Reason::Unavailable), "{asks:?}");
    let told = owns.impostor().revoke(issuer, &token, "access_token").await;
    assert!(told.needs_operator && told.queued == 1, "{owns:?} {told:?}");
    let told = another.revoke(issuer, &token, "access_token").await;
    assert_eq!((told.rejected, told.queued), (1, 0), "{another:?}");
    let tokens = asks.verifier(issuer, Some("api"));
    assert_eq!(tokens.rejection(&token).await, None, "{owns:?}");
}

/// With the hint of an access token, which is wrong. A refresh token is no bearer token either.
pub(crate) async fn a_refresh_token_takes_its_access_tokens_along(
    issuer: &Issuer,
    asks: &Client,
    owner: ClientId,
    form: &[(&str, &str)],
) {
    let (access, refresh) = issuer.token_pair(owner, form).await;
    let tokens = asks.verifier(issuer, Some("api"));
    assert_eq!(tokens.rejection(&access).await, None);
    for audience in [Some("api"), None] {
        for client in [asks.clone(), Client::Basic(owner)] {
            let tokens = client.verifier(issuer, audience);
            let rejection = tokens.rejection(&refresh).await;
            let rejection = rejection.unwrap_or_else(|| panic!("{audience:?} {client:?}"));
            assert_ne!(rejection, Reason::Unavailable);
        }
    }
    let owner = Client::Basic(owner);
    let told = owner.revoke(issuer, &refresh, "access_token").await;
    assert_eq!((told.delivered, told.queued), (1, 0));
    for token in [&access, &refresh] {
        assert_eq!(tokens.rejection(token).await, Some(Reason::Inactive));
    }
}

/// RFC 9449 §7.2: whoever stole it has not the key.
pub(crate) async fn a_bound_token_is_rejected(
    issuer: &Issuer,
    asks: &Client,
    owner: ClientId,
    parameters: &[(&str, &str)],
) {
    let key = TestIssuer::with("key", tower_revoke_testing::TestAlgorithm::ES256);
    let token = issuer.bound_token(owner, &key, parameters).await;
    let tokens = asks.verifier(issuer, Some("api"));
    assert_eq!(tokens.rejection(&token).await, Some(Reason::Bound));
}

/// The same of a JWT that the service verifies itself.
pub(crate) async fn a_bound_jwt_is_rejected(
    issuer: &Issuer,
    owner: ClientId,
    parameters: &[(&str, &str)],
) {
    let key = TestIssuer::with("key", tower_revoke_testing::TestAlgorithm::ES256);
    let token = issuer.bound_token(owner, &key, parameters).await;
    let tokens = JwtVerifier::issuer(&issuer.name)
        .audience("api")
        .discover()
        .http_client(HttpsClient::new().expect("a client"))
        .revocations(RevocationList::in_memory())
        .build()
        .expect("a verifier");
    let presented = BearerToken::new(&token).expect("a token");
    let rejection = tokens.verify(&presented).await.expect_err("rejected");
    assert_eq!(rejection.reason(), Reason::Bound);
    let plain = issuer.token(owner, parameters).await;
    let plain = BearerToken::new(&plain).expect("a token");
    assert!(tokens.verify(&plain).await.is_ok());
}
