use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::json;
use tokio::sync::Barrier;

use super::*;
use crate::{Claims, Reason, TokenHash, TokenId, VerifiedToken};

/// Accepts every token as one of its issuer, and says its name as the subject.
struct Named {
    name: &'static str,
    issuer: &'static str,
    knows_all: bool,
    asked: Arc<AtomicUsize>,
}

fn named(name: &'static str) -> Named {
    Named {
        name,
        issuer: "https://id.example.com",
        knows_all: false,
        asked: Arc::default(),
    }
}

impl Named {
    fn caller(&self, token: &BearerToken) -> Authenticated {
        self.asked.fetch_add(1, SeqCst);
        let claims = json!({"iss": self.issuer, "sub": self.name});
        let id = TokenId::of_opaque("test", &TokenHash::of(token.as_bytes()));
        let claims = Claims::from_value(claims).unwrap();
        Authenticated::new(Arc::new(VerifiedToken::new(id, claims, Duration::ZERO)))
    }
}

impl TokenVerifier for Named {
    fn verify_cached(&self, token: &BearerToken) -> Option<Result<Authenticated, Rejection>> {
        self.knows_all.then(|| Ok(self.caller(token)))
    }

    fn issuers(&self) -> Vec<String> {
        vec![self.issuer.to_owned()]
    }

    async fn verify(&self, token: &BearerToken) -> Result<Authenticated, Rejection> {
        Ok(self.caller(token))
    }

    async fn verify_candidate(&self, token: &BearerToken) -> Result<Authenticated, Rejection> {
        let mut caller = self.caller(token);
        if self.name == "jwt" {
            let claims = Claims::from_value(json!({"sub": "jwt as candidate"})).unwrap();
            let id = caller.token_id();
            caller = Authenticated::new(Arc::new(VerifiedToken::new(id, claims, Duration::ZERO)));
        }
        Ok(caller)
    }
}

fn jwt_of(claims: &serde_json::Value) -> String {
    let part = |value: &serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.c2ln", part(&json!({"alg": "ES256"})), part(claims))
}

fn token(text: &str) -> BearerToken {
    BearerToken::new(text).unwrap()
}

async fn taken_by(set: &impl TokenVerifier, text: &str) -> Result<String, Reason> {
    let token = token(text);
    let by_form = set.verify_cached(&token);
    let answer = match by_form {
        Some(answer) => answer,
        None => set.verify(&token).await,
    };
    let subject = |caller: Authenticated| caller.subject().unwrap_or_default().to_owned();
    answer.map(subject).map_err(|rejection| rejection.reason())
}

