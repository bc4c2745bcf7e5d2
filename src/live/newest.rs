//! Rows of the newest requests.

use super::slow::LabelledRecord;
use super::snapshot::EndedRow;
use super::traffic::rounded;
use std::sync::Arc;
use streamgauge_core::meter::SloVerdict;

/// The row of an ended request.
pub(super) fn ended_row(labelled: &LabelledRecord) -> EndedRow {
    let LabelledRecord { record, model, ended_at, is_error, .. } = labelled;
    let mut verdicts = record.slo.iter().map(|(_, verdict)| *verdict);
    let is_good = if verdicts.clone().any(|one| one == SloVerdict::Missed) {
        Some(false)
    } else {
        verdicts.any(|one| one == SloVerdict::Met).then_some(true)
    };
    EndedRow {
        id: format!("{:016x}", record.id),
        ended_at: *ended_at,
        upstream: Arc::clone(&record.upstream),
        model: Arc::clone(model),
        operation: record.operation.to_owned(),
        status: record.status,
        outcome: record.outcome.to_owned(),
        is_error: *is_error,
        cold: record.cold,
        ttft_s: record.ttft_s.map(rounded),
        tpot_s: record.tpot_s.map(rounded),
        duration_s: rounded(record.duration_s),
        queue_s: record.queue_s.map(rounded),
        input_tokens: record.input_tokens,
        output_tokens: record.output_tokens,
        is_good,
    }
}
