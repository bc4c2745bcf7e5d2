//! The bound on the number of series, held against metrics whose labels take every value that they can.

use super::cardinality::{estimate_series, worst_case};
use super::table::{self, ALL, Metric};
use super::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use streamgauge_core::dialect::{FinishReason, KNOWN_FINISH_REASONS, UnparsedReason};
use streamgauge_core::meter::cold::{BootTimes, ColdReason};
use streamgauge_core::meter::{
    ClampedInterval, GapBasis, LiveSample, Outcome, OutputKind, QueueWaitSource, RequestRecord,
    ResponseTokens, SloClass, SloVerdict, TimestampSource, TokenSource,
};
use strum::VariantArray;

const UPSTREAM: &str = "gpu";
const CLASS: &str = "interactive";

fn config() -> MetricsConfig {
    let class = SloClass {
        refusals: Default::default(),
        name: CLASS.into(),
        models: Vec::new(),
        operations: Vec::new(),
        upstreams: Vec::new(),
        limits: Default::default(),
        sizes: Vec::new(),
    };
    MetricsConfig {
        max_models: 2,
        models: vec!["configured".into()],
        buckets: HashMap::default(),
        slo: SloClasses::new(vec![class]),
        ttft_by_input_size: true,
        constant_labels: Vec::new(),
    }
}

/// Statuses that give each value of the label `code`. A model is a label only for successful responses.
fn statuses(has_model: bool) -> Vec<Option<u16>> {
    let is_registered = |status: &u16| {
        hyper::StatusCode::from_u16(*status).is_ok_and(|code| code.canonical_reason().is_some())
    };
    let registered = (100..600).filter(is_registered).chain([599]);
    let is_possible = |status: &u16| !has_model || matches!(status, 101 | 200..300);
    let none = (!has_model).then_some(None);
    registered.filter(is_possible).map(Some).chain(none).collect()
}

/// Records one value in every series that requests with these labels can have.
fn fill(series: &RequestSeries, is_inference: bool, has_model: bool) {
    let verdicts = SloVerdict::VARIANTS.iter().map(|verdict| (CLASS.into(), *verdict));
    let mut record = RequestRecord {
        first_event_s: Some(1.0),
        ttft_s: Some(1.0),
        tpot_s: Some(1.0),
        latency_s: Some(1.0),
        max_gap_s: Some(1.0),
        burst_ratio: Some(1.0),
        characters_per_second: Some(1.0),
        client_stall_s: Some(1.0),
        edge_wait_s: Some(1.0),
        queue_s: Some(1.0),
        engine_ttft_s: Some(1.0),
        output_tokens: Some(1),
        output_events: Some(1),
        slo: verdicts.collect(),
        ..RequestRecord::default()
    };
    // A response shows whether it is a stream.
    let streams = [Some(true), Some(false), None];
    let streams = if has_model { &streams[..2] } else { &streams[..] };
    for status in statuses(has_model) {
        for outcome in Outcome::VARIANTS {
            for stream in streams.iter().copied() {
                record = RequestRecord { status, stream, ..record };
                series.record_end(&record, *outcome);
            }
        }
    }
    for gap in [None, Some(Duration::ZERO)] {
        series.record_unrecognised_event(Duration::ZERO, gap);
    }
    if !is_inference {
        return;
    }
    for source in QueueWaitSource::VARIANTS {
        record.queue_source = Some(source.label());
        series.record_end(&record, Outcome::Ok);
    }
    for tokens in [256, 1024, 4096, 16_384, 65_536, u64::MAX] {
        record.input_tokens = Some(tokens);
        series.record_end(&record, Outcome::Ok);
    }
    for source in TokenSource::VARIANTS {
        let tokens = ResponseTokens {
            input: Some((1, *source)),
            output: Some((1, *source)),
            cached: Some(1),
            reasoning: Some(1),
            streamed: Some(1),
        };
        series.record_token_counts(&tokens, 0);
        series.record_complete(&record, &tokens);
    }
    let mut live = vec![
        LiveSample::FirstAnswer(Duration::ZERO),
        LiveSample::ChunkGap(Duration::ZERO),
        LiveSample::OutputTokens(1),
    ];
    live.extend(GapBasis::VARIANTS.iter().map(|basis| LiveSample::TokenGap {
        gap: Duration::ZERO,
        shares: 1,
        basis: *basis,
    }));
    live.extend(OutputKind::VARIANTS.iter().map(|kind| LiveSample::Characters(*kind, 1)));
    let invented = FinishReason::Owned("invented".to_owned());
    let reasons: Vec<_> = KNOWN_FINISH_REASONS.map(FinishReason::Borrowed).into();
    live.extend(reasons.iter().chain([&invented]).map(LiveSample::Finished));
    live.iter().for_each(|sample| {
        series.record_live(sample, Duration::ZERO, || StartKind::Warm);
    });
    series.record_ttft(1.0, StartKind::Warm);
    series.record_ttft(1.0, StartKind::Cold);
    series.record_ttft(1.0, StartKind::Undetermined);
    series.record_time_to_response_head(Duration::ZERO);
    series.record_time_to_first_audio(0.0, StartKind::Warm);
    series.record_time_to_first_audio(0.0, StartKind::Cold);
    series.record_trace_ttft(Duration::ZERO);
    series.stall_counter();
}

