//! Exact screens of scripted snapshots, drawn on ratatui's test backend. `STREAMGAUGE_BLESS=1` rewrites the files.

use super::feed::LiveUpdate;
use super::screen;
use super::state::{KeyEffect, TopState, TopView};
use super::theme::Theme;
use crate::live::slow::{SlowRequest, SlowRequests};
use crate::live::snapshot::{
    EndedRow, LiveEvent, LiveEventKind, LiveSnapshot, PhaseCounts, Reachability, RunningPhase,
    RunningRequest, RunningRequests, SloState, TrafficNow, TrafficRow, TrafficSeries,
    UpstreamState,
};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// 12:09:49 UTC.
const NOW: f64 = 1_764_504_589.0;

/// A screen as the terminal would have it.
fn drawn(state: &TopState, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let drawn = terminal.draw(|frame| {
        let lines = screen::lines(state, width.into(), height.into(), Theme::PLAIN);
        assert!(lines.len() <= height.into(), "{width} x {height}: {} lines", lines.len());
        for (y, line) in (0..height).zip(&lines) {
            frame.buffer_mut().set_line(0, y, line, width);
        }
    });
    let buffer = drawn.unwrap().buffer;
    let row = |y: u16| -> String { (0..width).map(|x| buffer[(x, y)].symbol()).collect() };
    (0..height).map(|y| row(y).trim_end().to_owned() + "\n").collect()
}

/// Compares a screen with its file.
fn assert_screen(name: &str, state: &TopState, width: u16, height: u16) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/top");
    let path = folder.join(format!("{name}-{width}x{height}.txt"));
    let screen = drawn(state, width, height);
    if std::env::var_os("STREAMGAUGE_BLESS").is_some() {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(&path, &screen).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(screen == expected, "{} differs; found:\n{screen}", path.display());
}

/// Arrival of the data. Failures arrive 12 s later, so that ages are exact.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

fn fail(state: &mut TopState) {
    let why = "Connection refused (os error 111)".to_owned();
    state.update(LiveUpdate::Failure(why), *START + Duration::from_secs(12));
}

fn state_of(snapshot: LiveSnapshot) -> TopState {
    let mut state = TopState::new("http://127.0.0.1:9464".into(), None);
    state.update(LiveUpdate::Snapshot(Box::new(snapshot)), *START);
    state
}

fn press(state: &mut TopState, key: KeyCode) -> KeyEffect {
    state.on_event(&Event::Key(KeyEvent::new(key, KeyModifiers::NONE)))
}

fn upstream(state: Reachability) -> UpstreamState {
    UpstreamState {
        name: "127.0.0.1:8000".into(),
        engine: Some("vllm".into()),
        state,
        since: NOW - 3_723.0,
        in_flight: PhaseCounts { sending: 1, waiting: 4, streaming: 12 },
        estimated_wait_s: Some(1.25),
        is_needed: true,
        stuck_s: None,
        last_cause: Some("connection refused".into()),
    }
}

fn empty() -> LiveSnapshot {
    LiveSnapshot {
        version: "0.1.0".into(),
        now: NOW,
        started_at: NOW - 5.0,
        step_s: 10,
        upstreams: vec![UpstreamState {
            name: "127.0.0.1:8000".into(),
            ..UpstreamState::default()
        }],
        ..LiveSnapshot::default()
    }
}

/// A row whose series rise to the values of now.
fn row(model: Option<&str>, requests_per_s: f64, ttft: f64, errors: u64) -> TrafficRow {
    let rising = |highest: f64| -> Vec<Option<f64>> {
        (1..=60).map(|at| (at > 20).then(|| highest * f64::from(at) / 60.0)).collect()
    };
    TrafficRow {
        upstream: model.map(|_| "127.0.0.1:8000".into()),
        model: model.map(Into::into),
        now: TrafficNow {
            requests_per_s: Some(requests_per_s),
            errors_per_s: Some(errors as f64 / 10.0),
            ttft_p50_s: Some(ttft / 3.0),
            ttft_p95_s: Some(ttft),
            tpot_p50_s: Some(0.0123),
            output_tokens_per_s: Some(requests_per_s * 200.0),
            queue_wait_p95_s: Some(ttft / 2.0),
            queue_source: Some("slots".into()),
            goodput: Some(0.9812),
        },
        series: TrafficSeries {
            requests_per_s: rising(requests_per_s),
            errors_per_s: vec![Some(0.0); 60],
            ttft_p95_s: rising(ttft),
            output_tokens_per_s: rising(requests_per_s * 200.0),
            queue_wait_p95_s: vec![None; 60],
            cold_starts: (0..60).map(|at| Some(f64::from(u8::from(at == 30)))).collect(),
            ..TrafficSeries::default()
        },
        requests: 600,
        errors,
        cold_starts: errors.min(1),
        slots: Some(8.0),
        slo: vec![SloState {
            name: "interactive".into(),
            met: 981,
            missed: 19,
            goodput: Some(0.981),
            objective: 0.99,
            budget_left: Some(-0.9),
        }],
        is_sampled: false,
    }
}

