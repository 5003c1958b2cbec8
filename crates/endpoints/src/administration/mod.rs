//! The endpoint by which administrators list and end the grants and sessions of a subject.

mod listing;

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{StatusCode, request::Parts};
use serde::Deserialize;
use serde_json::{Map, Value};
use tower_revoke_core::{
    Revocation, RevocationError, RevocationKey, Revocations, Store, StoreError,
    internal::{Audit, LogLimit},
};

use self::listing::{AnyStore, listing};
use crate::{
    ClientAuthentication,
    client::ClientsByIssuer,
    form::Media,
    issued::{ACCESS_TOKEN_LIFETIME, latest_expiry, outlasting},
    request::{Answer, Endpoint, is_a_service},
    response::{CallError, json_response},
};

/// An endpoint by which administrators list a subject's grants and sessions, and end them.
///
/// It is a `tower::Service` for any request body, as
/// [`RevocationEndpoint`](crate::RevocationEndpoint) is. Administrators are clients: a support desk, an
/// account page that acts for its users. They authenticate with a secret in the `Authorization`
/// header, as the clients of the other endpoints do, and guesses are slowed down alike. So the
/// endpoint can't be mounted without a guard, and it needs none of the tokens that it ends.
///
/// # Calls
/// A call is a POST with a JSON object, which may have no other members:
///
/// | body | does |
/// |---|---|
/// | `{"action": "list", "issuer": …, "subject": …}` | lists the subject's grants and sessions |
/// | `{"action": "end", "issuer": …, "subject": …}` | ends all tokens of the subject that were issued so far |
/// | `{"action": "end", "issuer": …, "session": …}` | ends all tokens of the session that were issued so far |
/// | `{"action": "end", "issuer": …, "grant": …}` | ends the grant: all its tokens, also those that are issued later, if the [store](Self::store) knows until when they last; otherwise those that were issued so far |
///
/// The last three may have a `reason`, which is kept with the revocation. It must not contain a token.
///
/// # Responses
/// | response | when |
/// |---|---|
/// | 200 | the list, or what was ended, durably |
/// | 400 `invalid_request` | no JSON, no such action, a missing, unknown or repeated member |
/// | 401, 405, 413, 429 | as for the revocation endpoint |
/// | 403 `access_denied` | the client is no [administrator](Self::administrator) of the issuer |
/// | 503 with `Retry-After` | the list, the store or the clients are unavailable; what was to be ended may still be valid |
///
/// A list has the revocation of the subject, if there is one and the store keeps records, and of the
/// tokens that were issued into the store the grants and sessions that have not expired. Each says
/// whether it is `revoked` by a rule over it, its subject or its issuer. `is_complete` is `false` if
/// the subject has more than 10,000 tokens. No token, and nothing that leads to one, is in it:
///
/// ```json
/// {
///     "issuer": "https://id.example.com", "subject": "ann", "revoked": null, "is_complete": true,
///     "grants": [{
///         "grant": "g1", "clients": ["shop"], "tokens": 2, "issued_at": 1700000000,
///         "expires_at": 1700086400, "revoked": false
///     }],
///     "sessions": []
/// }
/// ```
///
/// # Audit
/// Every call of an authenticated client is logged as a `tracing` event of level `INFO` with the
/// target `tower_revoke::audit`, also if it is rejected, or if its client leaves before the response.
/// Calls without an authenticated client are logged at most once a minute, with their number as `count`.
///
/// # Examples
/// ```
/// use axum::Router;
/// use tower_revoke_endpoints::{AdministrationEndpoint, ClientSecret, StaticClients};
/// use tower_revoke_list::{MemoryStore, RevocationList};
///
/// let store = MemoryStore::new();
/// let list = RevocationList::new(store.clone());
/// let secret = ClientSecret::generate()?;
/// let clients = StaticClients::new().secret("support", secret.hash());
///
/// let administration = AdministrationEndpoint::new(list, clients)
///     .administrator("https://id.example.com", "support")
///     .store(store);
/// let app: Router = Router::new().route_service("/admin/grants", administration);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct AdministrationEndpoint(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    list: Arc<dyn Revocations>,
    clients: ClientAuthentication,
    administrators: ClientsByIssuer,
    store: Option<Arc<dyn AnyStore>>,
    access_token_lifetime: Duration,
    unauthenticated: Arc<LogLimit>,
}

