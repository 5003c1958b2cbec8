//! One fetch of an issuer's keys, with its metadata where they are discovered.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use tower_revoke_core::{Clock, Endpoint, HttpClient, internal::MetadataSource};

use super::{error::KeyFetchError, schedule::freshness};
use crate::{
    KeySetError,
    algorithm::Algorithm,
    keys::{
        jwk::{MAX_BYTES, read_set},
        key::Key,
    },
    resolver::RateLimit,
};

/// How long a `jwks_uri` is used before the metadata is fetched again.
const METADATA_MAX_AGE: Duration = Duration::from_secs(60 * 60);

const ACCEPT: HeaderValue = HeaderValue::from_static("application/jwk-set+json, application/json");

/// Where an issuer's keys are.
#[derive(Clone, Debug)]
pub(crate) enum KeyLocation {
    Url(Endpoint),
    /// The `jwks_uri` of its metadata.
    Discovered(MetadataSource),
}

/// Whose keys are fetched, from where, and with which client.
#[derive(Clone)]
pub(crate) struct Origin {
    pub(crate) issuer: Arc<str>,
    pub(crate) location: KeyLocation,
    pub(crate) client: Arc<dyn HttpClient>,
    pub(crate) allowed: Arc<[Algorithm]>,
    pub(crate) clock: Clock,
    /// How often tokens may cause fetches of several issuers together, this one among them.
    pub(crate) rate: Option<Arc<RateLimit>>,
}

/// Fetches keys, and remembers the last response, which is not read again if it is unchanged.
pub(super) struct Fetcher {
    origin: Origin,
    /// The `jwks_uri`, and the uptime at which it was discovered.
    discovered: Option<(Endpoint, Duration)>,
    last: Option<LastResponse>,
    /// The last set, if it had no usable key.
    unusable: Option<Bytes>,
    /// The keys of the last usable set. A key that is in the next one too stays the same object.
    keys: Vec<Arc<Key>>,
}

struct LastResponse {
    url: Endpoint,
    tag: Option<HeaderValue>,
    body: Bytes,
}

/// The keys, and the freshness lifetime of the response.
pub(super) struct Fetched {
    pub(super) keys: Vec<Arc<Key>>,
    pub(super) freshness: Option<Duration>,
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

    /// Fetches the keys. Cancel safe.
    pub(super) async fn fetch(&mut self) -> Result<Fetched, KeyFetchError> {
        let url = self.url().await?;
        let fetched = self.fetch_keys(&url).await;
        if fetched.is_err() {
            // The issuer may have moved its keys.
            self.discovered = None;
        }
        fetched
    }

    async fn url(&mut self) -> Result<Endpoint, KeyFetchError> {
        let metadata = match &self.origin.location {
            KeyLocation::Url(url) => return Ok(url.clone()),
            KeyLocation::Discovered(metadata) => metadata,
        };
        let now = self.origin.clock.uptime();
        if let Some((url, at)) = &self.discovered
            && now.saturating_sub(*at) < METADATA_MAX_AGE
        {
            return Ok(url.clone());
        }
        let url = metadata.fetch(&*self.origin.client).await;
        let url = url.map_err(KeyFetchError::Discovery)?;
        self.discovered = Some((url.clone(), now));
        Ok(url)
    }

    async fn fetch_keys(&mut self, url: &Endpoint) -> Result<Fetched, KeyFetchError> {
        self.last.take_if(|last| last.url != *url);
        let tag = self.last.as_ref().and_then(|last| last.tag.clone());
        let is_conditional = tag.is_some();
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = url.uri().clone();
        let headers = request.headers_mut();
        headers.insert(header::ACCEPT, ACCEPT);
        headers.extend(tag.map(|tag| (header::IF_NONE_MATCH, tag)));
        let response = self.origin.client.send(request, MAX_BYTES as usize).await;
        let response = response.map_err(KeyFetchError::Http)?;
        let freshness = freshness(response.headers());
        match response.status() {
            StatusCode::NOT_MODIFIED if is_conditional => {}
            StatusCode::OK => self.read(url, response)?,
            status => return Err(KeyFetchError::Status(status)),
        }
        Ok(Fetched {
            keys: self.keys.clone(),
            freshness,
        })
    }

    fn read(&mut self, url: &Endpoint, response: Response<Bytes>) -> Result<(), KeyFetchError> {
        let (head, body) = response.into_parts();
        // An unchanged set is not read again, so that its keys are not warned of again.
        if self.unusable.as_ref() == Some(&body) {
            return Err(KeyFetchError::KeySet(KeySetError::NoUsableKey));
        }
        if self.last.as_ref().is_none_or(|last| last.body != body) {
            self.unusable = None;
            let read = read_set(&body, &self.origin.allowed, &self.keys);
            let (keys, _) = read.map_err(KeyFetchError::KeySet)?;
            if keys.is_empty() {
                self.unusable = Some(body);
                return Err(KeyFetchError::KeySet(KeySetError::NoUsableKey));
            }
            self.keys = keys;
        }
        self.last = Some(LastResponse {
            url: url.clone(),
            tag: head.headers.get(header::ETAG).cloned(),
            body,
        });
        Ok(())
    }
}
