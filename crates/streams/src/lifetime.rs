//! The [`TokenLifetime`] of a caller.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use http::Extensions;
use tokio::time::{Sleep, sleep};
use tower_revoke_core::{
    Authenticated, Rejection, TokenEnd, VerifiedToken, WatchToken,
    internal::{ObservedStream, StreamObserver, stream_observer},
};

use crate::{expiry::ExpiryWatch, settings::Settings};

/// The rest of a token's life, for what outlives its call: a WebSocket, a tunnel, a stream that a
/// handler makes.
///
/// It ends when the token is revoked or expires, as soon as this node knows, and when the list
/// could not say for too long whether it was revoked. A token that is spent has not ended. It keeps neither
/// the token nor the request alive, and no task runs for it.
///
/// With the feature `axum-08` it is an extractor. Elsewhere, take it from the request's extensions
/// with [`of`](Self::of). The limits are those of the innermost
/// [`TokenLifetimeLayer`](crate::TokenLifetimeLayer), or the defaults.
///
/// # Examples
/// An axum WebSocket that closes with 1008 and the reason:
///
/// ```
/// use std::time::Duration;
/// use axum::{
///     extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code::POLICY},
///     response::Response,
/// };
/// use tower_revoke_streams::TokenLifetime;
///
/// async fn chat(upgrade: WebSocketUpgrade, mut lifetime: TokenLifetime) -> Response {
///     upgrade.on_upgrade(async move |mut socket| {
///         let end = tokio::select! {
///             () = talk(&mut socket) => return,
///             end = lifetime.ended() => end,
///         };
///         let close = CloseFrame { code: POLICY, reason: end.to_string().into() };
///         // Until the client has closed too: to a browser, the end is not clean otherwise.
///         let closed = async {
///             let _ = socket.send(Message::Close(Some(close))).await;
///             while let Some(Ok(_)) = socket.recv().await {}
///         };
///         let _ = tokio::time::timeout(Duration::from_secs(5), closed).await;
///     })
/// }
///
/// async fn talk(socket: &mut WebSocket) {
///     while let Some(Ok(message)) = socket.recv().await {
///         if socket.send(message).await.is_err() {
///             return;
///         }
///     }
/// }
/// # let _: axum::Router = axum::Router::new().route("/chat", axum::routing::any(chat));
/// ```
pub struct TokenLifetime {
    watch: Box<dyn WatchToken>,
    settings: Arc<Settings>,
    /// Boxed, since most streams have none of it, and there are many streams.
    rare: Option<Box<Rare>>,
}

#[derive(Default)]
struct Rare {
    /// Runs once the token has ended, if there is a grace.
    grace: Option<Pin<Box<Sleep>>>,
    /// Counts the stream as live, if a layer further out does, until it is cut.
    observed: Option<Box<dyn ObservedStream>>,
}

/// What the layer leaves in the extensions of a request.
#[derive(Clone, Debug)]
pub(crate) struct Offered {
    pub(crate) settings: Arc<Settings>,
    /// Set when a lifetime is taken. `None` if the request asks for no upgrade.
    pub(crate) is_taken: Option<Arc<AtomicBool>>,
}

/// A token that is to be watched for a stream of its request.
pub(crate) struct Watchable {
    token: Arc<VerifiedToken>,
    observer: Option<Arc<dyn StreamObserver>>,
    settings: Arc<Settings>,
}

impl Watchable {
    pub(crate) fn of(extensions: &Extensions, settings: Arc<Settings>) -> Result<Self, Rejection> {
        Ok(Self {
            token: Authenticated::of(extensions)?.token().clone(),
            observer: stream_observer(extensions).cloned(),
            settings,
        })
    }

    pub(crate) fn token(&self) -> &VerifiedToken {
        &self.token
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn watch(self) -> TokenLifetime {
        let observer = self.observer.as_ref();
        let observed = observer.map(|observer| observer.begin(&self.token));
        TokenLifetime::new(&self.token, self.settings, observed)
    }
}

impl TokenLifetime {
    /// Takes the lifetime of the token with which a request came.
    ///
    /// # Errors
    /// As for [`Authenticated::of`].
    pub fn of(extensions: &Extensions) -> Result<Self, Rejection> {
        let offered = extensions.get::<Offered>();
        let settings = offered.map_or_else(Settings::shared, |offered| offered.settings.clone());
        let lifetime = Watchable::of(extensions, settings)?.watch();
        if let Some(is_taken) = offered.and_then(|offered| offered.is_taken.as_ref()) {
            is_taken.store(true, Ordering::Release);
        }
        Ok(lifetime)
    }

    /// Watches a token that was verified in another way than by a request, with the default limits.
    pub fn of_token(token: &VerifiedToken) -> Self {
        Self::new(token, Settings::shared(), None)
    }

    fn new(
        token: &VerifiedToken,
        settings: Arc<Settings>,
        observed: Option<Box<dyn ObservedStream>>,
    ) -> Self {
        let watch: Box<dyn WatchToken> = match token.revocations() {
            Some(list) => list.clone().watch(token, settings.unknown_timeout),
            None => Box::new(ExpiryWatch::new(token.usable_until())),
        };
        Self {
            watch,
            settings,
            rare: observed.map(|observed| {
                Box::new(Rare {
                    grace: None,
                    observed: Some(observed),
                })
            }),
        }
    }

    /// Returns whether a grace may be running or over, so that it is worth polling.
    pub(crate) fn is_ending(&self) -> bool {
        self.watch.end().is_some()
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Waits until the token has ended, and returns why.
    ///
    /// # Cancel safety
    /// It can be dropped and called again, as in a loop around `select!`.
    pub async fn ended(&mut self) -> TokenEnd {
        poll_fn(|cx| self.poll_ended(cx)).await
    }

    /// As [`ended`](Self::ended), for a body or a stream written by hand. Only the waker of the last
    /// call is woken.
    pub fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<TokenEnd> {
        let end = ready!(self.poll_end(cx));
        self.cut(end);
        Poll::Ready(end)
    }

    /// Counts the stream as cut.
    pub(crate) fn cut(&mut self, end: TokenEnd) {
        let rare = self.rare.as_mut();
        if let Some(observed) = rare.and_then(|rare| rare.observed.take()) {
            observed.cut(end, self.watch.time_since_end().unwrap_or_default());
        }
    }

    /// As [`poll_ended`](Self::poll_ended), before the stream is cut.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<TokenEnd> {
        loop {
            let Poll::Ready(end) = self.watch.poll_end(cx) else {
                // The revocation may have been lifted during its grace.
                if let Some(rare) = &mut self.rare {
                    rare.grace = None;
                }
                return Poll::Pending;
            };
            let grace = self.settings.grace(end);
            if grace.is_zero() {
                return Poll::Ready(end);
            }
            let rare = self.rare.get_or_insert_default();
            let timer = rare.grace.get_or_insert_with(|| Box::pin(sleep(grace)));
            if !timer.is_elapsed() {
                ready!(timer.as_mut().poll(cx));
            }
            if let Some(end) = self.watch.end() {
                return Poll::Ready(end);
            }
        }
    }
}

impl fmt::Debug for TokenLifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenLifetime")
            .field("end", &self.watch.end())
            .finish_non_exhaustive()
    }
}
