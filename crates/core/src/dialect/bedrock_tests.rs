//! Events of each model on Bedrock, reduced to the fields that are parsed.
//!
//! Sources: Converse: API reference of the Bedrock runtime, `ContentBlockDelta`, `ContentBlockStart`,
//! `ConverseStreamMetadataEvent`, `ContentBlock`. InvokeModel: the user guide's "Inference request
//! parameters and response fields for foundation models", model by model, and recorded streams.

use super::*;
use crate::dialect::{EventFacts, ResponseReader, TokenCounts};

/// Facts of the last of these events.
fn read(dialect: &'static Dialect, events: &[&str]) -> EventFacts {
    let mut reader = ResponseReader::new(dialect);
    let mut last = EventFacts::default();
    for data in events {
        data.as_bytes().chunks(5).for_each(|part| reader.push(part));
        let facts = reader.finish_event(b"chunk");
        assert_eq!(facts.unparsed, None, "{data}");
        last = EventFacts { choices: facts.choices.clone(), model: facts.model.clone(), ..*facts };
        reader.clear_event();
    }
    last
}

/// Characters of answer, reasoning and tool arguments, whether there is an answer, finish reason.
type DescribedOutput = (u64, u64, u64, bool, Option<String>);

const NOTHING: DescribedOutput = (0, 0, 0, false, None);

fn output(dialect: &'static Dialect, events: &[&str]) -> DescribedOutput {
    match read(dialect, events).choices.as_slice() {
        [] => NOTHING,
        [one] => {
            let finish = one.finish.as_ref().map(ToString::to_string);
            (one.answer_chars, one.reasoning_chars, one.tool_chars, one.has_answer, finish)
        }
        more => panic!("{events:?}: {more:?}"),
    }
}

fn described(chars: u64) -> DescribedOutput {
    (chars, 0, 0, true, None)
}

fn tool(chars: u64) -> DescribedOutput {
    (0, 0, chars, true, None)
}

fn over(reason: &str) -> DescribedOutput {
    (0, 0, 0, false, Some(reason.into()))
}

