//! Nodes over one store, each with a list, tickets and a service that takes them.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{Request, Response};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_revoke_bearer::RequireBearerLayer;
use tower_revoke_core::{
    Authenticated, BearerToken, Clock, ManualClock, Reason, Rejection, Store, TokenVerifier,
    UnixTime,
};
use tower_revoke_issued::{OpaqueToken, TicketVerifier, Tickets};
use tower_revoke_jwt::{Algorithm, JwtVerifier, JwtVerifierBuilder};
use tower_revoke_list::{MemoryStore, RevocationList};
use tower_revoke_testing::{TestAlgorithm, TestIssuer, TestToken};

pub(crate) const ISSUER: &str = "https://id.example.com";
pub(crate) const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

pub(crate) struct World {
    pub(crate) store: MemoryStore,
    pub(crate) clock: Clock,
    pub(crate) hand: ManualClock,
    pub(crate) issuer: TestIssuer,
}

/// One node.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) list: RevocationList,
    pub(crate) tickets: Tickets,
    pub(crate) tokens: JwtVerifier,
    pub(crate) served: Arc<AtomicUsize>,
}

impl World {
    pub(crate) fn new() -> Self {
        let (clock, hand) = Clock::manual(NOW);
        let issuer = TestIssuer::with(ISSUER, TestAlgorithm::HS256).clock(clock.clone());
        Self {
            store: MemoryStore::new(),
            clock,
            hand,
            issuer,
        }
    }

    pub(crate) fn node(&self) -> Node {
        self.node_with(self.store.clone(), self.store.clone(), |tokens| tokens)
    }

    pub(crate) fn node_with(
        &self,
        of_list: impl Store,
        of_tickets: impl Store,
        tokens: impl FnOnce(JwtVerifierBuilder) -> JwtVerifierBuilder,
    ) -> Node {
        let list = RevocationList::builder(of_list)
            .mirror_capacity(0)
            .clock(self.clock.clone())
            .build()
            .expect("a list");
        let verifier = JwtVerifier::issuer(ISSUER)
            .any_audience()
            .secret(Algorithm::HS256, self.issuer.secret())
            .rule_claim("tenant")
            .clock(self.clock.clone())
            .revocations(list.clone());
        Node {
            tickets: Tickets::new("events", of_tickets, list.clone()).expect("tickets"),
            tokens: tokens(verifier).build().expect("a verifier"),
            list,
            served: Arc::default(),
        }
    }

    /// A token of Ann's with everything by which it can be revoked.
    pub(crate) fn token(&self) -> TestToken<'_> {
        self.issuer
            .token()
            .subject("ann")
            .jwt_id("1")
            .scope("api")
            .claim("client_id", "shop")
            .claim("sid", "s1")
            .claim("grant_id", "g1")
            .claim("tenant", "acme")
    }
}

impl Node {
    pub(crate) async fn caller(&self, token: TestToken<'_>) -> Authenticated {
        let token = BearerToken::new(&token.sign()).expect("a token");
        self.tokens.verify(&token).await.expect("a caller")
    }

    pub(crate) async fn ticket(&self, token: TestToken<'_>) -> OpaqueToken {
        let caller = self.caller(token).await;
        let ticket = self.tickets.issue(&caller).scope("events").await;
        ticket.expect("a ticket")
    }

    pub(crate) fn layer(&self) -> RequireBearerLayer<TicketVerifier> {
        RequireBearerLayer::new(self.tickets.verifier())
            .query()
            .scope("events")
    }

    /// Presents a ticket. Returns the caller that the handler saw, or why it was rejected.
    pub(crate) async fn present(&self, ticket: &str) -> Result<Authenticated, Reason> {
        self.present_to(self.layer(), ticket).await
    }

    pub(crate) async fn present_to<V: TokenVerifier>(
        &self,
        layer: RequireBearerLayer<V>,
        ticket: &str,
    ) -> Result<Authenticated, Reason> {
        let served = Arc::clone(&self.served);
        let inner = service_fn(move |request: Request<()>| {
            served.fetch_add(1, Ordering::SeqCst);
            assert!(request.uri().query().is_none(), "it is not passed on");
            let mut response = Response::new(String::new());
            if let Ok(caller) = Authenticated::of(request.extensions()) {
                response.extensions_mut().insert(caller.clone());
            }
            async { Ok::<_, Infallible>(response) }
        });
        let mut service = layer.layer(inner);
        let request = Request::get(format!("/events?access_token={ticket}")).body(());
        let service = service.ready().await.expect("ready");
        let Ok(response) = service.call(request.expect("a request")).await;
        match response.extensions().get::<Rejection>() {
            Some(rejection) => Err(rejection.reason()),
            None => Ok(response
                .extensions()
                .get::<Authenticated>()
                .expect("a caller")
                .clone()),
        }
    }

    pub(crate) fn served(&self) -> usize {
        self.served.load(Ordering::SeqCst)
    }
}

pub(crate) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}
