//! Scripted streams, with the values that docs/definitions.md gives for them.

use super::*;
use crate::dialect::Dialect;
use crate::dialect::openai_chat::CHAT;
use crate::meter::{
    GapBasis, OutputKind, QueueWait, QueueWaitSource, ResponseTokens, TokenSource,
    record::RequestRecord,
};
use std::time::Duration;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn chunk(delta: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":null}}]}}\n\n")
}

fn text(text: &str) -> String {
    chunk(&format!("{{\"content\":\"{text}\"}}"))
}

fn usage(input: u64, output: u64) -> String {
    format!(
        "data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":{input},\"completion_tokens\":{output}}}}}\n\n"
    )
}

const FINISH: &str =
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";

/// Reads a stream of (milliseconds, bytes). Returns the meter and its samples.
fn run(reads: &[(u64, &str)]) -> (ResponseMeter, Vec<String>) {
    let mut meter = ResponseMeter::new(&CHAT, b"text/event-stream", b"").unwrap();
    let mut samples = Vec::new();
    let mut sink = |sample: LiveSample<'_>| samples.push(format!("{sample:?}"));
    for (read, (at, bytes)) in reads.iter().enumerate() {
        let arrival = Arrival::on_time(ms(*at), read as u64);
        // The bytes of one read are pushed in small parts.
        bytes.as_bytes().chunks(7).for_each(|frame| meter.push(arrival, frame, &mut sink));
    }
    meter.finish(true, &mut sink);
    (meter, samples)
}

fn record(meter: &ResponseMeter, start: u64) -> RequestRecord {
    let mut record = RequestRecord::default();
    record.fill_from_response(meter.tally(), true, ms(start));
    record
}

