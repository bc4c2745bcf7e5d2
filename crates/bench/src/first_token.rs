//! Checks that no first token waits for a kernel timer. With Nagle's algorithm, a small write waits for the
//! acknowledgement of the previous one, which Linux delays by 40 ms.
//!
//! The step appears when the server writes headers and first token separately on a connection that has been in use; on a
//! new connection, Linux acknowledges at once. The check uses the first streams of a measurement, about 8 on one
//! connection, without other load. It fails if half of them are late: a step affects nearly all, a busy machine only a
//! few.

use crate::contestant::Contestant;
use crate::measure::MeasurementSample;
use crate::report::LatencyColumn;
use crate::{pairs, stats};

/// Delay in microseconds that counts as a step: half of the kernel's delay, and a hundred times that of a proxy.
const STEP: f64 = 20_000.0;

/// Checks Streamgauge's first tokens. Returns a sentence or a fault; nothing if it does not take part.
pub fn judge(samples: &[MeasurementSample]) -> Result<Option<String>, String> {
    let late = |sample: &MeasurementSample| LatencyColumn::KEPT_CONNECTION.of(sample);
    let Some(median) = stats::median(&pairs::values(samples, Contestant::Streamgauge, late)) else {
        return Ok(None);
    };
    let late = format!(
        "on a kept connection, it forwards the first token {:.2} ms after the request",
        median / 1e3
    );
    if median < STEP {
        Ok(Some(format!("Streamgauge: {late}: no step of 40 ms.")))
    } else {
        Err(format!("streamgauge: {late}: is it a delayed acknowledgement?"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::tests::sample;
    use serde_json::json;

    /// One round per time, in microseconds.
    fn judged(times: &[f64]) -> Result<Option<String>, String> {
        let sample = |(round, late): (usize, &f64)| MeasurementSample {
            before: vec![json!({"first_token_us": {"p50": late}})],
            ..sample(Contestant::Streamgauge, round, None)
        };
        judge(&Vec::from_iter(times.iter().enumerate().map(sample)))
    }

    #[test]
    fn step_in_most_rounds_is_a_fault() {
        assert!(judged(&[250.0, 43_900.0, 250.0]).unwrap().unwrap().contains(" 0.25 ms"));
        assert!(judged(&[43_900.0, 250.0, 44_100.0]).unwrap_err().contains(" 43.90 ms"));
        assert_eq!(judged(&[]), Ok(None));
    }
}
