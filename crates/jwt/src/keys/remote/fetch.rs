//! One fetch: from the issuer's metadata, where they are asked for, to the keys.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header};
use tower_revoke_core::{
    Clock, DiscoveryError, Endpoint, HttpClient, HttpClientError, IssuerMetadata,
};

use super::{KeyFetchError, pace::life};
use crate::{
    KeySetError,
    algorithm::AlgorithmSet,
    keys::{Key, jwk::MAX_BYTES, read_set},
};

/// How long the place that the metadata named is used without asking again.
const REDISCOVER_AFTER: Duration = Duration::from_secs(60 * 60);

const TYPES: HeaderValue = HeaderValue::from_static("application/jwk-set+json, application/json");

/// Where an issuer's keys are.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    At(Endpoint),
    /// Where its metadata says, which stands at one of these.
    Discovered([Endpoint; 2]),
}

/// Whose keys are fetched, from where, and by whom.
#[derive(Clone)]
pub(crate) struct Origin {
    pub(crate) issuer: Arc<str>,
    pub(crate) place: Place,
    pub(crate) client: Arc<dyn HttpClient>,
    pub(crate) allowed: AlgorithmSet,
    pub(crate) clock: Clock,
}

/// What remembers the last answer, so that the next one need not be read again.
pub(super) struct Fetcher {
    origin: Origin,
    /// Where the metadata said that the keys are, and at which uptime.
    discovered: Option<(Endpoint, Duration)>,
    last: Option<Last>,
    /// The set that was read last, if it held no usable key.
    unusable: Option<Bytes>,
    /// What was read last; a key that comes again stays the same key.
    keys: Vec<Arc<Key>>,
}

struct Last {
    url: Endpoint,
    tag: Option<HeaderValue>,
    body: Bytes,
}

/// The keys, and for how long the issuer calls them fresh.
pub(super) struct Fetched {
    pub(super) keys: Vec<Arc<Key>>,
    pub(super) life: Option<Duration>,
}

impl Fetcher {
    pub(super) fn new(origin: Origin) -> Self {
        Self {
            origin,
            discovered: None,
            last: None,
            unusable: None,
            keys: Vec::new(),
        }
    }

    /// May be dropped at any time.
    pub(super) async fn fetch(&mut self) -> Result<Fetched, KeyFetchError> {
        let url = self.place().await?;
        let found = self.ask(&url).await;
        if found.is_err() {
            // The issuer may have moved its keys.
            self.discovered = None;
        }
        found
    }

    async fn place(&mut self) -> Result<Endpoint, KeyFetchError> {
        let urls = match &self.origin.place {
            Place::At(url) => return Ok(url.clone()),
            Place::Discovered(urls) => urls,
        };
        let now = self.origin.clock.uptime();
        if let Some((url, at)) = &self.discovered
            && now.saturating_sub(*at) < REDISCOVER_AFTER
        {
            return Ok(url.clone());
        }
        let [openid, oauth] = urls;
        let metadata = match self.metadata(openid).await {
            Err(first) if may_stand_elsewhere(&first) => match self.metadata(oauth).await {
                Err(KeyFetchError::Status(StatusCode::NOT_FOUND)) => Err(first),
                second => second,
            },
            first => first,
        };
        let url = metadata?.jwks_uri().map_err(KeyFetchError::Discovery)?;
        self.discovered = Some((url.clone(), now));
        Ok(url)
    }

    async fn metadata(&self, url: &Endpoint) -> Result<IssuerMetadata, KeyFetchError> {
        let request = get(url.uri(), HeaderMap::new());
        let answer = self.send(request, IssuerMetadata::MAX_BYTES).await?;
        match answer.status() {
            StatusCode::OK => IssuerMetadata::parse(&self.origin.issuer, answer.body())
                .map_err(KeyFetchError::Discovery),
            status => Err(KeyFetchError::Status(status)),
        }
    }

    async fn ask(&mut self, url: &Endpoint) -> Result<Fetched, KeyFetchError> {
        self.last.take_if(|last| last.url != *url);
        let mut headers = HeaderMap::new();
        if let Some(tag) = self.last.as_ref().and_then(|last| last.tag.clone()) {
            headers.insert(header::IF_NONE_MATCH, tag);
        }
        let is_conditional = !headers.is_empty();
        let request = get(url.uri(), headers);
        let answer = self.send(request, MAX_BYTES as usize).await?;
        let life = life(answer.headers());
        match answer.status() {
            StatusCode::NOT_MODIFIED if is_conditional => {}
            StatusCode::OK => self.take(url, answer)?,
            status => return Err(KeyFetchError::Status(status)),
        }
        Ok(Fetched {
            keys: self.keys.clone(),
            life,
        })
    }

    fn take(&mut self, url: &Endpoint, answer: Response<Bytes>) -> Result<(), KeyFetchError> {
        let (head, body) = answer.into_parts();
        // What is the same is not read, and not complained of, again.
        if self.unusable.as_ref() == Some(&body) {
            return Err(KeyFetchError::KeySet(KeySetError::NoUsableKey));
        }
        if self.last.as_ref().is_none_or(|last| last.body != body) {
            self.unusable = None;
            let read = read_set(&body, self.origin.allowed, &self.keys);
            let (keys, _) = read.map_err(KeyFetchError::KeySet)?;
            if keys.is_empty() {
                self.unusable = Some(body);
                return Err(KeyFetchError::KeySet(KeySetError::NoUsableKey));
            }
            self.keys = keys;
        }
        self.last = Some(Last {
            url: url.clone(),
            tag: head.headers.get(header::ETAG).cloned(),
            body,
        });
        Ok(())
    }

    async fn send(
        &self,
        request: Request<Bytes>,
        limit: usize,
    ) -> Result<Response<Bytes>, KeyFetchError> {
        let answer = self.origin.client.send(request, limit).await;
        answer.map_err(KeyFetchError::Http)
    }
}

/// Whether it only means that no metadata is at this place: some servers answer any path with a
/// page. What names another issuer is no reason to look further.
fn may_stand_elsewhere(error: &KeyFetchError) -> bool {
    matches!(
        error,
        KeyFetchError::Status(_)
            | KeyFetchError::Http(HttpClientError::Redirect(_))
            | KeyFetchError::Discovery(DiscoveryError::Unreadable)
    )
}

fn get(uri: &Uri, headers: HeaderMap) -> Request<Bytes> {
    let mut request = Request::new(Bytes::new());
    *request.uri_mut() = uri.clone();
    *request.headers_mut() = headers;
    request.headers_mut().insert(header::ACCEPT, TYPES);
    request
}