/// The endpoint in events for audit.
const VIA: &str = "administration_endpoint";

impl AdministrationEndpoint {
    /// Makes an endpoint without administrators.
    pub fn new(
        list: impl Into<Arc<dyn Revocations>>,
        clients: impl Into<ClientAuthentication>,
    ) -> Self {
        Self(Arc::new(Inner {
            list: list.into(),
            clients: clients.into(),
            administrators: ClientsByIssuer::default(),
            store: None,
            access_token_lifetime: ACCESS_TOKEN_LIFETIME,
            unauthenticated: Arc::default(),
        }))
    }

    /// Lets a client list and end the grants and sessions of an issuer. A public client, which has no
    /// secret, is rejected all the same.
    #[must_use]
    pub fn administrator(mut self, issuer: impl Into<String>, client: impl Into<String>) -> Self {
        let administrators = &mut Arc::make_mut(&mut self.0).administrators;
        administrators.insert(issuer.into(), client.into());
        self
    }

    /// Lists what this store knows: its issued tokens, and the records of revocations. It should be
    /// the store of the list.
    #[must_use]
    pub fn store(mut self, store: impl Store) -> Self {
        Arc::make_mut(&mut self.0).store = Some(Arc::new(store));
        self
    }

    /// Sets how long access tokens live that the store doesn't know, see
    /// [`RevocationEndpoint::access_token_lifetime`](crate::RevocationEndpoint::access_token_lifetime).
    /// Defaults to 24 h.
    #[must_use]
    pub fn access_token_lifetime(mut self, lifetime: Duration) -> Self {
        Arc::make_mut(&mut self.0).access_token_lifetime = lifetime;
        self
    }
}

/// The body of a call.
#[derive(Debug, Deserialize)]
#[serde(tag = "action", rename_all = "lowercase", deny_unknown_fields)]
enum Call {
    List {
        issuer: String,
        subject: String,
    },
    End {
        issuer: String,
        subject: Option<String>,
        session: Option<String>,
        grant: Option<String>,
        reason: Option<String>,
    },
}

/// What a call is about.
#[derive(Debug)]
struct Target {
    issuer: String,
    kind: Kind,
    value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Subject,
    Session,
    Grant,
}

impl Kind {
    /// Returns its member in calls and responses.
    fn name(self) -> &'static str {
        match self {
            Self::Subject => "subject",
            Self::Session => "session",
            Self::Grant => "grant",
        }
    }

    fn key(self, issuer: &str, value: &str) -> RevocationKey {
        match self {
            Self::Subject => RevocationKey::subject(issuer, value),
            Self::Session => RevocationKey::session(issuer, value),
            Self::Grant => RevocationKey::grant(issuer, value),
        }
    }
}

impl Target {
    fn key(&self) -> RevocationKey {
        self.kind.key(&self.issuer, &self.value)
    }
}

impl Call {
    fn target(&self) -> Result<Target, CallError> {
        let (issuer, subject, session, grant) = match self {
            Self::List { issuer, subject } => (issuer, Some(subject), None, None),
            Self::End {
                issuer,
                subject,
                session,
                grant,
                ..
            } => (issuer, subject.as_ref(), session.as_ref(), grant.as_ref()),
        };
        let keys = [
            (Kind::Subject, subject),
            (Kind::Session, session),
            (Kind::Grant, grant),
        ];
        let mut named = keys
            .into_iter()
            .filter_map(|(kind, value)| Some((kind, value?)));
        let (Some((kind, value)), None) = (named.next(), named.next()) else {
            return Err(CallError::Request(
                "one of subject, session and grant must be there",
            ));
        };
        if issuer.is_empty() || value.is_empty() {
            return Err(CallError::Request("a member is empty"));
        }
        Ok(Target {
            issuer: issuer.clone(),
            kind,
            value: value.clone(),
        })
    }

