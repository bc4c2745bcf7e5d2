//! The latencies in tables and in JSON.

use crate::measure::MeasurementSample;

/// A time measured by the load generator, in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct LatencyColumn {
    /// Title of the column.
    pub title: &'static str,
    /// Name in the report of the load generator.
    pub key: &'static str,
    /// Name of the quantile in that report.
    pub quantile: &'static str,
    /// Whether it is taken from the first streams, one after the other on one connection, instead of the load.
    pub kept: bool,
}

impl LatencyColumn {
    /// The compared times.
    pub const ALL: [Self; 7] = [
        Self::of_load("token p50", "latency_us", "p50"),
        Self::of_load("token p99", "latency_us", "p99"),
        Self::of_load("head p50", "head_us", "p50"),
        Self::of_load("head p99", "head_us", "p99"),
        Self::of_load("first token p50", "first_token_us", "p50"),
        Self::of_load("first token p99", "first_token_us", "p99"),
        Self::KEPT_CONNECTION,
    ];
    /// From the request to the first token, on a connection that has been in use.
    pub const KEPT_CONNECTION: Self = Self {
        kept: true,
        ..Self::of_load("first token p50, kept connection", "first_token_us", "p50")
    };

    const fn of_load(title: &'static str, key: &'static str, quantile: &'static str) -> Self {
        Self { title, key, quantile, kept: false }
    }

    /// Returns the latency of a sample, in microseconds.
    pub fn value_in(self, sample: &MeasurementSample) -> Option<f64> {
        let load = if self.kept { sample.setup_loads.first()? } else { &sample.load };
        load[self.key][self.quantile].as_f64()
    }
}
