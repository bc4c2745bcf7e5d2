//! Chunks of OpenAI and compatible servers, reduced to the fields that are parsed.

use super::*;
use crate::dialect::{EventFacts, MAX_CHOICES, ResponseReader, TokenCounts, UnparsedReason};

fn facts_of(name: &[u8], data: &str) -> EventFacts {
    let mut reader = ResponseReader::new(&CHAT);
    // Values of an incomplete event must not appear in the next one.
    reader.push(br#"{"choices":[{"index":3,"delta":{"content":"left"},"finish_reason":"over"#);
    reader.finish_event(b"");
    reader.clear_event();
    data.as_bytes().chunks(5).for_each(|part| reader.push(part));
    let facts = reader.finish_event(name);
    EventFacts { choices: facts.choices.clone(), model: facts.model.clone(), ..*facts }
}

fn facts(data: &str) -> EventFacts {
    facts_of(b"", data)
}

/// Characters of answer, reasoning and tool arguments, and whether there is an answer, in the only choice.
fn delta(body: &str) -> (u64, u64, u64, bool) {
    let facts =
        facts(&format!(r#"{{"choices":[{{"index":0,"delta":{body},"finish_reason":null}}]}}"#));
    assert_eq!(facts.unparsed, None, "{body}");
    let [choice] = facts.choices.as_slice() else { panic!("{body}: {facts:?}") };
    (choice.answer_chars, choice.reasoning_chars, choice.tool_chars, choice.has_answer)
}

#[test]
fn the_output_of_a_delta_is_counted() {
    let cases = [
        (r#"{"role":"assistant"}"#, (0, 0, 0, false)),
        (r#"{"role":"assistant","content":""}"#, (0, 0, 0, false)),
        (r#"{"role":"assistant","content":null,"refusal":null}"#, (0, 0, 0, false)),
        (r#"{}"#, (0, 0, 0, false)),
        (r#"{"content":"Hi"}"#, (2, 0, 0, true)),
        (
            r#"{"role":null,"content":"","reasoning_content":"We","tool_calls":null}"#,
            (0, 2, 0, false),
        ),
        (
            r#"{"reasoning":"hm","reasoning_details":[{"type":"reasoning.text","text":"hm"}]}"#,
            (0, 2, 0, false),
        ),
        (
            r#"{"reasoning_details":[{"type":"reasoning.encrypted","data":"abc"}]}"#,
            (0, 0, 0, false),
        ),
        (r#"{"thinking":"why"}"#, (0, 3, 0, false)),
        // Claude and Gemini on GitHub Copilot.
        (r#"{"reasoning_text":"why","reasoning_opaque":"gAAA"}"#, (0, 3, 0, false)),
        // xAI and Moonshot: the role and the first token in one chunk.
        (r#"{"role":"assistant","reasoning_content":"First"}"#, (0, 5, 0, false)),
        // trtllm-serve sends both fields, one of them empty. A token may have no text yet.
        (r#"{"content":"","reasoning_content":"We"}"#, (0, 2, 0, false)),
        (r#"{"content":"","reasoning_content":""}"#, (0, 0, 0, false)),
        // OpenRouter repeats the reasoning in a summary.
        (
            r#"{"reasoning":"hm","reasoning_details":[{"type":"reasoning.summary","summary":"hm"}]}"#,
            (0, 2, 0, false),
        ),
        (
            r#"{"content":[{"type":"text","text":"ab"},{"type":"text","text":"c"}]}"#,
            (3, 0, 0, true),
        ),
        (
            r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"ok"}]}]}"#,
            (0, 2, 0, false),
        ),
        // Databricks (docs.databricks.com, query reasoning models).
        (
            r#"{"content":[{"type":"reasoning","summary":[{"type":"summary_text","text":"why","signature":"Eo"}]}]}"#,
            (0, 3, 0, false),
        ),
        (r#"{"content":[]}"#, (0, 0, 0, false)),
        (r#"{"refusal":"No."}"#, (3, 0, 0, true)),
        (
            r#"{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":""}}]}"#,
            (0, 0, 0, true),
        ),
        (r#"{"tool_calls":[{"index":0,"function":{"arguments":"{\"a"}}]}"#, (0, 0, 3, true)),
        (r#"{"tool_calls":[{"function":{"name":"","arguments":""}}]}"#, (0, 0, 0, false)),
        (r#"{"tool_calls":[{"function":{"arguments":{"a":1}}}]}"#, (0, 0, 7, true)),
        (r#"{"function_call":{"name":"f","arguments":"{}"}}"#, (0, 0, 2, true)),
        (r#"{"audio":{"id":"a","expires_at":1}}"#, (0, 0, 0, false)),
        (r#"{"audio":{"data":"AAAA"}}"#, (0, 0, 0, true)),
        (r#"{"audio":{"transcript":"hey"}}"#, (0, 0, 0, true)),
        // OpenRouter (openrouter.ai/docs/features/multimodal/image-generation).
        (
            r#"{"content":"","images":[{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBO"}}]}"#,
            (0, 0, 0, true),
        ),
        ("{\"content\":\"\u{1f600}\\ud83d\\ude00\"}", (2, 0, 0, true)),
    ];
    for (body, expected) in cases {
        assert_eq!(delta(body), expected, "{body}");
    }
}

#[test]
fn sound_and_images_are_output_without_text() {
    let cases = [
        (r#"{"content":[{"type":"audio","audio":{"data":"UklG"}}]}"#, (0, 0, 0, true)),
        (
            r#"{"content":[{"type":"output_audio","output_audio":{"data":"UklG"}}]}"#,
            (0, 0, 0, true),
        ),
        (
            r#"{"content":[{"type":"audio","data":"UklG","mime_type":"audio/wav"}]}"#,
            (0, 0, 0, true),
        ),
        (
            r#"{"content":[{"type":"audio_url","audio_url":{"url":"data:audio/wav;base64,UklG"}}]}"#,
            (0, 0, 0, true),
        ),
        (
            r#"{"content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBO"}}]}"#,
            (0, 0, 0, true),
        ),
        (
            r#"{"content":[{"type":"text","text":"ab"},{"type":"audio","audio":{"data":"UklG"}}]}"#,
            (2, 0, 0, true),
        ),
        (r#"{"content":[{"type":"audio","audio":{"id":"a"}}]}"#, (0, 0, 0, false)),
    ];
    for (body, expected) in cases {
        assert_eq!(delta(body), expected, "{body}");
    }
    // vLLM-Omni: text of another modality is base64.
    let modality = |modality: &str| {
        let event = format!(
            r#"{{"choices":[{{"index":0,"delta":{{"content":"UklG"}}}}],"modality":{modality}}}"#
        );
        let facts = facts(&event);
        (facts.choices[0].answer_chars, facts.choices[0].has_answer)
    };
    let cases = [
        (r#""audio""#, (0, true)),
        (r#""image""#, (0, true)),
        (r#""text""#, (4, true)),
        (r#""""#, (4, true)),
        ("null", (4, true)),
    ];
    for (value, expected) in cases {
        assert_eq!(modality(value), expected, "{value}");
    }
}

/// Numbers instead of names are kept as text.
#[test]
fn numeric_finish_reasons_are_kept() {
    for (value, expected) in [
        ("1", Some("1")),
        ("0", Some("0")),
        (r#""2""#, Some("2")),
        ("-1", None),
        ("1.5", None),
        ("null", None),
    ] {
        let facts = facts(&format!(r#"{{"choices":[{{"finish_reason":{value}}}]}}"#));
        assert_eq!(facts.choices[0].finish.as_deref(), expected, "{value}");
    }
}

#[test]
fn keys_of_a_choice_may_come_in_any_order() {
    let facts = facts(
        r#"{"choices":[{"delta":{"content":"a"},"finish_reason":null,"index":1},
            {"index":0,"text":"bc","logprobs":{"content":[{"token":"x"}]},"finish_reason":"eos"},
            {"finish_reason":"stop"}]}"#,
    );
    let found: Vec<_> =
        facts.choices.iter().map(|c| (c.index, c.answer_chars, c.finish.as_deref())).collect();
    assert_eq!(found, [(1, 1, None), (0, 2, Some("eos")), (0, 0, Some("stop"))]);
}

#[test]
fn text_sent_twice_counts_once() {
    let both = facts(r#"{"choices":[{"index":0,"text":" and","delta":{"content":" and"}}]}"#);
    assert_eq!(both.choices[0].answer_chars, 4);
    let message = facts(
        r#"{"choices":[{"message":{"content":"so far"},"delta":{"content":"far"}},
            {"delta":{"content":"far"},"message":{"content":"so far"}}, {"message":{"content":"whole"}}]}"#,
    );
    let chars: Vec<_> = message.choices.iter().map(|choice| choice.answer_chars).collect();
    assert_eq!(chars, [3, 3, 5]);
}

fn counts(
    input: u64,
    output: u64,
    cached: Option<u64>,
    reasoning: Option<u64>,
) -> Option<TokenCounts> {
    let counts = TokenCounts {
        input: Some(input),
        output: Some(output),
        cached,
        reasoning,
        ..TokenCounts::default()
    };
    Some(counts)
}

#[test]
fn usage_is_found_in_every_place() {
    let cases = [
        (
            r#"{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}}"#,
            counts(5, 7, None, None),
        ),
        (r#"{"choices":[{"delta":{}}],"usage":null}"#, None),
        (r#"{"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}}"#, None),
        (
            r#"{"usage":{"prompt_tokens":5,"completion_tokens":7,"prompt_tokens_details":{"cached_tokens":4},
                "completion_tokens_details":{"reasoning_tokens":3}}}"#,
            counts(5, 7, Some(4), Some(3)),
        ),
        (
            r#"{"usage":{"prompt_tokens":5,"completion_tokens":7,"prompt_tokens_details":null}}"#,
            counts(5, 7, None, None),
        ),
        (
            r#"{"x_groq":{"usage":{"prompt_tokens":5,"completion_tokens":7}},"usage":{"prompt_tokens":5,"completion_tokens":7}}"#,
            counts(5, 7, None, None),
        ),
        // DeepSeek: cache. SGLang: reasoning at the top level.
        (
            r#"{"usage":{"prompt_tokens":5,"completion_tokens":7,"prompt_cache_hit_tokens":2,"reasoning_tokens":0}}"#,
            counts(5, 7, Some(2), Some(0)),
        ),
        // xAI excludes reasoning from the output, OpenAI includes it.
        (
            r#"{"usage":{"prompt_tokens":12,"completion_tokens":2,"total_tokens":354,"completion_tokens_details":{"reasoning_tokens":340}}}"#,
            counts(12, 2, None, Some(340))
                .map(|counts| TokenCounts { output_excludes_reasoning: true, ..counts }),
        ),
        (
            r#"{"usage":{"prompt_tokens":12,"completion_tokens":350,"total_tokens":362,"completion_tokens_details":{"reasoning_tokens":340}}}"#,
            counts(12, 350, None, Some(340)),
        ),
    ];
    for (data, expected) in cases {
        assert_eq!(facts(data).usage, expected, "{data}");
    }
    for timings in [
        r#"{"cache_n":27,"predicted_n":8,"prompt_n":1}"#,
        r#"{"prompt_n":1,"predicted_n":8,"cache_n":27}"#,
    ] {
        let engine = facts(&format!(r#"{{"choices":[],"timings":{timings}}}"#)).engine_counts;
        let expected = counts(1, 8, Some(27), None)
            .map(|counts| TokenCounts { input_excludes_cache: true, ..counts });
        assert_eq!(engine, expected, "{timings}");
    }
}

#[test]
fn finish_reasons_and_errors_are_detected() {
    assert!(facts("[DONE]").done);
    assert!(facts(" [DONE] ").done);
    assert!(!facts("[DONE, nearly]").done);
    for data in [
        r#"{"error":{"message":"boom","code":500}}"#,
        r#"{"error":"boom"}"#,
        r#"{"choices":[],"x_groq":{"error":"over capacity"}}"#,
        // OpenRouter, in the middle of a stream (openrouter.ai/docs/api_reference/streaming).
        r#"{"error":{"code":502},"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}]}"#,
    ] {
        assert!(facts(data).error, "{data}");
    }
    assert!(!facts(r#"{"error":null,"choices":[]}"#).error);
    for data in ["boom", r#"{"message":"boom"}"#] {
        let facts = facts_of(b"error", data);
        assert_eq!((facts.error, facts.unparsed), (true, None), "{data}");
    }
    let mut reader = ResponseReader::new(&CHAT);
    reader.set_error();
    assert!(reader.finish_event(b"").error);
}

#[test]
fn the_first_event_of_azure_is_not_output() {
    let facts = facts(
        r#"{"choices":[],"created":0,"id":"","model":"","prompt_filter_results":[{"prompt_index":0}]}"#,
    );
    assert_eq!(
        facts,
        EventFacts { detected_engine: Some(Engine::AzureOpenAi), ..EventFacts::default() }
    );
}

#[test]
fn malformed_events_are_skipped() {
    let cut =
        facts(r#"{"model":"m","choices":[{"delta":{"content":"x"}}],"usage":{"prompt_tokens":1,"#);
    assert_eq!(cut, EventFacts { unparsed: Some(UnparsedReason::Json), ..EventFacts::default() });
    assert_eq!(facts("{nonsense").unparsed, Some(UnparsedReason::Json));
    assert_eq!(facts(&"[".repeat(500)).unparsed, Some(UnparsedReason::Depth));
    let many = format!(r#"{{"choices":[{}{{}}]}}"#, "{},".repeat(MAX_CHOICES));
    assert_eq!(
        (facts(&many).unparsed, facts(&many).choices.len()),
        (Some(UnparsedReason::Choice), MAX_CHOICES)
    );
    assert_eq!(
        facts(r#"{"choices":[{"index":99999999999}]}"#).unparsed,
        Some(UnparsedReason::Choice)
    );
}

#[test]
fn durations_of_each_server_are_read() {
    let timings = |data: &str| facts(data).timings.unwrap();
    // vLLM: docs/features/per_request_metrics.md.
    let vllm = timings(
        r#"{"choices":[],"metrics":{"time_to_first_token_ms":85.2,"generation_time_ms":1240.5,"queue_time_ms":12.3,"mean_itl_ms":9.1}}"#,
    );
    assert_eq!((vllm.queue, vllm.prefill, vllm.decode), (Some(0.0123), Some(0.0852), Some(1.2405)));
    assert!((vllm.time_to_first_token().unwrap() - 0.0975).abs() < 1e-9);
    // Groq: seconds. The total does not include the queue.
    let groq = timings(
        r#"{"choices":[],"usage":{"completion_time":0.003193002,"completion_tokens":4,"prompt_time":0.001085734,"prompt_tokens":15,"queue_time":0.237325232,"total_time":0.004278736,"total_tokens":19}}"#,
    );
    assert_eq!(
        (groq.queue, groq.prefill, groq.total),
        (Some(0.237325232), Some(0.001085734), Some(0.004278736))
    );
    // mistral.rs: seconds, in the finish chunk.
    let mistral = timings(
        r#"{"choices":[],"usage":{"completion_tokens":208,"prompt_tokens":41,"total_completion_time_sec":13.368,"total_prompt_time_sec":1.525,"total_time_sec":14.895}}"#,
    );
    assert_eq!(
        (mistral.prefill, mistral.decode, mistral.total),
        (Some(1.525), Some(13.368), Some(14.895))
    );
    // Cerebras: seconds.
    let cerebras = timings(
        r#"{"choices":[],"time_info":{"queue_time":0.1,"prompt_time":0.2,"completion_time":0.3,"total_time":0.7,"created":1}}"#,
    );
    assert_eq!(
        (cerebras.queue, cerebras.prefill, cerebras.decode),
        (Some(0.1), Some(0.2), Some(0.3))
    );
    // llama.cpp: milliseconds.
    let llama = timings(
        r#"{"choices":[],"timings":{"prompt_ms":6.85,"predicted_ms":55.587,"predicted_n":8,"prompt_n":1}}"#,
    );
    assert_eq!(
        (llama.prefill, llama.decode, llama.queue),
        (Some(6.85 / 1e3), Some(55.587 / 1e3), None)
    );
    // LocalAI: milliseconds, from llama.cpp. MLC: seconds, in debug mode.
    let local = timings(
        r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"timing_prompt_processing":6.5,"timing_token_generation":50}}"#,
    );
    assert_eq!((local.prefill, local.decode), (Some(0.0065), Some(0.05)));
    let mlc = timings(
        r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"extra":{"ttft_s":0.25,"prefill_tokens_per_s":9}}}"#,
    );
    assert_eq!(mlc.time_to_first_token(), Some(0.25));
    assert_eq!(facts(r#"{"choices":[],"metrics":null}"#).timings, None);
}

/// Source: llama-swap, internal/router/loading.go. Its progress messages are not output; the events after them are.
#[test]
fn progress_messages_of_llama_swap_are_not_output() {
    let bare =
        |text: &str| format!(r#"{{"choices":[{{"delta":{{"reasoning_content":"{text}"}}}}]}}"#);
    let with_id = r#"{"id":"c","choices":[{"index":0,"delta":{"reasoning_content":"We"}}]}"#;
    let answer = r#"{"choices":[{"delta":{"content":"We"}}]}"#;
    let (bar, old_bar) = (bare("━━━━━"), bare("━━━━━\\n"));
    let (name, dot, real) = (bare("llama"), bare("."), bare("We"));
    // For each event: whether it reports that the model loads, and whether it has output.
    type Case<'a> = (&'a [&'a str], &'a [(bool, bool)]);
    let cases: [Case<'_>; 7] = [
        (
            &[&bar, &name, &dot, with_id],
            &[(true, false), (true, false), (true, false), (false, true)],
        ),
        (
            &[&old_bar, &name, answer, &real],
            &[(true, false), (true, false), (false, true), (false, true)],
        ),
        // Servers without ids.
        (&[&real, &real], &[(false, true), (false, true)]),
        (&[&name, &dot], &[(false, true), (false, true)]),
        (&[answer, &bar], &[(false, true), (false, true)]),
        (&[with_id, &bar], &[(false, true), (false, true)]),
        (&[with_id, &real], &[(false, true), (false, true)]),
    ];
    for (events, expected) in cases {
        let mut reader = ResponseReader::new(&CHAT);
        let found: Vec<_> = events
            .iter()
            .map(|event| {
                event.as_bytes().chunks(5).for_each(|part| reader.push(part));
                let facts = reader.finish_event(b"");
                let found = (facts.loading, facts.choices.iter().any(|c| c.has_output()));
                reader.clear_event();
                found
            })
            .collect();
        assert_eq!(found, expected, "{events:?}");
    }
}

#[test]
fn the_engine_is_detected() {
    let cases = [
        (r#"{"system_fingerprint":"vllm-0.24.0-tp4-6d31f84d"}"#, Some(Engine::Vllm)),
        (r#"{"choices":[{"delta":{},"token_ids":[5]}]}"#, Some(Engine::Vllm)),
        (r#"{"choices":[{"delta":{},"matched_stop":2}]}"#, Some(Engine::Sglang)),
        (r#"{"choices":[{"delta":{},"matched_stop":"</s>"}]}"#, Some(Engine::Sglang)),
        (r#"{"system_fingerprint":"b10499-6d05498"}"#, Some(Engine::LlamaCpp)),
        (r#"{"timings":{"prompt_n":1}}"#, Some(Engine::LlamaCpp)),
        (r#"{"system_fingerprint":"fp_ollama"}"#, Some(Engine::Ollama)),
        (r#"{"choices":[{"avg_decoded_tokens_per_iter":1.5}]}"#, Some(Engine::TrtLlm)),
        (r#"{"usage":{"avg_compl_tok_per_sec":15.5}}"#, Some(Engine::MistralRs)),
        (r#"{"x_groq":{"id":"req_1"}}"#, Some(Engine::Groq)),
        (r#"{"time_info":{"queue_time":0.1}}"#, Some(Engine::Cerebras)),
        (r#"{"obfuscation":"x"}"#, Some(Engine::OpenAi)),
        (r#"{"p":"abcdef"}"#, Some(Engine::Mistral)),
        (r#"{"system_fingerprint":"fp_de604bd877","choices":[]}"#, None),
        // MAX sends `obfuscation` as null; other servers have taken over fields of vLLM and SGLang.
        (r#"{"obfuscation":null}"#, None),
        (r#"{"choices":[{"delta":{},"token_ids":null,"matched_stop":null}]}"#, None),
        (r#"{"x_groq":null,"time_info":null,"p":null,"prompt_filter_results":null}"#, None),
    ];
    for (data, expected) in cases {
        assert_eq!(facts(data).detected_engine, expected, "{data}");
    }
}

#[test]
fn token_ids_are_counted() {
    let facts = facts(
        r#"{"choices":[{"index":0,"delta":{"content":""},"token_ids":[9906,11,30]},{"index":1,"delta":{"content":"x"},"token_ids":null}]}"#,
    );
    let ids: Vec<_> = facts.choices.iter().map(|c| (c.token_ids, c.has_output())).collect();
    assert_eq!(ids, [(3, false), (0, true)]);
    assert_eq!(facts.detected_engine, Some(Engine::Vllm));
}
