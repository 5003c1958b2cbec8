//! The layer and its settings.

use std::{
    borrow::Cow,
    fmt,
    ops::Deref,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::Extensions;
use tower_layer::Layer;
use tower_revoke_core::{Authenticated, ByStatus, Classify, internal};

use crate::{
    Counted, Monitor, MonitorService,
    clients::Client,
    context::Context,
    methods::{Method, Name},
};

/// Counts the calls of a service, see the [crate's documentation](crate).
///
/// It goes outside of the layer that checks tokens, around any service that returns HTTP responses.
/// It doesn't see what layers further out reject.
///
/// # Examples
/// ```
/// use tower_revoke_monitor::Monitor;
///
/// let monitor = Monitor::new();
/// let stack = (
///     monitor.layer("orders"),
///     // RequireBearerLayer, …
/// );
/// ```
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it is put around a service"]
pub struct MonitorLayer<C = ByStatus> {
    config: Arc<Config>,
    classify: C,
}

#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) monitor: Monitor,
    pub(crate) context: Arc<Context>,
    /// What switches the context on and off.
    pub(crate) counted: Counted,
    route_by: Option<Arc<RouteOf>>,
    client_by: ClientBy,
    /// Marks this layer's notes: no other layer has the number, unless it is a clone.
    mark: u64,
}

/// What the clones of one service share.
#[derive(Debug)]
pub(crate) struct Shared {
    config: Arc<Config>,
    /// The first known method that was asked for. A router layers each method of each route by itself,
    /// so there is hardly ever another.
    pub(crate) method: OnceLock<(Name, Arc<Method>)>,
}

impl Deref for Shared {
    type Target = Config;

    fn deref(&self) -> &Config {
        &self.config
    }
}

/// The client of a token, kept beside the token: one note of each layer.
struct Note {
    /// Of the layer that found it.
    mark: u64,
    // Weak, so that a cached token doesn't keep a client that has made room.
    client: Weak<Client>,
    next: OnceLock<Box<Note>>,
}

/// The largest number of notes beside a token. Further layers look clients up by name.
const MOST_NOTES: usize = 16;

impl Note {
    fn new(mark: u64, client: &Arc<Client>) -> Box<Self> {
        Box::new(Self {
            mark,
            client: Arc::downgrade(client),
            next: OnceLock::new(),
        })
    }

    /// Returns this layer's note among those from `first` on.
    fn find(first: &Self, mark: u64) -> Option<&Self> {
        let mut notes =
            std::iter::successors(Some(first), |note| note.next.get().map(|next| &**next));
        notes.find(|note| note.mark == mark)
    }

    /// Adds a note of this layer behind `first`, unless it has one: its client has made room, or
    /// another call was faster.
    fn add(first: &Self, mark: u64, client: &Arc<Client>) {
        let mut last = first;
        for _ in 1..MOST_NOTES {
            if last.mark == mark {
                return;
            }
            last = last.next.get_or_init(|| Self::new(mark, client));
        }
    }
}

fn next_mark() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

type RouteOf = dyn for<'a> Fn(&'a Extensions) -> Option<&'a str> + Send + Sync;

type NameInRequest = dyn for<'a> Fn(&'a Extensions) -> Option<Cow<'a, str>> + Send + Sync;

type NameOf = dyn for<'a> Fn(&'a Authenticated) -> Option<Cow<'a, str>> + Send + Sync;

#[derive(Clone)]
enum ClientBy {
    Subject,
    OauthClient,
    Claim(Arc<str>),
    Fn(Arc<NameOf>),
    Request(Arc<NameInRequest>),
}

impl MonitorLayer {
    /// Counts the calls of one service in a monitor of its own, see [`monitor`](Self::monitor). For
    /// several services, or other settings, make the layers from one [`Monitor`].
    ///
    /// A client is the subject of the token, unless [`oauth_client`](MonitorLayer::oauth_client) or
    /// one of the settings beside it is called.
    pub fn service(name: impl Into<Arc<str>>) -> Self {
        Monitor::new().layer(name)
    }