#[test]
fn converse_output_is_counted() {
    let cases = [
        (r#"{"p":"abc","role":"assistant"}"#, NOTHING),
        (r#"{"contentBlockIndex":0,"delta":{"text":"Hi"},"p":"ab"}"#, described(2)),
        (r#"{"contentBlockIndex":0,"delta":{"text":""},"p":"ab"}"#, NOTHING),
        (r#"{"contentBlockIndex":1,"start":{"toolUse":{"name":"f","toolUseId":"t"}}}"#, tool(0)),
        (r#"{"contentBlockIndex":1,"delta":{"toolUse":{"input":"{\"a"}}}"#, tool(3)),
        (r#"{"contentBlockIndex":1,"delta":{"toolUse":{"input":""}}}"#, NOTHING),
        (r#"{"delta":{"reasoningContent":{"text":"hm"}}}"#, (0, 2, 0, false, None)),
        (r#"{"delta":{"reasoningContent":{"signature":"EqoB"}}}"#, NOTHING),
        (r#"{"delta":{"reasoningContent":{"redactedContent":"EqoB"}}}"#, NOTHING),
        (r#"{"delta":{"image":{"source":{"bytes":"AAAA"}}}}"#, described(0)),
        (r#"{"contentBlockIndex":1,"p":"abcd"}"#, NOTHING),
        (r#"{"p":"ab","stopReason":"end_turn"}"#, over("end_turn")),
        // JSON lines, with the type around the event.
        (r#"{"contentBlockDelta":{"contentBlockIndex":0,"delta":{"text":"First"}}}"#, described(5)),
        (r#"{"contentBlockStart":{"start":{"toolUse":{"toolUseId":"t","name":"json"}}}}"#, tool(0)),
        (r#"{"messageStop":{"stopReason":"tool_use"}}"#, over("tool_use")),
        // Not streamed.
        (
            r#"{"output":{"message":{"content":[{"text":"Hello"},
                {"reasoningContent":{"reasoningText":{"text":"why","signature":"x"}}},
                {"toolUse":{"toolUseId":"t","name":"f","input":{"a": 1}}}],"role":"assistant"}},
                "stopReason":"tool_use"}"#,
            (5, 3, 7, true, Some("tool_use".into())),
        ),
    ];
    for (event, expected) in cases {
        assert_eq!(output(&CONVERSE, &[event]), expected, "{event}");
    }
}

#[test]
fn converse_reports_usage_and_latency() {
    let metadata = r#"{"metrics":{"latencyMs":422},"p":"ab","usage":{"cacheReadInputTokens":20,
        "cacheWriteInputTokens":3,"inputTokens":5,"outputTokens":9,"serverToolUsage":{},"totalTokens":37}}"#;
    let facts = read(&CONVERSE, &[metadata]);
    let usage = facts.usage.unwrap();
    assert_eq!((usage.total_input(), usage.output, usage.cached), (Some(28), Some(9), Some(20)));
    assert_eq!(facts.timings.unwrap().total, Some(0.422));
    assert_eq!(facts.detected_engine, Some(Engine::Bedrock));
    let nested = read(&CONVERSE, &[&format!("{{\"metadata\":{metadata}}}")]);
    assert_eq!(nested, facts);
    // A guardrail blocked the request before the model.
    let blocked =
        r#"{"metrics":{"latencyMs":9},"usage":{"inputTokens":0,"outputTokens":0,"totalTokens":0}}"#;
    assert_eq!(read(&CONVERSE, &[blocked]).usage, None);
    assert!(read(&CONVERSE, &[r#"{"throttlingException":{"message":"slow down"}}"#]).error);
}

#[test]
fn streams_of_each_model_are_parsed() {
    let cases: &[(&[&str], DescribedOutput)] = &[
        // Claude: messages.
        (
            &[r#"{"type":"message_start","message":{"content":[],"usage":{"input_tokens":3}}}"#],
            NOTHING,
        ),
        (&[r#"{"type":"content_block_start","content_block":{"type":"text","text":""}}"#], NOTHING),
        (
            &[
                r#"{"type":"content_block_start","content_block":{"type":"tool_use","name":"f","input":{}}}"#,
            ],
            tool(0),
        ),
        (
            &[r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"Olá!"}}"#],
            described(4),
        ),
        (
            &[
                r#"{"type":"content_block_delta","delta":{"type":"thinking_delta","thinking":"hm"}}"#,
            ],
            (0, 2, 0, false, None),
        ),
        (
            &[
                r#"{"type":"content_block_delta","delta":{"type":"signature_delta","signature":"Eq"}}"#,
            ],
            NOTHING,
        ),
        (
            &[
                r#"{"type":"content_block_delta","delta":{"type":"input_json_delta","partial_json":"{\"a"}}"#,
            ],
            tool(3),
        ),
        (&[r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#], over("end_turn")),
        // Claude: text completions.
        (
            &[r#"{"type":"completion","completion":" The","stop_reason":null,"stop":null}"#],
            described(4),
        ),
        (
            &[r#"{"type":"completion","completion":"","stop_reason":"stop_sequence"}"#],
            over("stop_sequence"),
        ),
        // Nova.
        (&[r#"{"contentBlockDelta":{"delta":{"text":"On"},"contentBlockIndex":0}}"#], described(2)),
        (&[r#"{"messageStop":{"stopReason":"max_tokens"}}"#], over("max_tokens")),
        // Titan.
        (
            &[
                r#"{"outputText":"Hi","index":0.0,"totalOutputTextTokenCount":null,"completionReason":null}"#,
            ],
            described(2),
        ),
        // Llama.
        (&[r#"{"generation":"ab","prompt_token_count":null,"stop_reason":null}"#], described(2)),
        (&[r#"{"generation":"","generation_token_count":4,"stop_reason":"stop"}"#], over("stop")),
        // Mistral and its larger models.
        (&[r#"{"outputs":[{"text":" Paris","stop_reason":null}]}"#], described(6)),
        (&[r#"{"outputs":[{"text":"","stop_reason":"stop"}]}"#], over("stop")),
        (
            &[
                r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"a"},"stop_reason":null}]}"#,
            ],
            described(1),
        ),
        // DeepSeek-R1; gpt-oss, Qwen and Jamba.
        (
            &[r#"{"choices":[{"text":"ab","stop_reason":"length"}]}"#],
            (2, 0, 0, true, Some("length".into())),
        ),
        (
            &[r#"{"choices":[{"index":0,"delta":{"content":"abc"},"finish_reason":null}]}"#],
            described(3),
        ),
        // Cohere.
        (&[r#"{"is_finished":false,"event_type":"text-generation","text":"This"}"#], described(4)),
        (
            &[
                r#"{"is_finished":true,"event_type":"stream-end","response":{"text":"This"},"finish_reason":"COMPLETE"}"#,
            ],
            over("COMPLETE"),
        ),
        (&[COHERE_CALLS], tool(7)),
        (&[r#"{"event_type":"tool-calls-chunk","tool_call_delta":{"name":"f"}}"#], tool(0)),
        (
            &[
                r#"{"event_type":"tool-calls-chunk","tool_call_delta":{"parameters":"{\"a"}}"#,
                COHERE_CALLS,
            ],
            NOTHING,
        ),
        (&[r#"{"text":"ab","is_finished":false,"index":0}"#], described(2)),
    ];
    for (events, expected) in cases {
        assert_eq!(output(&INVOKE, events), *expected, "{events:?}");
    }
}

const COHERE_CALLS: &str =
    r#"{"event_type":"tool-calls-generation","tool_calls":[{"name":"f","parameters":{"a":1}}]}"#;

#[test]
fn documents_of_each_model_are_parsed() {
    let stop = |answer, reason: &str| (answer, 0, 0, true, Some(reason.to_owned()));
    let cases = [
        (
            r#"{"type":"message","model":"claude","content":[{"type":"text","text":"Hi"}],
                "stop_reason":"end_turn"}"#,
            stop(2, "end_turn"),
        ),
        (
            r#"{"output":{"message":{"content":[{"text":"Hi"}]}},"stopReason":"end_turn"}"#,
            stop(2, "end_turn"),
        ),
        (
            r#"{"inputTextTokenCount":3,"results":[{"tokenCount":2,"outputText":"Hi","completionReason":"FINISH"}]}"#,
            stop(2, "FINISH"),
        ),
        (r#"{"generation":"Hi","stop_reason":"stop"}"#, stop(2, "stop")),
        (
            r#"{"generations":[{"id":"1","text":"Hi","finish_reason":"COMPLETE"}]}"#,
            stop(2, "COMPLETE"),
        ),
        (
            r#"{"completions":[{"data":{"text":"Hi","tokens":[]},"finishReason":{"reason":"endoftext"}}]}"#,
            stop(2, "endoftext"),
        ),
        (
            r#"{"choices":[{"index":0,"message":{"content":"Hi"},"finish_reason":"stop"}]}"#,
            stop(2, "stop"),
        ),
    ];
    for (document, expected) in cases {
        assert_eq!(output(&INVOKE, &[document]), expected, "{document}");
    }
}

#[test]
fn counts_of_the_model_precede_those_of_bedrock() {
    let usage = |event: &str| read(&INVOKE, &[event]).usage;
    let counts = |input: Option<u64>, output: Option<u64>| TokenCounts {
        input,
        output,
        ..TokenCounts::default()
    };
    let titan = r#"{"outputText":"a","totalOutputTextTokenCount":null,"inputTextTokenCount":13}"#;
    assert_eq!(usage(titan), Some(counts(Some(13), None)));
    let llama = r#"{"generation":"","prompt_token_count":null,"generation_token_count":4}"#;
    assert_eq!(usage(llama), Some(counts(None, Some(4))));
    let claude = r#"{"type":"message_start","message":{"usage":{"input_tokens":5,
        "cache_creation_input_tokens":2,"cache_read_input_tokens":0,"output_tokens":1}}}"#;
    let claude = usage(claude).unwrap();
    assert_eq!((claude.total_input(), claude.cached), (Some(7), Some(0)));
    let nova = |read: u64| {
        usage(&format!(
            r#"{{"metadata":{{"usage":{{"inputTokens":5,"outputTokens":4,"cacheReadInputTokenCount":{read},
                "cacheWriteInputTokenCount":0}}}}}}"#
        ))
        .unwrap()
    };
    assert_eq!((nova(0).total_input(), nova(0).cached), (Some(5), None));
    assert_eq!((nova(6).total_input(), nova(6).cached), (Some(11), Some(6)));
    // Bedrock's counts come in addition to the model's.
    let last = r#"{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":8,
        "outputTokenCount":94,"invocationLatency":977,"firstByteLatency":97}}"#;
    let facts = read(&INVOKE, &[last]);
    assert_eq!((facts.usage, facts.engine_counts), (None, Some(counts(Some(8), Some(94)))));
    let timings = facts.timings.unwrap();
    assert_eq!((timings.total, timings.first_token), (Some(0.977), Some(0.097)));
    assert_eq!((facts.done, facts.detected_engine), (true, Some(Engine::Bedrock)));
}

#[test]
fn text_of_an_agent_is_the_answer() {
    let mut reader = ResponseReader::new(&AGENT);
    // A trace has no chunk.
    let facts = reader.finish_event(b"trace");
    assert_eq!((facts.choices.len(), facts.unparsed), (0, None));
    reader.clear_event();
    "é[DONE]".as_bytes().chunks(1).for_each(|part| reader.push(part));
    let facts = reader.finish_event(b"chunk");
    assert_eq!((facts.choices[0].answer_chars, facts.done), (7, false));
    reader.clear_event();
    assert_eq!(reader.finish_event(b"chunk").choices, []);
}

#[test]
fn an_exception_is_an_error_and_not_unparsed() {
    for dialect in [&CONVERSE, &INVOKE, &AGENT] {
        let mut reader = ResponseReader::new(dialect);
        reader.set_error();
        if dialect == &CONVERSE {
            reader.push(br#"{"message":"Too many tokens, please wait before trying again."}"#);
        }
        let facts = reader.finish_event(b"throttlingException");
        assert_eq!((facts.error, facts.unparsed), (true, None), "{}", dialect.name);
    }
}