/// Metrics of one upstream with every series that can exist, except those that only a scrape can set.
fn full_metrics() -> Metrics {
    let metrics = Metrics::new(&config(), 1).unwrap();
    let models = [Some("configured"), Some("a"), Some("b"), None];
    let upstream: Arc<str> = UPSTREAM.into();
    metrics.decide_provider(UPSTREAM, "vllm");
    let arrivals = metrics.arrival_series(&upstream);
    for operation in Operation::VARIANTS {
        arrivals.count_arrival(*operation);
        for model in models {
            let series = metrics.request_series(&arrivals, *operation, model);
            fill(&series, operation.is_inference(), model.is_some());
        }
    }
    metrics.create_summed_series(UPSTREAM, &config().slo);
    let series = metrics.upstream_series(UPSTREAM);
    UnparsedReason::VARIANTS.iter().for_each(|reason| series.count_unparsed(*reason));
    ClampedInterval::VARIANTS.iter().for_each(|interval| series.count_clamped(*interval));
    TimestampSource::VARIANTS.iter().for_each(|clock| series.set_clock(*clock));
    metrics.set_upstream_info(UPSTREAM, "vllm", &BTreeMap::new());
    let cold = metrics.cold_start_series(UPSTREAM);
    for model in models {
        for reason in ColdReason::VARIANTS {
            cold.record_cold_start(model.unwrap_or(OTHER), *reason, Some(Duration::ZERO));
        }
    }
    cold.set_up(true);
    cold.set_judgement_suspended(true);
    cold.set_start_time(1.0);
    let zero = Some(Duration::ZERO);
    cold.set_boot_times(BootTimes { port_open: zero, healthy: zero, first_token: zero });
    metrics.event_loop_lag_observer()(Duration::ZERO);
    metrics
}

/// It takes a second to fill, so the tests share it.
static FULL_PAGE: LazyLock<String> = LazyLock::new(|| full_metrics().gather().to_text());

/// The exported lines of each family.
fn lines_by_family(text: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut families = BTreeMap::<_, Vec<_>>::new();
    let mut family = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            family = rest.split(' ').next().unwrap();
        } else if !line.starts_with('#') {
            families.entry(family).or_default().push(line);
        }
    }
    families
}

/// Families whose bound is not reached here.
fn is_below_bound(metric: &Metric) -> bool {
    // The bound combines outcome and code freely, and includes realtime sessions, which waste no tokens. The rest is set
    // at a scrape, by an estimator or the kernel.
    metric.name == table::REQUESTS.name
        || metric.name == table::WASTED_TOKENS.name
        || metric.name.starts_with("streamgauge_queue_") && metric.name != table::QUEUE_WAIT.name
        || ["streamgauge_estimated_wait_", "streamgauge_sustainable_"]
            .iter()
            .any(|start| metric.name.starts_with(start))
        || [&table::SATURATION, &table::THROTTLED, &table::PRESSURE]
            .iter()
            .any(|one| one.name == metric.name)
}

#[test]
fn no_family_has_more_series_than_its_bound() {
    let families = lines_by_family(&FULL_PAGE);
    let mut total = 0;
    for metric in ALL {
        let count = families.get(metric.name).map_or(0, Vec::len) as u64;
        let bound = worst_case(metric, 1, &config());
        assert!(count <= bound, "{}: {count} series, and the bound is {bound}", metric.name);
        if !is_below_bound(metric) {
            assert_eq!(count, bound, "{}", metric.name);
        }
        total += count;
    }
    assert!(total <= estimate_series(1, &config()).worst_case);
}

#[test]
fn exported_label_values_are_those_of_the_table() {
    let families = lines_by_family(&FULL_PAGE);
    for metric in ALL {
        for label in metric.labels {
            let Some(values) = label.values.closed() else { continue };
            let values: BTreeSet<String> = values.into_iter().collect();
            let name = format!("{}=\"", label.name);
            for line in families.get(metric.name).into_iter().flatten() {
                let (_, rest) = line.split_once(&name).expect("each series has each label");
                let value = rest.split('"').next().unwrap();
                assert!(values.contains(value), "{value:?} of {} in {}", label.name, metric.name);
            }
        }
    }
}

#[test]
fn the_estimate_names_the_largest_family() {
    let config = MetricsConfig { max_models: 50, ..config() };
    let estimate = estimate_series(2, &config);
    assert!(estimate.likely * 10 < estimate.worst_case, "{estimate:?}");
    assert!(estimate.largest_family_series < estimate.worst_case);
    assert!(estimate.largest_family_labels.is_sorted_by(|one, other| one.1 >= other.1));
    assert!(estimate.cause().contains("52 gen_ai_request_model"), "{}", estimate.cause());
    assert!(estimate_series(4, &config).worst_case > estimate.worst_case);
}

/// The golden file is a page of one upstream with one model, after requests of several kinds.
#[test]
fn the_likely_figure_is_close_to_a_real_page() {
    let page = include_str!("../../tests/golden/metrics.txt");
    let count = page.lines().filter(|line| !line.starts_with('#')).count() as u64;
    let plain = MetricsConfig {
        models: Vec::new(),
        slo: SloClasses::default(),
        ttft_by_input_size: false,
        ..config()
    };
    let likely = estimate_series(1, &plain).likely;
    assert!((likely / 2..likely * 2).contains(&count), "{count} series, estimated {likely}");
}

/// The table names a function for each metric, and the function exists.
#[test]
fn recording_functions_exist() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/metrics");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let source: String =
        files.map(|path| std::fs::read_to_string(path).unwrap_or_default()).collect();
    for metric in ALL {
        let function = metric.function;
        assert!(source.contains(&format!("fn {function}(")), "{function} of {}", metric.name);
    }
}