fn busy() -> LiveSnapshot {
    let running = |at: u32| RunningRequest {
        id: format!("{:016x}", 0x12ab_0000 + at),
        upstream: "127.0.0.1:8000".into(),
        model: Some(if at == 2 { "qwen3-32b" } else { "llama-3.1-8b-instruct" }.into()),
        operation: "chat".into(),
        age_s: 20.0 / f64::from(at),
        phase: if at < 3 { RunningPhase::Streaming } else { RunningPhase::Waiting },
        output_events: (at < 3).then_some(120),
        silence_s: (at < 3).then_some(if at == 1 { 4.2 } else { 0.02 }),
    };
    let ended = |at: u32| EndedRow {
        id: format!("{at:016x}"),
        ended_at: NOW - f64::from(at),
        upstream: "127.0.0.1:8000".into(),
        model: "llama-3.1-8b-instruct".into(),
        operation: "chat".into(),
        status: Some(if at == 1 { 502 } else { 200 }),
        outcome: if at == 1 { "upstream_unreachable" } else { "ok" }.into(),
        is_error: at == 1,
        cold: Some(at == 2),
        ttft_s: (at != 1).then_some(0.203),
        tpot_s: (at != 1).then_some(0.0234),
        duration_s: 7.98,
        queue_s: Some(0.0),
        input_tokens: Some(342),
        output_tokens: Some(333),
        is_good: Some(at != 1),
    };
    let event = |at: f64, kind, model: Option<&str>, duration_s, text: &str| LiveEvent {
        at: NOW - at,
        kind,
        upstream: Some("127.0.0.1:8000".into()),
        model: model.map(Into::into),
        duration_s,
        count: None,
        text: text.into(),
    };
    LiveSnapshot {
        started_at: NOW - 11_520.0,
        upstreams: vec![upstream(Reachability::Up)],
        total: row(None, 10.1, 4.38, 12),
        models: vec![
            row(Some("llama-3.1-8b-instruct"), 6.5, 0.41, 0),
            row(Some("qwen3-32b"), 3.1, 4.38, 12),
            row(Some("a-model-with-a-name-of-more-than-forty-characters"), 0.5, 1.0, 0),
        ],
        events: vec![
            event(
                5.0,
                LiveEventKind::Rejections,
                Some("qwen3-32b"),
                None,
                "12 requests were rejected",
            ),
            event(60.0, LiveEventKind::Up, None, Some(12.0), "answers again after 12 s"),
            event(72.0, LiveEventKind::Down, None, None, "connection refused"),
            event(
                290.0,
                LiveEventKind::ColdStart,
                Some("qwen3-32b"),
                Some(14.2),
                "the model was loaded",
            ),
        ],
        running: RunningRequests { total: 17, oldest: (1..=5).map(running).collect() },
        newest: (0..30).map(ended).collect(),
        ..empty()
    }
}

#[test]
fn screens_of_the_models() {
    for (width, height) in [(80, 24), (200, 50)] {
        assert_screen("empty", &state_of(empty()), width, height);
        assert_screen("busy", &state_of(busy()), width, height);
        let mut down =
            state_of(LiveSnapshot { upstreams: vec![upstream(Reachability::Down)], ..busy() });
        assert_screen("server-down", &down, width, height);
        let unneeded = UpstreamState { is_needed: false, ..upstream(Reachability::Down) };
        let state = state_of(LiveSnapshot { upstreams: vec![unneeded], ..busy() });
        assert!(drawn(&state, width, height).contains("does not answer for 1h02m, not needed"));
        let hanging = UpstreamState { stuck_s: Some(12.3), ..upstream(Reachability::Up) };
        let state = state_of(LiveSnapshot { upstreams: vec![hanging], ..busy() });
        assert!(drawn(&state, width, height).contains("up 1h02m, HANGS: no output for 12s"));
        fail(&mut down);
        assert_screen("admin-port-gone", &down, width, height);
        down.update(LiveUpdate::Snapshot(Box::new(busy())), *START);
        assert_eq!(
            drawn(&down, width, height),
            drawn(&state_of(busy()), width, height),
            "it is back"
        );
    }
    let mut waiting = TopState::new("http://127.0.0.1:9464".into(), None);
    fail(&mut waiting);
    assert_screen("no-data", &waiting, 80, 24);
}

