//! The series of the `metrics` facade. Without the feature, nothing is reported.

#[cfg(feature = "metrics")]
pub(crate) use self::facade::{Labels, Series, ServiceSeries};
#[cfg(not(feature = "metrics"))]
pub(crate) use self::nothing::{Labels, Series, ServiceSeries};

#[cfg(feature = "metrics")]
mod facade {
    use std::{
        collections::HashSet,
        sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
        time::Duration,
    };

    use metrics::{Counter, Gauge, Histogram, Label, counter, gauge, histogram};
    use tower_revoke_core::{Reason, TokenEnd};

    use crate::{
        counters::{End, NO_REASON, OUTCOMES},
        streams::{ENDS, index_of},
    };

    const CALLS: &str = "tower_revoke_requests_total";
    const DURATION: &str = "tower_revoke_request_duration_seconds";
    const IN_FLIGHT: &str = "tower_revoke_requests_in_flight";
    const LATE_PARTS: &str = "tower_revoke_late_parts_total";
    const STREAMS: &str = "tower_revoke_streams";
    const ENDED_STREAMS: &str = "tower_revoke_streams_ended_total";
    const CUT_DELAY: &str = "tower_revoke_stream_cut_delay_seconds";

    /// The labels besides service, outcome and reason.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Labels {
        /// How many clients have a label of their own; `None` for no label at all.
        pub(crate) clients: Option<usize>,
    }

    impl Labels {
        pub(crate) fn of(&self, kind: &'static str, name: &Arc<str>) -> ServiceSeries {
            let of_all = vec![Label::new(kind, name.clone())];
            ServiceSeries {
                all: Series::new(of_all.clone()),
                others: self
                    .clients
                    .map(|_| Series::new(with_client(&of_all, "other".into()))),
                in_flight: OnceLock::new(),
                streams: OnceLock::new(),
                max_clients: self.clients.unwrap_or(0),
                labelled: Mutex::default(),
                labels: of_all,
            }
        }
    }

    fn with_client(labels: &[Label], client: Arc<str>) -> Vec<Label> {
        let mut labels = labels.to_vec();
        labels.push(Label::new("client", client));
        labels
    }

    /// The series of one service.
    #[derive(Debug)]
    pub(crate) struct ServiceSeries {
        labels: Vec<Label>,
        /// Of all calls; where clients are labelled, of anonymous calls.
        all: Series,
        others: Option<Series>,
        in_flight: OnceLock<Gauge>,
        streams: OnceLock<StreamSeries>,
        max_clients: usize,
        /// Never shrinks, since a recorder never drops a series.
        labelled: Mutex<HashSet<Arc<str>>>,
    }

    impl ServiceSeries {
        pub(crate) fn of_anonymous(&self) -> Series {
            self.all.clone()
        }

        pub(crate) fn of_other(&self) -> Series {
            self.others.as_ref().unwrap_or(&self.all).clone()
        }

        pub(crate) fn of_client(&self, name: &Arc<str>) -> Series {
            if self.others.is_none() {
                return self.all.clone();
            }
            let labelled = self.labelled.lock();
            let mut labelled = labelled.unwrap_or_else(PoisonError::into_inner);
            if !labelled.contains(name) {
                if labelled.len() >= self.max_clients {
                    return self.of_other();
                }
                labelled.insert(name.clone());
            }
            Series::new(with_client(&self.labels, name.clone()))
        }

        pub(crate) fn enter(&self) {
            self.in_flight().increment(1);
        }

        pub(crate) fn leave(&self) {
            self.in_flight().decrement(1);
        }

        pub(crate) fn count_late(&self) {
            counter!(LATE_PARTS, self.labels.clone()).increment(1);
        }

        pub(crate) fn enter_stream(&self) {
            self.streams().live.increment(1);
        }

        pub(crate) fn leave_stream(&self) {
            self.streams().live.decrement(1);
        }

        pub(crate) fn cut_stream(&self, end: TokenEnd, after: Duration) {
            let streams = self.streams();
            if let Some(counter) = streams.ended.get(index_of(end)) {
                counter.increment(1);
            }
            if end == TokenEnd::Revoked {
                streams.cut_delay.record(after);
            }
        }

        fn streams(&self) -> &StreamSeries {
            self.streams
                .get_or_init(|| StreamSeries::register(&self.labels))
        }

        fn in_flight(&self) -> &Gauge {
            self.in_flight
                .get_or_init(|| gauge!(IN_FLIGHT, self.labels.clone()))
        }
    }

    /// The series of the live streams of one service.
    #[derive(Debug)]
    struct StreamSeries {
        live: Gauge,
        ended: [Counter; ENDS.len()],
        cut_delay: Histogram,
    }

    impl StreamSeries {
        fn register(labels: &[Label]) -> Self {
            let ended = |(_, reason)| {
                let mut labels = labels.to_vec();
                labels.push(Label::from_static_parts("reason", reason));
                counter!(ENDED_STREAMS, labels)
            };
            Self {
                live: gauge!(STREAMS, labels.to_vec()),
                ended: ENDS.map(ended),
                cut_delay: histogram!(CUT_DELAY, labels.to_vec()),
            }
        }
    }

    /// The series of one set of labels. The first call registers them, so that the program has time to
    /// install its recorder.
    #[derive(Clone, Debug)]
    pub(crate) struct Series(Arc<Registered>);

    #[derive(Debug)]
    struct Registered {
        labels: Vec<Label>,
        handles: OnceLock<Handles>,
        rejected: Mutex<Vec<(Option<Reason>, Counter)>>,
    }

    #[derive(Debug)]
    struct Handles {
        ended: [Counter; OUTCOMES.len()],
        duration: Histogram,
    }

    impl Series {
        fn new(labels: Vec<Label>) -> Self {
            Self(Arc::new(Registered {
                labels,
                handles: OnceLock::new(),
                rejected: Mutex::default(),
            }))
        }

        pub(crate) fn count(&self, end: End, took: Duration) {
            let handles = self.0.handles.get_or_init(|| self.0.register());
            let Some(counter) = handles.ended.get(end.outcome as usize) else {
                return self.0.rejected(end.reason).increment(1);
            };
            counter.increment(1);
            handles.duration.record(took);
        }
    }

    impl Registered {
        fn register(&self) -> Handles {
            Handles {
                ended: OUTCOMES.map(|(_, outcome)| self.counter(outcome, None)),
                duration: histogram!(DURATION, self.labels.clone()),
            }
        }

        fn counter(&self, outcome: &'static str, reason: Option<&'static str>) -> Counter {
            let mut labels = self.labels.clone();
            labels.push(Label::from_static_parts("outcome", outcome));
            labels.extend(reason.map(|reason| Label::from_static_parts("reason", reason)));
            counter!(CALLS, labels)
        }

        fn rejected(&self, reason: Option<Reason>) -> Counter {
            let mut rejected = self.registered();
            if let Some((_, counter)) = rejected.iter().find(|(known, _)| *known == reason) {
                return counter.clone();
            }
            let label = reason.map_or(NO_REASON, Reason::label);
            let counter = self.counter("rejected", Some(label));
            rejected.push((reason, counter.clone()));
            counter
        }

        /// A poisoned lock is taken: a recorder that panics leaves the list as it was.
        fn registered(&self) -> MutexGuard<'_, Vec<(Option<Reason>, Counter)>> {
            self.rejected.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }
}

#[cfg(not(feature = "metrics"))]
mod nothing {
    use std::{sync::Arc, time::Duration};

    use tower_revoke_core::TokenEnd;

    use crate::counters::End;

    #[derive(Clone, Debug, Default)]
    pub(crate) struct Nothing;

    pub(crate) type Labels = Nothing;
    pub(crate) type ServiceSeries = Nothing;
    pub(crate) type Series = Nothing;

    impl Nothing {
        pub(crate) fn of(&self, _: &'static str, _: &Arc<str>) -> Self {
            Self
        }

        pub(crate) fn of_anonymous(&self) -> Self {
            Self
        }

        pub(crate) fn of_other(&self) -> Self {
            Self
        }

        pub(crate) fn of_client(&self, _: &Arc<str>) -> Self {
            Self
        }

        pub(crate) fn enter(&self) {}

        pub(crate) fn leave(&self) {}

        pub(crate) fn count_late(&self) {}

        pub(crate) fn enter_stream(&self) {}

        pub(crate) fn leave_stream(&self) {}

        pub(crate) fn cut_stream(&self, _: TokenEnd, _: Duration) {}

        pub(crate) fn count(&self, _: End, _: Duration) {}
    }
}
