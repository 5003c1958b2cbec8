//! The counts in the text formats of OpenMetrics and Prometheus.

use std::{
    collections::BTreeMap,
    fmt::{Error, Write as _},
    sync::Arc,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::{Registry, Unit},
};

use crate::{Counts, Latency, Monitor, ServiceSnapshot, Snapshot, streams::ENDS};

/// The media type of [`Monitor::open_metrics`].
pub const OPEN_METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The media type of [`Monitor::prometheus`].
pub const PROMETHEUS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The buckets of the histograms: powers of two from 256 µs to 16.8 s.
const BUCKETS: std::ops::RangeInclusive<usize> = 8..=24;

impl Monitor {
    /// Returns the counts since the start in the text format of OpenMetrics 1.0, see
    /// [Prometheus](crate#prometheus).
    pub fn open_metrics(&self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Families(self.snapshot())));
        let mut text = String::new();
        text::encode(&mut text, &registry).expect("a String takes any text");
        text
    }

    /// Returns the same in the text format of Prometheus, version 0.0.4.
    ///
    /// ```
    /// use tower_revoke_monitor::Monitor;
    ///
    /// let monitor = Monitor::new();
    /// let orders = monitor.layer("orders");
    /// let text = monitor.prometheus();
    /// assert!(text.contains(r#"tower_revoke_requests_in_flight{service="orders"} 0"#));
    /// ```
    pub fn prometheus(&self) -> String {
        let open_metrics = self.open_metrics();
        let mut text = String::with_capacity(open_metrics.len());
        let mut help = None;
        // The formats differ in the names of counters, which Prometheus declares with their suffix, and
        // in what it takes for comments.
        for line in open_metrics.lines() {
            if line.starts_with("# HELP ") {
                help = Some(line);
            } else if let Some(name) = declared_counter(line) {
                let help = help.take().unwrap_or_default();
                let help = help.strip_prefix("# HELP ").unwrap_or_default();
                let said = help.strip_prefix(name).unwrap_or_default();
                let _ = writeln!(
                    text,
                    "# HELP {name}_total{said}\n# TYPE {name}_total counter"
                );
            } else if !line.starts_with("# UNIT ") && line != "# EOF" {
                for line in help.take().into_iter().chain([line]) {
                    text.push_str(line);
                    text.push('\n');
                }
            }
        }
        text
    }
}

fn declared_counter(line: &str) -> Option<&str> {
    line.strip_prefix("# TYPE ")?.strip_suffix(" counter")
}

type Labels<'a> = Vec<(&'static str, &'a str)>;

#[derive(Debug)]
struct Families(Snapshot);

impl Families {
    /// Returns the services, upstreams and composites, with their labels.
    fn contexts(&self) -> impl Iterator<Item = (Labels<'_>, &ServiceSnapshot)> {
        fn labelled<'a>(
            kind: &'static str,
            all: &'a BTreeMap<Arc<str>, ServiceSnapshot>,
        ) -> impl Iterator<Item = (Labels<'a>, &'a ServiceSnapshot)> {
            all.iter()
                .map(move |(name, one)| (vec![(kind, &**name)], one))
        }
        let services = labelled("service", &self.0.services);
        services
            .chain(labelled("upstream", &self.0.upstreams))
            .chain(labelled("composite", &self.0.composites))
    }

    /// Returns the methods of all of them, with their labels; `other` are all methods without counts of
    /// their own.
    fn methods(&self) -> impl Iterator<Item = (Labels<'_>, &Counts)> {
        self.contexts().flat_map(|(labels, context)| {
            let known = context
                .methods
                .iter()
                .map(|(name, counts)| (&**name, counts));
            let all = known.chain([("other", &context.other_methods)]);
            all.map(move |(name, counts)| (with(&labels, "method", name), counts))
        })
    }
}

impl Families {
    fn write_streams(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let live = self
            .contexts()
            .map(|(labels, one)| (labels, one.total.live_streams));
        let help = "Live streams that end with their token";
        let family = ("tower_revoke_streams", None, help);
        write_family(encoder, family, MetricType::Gauge, live)?;
        let ended = self.contexts().flat_map(|(labels, one)| {
            let ended = &one.total.ended_streams;
            ENDS.map(|(_, reason)| {
                let times = ended.get(reason).copied().unwrap_or_default();
                (with(&labels, "reason", reason), times)
            })
        });
        let help = "Streams that were ended with their token";
        let family = ("tower_revoke_streams_ended", None, help);
        write_family(encoder, family, MetricType::Counter, ended)?;
        let help = "How long after its revocation was known a stream was ended";
        let delays = self
            .contexts()
            .map(|(labels, one)| (labels, &one.cut_delay));
        write_latencies(encoder, ("tower_revoke_stream_cut_delay", help), delays)
    }
}

fn with<'a>(labels: &Labels<'a>, name: &'static str, value: &'a str) -> Labels<'a> {
    let mut labels = labels.clone();
    labels.push((name, value));
    labels
}