    pub(crate) fn of(monitor: Monitor, context: Arc<Context>, counted: Counted) -> Self {
        Self {
            config: Arc::new(Config {
                monitor,
                context,
                counted,
                route_by: None,
                client_by: ClientBy::Subject,
                mark: next_mark(),
            }),
            classify: ByStatus,
        }
    }
}

impl<C> MonitorLayer<C> {
    /// Returns the monitor that it counts in.
    pub fn monitor(&self) -> &Monitor {
        &self.config.monitor
    }

    /// Takes the client from the OAuth client of the verified token instead of its subject: from
    /// `client_id` or whichever claim names it, see
    /// [`ClaimNames`](tower_revoke_core::ClaimNames).
    ///
    /// ```
    /// use tower_revoke_monitor::MonitorLayer;
    ///
    /// let layer = MonitorLayer::service("orders").oauth_client();
    /// ```
    pub fn oauth_client(self) -> Self {
        self.named_by(ClientBy::OauthClient)
    }

    /// Takes the client from this claim of the verified token instead of `sub`. The claim is a string,
    /// a number or a boolean; a token without it, or with any other value, is counted as anonymous.
    pub fn client_claim(self, name: impl Into<Arc<str>>) -> Self {
        self.named_by(ClientBy::Claim(name.into()))
    }

    /// Takes the client from a function of the verified token, which runs once per call. `None` is
    /// counted as anonymous.
    ///
    /// Subjects are unique within their issuer only. A service with several issuers may want both:
    ///
    /// ```
    /// use tower_revoke_monitor::MonitorLayer;
    ///
    /// let layer = MonitorLayer::service("orders")
    ///     .client_by(|caller| Some(format!("{} {}", caller.issuer()?, caller.subject()?).into()));
    /// ```
    pub fn client_by<F>(self, name: F) -> Self
    where
        F: for<'a> Fn(&'a Authenticated) -> Option<Cow<'a, str>> + Send + Sync + 'static,
    {
        self.named_by(ClientBy::Fn(Arc::new(name)))
    }

    /// Takes the client from the extensions of the request, where a layer further out has put it, such as
    /// the subject of the client's certificate. The function runs once per call, and tokens are not asked
    /// for. `None` is counted as anonymous.
    ///
    /// Take nothing that a client can claim without proof: it would choose whose calls are counted.
    ///
    /// ```
    /// use tower_revoke_monitor::MonitorLayer;
    ///
    /// /// Of the certificate that the TLS handshake has verified.
    /// #[derive(Clone)]
    /// struct CertificateSubject(String);
    ///
    /// let layer = MonitorLayer::service("orders").client_of_request(|extensions| {
    ///     let subject: &CertificateSubject = extensions.get()?;
    ///     Some(subject.0.as_str().into())
    /// });
    /// ```
    pub fn client_of_request<F>(self, name: F) -> Self
    where
        F: for<'a> Fn(&'a Extensions) -> Option<Cow<'a, str>> + Send + Sync + 'static,
    {
        self.named_by(ClientBy::Request(Arc::new(name)))
    }

    /// Takes the route from the extensions of the request, where the router has put it. Each HTTP method
    /// of a route is counted by itself, see [methods](crate#methods). The function must return a pattern,
    /// such as `/orders/{id}`, and never the path.
    ///
    /// With the feature `axum-08`, the layer finds the `MatchedPath` of axum by itself.
    ///
    /// ```
    /// use tower_revoke_monitor::MonitorLayer;
    ///
    /// #[derive(Clone)]
    /// struct Route(&'static str);
    ///
    /// let layer = MonitorLayer::service("orders")
    ///     .route_by(|extensions| Some(extensions.get::<Route>()?.0));
    /// ```
    pub fn route_by<F>(mut self, route: F) -> Self
    where
        F: for<'a> Fn(&'a Extensions) -> Option<&'a str> + Send + Sync + 'static,
    {
        Arc::make_mut(&mut self.config).route_by = Some(Arc::new(route));
        self
    }

    /// Classifies calls by other rules than [`ByStatus`].
    pub fn classify<D: Classify>(self, classify: D) -> MonitorLayer<D> {
        MonitorLayer {
            config: self.config,
            classify,
        }
    }

    fn named_by(mut self, client_by: ClientBy) -> Self {
        let config = Arc::make_mut(&mut self.config);
        config.client_by = client_by;
        config.mark = next_mark();
        self
    }
}