    fn reason(&self) -> &str {
        match self {
            Self::List { .. } => "",
            Self::End { reason, .. } => reason.as_deref().unwrap_or("ended by an administrator"),
        }
    }
}

impl Inner {
    /// Returns the id of an authenticated client. Others are logged for audit once a minute, so that
    /// nobody fills the log.
    async fn authenticated(&self, parts: &Parts) -> Result<String, CallError> {
        let client = self.clients.authenticate_by_header(parts).await;
        let uptime = self.list.clock().uptime();
        if let Err(error) = client
            && let Some(count) = self.unauthenticated.count(uptime, 1)
        {
            error.tell(Audit::new(VIA).count(count));
        }
        client
    }

    async fn perform(
        &self,
        client: &str,
        body: &[u8],
        audit: &mut Audit,
    ) -> Result<Value, CallError> {
        let call: Call = serde_json::from_slice(body)
            .map_err(|_| CallError::Request("the body is not a call of this endpoint"))?;
        let target = call.target()?;
        audit.key(target.key());
        audit.action(match call {
            Call::List { .. } => "list",
            Call::End { .. } => "revoke",
        });
        audit.reason(call.reason());
        if !self.administrators.contains(&target.issuer, client) {
            return Err(CallError::Forbidden);
        }
        let done = match call {
            Call::List { .. } => {
                let store = self.store.as_deref();
                listing(store, &target, self.list.clock().now()).await
            }
            Call::End { .. } => self.end(client, call.reason(), &target, audit).await,
        };
        done.map_err(|error| {
            tracing::warn!(
                target: "tower_revoke::endpoints",
                %error,
                "an administrator's call can't be served"
            );
            CallError::Unavailable
        })
    }

    async fn end(
        &self,
        client: &str,
        reason: &str,
        target: &Target,
        audit: &mut Audit,
    ) -> Result<Value, StoreError> {
        let Target {
            issuer,
            kind,
            value,
        } = target;
        let revocation = match kind {
            Kind::Grant => self.of_grant(target.key()).await?,
            Kind::Subject | Kind::Session => Revocation::all_of(target.key()),
        };
        let revocation = revocation.expect("the key of a rule");
        let revocation = revocation.by(client).because(reason);
        audit.revoke(Arc::clone(&self.list), revocation).await?;
        let ended = [("issuer", issuer), (kind.name(), value)];
        let ended: Map<String, Value> = ended
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.as_str().into()))
            .collect();
        Ok(serde_json::json!({ "ended": ended }))
    }

    async fn of_grant(
        &self,
        key: RevocationKey,
    ) -> Result<Result<Revocation, RevocationError>, StoreError> {
        let now = self.list.clock().now();
        let store = self.store.as_ref().and_then(|store| store.issued_tokens());
        let known = match store {
            Some(issued) => latest_expiry(issued, &key, now).await?,
            None => None,
        };
        Ok(match known {
            Some(latest) => {
                let lifetime = self.access_token_lifetime;
                Revocation::of_grant(key, latest).map(|rule| outlasting(rule, lifetime, now))
            }
            None => Revocation::all_of(key),
        })
    }
}

impl Endpoint for Inner {
    const MEDIA: Media = Media::Json;

    fn clients(&self) -> &ClientAuthentication {
        &self.clients
    }

    fn call<'a>(&'a self, parts: &'a Parts, body: Bytes) -> Answer<'a> {
        Box::pin(async move {
            let client = self.authenticated(parts).await?;
            let mut audit = Audit::new(VIA).by(&client);
            let result = self.perform(&client, &body, &mut audit).await;
            match &result {
                Ok(_) => audit.done(),
                Err(error) => error.tell(&mut audit),
            }
            Ok(json_response(StatusCode::OK, &result?))
        })
    }
}

is_a_service!(AdministrationEndpoint);

impl fmt::Debug for AdministrationEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdministrationEndpoint")
            .field("clients", &self.0.clients)
            .field("lists", &self.0.store.is_some())
            .finish_non_exhaustive()
    }
}
