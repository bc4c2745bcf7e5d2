//! Scripted WebSocket sessions, with the values that docs/definitions.md gives for them.

use crate::dialect::Dialect;
use crate::dialect::openai_responses::RESPONSES;
use crate::dialect::realtime::{REALTIME, TRANSLATION};
use crate::meter::{
    Arrival, EndCause, GapBasis, LiveSample, RequestRecord, ResponseMeter, TokenSource,
};
use std::time::Duration;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A final WebSocket frame with this opcode.
fn frame(opcode: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        length @ ..126 => frame.push(masked | length as u8),
        length => {
            frame.push(masked | 126);
            frame.extend((length as u16).to_be_bytes());
        }
    }
    frame.extend(mask.unwrap_or_default().iter().take(4 * usize::from(mask.is_some())));
    let mask = mask.unwrap_or_default();
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// A message: sender, time in milliseconds, and text or `close`.
enum SessionStep<'a> {
    Server(u64, &'a str),
    Client(u64, &'a str),
}
use SessionStep::{Client, Server};

fn bytes(mask: Option<[u8; 4]>, message: &str) -> Vec<u8> {
    match message {
        "close" => frame(8, mask, &1000u16.to_be_bytes()),
        "ping" => frame(9, mask, b""),
        message => frame(1, mask, message.as_bytes()),
    }
}

/// Runs a realtime session.
fn run(steps: &[SessionStep<'_>]) -> (ResponseMeter, Vec<String>) {
    run_in(&REALTIME, steps)
}

/// Runs a session. Returns the meter and its times, in milliseconds; first outputs are since the start of the response.
fn run_in(dialect: &'static Dialect, steps: &[SessionStep<'_>]) -> (ResponseMeter, Vec<String>) {
    let mut meter = ResponseMeter::for_websocket(dialect, false);
    let mut samples = Vec::new();
    let mut start = Duration::ZERO;
    let mut sink = |sample: LiveSample<'_>| match sample {
        LiveSample::ResponseRequested(at) => start = at,
        LiveSample::FirstOutput(at) => samples.push(format!("first {}", (at - start).as_millis())),
        LiveSample::FirstAnswer(at) => samples.push(format!("answer {}", (at - start).as_millis())),
        LiveSample::ChunkGap(gap) => samples.push(format!("chunk {}", gap.as_millis())),
        LiveSample::TokenGap { gap, shares, basis } => {
            assert_eq!(basis, GapBasis::Event);
            samples.push(format!("token {} / {shares}", gap.as_millis()));
        }
        _ => {}
    };
    for (read, step) in steps.iter().enumerate() {
        match step {
            Client(at, message) => {
                bytes(Some([7, 0, 255, 9]), message)
                    .chunks(5)
                    .for_each(|part| meter.push_client(ms(*at), part));
            }
            Server(at, message) => {
                let arrival = Arrival::on_time(ms(*at), read as u64);
                bytes(None, message)
                    .chunks(7)
                    .for_each(|part| meter.push(arrival, part, &mut sink));
            }
        }
    }
    meter.finish(true, &mut sink);
    (meter, samples)
}

fn record(meter: &ResponseMeter) -> RequestRecord {
    let mut record = RequestRecord::default();
    record.fill_from_response(meter.tally(), meter.is_stream(), Duration::ZERO);
    record
}

const ASK: &str = r#"{"type":"response.create"}"#;
const CREATED: &str = r#"{"type":"response.created","response":{"status":"in_progress"}}"#;
const WORD: &str = r#"{"type":"response.output_text.delta","delta":"word"}"#;
const ERROR: &str = r#"{"type":"error","error":{"type":"invalid_request_error"}}"#;
const COMMIT: &str = r#"{"type":"input_audio_buffer.commit"}"#;
const TRANSCRIBED: &str = r#"{"type":"transcription.delta","delta":"word"}"#;

fn done(status: &str, output: u64) -> String {
    format!(
        r#"{{"type":"response.done","response":{{"status":"{status}","usage":{{"input_tokens":10,"output_tokens":{output}}}}}}}"#
    )
}