impl<S, C: Clone> Layer<S> for MonitorLayer<C> {
    type Service = MonitorService<S, C>;

    fn layer(&self, inner: S) -> MonitorService<S, C> {
        let shared = Shared {
            config: self.config.clone(),
            method: OnceLock::new(),
        };
        MonitorService::new(inner, shared, self.classify.clone())
    }
}

impl Config {
    pub(crate) fn is_on(&self) -> bool {
        self.monitor.counts(self.counted)
    }

    /// Returns the route that the router has matched.
    pub(crate) fn route_of<'a>(&self, extensions: &'a Extensions) -> Option<&'a str> {
        match &self.route_by {
            Some(route_of) => route_of(extensions),
            None => matched_path(extensions),
        }
    }

    /// Returns the name of the client, if it is taken from the request.
    pub(crate) fn client_of_request<'a>(
        &self,
        extensions: &'a Extensions,
    ) -> Option<Option<Cow<'a, str>>> {
        match &self.client_by {
            ClientBy::Request(name_of) => Some(name_of(extensions)),
            _ => None,
        }
    }

    /// Returns the client of a caller, which is seen `now`. `None` if it has no name.
    pub(crate) fn client_of(&self, caller: &Authenticated, now: Duration) -> Option<Arc<Client>> {
        let note = internal::note(caller.token());
        let noted = note.get().and_then(|note| note.downcast_ref::<Note>());
        let noted = noted.and_then(|first| Note::find(first, self.mark));
        if let Some(client) = noted.and_then(|note| note.client.upgrade())
            && client.see_again(now)
        {
            return Some(client);
        }
        let client = self.context.clients.find(&self.name_of(caller)?, now);
        // A program's function may return another name for the same token next time.
        if !matches!(self.client_by, ClientBy::Fn(_)) {
            let first = note.get_or_init(|| Note::new(self.mark, &client));
            if let Some(first) = first.downcast_ref() {
                Note::add(first, self.mark, &client);
            }
        }
        Some(client)
    }

    /// Returns the client that has authenticated to an endpoint, which is seen `now`.
    pub(crate) fn client_without_token(&self, id: &str, now: Duration) -> Option<Arc<Client>> {
        match self.client_by {
            ClientBy::Subject | ClientBy::OauthClient => Some(self.context.clients.find(id, now)),
            ClientBy::Claim(_) | ClientBy::Fn(_) | ClientBy::Request(_) => None,
        }
    }

    fn name_of<'a>(&self, caller: &'a Authenticated) -> Option<Cow<'a, str>> {
        match &self.client_by {
            ClientBy::Subject => caller.subject().map(Cow::Borrowed),
            ClientBy::OauthClient => caller.client().map(Cow::Borrowed),
            ClientBy::Claim(name) => {
                let value = caller.claims().get(name)?;
                match value.as_str() {
                    Some(text) => Some(Cow::Borrowed(text)),
                    None if value.is_number() || value.is_boolean() => {
                        Some(Cow::Owned(value.to_string()))
                    }
                    None => None,
                }
            }
            ClientBy::Fn(name_of) => name_of(caller),
            ClientBy::Request(_) => None,
        }
    }
}

#[cfg(feature = "axum-08")]
fn matched_path(extensions: &Extensions) -> Option<&str> {
    let path: &axum_08::extract::MatchedPath = extensions.get()?;
    Some(path.as_str())
}

#[cfg(not(feature = "axum-08"))]
fn matched_path(_: &Extensions) -> Option<&str> {
    None
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let client_by = match &self.client_by {
            ClientBy::Subject => "subject",
            ClientBy::OauthClient => "client",
            ClientBy::Claim(name) => name,
            ClientBy::Fn(_) | ClientBy::Request(_) => "…",
        };
        f.debug_struct("Config")
            .field("monitor", &self.monitor)
            .field("client_by", &client_by)
            .finish_non_exhaustive()
    }
}
