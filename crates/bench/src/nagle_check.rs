//! Checks that no first token waits for a kernel timer. With Nagle's algorithm, a small write waits for the
//! acknowledgement of the previous one, which Linux delays by 40 ms.
//!
//! The step appears when the server writes headers and first token separately on a connection that has been in use; on a
//! new connection, Linux acknowledges at once. The check uses the first streams of a measurement, about 8 on one
//! connection, without other load. It fails if half of them are late: a step affects nearly all, a busy machine only a
//! few.

use crate::contestant::Contestant;
use crate::latency_column::LatencyColumn;
use crate::measure::MeasurementSample;
use crate::{paired_rounds, stats};

/// Delay in microseconds that counts as a step: half of the kernel's delay, and a hundred times that of a proxy.
const STEP: f64 = 20_000.0;

/// Checks Streamgauge's first tokens. Returns a sentence or a fault; nothing if it does not take part.
pub fn check(samples: &[MeasurementSample]) -> Result<Option<String>, String> {
    let first_token = |sample: &MeasurementSample| LatencyColumn::KEPT_CONNECTION.value_in(sample);
    let Some(median) =
        stats::median(&paired_rounds::values(samples, Contestant::Streamgauge, first_token))
    else {
        return Ok(None);
    };
    let delay = format!("forwards the first token {:.2} ms after the request", median / 1e3);
    if median < STEP {
        Ok(Some(format!("On a kept connection, Streamgauge {delay}: no 40 ms step.")))
    } else {
        Err(format!(
            "streamgauge: on a kept connection, it {delay}: is it a delayed acknowledgement?"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::tests::sample;
    use serde_json::json;

    /// One round per time, in microseconds.
    fn check_times(times: &[f64]) -> Result<Option<String>, String> {
        let sample = |(round, delay): (usize, &f64)| MeasurementSample {
            setup_loads: vec![json!({"first_token_us": {"p50": delay}})],
            ..sample(Contestant::Streamgauge, round, None)
        };
        check(&Vec::from_iter(times.iter().enumerate().map(sample)))
    }

    #[test]
    fn step_in_most_rounds_is_a_fault() {
        assert!(check_times(&[250.0, 43_900.0, 250.0]).unwrap().unwrap().contains(" 0.25 ms"));
        assert!(check_times(&[43_900.0, 250.0, 44_100.0]).unwrap_err().contains(" 43.90 ms"));
        assert_eq!(check_times(&[]), Ok(None));
    }
}