#[test]
fn each_response_is_measured_separately() {
    let (four, two) = (done("completed", 4), done("completed", 2));
    let (meter, samples) = run(&[
        Server(10, r#"{"type":"session.created","session":{"type":"realtime","model":"m"}}"#),
        // The user thinks for a minute.
        Client(60_000, ASK),
        Server(60_050, CREATED),
        Server(60_200, WORD),
        Server(60_230, WORD),
        Server(60_300, &four),
        // The server detects that the user has stopped speaking.
        Server(90_000, CREATED),
        Server(90_150, WORD),
        Server(90_155, "ping"),
        Server(90_160, WORD),
        Server(90_170, &two),
        Server(90_180, r#"{"type":"rate_limits.updated"}"#),
        Client(95_000, "close"),
        Server(95_001, "close"),
    ]);
    let expected = [
        "first 200",
        "answer 200",
        "chunk 30",
        "token 30 / 1",
        "first 150",
        "answer 150",
        "chunk 10",
        "token 10 / 1",
    ];
    assert_eq!(samples, expected);
    let record = record(&meter);
    assert_eq!((record.events, record.output_events, record.chunks), (Some(10), Some(4), Some(4)));
    assert_eq!((record.input_tokens, record.output_tokens), (Some(20), Some(6)));
    assert_eq!(record.output_tokens_source, Some(TokenSource::Usage));
    assert_eq!((record.answer_chars, record.unparsed), (Some(16), 0));
    assert_eq!(record.finish_reasons, ["completed", "completed"]);
    let none = [record.ttft_s, record.answer_s, record.latency_s, record.tpot_s];
    assert_eq!(none, [None; 4], "a session has none of these times");
    assert!(meter.tally().is_complete());
    assert_eq!(meter.tally().live_tokens, 6, "counters are updated before the end of the session");
}

#[test]
fn a_response_starts_at_the_latest_request_for_it() {
    let two = done("completed", 2);
    // In OpenAI's API, a commit does not request a response. The message after it does.
    let steps = [Client(0, COMMIT), Client(100, ASK), Server(110, CREATED), Server(150, WORD)];
    assert_eq!(run(&steps).1, ["first 50", "answer 50"]);
    // A rejected request is not the start of a later response.
    let steps = [Client(0, ASK), Server(10, ERROR), Server(1000, CREATED), Server(1005, WORD)];
    let (meter, samples) = run(&steps);
    assert_eq!(samples, ["first 5", "answer 5"]);
    assert!(meter.tally().has_error, "a requested response failed");
    // Neither is a request that arrives while a response is in progress.
    let (meter, samples) = run(&[
        Server(0, CREATED),
        Client(1, ASK),
        Server(2, ERROR),
        Server(3, WORD),
        Server(4, &two),
        Server(100, CREATED),
        Server(101, WORD),
        Server(102, &two),
    ]);
    assert_eq!(samples, ["first 3", "answer 3", "first 1", "answer 1"]);
    assert!(!meter.tally().has_error, "the session continues");
}

#[test]
fn vllm_transcription_session() {
    let end = r#"{"type":"transcription.done","text":"","usage":{"prompt_tokens":3,"completion_tokens":5}}"#;
    let (meter, samples) = run(&[
        Client(0, r#"{"type":"session.update","model":"m"}"#),
        Client(10, COMMIT),
        Client(20, r#"{"type":"input_audio_buffer.append","audio":"AAAA"}"#),
        Server(300, TRANSCRIBED),
        Server(340, TRANSCRIBED),
        Client(350, r#"{"type":"input_audio_buffer.commit","final":true}"#),
        Server(390, end),
        // Not requested by a message: it has gaps, but no TTFT.
        Server(5000, TRANSCRIBED),
        Server(5020, TRANSCRIBED),
        // The server aborts it. The next response is a new one.
        Server(5030, r#"{"type":"error","error":"engine died","code":"processing_error"}"#),
        Client(6000, COMMIT),
        Server(6040, TRANSCRIBED),
        Server(6050, end),
    ]);
    let expected = [
        "first 290",
        "answer 290",
        "chunk 40",
        "token 40 / 1",
        "chunk 20",
        "token 20 / 1",
        "first 40",
        "answer 40",
    ];
    assert_eq!(samples, expected);
    let record = record(&meter);
    assert_eq!((record.input_tokens, record.output_tokens), (Some(6), Some(10)));
    assert!(meter.tally().has_error);
}

#[test]
fn overlapping_responses_have_counts_but_no_times() {
    let (meter, samples) = run(&[
        Server(0, CREATED),
        Server(10, WORD),
        Server(12, CREATED),
        Server(20, WORD),
        Server(30, WORD),
        Server(40, &done("completed", 3)),
        Server(50, WORD),
        Server(60, &done("cancelled", 1)),
        Server(100, CREATED),
        Server(130, WORD),
        Server(140, &done("completed", 1)),
    ]);
    assert_eq!(samples, ["first 10", "answer 10", "first 30", "answer 30"]);
    assert_eq!((record(&meter).output_events, record(&meter).output_tokens), (Some(5), Some(5)));
}

fn responded(text: &str) -> [String; 3] {
    let usage = r#"{"input_tokens":5,"output_tokens":2,"total_tokens":7}"#;
    [
        r#"{"type":"response.created","response":{"status":"in_progress","model":"m-1","output":[]}}"#.to_owned(),
        format!(r#"{{"type":"response.output_text.delta","output_index":0,"delta":"{text}"}}"#),
        format!(r#"{{"type":"response.completed","response":{{"status":"completed","output":[],"usage":{usage}}}}}"#),
    ]
}

/// Codex sends a `response.create` without generation first, to save time later.
#[test]
fn a_responses_session_works_on_requests_in_sequence() {
    let [created, first, completed] = responded("one");
    let [_, second, _] = responded("two");
    let create = r#"{"type":"response.create","model":"m","previous_response_id":"r","input":[]}"#;
    let (meter, samples) = run_in(
        &RESPONSES,
        &[
            Client(0, r#"{"type":"response.create","model":"m","generate":false}"#),
            Server(20, &created),
            Server(30, &completed),
            // Two requests at once: the second waits for the first.
            Client(1000, create),
            Client(1001, create),
            Server(1050, &created),
            Server(1100, &first),
            Server(1130, &first),
            Server(1150, &completed),
            Server(1160, &created),
            Server(1201, &second),
            Server(1210, &completed),
            Client(5000, "close"),
        ],
    );
    let expected =
        ["first 100", "answer 100", "chunk 30", "token 30 / 1", "first 200", "answer 200"];
    assert_eq!(samples, expected);
    let record = record(&meter);
    assert_eq!((record.input_tokens, record.output_tokens), (Some(15), Some(6)));
    assert_eq!((record.answer_chars, record.output_events), (Some(9), Some(3)));
    assert_eq!(record.finish_reasons, ["completed"; 3]);
    assert_eq!(record.response_model.as_deref(), Some("m-1"));
    assert_eq!(meter.requested_model().map(|model| &**model), Some("m"));
    assert!(meter.tally().is_complete() && !meter.tally().has_error);
}

#[test]
fn errors_of_a_responses_session() {
    let [created, first, completed] = responded("one");
    let (create, close) = (r#"{"type":"response.create"}"#, "close");
    let error = r#"{"type":"error","status":400,"error":{"code":"previous_response_not_found"}}"#;
    let failed = r#"{"type":"response.failed","response":{"status":"failed","error":{}}}"#;
    // The request is rejected, and repeated.
    let (meter, samples) = run_in(
        &RESPONSES,
        &[
            Client(0, create),
            Server(10, error),
            Client(100, create),
            Server(110, &created),
            Server(150, &first),
            Server(160, &completed),
            Client(200, close),
        ],
    );
    assert_eq!(
        (samples, meter.tally().has_error),
        (vec!["first 50".into(), "answer 50".into()], true)
    );
    // The response fails while another request waits, in either form.
    for end in [error, failed] {
        let (meter, samples) = run_in(
            &RESPONSES,
            &[
                Client(0, create),
                Client(1, create),
                Server(10, &created),
                Server(20, end),
                Server(30, &created),
                Server(41, &first),
                Server(50, &completed),
            ],
        );
        assert_eq!(samples, ["first 40", "answer 40"], "{end}");
        assert!(meter.tally().has_error && !meter.needs_terminator(), "{end}");
    }
    // The server ends an idle session after its limit of 60 minutes.
    let limit = r#"{"type":"error","error":{"code":"websocket_connection_limit_reached"}}"#;
    let (meter, _) = run_in(
        &RESPONSES,
        &[
            Client(0, create),
            Server(1, &created),
            Server(2, &completed),
            Server(3_600_000, limit),
            Server(3_600_001, close),
        ],
    );
    assert!(meter.tally().is_complete() && !meter.tally().has_error);
}

#[test]
fn remembered_requests_are_limited() {
    let create = r#"{"type":"response.create"}"#;
    let [created, first, completed] = responded("one");
    let mut steps: Vec<_> = (0..1000).map(|at| Client(at, create)).collect();
    for at in 0..1000 {
        let at = 2000 + 10 * at;
        steps.extend([Server(at, &created), Server(at + 5, &first), Server(at + 6, &completed)]);
    }
    let (_, samples) = run_in(&RESPONSES, &steps);
    assert_eq!(samples.len(), 2000);
    assert_eq!((&*samples[2 * 63], &*samples[2 * 64]), ("first 2572", "first 5"));
}

#[test]
fn a_translation_has_output_and_no_times() {
    let text = r#"{"type":"session.output_transcript.delta","delta":"Hola"}"#;
    let audio = r#"{"type":"session.output_audio.delta","delta":"AAAA"}"#;
    let heard = r#"{"type":"session.input_transcript.delta","delta":"Hello"}"#;
    let update = r#"{"type":"session.update","session":{"model":"t"}}"#;
    let (meter, samples) = run_in(
        &TRANSLATION,
        &[
            Server(0, r#"{"type":"session.created","session":{"model":"t-1"}}"#),
            Client(5, update),
            Client(6, COMMIT),
            Server(100, heard),
            Server(200, audio),
            Server(210, text),
            Server(9000, audio),
            Server(9001, ERROR),
            Client(9100, r#"{"type":"session.close"}"#),
            Server(9200, r#"{"type":"session.closed"}"#),
            Server(9201, "close"),
        ],
    );
    assert_eq!(samples, [""; 0]);
    let record = record(&meter);
    assert_eq!((record.answer_chars, record.output_events), (Some(4), Some(3)));
    assert_eq!((record.ttft_s, record.tpot_s, record.unparsed), (None, None, 0));
    assert_eq!(meter.tally().first_output, None, "its silences are not stalls");
    assert!(meter.tally().is_complete() && !meter.tally().has_error);
    assert_eq!(meter.requested_model().map(|model| &**model), Some("t"));
}

#[test]
fn end_of_a_session() {
    /// Whether the session is complete, and whether the end of the connection would truncate it.
    fn ended(steps: &[SessionStep<'_>]) -> (bool, bool) {
        let (meter, _) = run(steps);
        (meter.tally().is_complete(), meter.needs_terminator())
    }
    let (failed, whole) = (done("failed", 0), done("completed", 1));
    assert_eq!(ended(&[]), (false, false), "no response was requested");
    assert_eq!(ended(&[Server(0, CREATED), Server(1, WORD)]), (false, true));
    assert_eq!(ended(&[Server(0, CREATED), Server(1, WORD), Server(2, &whole)]), (false, false));
    assert_eq!(ended(&[Server(0, CREATED), Server(1, "close")]), (false, true));
    assert_eq!(ended(&[Server(0, CREATED), Server(1, &whole), Server(2, "close")]), (true, false));
    assert!(ended(&[Server(0, CREATED), Server(1, WORD), Client(2, "close")]).0);
    let (meter, _) = run(&[Server(0, CREATED), Server(1, &failed)]);
    assert!(meter.tally().has_error && meter.is_session() && meter.is_stream());
    // The user interrupted the first response.
    let (meter, _) = run(&[
        Server(0, CREATED),
        Server(1, &done("cancelled", 1)),
        Server(2, CREATED),
        Server(3, &whole),
    ]);
    assert_eq!(meter.error_kind(EndCause::Complete), None);
    // Binary messages with audio are not events.
    let mut meter = ResponseMeter::for_websocket(&REALTIME, false);
    let arrival = Arrival::on_time(ms(0), 0);
    meter.push(arrival, &frame(2, None, b"\0\x01audio"), &mut |_| {});
    meter.push(arrival, &frame(1, None, b"no json"), &mut |_| {});
    meter.push(arrival, &[0xFF], &mut |_| {});
    assert_eq!((meter.tally().events, meter.tally().unparsed), (1, 2));
}