#[test]
fn the_role_is_not_the_first_token() {
    let role = chunk(r#"{"role":"assistant","content":""}"#);
    let (meter, samples) = run(&[
        (110, &role),
        (120, ": keep-alive\n\n"),
        (400, &chunk(r#"{"reasoning_content":"hm"}"#)),
        (500, &text("He")),
        (600, &text("llo")),
        (650, FINISH),
        (651, &usage(9, 4)),
        (652, DONE),
    ]);
    let record = record(&meter, 100);
    assert_eq!(record.ttft_s, Some(0.3));
    assert_eq!(record.answer_s, Some(0.4));
    assert_eq!(record.latency_s, Some(0.5));
    assert_eq!(record.tpot_s, Some(0.2 / 3.0));
    assert_eq!((record.events, record.output_events, record.chunks), (Some(7), Some(3), Some(3)));
    assert_eq!((record.first_output_event, record.last_output_event), (Some(1), Some(3)));
    assert_eq!((record.answer_chars, record.reasoning_chars), (Some(5), Some(2)));
    assert_eq!(record.finish_reasons, ["stop"]);
    assert!(meter.tally().is_complete());
    let expected = [
        LiveSample::FirstOutput(ms(400)),
        LiveSample::Characters(OutputKind::Reasoning, 2),
        LiveSample::OutputTokens(1),
        LiveSample::FirstAnswer(ms(500)),
        LiveSample::ChunkGap(ms(100)),
        LiveSample::Characters(OutputKind::Answer, 2),
        LiveSample::OutputTokens(1),
        LiveSample::ChunkGap(ms(100)),
        LiveSample::Characters(OutputKind::Answer, 3),
        LiveSample::OutputTokens(1),
        LiveSample::TokenGap { gap: ms(100), shares: 1, basis: GapBasis::Event },
        LiveSample::Finished(&"stop".into()),
        LiveSample::TokenGap { gap: ms(100), shares: 1, basis: GapBasis::Event },
    ];
    assert_eq!(samples, expected.map(|sample| format!("{sample:?}")));
}

#[test]
fn token_counts_come_from_the_most_reliable_source() {
    let (a, b) = (text("a"), text("b"));
    let tokens = |tail: &str| {
        let (meter, _) = run(&[(1, &a), (2, &b), (3, tail)]);
        ResponseTokens::from_tally(meter.tally(), true)
    };
    let timings = "data: {\"choices\":[],\"timings\":{\"prompt_n\":3,\"predicted_n\":6}}\n\n";
    assert_eq!(tokens(DONE).output, Some((2, TokenSource::Events)));
    assert_eq!(tokens(DONE).input, None);
    assert_eq!(tokens(timings).output, Some((6, TokenSource::Engine)));
    assert_eq!(tokens(&usage(9, 4)).output, Some((4, TokenSource::Usage)));
    assert_eq!(tokens(&format!("{timings}{}", usage(9, 4))).input, Some((9, TokenSource::Usage)));
    // The same usage sent twice counts once.
    assert_eq!(tokens(&usage(9, 4).repeat(2)).output, Some((4, TokenSource::Usage)));
    let hidden = "data: {\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":78,\
                  \"completion_tokens_details\":{\"reasoning_tokens\":64}}}\n\n";
    assert_eq!(tokens(hidden).streamed, Some(14));
}

#[test]
fn usage_reports_for_each_choice_are_added() {
    let chunk = |index: u32, delta: &str, finish: &str| {
        format!(
            "data: {{\"choices\":[{{\"delta\":{delta},\"finish_reason\":{finish},\"index\":{index}}}]}}\n\n"
        )
    };
    let t = r#"{"content":"T"}"#;
    let stream = [
        chunk(0, t, "null"),
        chunk(1, t, "null"),
        chunk(0, "{}", "\"stop\""),
        usage(28, 8),
        chunk(1, "{}", "\"stop\""),
        usage(28, 8),
        DONE.to_owned(),
    ];
    let reads: Vec<_> =
        stream.iter().enumerate().map(|(i, bytes)| (i as u64, bytes.as_str())).collect();
    let (mut meter, _) = run(&reads);
    meter.set_requested_choices(Some(2));
    let tokens = ResponseTokens::from_tally(meter.tally(), true);
    assert_eq!(
        (tokens.input, tokens.output),
        (Some((28, TokenSource::Usage)), Some((16, TokenSource::Usage)))
    );
    assert_eq!(record(&meter, 0).tpot_s, None, "TPOT needs a single choice");
    assert_eq!(record(&meter, 0).finish_reasons, ["stop", "stop"]);
}

/// llama.cpp reports the usage of each prompt of a batch in the event that ends it.
#[test]
fn usage_reports_in_finish_events_are_added() {
    let end = |index: u32, output: u64| {
        format!(
            "data: {{\"choices\":[{{\"text\":\"\",\"index\":{index},\"finish_reason\":\"length\"}}],\
             \"system_fingerprint\":\"b1-0c1e570\",\
             \"usage\":{{\"prompt_tokens\":3,\"completion_tokens\":{output}}}}}\n\n"
        )
    };
    let word = |index: u32| {
        format!(
            "data: {{\"choices\":[{{\"text\":\"a\",\"index\":{index},\"finish_reason\":null}}]}}\n\n"
        )
    };
    let (meter, _) =
        run(&[(0, &word(1)), (1, &word(0)), (2, &end(0, 5)), (3, &end(1, 10)), (4, DONE)]);
    assert_eq!(
        ResponseTokens::from_tally(meter.tally(), true).output,
        Some((15, TokenSource::Usage))
    );
    // A single report is the count of all.
    let (meter, _) = run(&[(0, &word(0)), (1, &end(0, 5)), (2, &usage(3, 5)), (3, DONE)]);
    assert_eq!(
        ResponseTokens::from_tally(meter.tally(), true).output,
        Some((5, TokenSource::Usage))
    );
}

/// llama.cpp: the input of several prompts is added; the choices of one prompt share it.
#[test]
fn input_of_several_prompts_and_choices() {
    let end = |index: u32, input: u64, has_usage: bool| {
        let usage = if has_usage {
            format!(
                r#""usage":{{"prompt_tokens":{input},"completion_tokens":4,"prompt_tokens_details":{{"cached_tokens":1}}}},"#
            )
        } else {
            String::new()
        };
        let fresh = input - 1;
        format!(
            "data: {{\"choices\":[{{\"text\":\"\",\"index\":{index},\"finish_reason\":\"stop\"}}],\
             \"system_fingerprint\":\"b10499-0c1e570\",{usage}\
             \"timings\":{{\"cache_n\":1,\"prompt_n\":{fresh},\"predicted_n\":4}}}}\n\n"
        )
    };
    let word = |index: u32| {
        format!(
            "data: {{\"choices\":[{{\"text\":\"a\",\"index\":{index},\"finish_reason\":null}}]}}\n\n"
        )
    };
    // Input of each report, requested choices; and the expected input, cached and output tokens.
    type Counts = (Option<u64>, Option<u64>, Option<u64>);
    let cases: [(&[u64], Option<u64>, Counts); 6] = [
        (&[5, 8], Some(1), (Some(13), Some(2), Some(8))),
        (&[5, 5], Some(1), (Some(10), Some(2), Some(8))),
        (&[5, 5], Some(2), (Some(5), Some(1), Some(8))),
        (&[5, 5, 8, 8], Some(2), (Some(13), Some(2), Some(16))),
        (&[5, 5, 8], Some(2), (None, None, Some(12))),
        (&[5, 8], None, (None, None, Some(8))),
    ];
    for (inputs, requested, expected) in cases {
        for has_usage in [true, false] {
            let mut stream: Vec<String> = (0..inputs.len() as u32).map(word).collect();
            stream.extend((0..).zip(inputs).map(|(index, input)| end(index, *input, has_usage)));
            stream.push(DONE.to_owned());
            let reads: Vec<_> = (0..).zip(stream.iter().map(String::as_str)).collect();
            let (mut meter, _) = run(&reads);
            meter.set_requested_choices(requested);
            let record = record(&meter, 0);
            let found = (record.input_tokens, record.cached_tokens, record.output_tokens);
            assert_eq!(found, expected, "{inputs:?}, {requested:?}, usage {has_usage}");
        }
    }
    // One choice has one report, whatever was requested.
    let (mut meter, _) = run(&[(0, &word(0)), (1, &end(0, 5, true)), (2, DONE)]);
    meter.set_requested_choices(None);
    assert_eq!(record(&meter, 0).input_tokens, Some(5));
}

#[test]
fn header_facts_complete_the_body() {
    let mut head = HeaderFacts::default();
    for (name, value) in
        [("x-prompt-tokens", "3"), ("x-generated-tokens", "9"), ("x-queue-time", "250")]
    {
        head.record_header(name, value.as_bytes());
    }
    let (mut meter, _) = run(&[(0, &text("a")), (1, DONE)]);
    meter.set_header_facts(&head);
    let record = record(&meter, 0);
    assert_eq!((record.input_tokens, record.output_tokens), (Some(3), Some(9)));
    assert_eq!(record.output_tokens_source, Some(TokenSource::Engine));
    let wait = QueueWait::from_best_source(Some(meter.tally()), Some(1.0), None)
        .map(|wait| (wait.seconds, wait.source));
    assert_eq!(wait, Some((0.25, QueueWaitSource::Reported)));
    let (mut meter, _) = run(&[(0, &text("a")), (1, &usage(4, 5)), (2, DONE)]);
    meter.set_header_facts(&head);
    assert_eq!(
        ResponseTokens::from_tally(meter.tally(), true).output,
        Some((5, TokenSource::Usage))
    );
}

#[test]
fn a_running_count_gives_exact_token_gaps() {
    let counted = |text: &str, output: u64| {
        format!(
            "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}],\
             \"usage\":{{\"prompt_tokens\":3,\"completion_tokens\":{output}}}}}\n\n"
        )
    };
    let (meter, samples) = run(&[
        (10, &counted("a", 1)),
        (40, &counted("bcd", 4)),
        (50, &counted("", 5)),
        (60, &counted("e", 6)),
    ]);
    let gap = |gap, shares| {
        let gap = LiveSample::TokenGap { gap: ms(gap), shares, basis: GapBasis::Token };
        format!("{gap:?}")
    };
    let gaps: Vec<_> = samples.iter().filter(|sample| sample.starts_with("TokenGap")).collect();
    assert_eq!(gaps, [&gap(30, 3), &gap(20, 2)]);
    assert_eq!(meter.tally().live_tokens, 6);
    assert_eq!(record(&meter, 0).tpot_s, Some(0.01));
}

#[test]
fn tpot_needs_two_tokens_in_two_reads() {
    let (one, two) = (text("a"), text("b"));
    let together = format!("{one}{two}");
    assert_eq!(record(&run(&[(1, &one)]).0, 0).tpot_s, None);
    assert_eq!(record(&run(&[(1, &together), (2, DONE)]).0, 0).tpot_s, None, "one read");
    assert!(record(&run(&[(1, &one), (2, &two)]).0, 0).tpot_s.is_some());
}

#[test]
fn end_markers_complete_a_stream() {
    let a = text("a");
    let complete = |tail: &str| run(&[(1, &a), (2, tail)]).0.tally().is_complete();
    assert!(!complete(""));
    assert!(complete(DONE));
    assert!(complete(FINISH));
    assert!(complete("data: [DONE]"), "an end marker without its blank line");
    assert!(!complete(&usage(1, 1)));
    let error = run(&[(1, &a), (2, "data: {\"error\":{\"message\":\"boom\"}}\n\n")]).0;
    assert!(error.tally().has_error && !error.tally().is_complete());
}

#[test]
fn an_unparsable_event_does_not_affect_others() {
    let (meter, samples) =
        run(&[(1, &text("a")), (2, "data: {\"choices\":[{]}\n\n"), (3, &text("b"))]);
    assert_eq!((meter.tally().output_events, meter.tally().unparsed), (2, 1));
    assert!(samples.contains(&format!("{:?}", LiveSample::Unparsed(UnparsedReason::Json))));
}

#[test]
fn a_stream_that_breaks_off_keeps_its_samples() {
    let mut meter = ResponseMeter::new(&CHAT, b"text/event-stream", b"").unwrap();
    let mut gaps = 0;
    let mut sink =
        |sample: LiveSample<'_>| gaps += u64::from(matches!(sample, LiveSample::TokenGap { .. }));
    for read in 1..=3 {
        meter.push(Arrival::on_time(ms(read), read), text("a").as_bytes(), &mut sink);
    }
    meter.push(
        Arrival::on_time(ms(4), 4),
        b"data: {\"choices\":[{\"delta\":{\"content\":\"cut",
        &mut sink,
    );
    meter.finish(false, &mut sink);
    assert_eq!(gaps, 2);
    assert_eq!((meter.tally().output_events, meter.tally().unparsed), (3, 0));
}

#[test]
fn a_document_has_counts_but_no_times() {
    let mut meter = ResponseMeter::new(&CHAT, b"application/json; charset=utf-8", b"").unwrap();
    let body = r#" {"model":"m","choices":[{"index":0,"message":{"content":"Hello"},"finish_reason":"length"}],
        "usage":{"prompt_tokens":9,"completion_tokens":4}}"#;
    let mut samples = Vec::new();
    let mut sink = |sample: LiveSample<'_>| samples.push(format!("{sample:?}"));
    body.as_bytes()
        .chunks(9)
        .for_each(|part| meter.push(Arrival::on_time(ms(5), 0), part, &mut sink));
    meter.finish(true, &mut sink);
    assert_eq!(samples, ["Characters(Answer, 5)", "Finished(\"length\")"]);
    let mut record = RequestRecord::default();
    record.fill_from_response(meter.tally(), false, ms(0));
    assert_eq!(
        (record.ttft_s, record.latency_s, record.tpot_s, record.events),
        (None, None, None, None)
    );
    assert_eq!((record.input_tokens, record.output_tokens), (Some(9), Some(4)));
    assert_eq!(record.response_model.as_deref(), Some("m"));
}

/// The last output and the end of the stream are returned by one read, in time or late.
#[test]
fn a_late_read_of_the_last_output_and_the_end_is_degraded() {
    let degraded = |late: u64, pieces: &[&[&str]]| {
        let mut meter = ResponseMeter::new(&CHAT, b"text/event-stream", b"").unwrap();
        for (read, pieces) in pieces.iter().enumerate() {
            let arrival = Arrival {
                not_before: ms(100 * read as u64),
                read_delay: ms(late),
                ..Arrival::on_time(ms(100 * (read as u64 + 1)), read as u64)
            };
            pieces.iter().for_each(|piece| meter.push(arrival, piece.as_bytes(), &mut |_| {}));
        }
        meter.finish(true, &mut |_| {});
        record(&meter, 0).degraded
    };
    let (one, two) = (text("a"), text("b"));
    let together = [two.as_str(), FINISH, DONE];
    assert!(!degraded(0, &[&[&one], &together]), "read in time");
    assert!(degraded(5, &[&[&one], &together]), "read late");
    assert!(!degraded(5, &[&[&one], &[&two], &[FINISH, DONE]]), "read separately");
    assert!(!degraded(5, &[&[&one], &[&together.concat()]]), "sent as one chunk");
    assert!(!degraded(5, &[&[&one, FINISH], &[&two]]), "not the last output after all");
}

/// After a decoding error the rest of the body is not measured. The measurements before it stay.
#[test]
fn a_stream_with_a_decoding_error_stays_a_stream() {
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(text("Hi").as_bytes()).unwrap();
    gzip.flush().unwrap();
    let front = gzip.get_ref().clone();
    let mut meter = ResponseMeter::new(&CHAT, b"text/event-stream", b"gzip").unwrap();
    let mut samples = Vec::new();
    for (read, bytes) in [front.as_slice(), b"this is no deflate at all"].into_iter().enumerate() {
        let (at, read) = (ms(10 * read as u64), read as u64);
        let arrival = Arrival::on_time(at, read);
        meter.push(arrival, bytes, &mut |sample| samples.push(format!("{sample:?}")));
    }
    meter.finish(true, &mut |_| {});
    assert!(samples.contains(&"Unparsed(Encoding)".to_owned()), "{samples:?}");
    assert_eq!(
        (meter.is_stream(), meter.is_fully_read(), meter.needs_terminator()),
        (true, false, false)
    );
    let record = record(&meter, 0);
    assert_eq!((record.output_events, record.output_tokens), (Some(1), Some(1)));
}

/// Counted reasoning tokens whose ids are listed were sent.
#[test]
fn tokens_with_listed_ids_were_sent() {
    let chunk = |ids: &str| {
        format!(
            "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"x\"}},\"token_ids\":[{ids}]}}]}}\n\n"
        )
    };
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":5,\"completion_tokens_details\":{\"reasoning_tokens\":4}}}\n\n";
    let (meter, _) = run(&[(0, &chunk("1,2,3")), (400, &chunk("4,5")), (500, usage), (501, DONE)]);
    assert_eq!(record(&meter, 0).tpot_s, Some(0.1));
}

/// Regression test from fuzzing: the result depended on how white space before the body was split.
#[test]
fn white_space_before_a_detected_framing_is_ignored() {
    let unparsed = |pieces: &[&[u8]]| {
        let mut meter = ResponseMeter::new(&CHAT, b"", b"").unwrap();
        let arrival = Arrival::on_time(Duration::ZERO, 0);
        pieces.iter().for_each(|piece| meter.push(arrival, piece, &mut |_| {}));
        meter.finish(true, &mut |_| {});
        (meter.tally().unparsed, meter.tally().events)
    };
    let stream = [b"\n\0", &[0, 0, 107, 0, 0, 0, 90][..]].concat();
    let single: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(unparsed(&[&stream]), unparsed(&single));
    let events = format!(" \n{}", text("Hi"));
    assert_eq!(unparsed(&[events.as_bytes()]), (0, 1));
}

/// NVIDIA Dynamo reports an error of its backend without data.
#[test]
fn an_error_event_without_data_is_an_error() {
    for (stream, expected) in [
        ("event: error\n: Exception: no image\n\n", true),
        ("event: error\n: Exception: no image\n\ndata: [DONE]\n\n", true),
        ("event: ping\n: error\n\ndata: [DONE]\n\n", false),
    ] {
        let (meter, _) = run(&[(1, &text("a")), (2, stream)]);
        assert_eq!((meter.tally().has_error, meter.tally().unparsed), (expected, 0), "{stream}");
    }
}

/// Output tokens sent, their source, and TPOT of a stream. Its deltas arrive 100 ms apart.
fn speed(
    dialect: &'static Dialect,
    events: &[&str],
) -> (Option<u64>, Option<TokenSource>, Option<f64>) {
    let mut meter = ResponseMeter::new(dialect, b"text/event-stream", b"").unwrap();
    for (read, event) in (0..).zip(events) {
        let bytes = format!("data: {event}\n\n");
        meter.push(Arrival::on_time(ms(100 * read), read), bytes.as_bytes(), &mut |_| {});
    }
    meter.finish(true, &mut |_| {});
    let tokens = ResponseTokens::from_tally(meter.tally(), true);
    (tokens.streamed, tokens.output.map(|(_, source)| source), record(&meter, 0).tpot_s)
}

/// Reasoning that was counted but not sent does not make a server look fast.
#[test]
fn hidden_reasoning_is_not_part_of_the_speed() {
    let word = r#"{"choices":[{"delta":{"content":"w "}}]}"#;
    let thought = r#"{"choices":[{"delta":{"reasoning_content":"so, "}}]}"#;
    let usage = |output: u64, reasoning: u64| {
        format!(
            r#"{{"choices":[],"usage":{{"prompt_tokens":5,"completion_tokens":{output},"completion_tokens_details":{{"reasoning_tokens":{reasoning}}}}}}}"#
        )
    };
    let confirmed = r#"{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":3,"total_tokens":8,"completion_tokens_details":{"reasoning_tokens":500}}}"#;
    let (hidden, shown, contradictory) = (usage(503, 500), usage(6, 3), usage(3, 500));
    let summary = r#"{"choices":[{"delta":{"reasoning":"so, ","reasoning_details":[{"type":"reasoning.summary","summary":"so, "}]}}]}"#;
    let no_details = r#"{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":503}}"#;
    let ids = r#"{"choices":[{"delta":{"reasoning_content":"so, "},"token_ids":[1,2]}]}"#;
    let from = Some(TokenSource::Usage);
    let cases: [(&[&str], _); 10] = [
        // Nothing of the reasoning was sent.
        (&[word, word, word, &hidden], (Some(3), from, Some(0.1))),
        // All of it.
        (&[thought, thought, thought, word, word, word, &shown], (Some(6), from, Some(0.1))),
        // A part of it: the text has fewer characters than the count has tokens.
        (&[thought, word, word, &hidden], (None, from, None)),
        // A summary, whatever its length.
        (&[summary, word, word, &shown], (None, from, None)),
        (&[summary, word, word, no_details], (None, from, None)),
        // No count of reasoning: nothing shows that some was hidden.
        (&[thought, word, word, no_details], (Some(503), from, Some(0.2 / 502.0))),
        // Events and listed tokens were sent.
        (&[summary, word, word], (Some(3), Some(TokenSource::Events), Some(0.1))),
        (&[ids, word, &usage(2, 2)], (Some(2), from, Some(0.1))),
        // Reasoning exceeds the output, which the total confirms: unclear.
        (&[word, word, word, confirmed], (None, from, None)),
        // Reasoning that exceeds the output is not part of it.
        (&[word, word, word, &contradictory], (Some(3), Some(TokenSource::Adjusted), Some(0.1))),
    ];
    for (events, expected) in cases {
        assert_eq!(speed(&CHAT, events), expected, "{events:?}");
    }
}

/// Which text is a summary, in each API.
#[test]
fn summaries_have_no_tpot() {
    let responses = &crate::dialect::openai_responses::RESPONSES;
    let word = r#"{"type":"response.output_text.delta","output_index":1,"delta":"w "}"#;
    let end = r#"{"type":"response.completed","response":{"usage":{"input_tokens":5,"output_tokens":511,"output_tokens_details":{"reasoning_tokens":500}}}}"#;
    let few = r#"{"type":"response.completed","response":{"usage":{"input_tokens":5,"output_tokens":4,"output_tokens_details":{"reasoning_tokens":2}}}}"#;
    let summary = r#"{"type":"response.reasoning_summary_text.delta","delta":"some summary"}"#;
    let part = r#"{"type":"response.reasoning_summary_part.done","part":{"type":"summary_text","text":"some summary"}}"#;
    let full = r#"{"type":"response.reasoning_text.delta","delta":"full text"}"#;
    let gemini = &crate::dialect::gemini::STREAM;
    let thought =
        r#"{"candidates":[{"content":{"parts":[{"text":"some summary","thought":true}]}}]}"#;
    let answer = r#"{"candidates":[{"content":{"parts":[{"text":"w "}]}}]}"#;
    let counts = r#"{"usageMetadata":{"promptTokenCount":5,"candidatesTokenCount":2,"thoughtsTokenCount":2}}"#;
    let messages = &crate::dialect::anthropic::MESSAGES;
    let thinking = r#"{"type":"content_block_delta","delta":{"thinking":"some text"}}"#;
    let text = r#"{"type":"content_block_delta","delta":{"text":"w "}}"#;
    let details = r#"{"type":"message_delta","usage":{"output_tokens":4,"output_tokens_details":{"thinking_tokens":2}}}"#;
    let plain = r#"{"type":"message_delta","usage":{"output_tokens":4}}"#;
    let cases: [(&Dialect, &[&str], Option<u64>); 9] = [
        (responses, &[word, word, end], Some(11)),
        (responses, &[summary, word, word, end], None),
        (responses, &[summary, word, word, few], None),
        (responses, &[part, word, word, few], None),
        (responses, &[full, word, word, few], Some(4)),
        (gemini, &[answer, answer, counts], Some(2)),
        (gemini, &[thought, answer, answer, counts], None),
        (messages, &[thinking, text, text, details], None),
        (messages, &[thinking, text, text, plain], Some(4)),
    ];
    for (dialect, events, expected) in cases {
        let (sent, _, tpot) = speed(dialect, events);
        assert_eq!((sent, tpot.is_some()), (expected, expected.is_some()), "{events:?}");
    }
}
