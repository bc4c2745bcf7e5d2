//! GoodputHandles: requests and tokens by whether they met their targets.

use super::families::MetricFamilies;
use super::request_series::HandleCache;
use prometheus::{IntCounter, IntCounterVec};
use std::sync::Arc;
use streamgauge_core::meter::{RequestRecord, SloVerdict};

/// The handles of one upstream, operation and model, by class and judgement.
#[derive(Debug, Default)]
pub(super) struct GoodputHandles {
    requests: HandleCache<(Arc<str>, SloVerdict), IntCounter>,
    tokens: HandleCache<(Arc<str>, SloVerdict), IntCounter>,
}

impl GoodputHandles {
    /// A request ended, and was judged. `counter` gives the series of a family with these labels of its own.
    pub fn judged(
        &self,
        families: &MetricFamilies,
        record: &RequestRecord,
        counter: impl Fn(&IntCounterVec, [&str; 2]) -> IntCounter,
    ) {
        for (slo, met) in &record.slo {
            let key = || (Arc::clone(slo), *met);
            let series = |family| counter(family, [slo, met.label()]);
            self.requests.get(key(), || series(&families.slo_requests)).inc();
            if let Some(tokens) = record.output_tokens {
                self.tokens.get(key(), || series(&families.slo_tokens)).inc_by(tokens);
            }
        }
    }
}
