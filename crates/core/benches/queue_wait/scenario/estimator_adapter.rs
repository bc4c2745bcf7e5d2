//! The estimator as the evaluation uses it. All that depends on the estimator's interface is here.

use super::traffic::ScenarioRequest;
use std::time::Duration;
use streamgauge_core::meter::queue::{
    EstimateSource, ExpectedWait, QueueEntry, QueueEstimator, ServedRequest, WaitEstimate,
};

/// An estimated wait, of a request or of a new one.
#[derive(Debug, Clone, Copy)]
pub struct WaitWithInterval {
    pub seconds: f64,
    /// Interval in which the truth should lie, if the estimator has one. The end is infinite if it is not known.
    pub interval: Option<(f64, f64)>,
    /// The estimator says that this is only a lower bound.
    pub is_withdrawn: bool,
}

/// The estimators of all models of one upstream.
pub struct EstimatorAdapter {
    by_model: Vec<QueueEstimator>,
}

impl EstimatorAdapter {
    pub fn new(models: usize) -> Self {
        let mut by_model = Vec::new();
        by_model.resize_with(models, QueueEstimator::default);
        Self { by_model }
    }

    pub fn arrive(&mut self, at: f64, request: &ScenarioRequest) -> QueueEntry {
        let at = Duration::from_secs_f64(at);
        self.by_model[request.model].arrive(at, request.bytes, request.is_streamed)
    }

    pub fn first_output(&mut self, entry: &mut QueueEntry, at: f64, request: &ScenarioRequest) {
        self.by_model[request.model].first_output(entry, Duration::from_secs_f64(at));
    }

    /// A request has ended. `is_served`: the server had begun to respond. `tokens`: size of the prompt, if it is reported.
    pub fn finish(
        &mut self,
        entry: QueueEntry,
        at: f64,
        request: &ScenarioRequest,
        is_served: bool,
        tokens: Option<u64>,
    ) -> Option<WaitWithInterval> {
        let served = ServedRequest { prompt_tokens: tokens, is_warm: true };
        let wait = self.by_model[request.model].finish(
            entry,
            Duration::from_secs_f64(at),
            is_served.then_some(served),
        );
        wait.map(wait_of_request)
    }

    /// Expected wait of a new request for this model. `None` without an expectation.
    pub fn current_wait(&self, at: f64, model: usize) -> Option<WaitWithInterval> {
        self.by_model[model].current_wait(Duration::from_secs_f64(at)).map(wait_of_new_request)
    }

    /// Name of the model of the server that the estimator uses. `unknown` says that none fits.
    pub fn server_model(&self, model: usize) -> &'static str {
        self.by_model[model].model().label()
    }
}

fn wait_of_request(wait: WaitEstimate) -> WaitWithInterval {
    WaitWithInterval {
        seconds: wait.seconds,
        interval: Some((wait.low, wait.high)),
        is_withdrawn: wait.source == EstimateSource::LowerBound,
    }
}

fn wait_of_new_request(wait: ExpectedWait) -> WaitWithInterval {
    WaitWithInterval {
        seconds: wait.seconds,
        interval: Some((wait.low, wait.high.unwrap_or(f64::INFINITY))),
        is_withdrawn: wait.high.is_none(),
    }
}
