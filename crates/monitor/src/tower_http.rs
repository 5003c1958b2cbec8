//! The adapter for classifiers of tower-http.

use std::fmt;

use http::{HeaderMap, Response};
use tower_http::classify::{ClassifiedResponse, ClassifyEos as _, ClassifyResponse};
use tower_revoke_core::{ByStatus, Classify, Outcome};

/// Classifies calls by a classifier of tower-http, such as
/// [`GrpcErrorsAsFailures`](tower_http::classify::GrpcErrorsAsFailures).
///
/// What it calls a success is one. What it calls a failure is what [`ByStatus`] makes of the status
/// or the trailers, and where that sees a success, an [exception](Outcome::Exception). Errors and
/// panics are exceptions whatever the classifier says.
///
/// ```
/// use tower_http::classify::{GrpcCode, GrpcErrorsAsFailures};
/// use tower_revoke_monitor::{MonitorLayer, TowerHttp};
///
/// let classifier = GrpcErrorsAsFailures::new().with_success(GrpcCode::NotFound);
/// let layer = MonitorLayer::service("orders").classify(TowerHttp::new(classifier));
/// ```
pub struct TowerHttp<C: ClassifyResponse> {
    classifier: C,
    /// Of the call that this clone classifies, between its head and its end.
    end: Option<C::ClassifyEos>,
}

impl<C: ClassifyResponse> TowerHttp<C> {
    /// Classifies each call by a clone of `classifier`.
    pub fn new(classifier: C) -> Self {
        Self {
            classifier,
            end: None,
        }
    }
}

impl<C: ClassifyResponse + Clone> Classify for TowerHttp<C> {
    fn of_head<B>(&mut self, response: &Response<B>) -> Option<Outcome> {
        match self.classifier.clone().classify_response(response) {
            ClassifiedResponse::Ready(Ok(())) => Some(Outcome::Success),
            ClassifiedResponse::Ready(Err(_)) => Some(ill(Outcome::of_head(response))),
            ClassifiedResponse::RequiresEos(end) => {
                self.end = Some(end);
                None
            }
        }
    }

    fn of_trailers(&mut self, trailers: Option<&HeaderMap>) -> Outcome {
        let by_status = ByStatus.of_trailers(trailers);
        match self.end.take().map(|end| end.classify_eos(trailers)) {
            None => by_status,
            Some(Ok(())) => Outcome::Success,
            Some(Err(_)) => ill(by_status),
        }
    }
}

fn ill(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Success => Outcome::Exception,
        ill => ill,
    }
}

/// A clone classifies another call.
impl<C: ClassifyResponse + Clone> Clone for TowerHttp<C> {
    fn clone(&self) -> Self {
        Self::new(self.classifier.clone())
    }
}

impl<C: ClassifyResponse + fmt::Debug> fmt::Debug for TowerHttp<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TowerHttp").field(&self.classifier).finish()
    }
}
