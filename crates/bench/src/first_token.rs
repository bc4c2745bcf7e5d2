//! That no first token waits for a timer of the kernel. Where a program leaves Nagle's algorithm on, a small
//! write waits for the acknowledgement of the one before it, and Linux delays that by 40 ms.
//!
//! It is seen where the server writes head and first token one right after the other on a connection that is in
//! use for a while: on a new one, Linux acknowledges at once. So it is looked for in the first streams of a
//! measurement, some 8 on one connection, alone on the proxy. Half of them must be late: a step is in nearly all,
//! whatever else a busy machine does to one or the other.

use crate::contestant::Contestant;
use crate::measure::Sample;
use crate::report::Time;
use crate::{pairs, stats};

/// So late is a step, microseconds: half of what the kernel waits, and a hundred times what a proxy takes.
const STEP: f64 = 20_000.0;

/// Whether Streamgauge's first tokens are in time: a sentence, or a fault; nothing if it does not take part.
pub fn judge(samples: &[Sample]) -> Result<Option<String>, String> {
    let late = |sample: &Sample| Time::KEPT_CONNECTION.of(sample);
    let Some(median) = stats::median(&pairs::values(samples, Contestant::Streamgauge, late)) else {
        return Ok(None);
    };
    let late = format!(
        "on a kept connection, the first token comes {:.2} ms after the request",
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

    /// A round for each time, microseconds.
    fn judged(times: &[f64]) -> Result<Option<String>, String> {
        let sample = |(round, late): (usize, &f64)| Sample {
            before: vec![json!({"first_token_us": {"p50": late}})],
            ..sample(Contestant::Streamgauge, round, None)
        };
        judge(&Vec::from_iter(times.iter().enumerate().map(sample)))
    }

    #[test]
    fn a_step_in_most_rounds_is_a_fault() {
        assert!(judged(&[250.0, 43_900.0, 250.0]).unwrap().unwrap().contains(" 0.25 ms"));
        assert!(judged(&[43_900.0, 250.0, 44_100.0]).unwrap_err().contains(" 43.90 ms"));
        assert_eq!(judged(&[]), Ok(None));
    }
}