fn outcomes(counts: &Counts) -> [(&'static str, u64); 4] {
    [
        ("success", counts.success),
        ("failure", counts.failure),
        ("exception", counts.exception),
        ("cancelled", counts.cancelled),
    ]
}

/// Writes one family of counters or gauges.
fn write_family<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, unit, help): (&str, Option<Unit>, &str),
    kind: MetricType,
    values: impl Iterator<Item = (Labels<'a>, u64)>,
) -> Result<(), Error> {
    let mut family = encoder.encode_descriptor(name, help, unit.as_ref(), kind)?;
    for (labels, value) in values {
        let one = family.encode_family(&labels)?;
        match kind {
            MetricType::Counter => ConstCounter::new(value).encode(one)?,
            _ => ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(one)?,
        }
    }
    Ok(())
}

fn write_latencies<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    values: impl Iterator<Item = (Labels<'a>, &'a Latency)>,
) -> Result<(), Error> {
    let unit = Some(&Unit::Seconds);
    let mut family = encoder.encode_descriptor(name, help, unit, MetricType::Histogram)?;
    for (labels, latency) in values {
        let mut buckets = Vec::new();
        let mut below = 0;
        for (index, count) in latency.buckets.into_iter().enumerate() {
            below += count;
            if BUCKETS.contains(&index)
                && let Some(bound) = Latency::bound(index)
            {
                buckets.push((bound.as_secs_f64(), std::mem::take(&mut below)));
            }
        }
        buckets.push((f64::INFINITY, below));
        let sum = latency.sum.as_secs_f64();
        let mut one = family.encode_family(&labels)?;
        one.encode_histogram::<NoLabelSet>(sum, latency.count(), &buckets, None)?;
    }
    Ok(())
}

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let encoder = &mut encoder;
        if !self.0.composites.is_empty() {
            let late = self.0.composites.iter();
            let late = late.map(|(name, one)| (vec![("composite", &**name)], one.late));
            write_family(
                encoder,
                (
                    "tower_revoke_late_parts",
                    None,
                    "Parts that ended after their composite was judged",
                ),
                MetricType::Counter,
                late,
            )?;
        }
        let by_outcome = self.contexts().flat_map(|(labels, context)| {
            let reasons = context.total.rejected_by.iter();
            let rejected = reasons.map(|(reason, times)| ("rejected", Some(*reason), *times));
            let ended = outcomes(&context.total).map(|(outcome, times)| (outcome, None, times));
            let all = ended.into_iter().chain(rejected).collect::<Vec<_>>();
            all.into_iter().map(move |(outcome, reason, times)| {
                let mut labels = with(&labels, "outcome", outcome);
                labels.extend(reason.map(|reason| ("reason", reason)));
                (labels, times)
            })
        });
        write_family(
            encoder,
            (
                "tower_revoke_requests",
                None,
                "Calls that have ended, by outcome",
            ),
            MetricType::Counter,
            by_outcome,
        )?;
        let in_flight = self
            .contexts()
            .map(|(labels, one)| (labels, one.total.in_flight));
        write_family(
            encoder,
            (
                "tower_revoke_requests_in_flight",
                None,
                "Calls that have not ended",
            ),
            MetricType::Gauge,
            in_flight,
        )?;
        let sent = self
            .contexts()
            .map(|(labels, one)| (labels, one.total.bytes_in));
        write_family(
            encoder,
            (
                "tower_revoke_request_body",
                Some(Unit::Bytes),
                "Announced bytes of request bodies",
            ),
            MetricType::Counter,
            sent,
        )?;
        let answered = self
            .contexts()
            .map(|(labels, one)| (labels, one.total.bytes_out));
        write_family(
            encoder,
            (
                "tower_revoke_response_body",
                Some(Unit::Bytes),
                "Bytes of response bodies",
            ),
            MetricType::Counter,
            answered,
        )?;
        let help = "How long calls took that were not rejected, to the end of the response";
        let latencies = self
            .contexts()
            .map(|(labels, one)| (labels, &one.total.latency));
        write_latencies(encoder, ("tower_revoke_request_duration", help), latencies)?;

        self.write_streams(encoder)?;

        let by_method = self.methods().flat_map(|(labels, counts)| {
            let rejected = [("rejected", counts.rejected)];
            let all = outcomes(counts).into_iter().chain(rejected);
            all.map(move |(outcome, times)| (with(&labels, "outcome", outcome), times))
        });
        write_family(
            encoder,
            (
                "tower_revoke_method_requests",
                None,
                "Calls that have ended, by method and outcome",
            ),
            MetricType::Counter,
            by_method,
        )?;
        let latencies = self
            .methods()
            .map(|(labels, counts)| (labels, &counts.latency));
        let help = "How long calls of a method took that were not rejected";
        write_latencies(
            encoder,
            ("tower_revoke_method_request_duration", help),
            latencies,
        )
    }
}