#[tokio::test]
async fn each_token_goes_to_one_verifier_by_its_form() {
    let partner = "https://partner.example.net";
    let set = VerifierSet::builder()
        .other(named("other"))
        .jwt(named("jwt"))
        .prefix("acme_", named("acme"))
        .issuer(partner, named("partner"))
        .prefix("tkt.", named("ticket"))
        .build()
        .unwrap();
    let ours = jwt_of(&json!({"iss": "https://id.example.com"}));
    let theirs = jwt_of(&json!({"iss": partner}));
    for (text, expected) in [
        ("acme_7fk", "acme"),
        ("tkt.7fk", "ticket"),
        (&*ours, "jwt"),
        (&theirs, "partner"),
        // JWTs with a prefix of opaque tokens, and opaque tokens that look like one.
        (&format!("acme_{ours}"), "acme"),
        (&format!("acme_{theirs}"), "acme"),
        ("acme_.a.b", "acme"),
        ("tkt.a.b", "ticket"),
        // A prefix in another case or place.
        ("ACME_7fk", "other"),
        ("acme-7fk", "other"),
        ("xacme_7fk", "other"),
        ("tkt", "other"),
        // Nearly JWTs.
        ("a.b", "other"),
        ("a.b.c.d", "other"),
        ("a.b.c.d.e", "other"),
        ("a.b.c=", "other"),
        ("a.b~.c", "other"),
        ("a.b/.c", "other"),
        // JWTs that their verifier will reject.
        ("a.b.c", "jwt"),
        ("a..", "jwt"),
        ("..", "jwt"),
        // An issuer that is not a string, not unique, not the payload's, or not quite the partner's.
        (&jwt_of(&json!({"iss": [partner]})), "jwt"),
        (&jwt_of(&json!({"act": {"iss": partner}})), "jwt"),
        (
            &jwt_of(&json!({"iss": "https://partner.example.net/"})),
            "jwt",
        ),
        (&jwt_of(&json!([partner])), "jwt"),
    ] {
        assert_eq!(
            taken_by(&set, text).await.as_deref(),
            Ok(expected),
            "{text}"
        );
    }
    let twice = format!(r#"{{"iss":"{partner}","iss":"{partner}"}}"#);
    let twice = format!("e30.{}.", BASE64_URL_SAFE_NO_PAD.encode(twice));
    assert_eq!(taken_by(&set, &twice).await.as_deref(), Ok("jwt"));
    let candidate = set.verify_candidate(&token(&ours)).await.unwrap();
    assert_eq!(candidate.subject(), Some("jwt as candidate"));
    let issuers = ["https://id.example.com"];
    assert_eq!(set.issuers(), issuers, "each once");
}

#[tokio::test]
async fn what_one_verifier_is_asked_no_other_is() {
    let (acme, jwt) = (named("acme"), named("jwt"));
    let (by_acme, by_jwt) = (acme.asked.clone(), jwt.asked.clone());
    let set = VerifierSet::builder()
        .prefix("acme_", acme)
        .jwt(jwt)
        .build();
    let set = set.unwrap();
    for text in ["acme_7fk", "a.b.c", "neither"] {
        let _ = taken_by(&set, text).await;
    }
    assert_eq!((by_acme.load(SeqCst), by_jwt.load(SeqCst)), (1, 1));
}

#[tokio::test]
async fn a_token_that_no_verifier_takes_is_rejected_at_once() {
    let partner = "https://partner.example.net";
    let opaque = VerifierSet::builder()
        .prefix("acme_", named("acme"))
        .build();
    let opaque = opaque.unwrap();
    for text in ["a.b.c", "other", "acme"] {
        let at_once = opaque.verify_cached(&token(text)).unwrap();
        assert_eq!(at_once.unwrap_err().reason(), Reason::UnknownForm);
        let rejected = opaque.verify(&token(text)).await.unwrap_err();
        assert_eq!(rejected.reason(), Reason::UnknownForm);
        assert_eq!(rejected.reason().status(), 401);
    }
    let by_issuer = VerifierSet::builder()
        .issuer(partner, named("partner"))
        .build();
    let by_issuer = by_issuer.unwrap();
    let ours = jwt_of(&json!({"iss": "https://id.example.com"}));
    assert_eq!(taken_by(&by_issuer, &ours).await, Err(Reason::WrongIssuer));
    assert_eq!(
        taken_by(&by_issuer, "a.b.c").await,
        Err(Reason::WrongIssuer)
    );
    assert_eq!(taken_by(&by_issuer, "abc").await, Err(Reason::UnknownForm));
}

/// Another layer may have had the verifier of the partner accept tokens of other issuers.
#[tokio::test]
async fn a_cached_token_counts_only_for_its_own_issuer() {
    let partner = "https://partner.example.net";
    let knows = |name, issuer| Named {
        issuer,
        knows_all: true,
        ..named(name)
    };
    let theirs = token(&jwt_of(&json!({"iss": partner})));
    let set = |issuer| {
        let set = VerifierSet::builder().jwt(knows("jwt", partner));
        set.issuer(partner, knows("partner", issuer))
            .build()
            .unwrap()
    };
    let known = set(partner).verify_cached(&theirs).unwrap().unwrap();
    assert_eq!(known.subject(), Some("partner"));
    assert!(
        set("https://id.example.com")
            .verify_cached(&theirs)
            .is_none()
    );
}

#[test]
fn a_token_for_two_verifiers_is_a_build_error() {
    use VerifierSetError::*;

    let error = |rules: &[Rule]| Routes::new(rules.to_vec()).err();
    let prefix = |prefix: &str| Rule::Prefix(prefix.to_owned());
    assert_eq!(VerifierSet::builder().build().err(), Some(Empty));
    for bad in ["", "acme ", "ä", "acme=", "\u{0}"] {
        assert_eq!(error(&[prefix(bad)]), Some(BadPrefix(bad.to_owned())));
    }
    for jwt in ["e", "ey", "eyJ", "eyJhbGciOi", "ew", "ewog"] {
        assert_eq!(error(&[prefix(jwt)]), Some(JwtPrefix(jwt.to_owned())));
    }
    for (one, other) in [
        ("acme_", "acme_"),
        ("acme_", "acme_live_"),
        ("acme_live_", "acme_"),
    ] {
        let overlap = OverlappingPrefixes(one.to_owned(), other.to_owned());
        assert_eq!(error(&[prefix(one), prefix(other)]), Some(overlap));
    }
    assert_eq!(
        error(&[prefix("acme_"), prefix("ACME_"), prefix("edge_")]),
        None
    );
    let issuer = || Rule::Issuer("i".to_owned());
    assert_eq!(
        error(&[issuer(), issuer()]),
        Some(DuplicateIssuer("i".to_owned()))
    );
    assert_eq!(
        error(&[Rule::Jwt, Rule::Other, Rule::Jwt]),
        Some(Duplicate("jwt"))
    );
    assert_eq!(error(&[Rule::Other, Rule::Other]), Some(Duplicate("other")));
}

struct Waits(Arc<Barrier>);

impl TokenVerifier for Waits {
    async fn verify(&self, _: &BearerToken) -> Result<Authenticated, Rejection> {
        Err(Reason::Unavailable.into())
    }

    async fn ready(&self) -> Result<(), ReadyError> {
        self.0.wait().await;
        Ok(())
    }
}

struct Fails;

impl TokenVerifier for Fails {
    async fn verify(&self, _: &BearerToken) -> Result<Authenticated, Rejection> {
        Err(Reason::Unavailable.into())
    }

    async fn ready(&self) -> Result<(), ReadyError> {
        Err(ReadyError::new("a verifier", "no keys"))
    }
}

/// One after the other, they would wait for ever.
#[tokio::test]
async fn all_verifiers_are_waited_for_at_one_time() {
    let barrier = Arc::new(Barrier::new(3));
    let waits = || Waits(barrier.clone());
    let set = VerifierSet::builder()
        .jwt(waits())
        .other(waits())
        .prefix("a_", waits());
    set.build().unwrap().ready().await.unwrap();

    let never = || Waits(Arc::new(Barrier::new(2)));
    let set = VerifierSet::builder()
        .jwt(never())
        .other(Fails)
        .prefix("a_", never());
    let error = set.build().unwrap().ready().await.unwrap_err();
    assert_eq!(error.component(), "a verifier");
}