#[test]
fn screens_of_the_other_views() {
    let mut state = state_of(busy());
    let slow = |outcome: Option<&str>, sentence: &str| SlowRequest {
        started_at: NOW - 30.0,
        model: Some("qwen3-32b".into()),
        outcome: outcome.map(Into::into),
        duration_s: 21.4,
        sentence: sentence.into(),
        ..SlowRequest::default()
    };
    state.update(LiveUpdate::Slow(SlowRequests {
        requests: vec![
            slow(None, "It has been silent for 4.2 s, 180 times the usual time between tokens."),
            slow(
                Some("ok"),
                "It waited 14.2 s because the model was loaded; requests of this size usually wait 0.2 s for \
                 their first token.",
            ),
        ],
        ..SlowRequests::default()
    }), *START);
    for (key, name) in
        [('r', "running"), ('n', "newest"), ('e', "events"), ('s', "slow"), ('?', "help")]
    {
        assert_eq!(press(&mut state, KeyCode::Char(key)), KeyEffect::Continue);
        assert_eq!(state.shows_slow(), key == 's');
        for (width, height) in [(80, 24), (200, 50)] {
            assert_screen(name, &state, width, height);
        }
    }
    assert_eq!(press(&mut state, KeyCode::Esc), KeyEffect::Continue);
    assert_eq!(state.view, TopView::Models);
    assert_eq!(press(&mut state, KeyCode::Char('q')), KeyEffect::Quit);
}

#[test]
fn a_report_has_models_events_and_slow_requests() {
    let mut state = state_of(busy());
    let sentence = "Waited 4.10 s in the server's queue.".to_owned();
    let request = SlowRequest { sentence, ..SlowRequest::default() };
    state.update(
        LiveUpdate::Slow(SlowRequests { requests: vec![request], ..Default::default() }),
        *START,
    );
    let report = screen::report(&state, 100);
    let at = |text: &str| report.find(text).unwrap_or_else(|| panic!("{text}: {report}"));
    assert!(at("all models") < at("12 requests were rejected"), "{report}");
    assert!(at("connection refused") < at("Waited 4.10 s in the server's queue."), "{report}");
    assert!(!report.contains("q quit"), "{report}");
}

#[test]
fn keys_select_order_and_scroll() {
    let mut state = state_of(busy());
    press(&mut state, KeyCode::Down);
    press(&mut state, KeyCode::Down);
    assert!(drawn(&state, 80, 24).contains("qwen3-32b at 127.0.0.1:8000, ten minutes"));
    // The selection follows the model when the order changes.
    press(&mut state, KeyCode::Left);
    press(&mut state, KeyCode::Char('O'));
    let screen = drawn(&state, 80, 24);
    assert!(
        screen.contains("model\u{25b2}")
            && screen.contains("qwen3-32b at 127.0.0.1:8000, ten minutes"),
        "{screen}"
    );
    let at = |text: &str| screen.find(text).unwrap();
    assert!(at("\na-model") < at("\nllama") && at("\nllama") < at("\nqwen"), "{screen}");
    press(&mut state, KeyCode::Home);
    assert!(drawn(&state, 80, 24).contains("all models, ten minutes"));
    press(&mut state, KeyCode::Char('n'));
    assert!(!drawn(&state, 80, 24).contains("12:09:20"), "the 30th request");
    for _ in 0..9 {
        press(&mut state, KeyCode::PageDown);
    }
    let screen = drawn(&state, 80, 24);
    assert!(screen.contains("ended") && screen.contains("12:09:20"), "{screen}");
}

#[test]
fn screens_fit_every_terminal() {
    let mut state = state_of(busy());
    state.note = Some("a note".into());
    state.update(
        LiveUpdate::Slow(SlowRequests {
            requests: vec![SlowRequest::default(); 3],
            ..SlowRequests::default()
        }),
        *START,
    );
    for key in ['m', 'r', 'n', 'e', 's', '?'] {
        press(&mut state, KeyCode::Char(key));
        for width in (1..250).step_by(7) {
            for height in [1, 2, 5, 10, 24, 60] {
                drawn(&state, width, height);
            }
        }
    }
}
