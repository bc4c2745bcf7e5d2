//! Cost of a scrape of `/metrics` with 5,000 and with 20,000 series.
//!
//!     cargo bench --bench scrape
//!
//! Prints the median and the 99th percentile, in milliseconds, of four steps: collect the series, encode them, get
//! them from the admin port by HTTP, and get them compressed. A series is one line of the exposition. On a busy
//! machine the 99th percentile measures the other processes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use streamgauge::config::{Sources, load};
use streamgauge::testing::RequestLog;
use streamgauge::testing::admin::{self, Admin, AdminLimits, AdminSettings, LiveHistory, Login};
use streamgauge::testing::metrics::{Metrics, MetricsConfig, RequestSeries, StartKind};
use streamgauge_core::dialect::{FinishReason, route::Operation};
use streamgauge_core::meter::{
    GapBasis, LiveSample, Outcome, OutputKind, RequestRecord, ResponseTokens, TokenSource,
};

/// Scrapes of each kind, after [`WARM_UP`] that are not measured.
const SCRAPES: usize = 200;
const WARM_UP: usize = 20;

fn main() {
    for least in [5_000, 20_000] {
        let metrics = Arc::new(filled(least));
        let admin = serve(Arc::clone(&metrics));
        let (plain, packed) = (get(admin, "identity"), get(admin, "gzip"));
        let series = series(&metrics.gather().to_text());
        println!("{series} series, {} KiB, gzip {} KiB", plain / 1024, packed / 1024);
        print("gather", || drop(metrics.gather()));
        print("gather and write", || drop(metrics.gather().to_text()));
        print("HTTP", || assert!(get(admin, "identity") >= plain / 2));
        print("HTTP, gzip", || assert!(get(admin, "gzip") >= packed / 2));
    }
}

/// Prints how long a scrape takes.
fn print(what: &str, scrape: impl Fn()) {
    let (median, p99) = times(scrape);
    println!("  {what:<17} median {median:6.2} ms   p99 {p99:6.2} ms");
}

/// The median and the 99th percentile of the time of a scrape, in milliseconds.
fn times(scrape: impl Fn()) -> (f64, f64) {
    (0..WARM_UP).for_each(|_| scrape());
    let mut times: Vec<f64> = (0..SCRAPES)
        .map(|_| {
            let start = Instant::now();
            scrape();
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    (times[SCRAPES / 2], times[SCRAPES * 99 / 100])
}

/// Number of lines that are samples.
fn series(text: &str) -> usize {
    text.lines().filter(|line| !line.starts_with('#')).count()
}

/// Metrics with at least this many series, from 200 streams for each of many models.
fn filled(least: usize) -> Metrics {
    let config = MetricsConfig { max_models: usize::MAX, ..MetricsConfig::default() };
    let metrics = Metrics::new(&config, 2).unwrap();
    let upstream: Arc<str> = "gpu-0.inference.svc:8000".into();
    metrics.upstream_series(&upstream);
    metrics.decide_provider(&upstream, "vllm");
    let arrivals = metrics.arrival_series(&upstream);
    for model in 0_u32.. {
        if series(&metrics.gather().to_text()) >= least {
            break;
        }
        let name = format!("meta-llama/Llama-3.1-8B-Instruct-{model}");
        let series = metrics.request_series(&arrivals, Operation::Chat, Some(&name));
        for stream in 0..200 {
            streamed(&series, f64::from(model + 1) * 1.37 + f64::from(stream) * 0.0713);
        }
    }
    metrics
}

/// Records a stream of 100 tokens. `scale` stretches all its times.
fn streamed(series: &RequestSeries, scale: f64) {
    let seconds = |seconds: f64| Duration::from_secs_f64(seconds * scale);
    let tokens = ResponseTokens {
        input: Some(((700.0 * scale) as u64, TokenSource::Usage)),
        output: Some((100, TokenSource::Usage)),
        streamed: Some(100),
        ..ResponseTokens::default()
    };
    let record = RequestRecord {
        stream: Some(true),
        status: Some(200),
        ttft_s: Some(0.211 * scale),
        latency_s: Some(1.3107 * scale),
        tpot_s: Some(0.01107 * scale),
        characters_per_second: Some(391.7 / scale),
        duration_s: 1.3119 * scale,
        ..RequestRecord::default()
    };
    series.record_time_to_response_head(seconds(0.0107));
    series
        .record_live(&LiveSample::FirstOutput(seconds(0.211)), Duration::ZERO, || StartKind::Warm);
    series
        .record_live(&LiveSample::FirstAnswer(seconds(0.211)), Duration::ZERO, || StartKind::Warm);
    for token in 1..100 {
        let gap = seconds(0.0111 * (0.5 + f64::from(token) / 100.0));
        series.record_live(&LiveSample::ChunkGap(gap), Duration::ZERO, || StartKind::Warm);
        series.record_live(
            &LiveSample::TokenGap { gap, shares: 1, basis: GapBasis::Token },
            Duration::ZERO,
            || StartKind::Warm,
        );
        series.record_live(&LiveSample::OutputTokens(1), Duration::ZERO, || StartKind::Warm);
        series.record_live(&LiveSample::Characters(OutputKind::Answer, 4), Duration::ZERO, || {
            StartKind::Warm
        });
    }
    series.record_live(
        &LiveSample::Finished(&FinishReason::Borrowed("stop")),
        Duration::ZERO,
        || StartKind::Warm,
    );
    series.record_token_counts(&tokens, 99);
    series.record_complete(&record, &tokens);
    series.record_end(&record, Outcome::Ok);
}

/// Starts an admin port, which serves until the program ends.
fn serve(metrics: Arc<Metrics>) -> SocketAddr {
    let listener = admin::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let address = listener.local_addr().unwrap();
    let flags = vec![("upstream", "http://127.0.0.1:1".to_owned())];
    let config = load(&Sources { flags, ..Sources::default() }).unwrap();
    let log = RequestLog::in_memory();
    let admin = Admin {
        live: LiveHistory::new(Arc::clone(&metrics), log.clone(), Vec::new()),
        login: Login::default(),
        address,
        log,
        metrics,
        settings: Arc::new(AdminSettings::read(&config).unwrap()).into(),
        reloads: tokio::sync::mpsc::channel(1).0,
        limits: AdminLimits { connections: 64, time: Duration::from_secs(10) },
        upstreams: Vec::new(),
        taps: Vec::new(),
        draining: AtomicBool::new(false),
    };
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (_stop, stopped) = tokio::sync::watch::channel(false);
        runtime.block_on(admin::serve(listener, Arc::new(admin), stopped)).unwrap();
    });
    address
}

/// Scrapes. Returns the size of the response in bytes.
fn get(admin: SocketAddr, coding: &str) -> usize {
    let mut socket = TcpStream::connect(admin).unwrap();
    let request = format!(
        "GET /metrics HTTP/1.1\r\nhost: bench\r\naccept-encoding: {coding}\r\nconnection: close\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    answer.len()
}
