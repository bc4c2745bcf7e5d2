//! Tests of OpenAI's APIs besides chat: responses, audio, documents.

use super::test_server::*;
use crate::server::*;
use crate::truth::{ReportedValues, TruthEnd};

#[tokio::test]
async fn responses_are_typed_numbered_and_repeat_their_text() {
    let server = start(quick()).await;
    let sim =
        json!({"prompt_tokens": 9, "output_tokens": 2, "reasoning_tokens": 1, "metrics": true});
    let (response, record) =
        server.post("/v1/responses", json!({"input": "x", "stream": true, "sim": sim})).await;
    let events = response.data();
    let types: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    let expected = [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.reasoning_text.delta",
        "response.reasoning_text.done",
        "response.output_item.done",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ];
    assert_eq!(types, expected);
    for (at, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], at);
        assert!(response.text.contains(&format!("event: {}\ndata: {{", expected[at])));
    }
    assert!(!response.done(), "no [DONE]");
    let text = joined(&events[8..10], "/delta");
    assert_eq!(events[10]["text"], text.as_str());
    assert_eq!(
        (record.answer_chars, record.reasoning_chars),
        (chars(&text), chars(&joined(&events[3..4], "/delta")))
    );
    assert_eq!((record.output_events, record.output_tokens), (3, 3));
    let response = &events[13]["response"];
    assert_eq!(response["output"][1]["content"][0]["text"], text.as_str());
    assert_eq!(response["usage"]["output_tokens_details"]["reasoning_tokens"], 1);
    assert_eq!(response["metrics"]["time_to_first_token_ms"], 20.0);
    assert_eq!((record.reported.output_tokens, record.reported.prefill_s), (Some(3), Some(0.02)));
}

#[tokio::test]
async fn responses_start_before_the_engine_and_call_functions() {
    let server = start(quick()).await;
    let tools = json!([{"type": "function", "name": "get_weather"}]);
    let body = json!({"stream": true, "tools": tools, "max_output_tokens": 4});
    let began = Instant::now();
    let response = server.send("POST", "/v1/responses", &body).await;
    let mut body = response.into_body();
    http_body_util::BodyExt::frame(&mut body).await.unwrap().unwrap();
    assert!(began.elapsed() < ms(18), "created before the prefill is over");
    drop(body);
    assert_eq!(server.record().await.end, TruthEnd::Cancelled);

    let body = json!({"stream": true, "tools": tools, "max_output_tokens": 4});
    let (response, record) = server.post("/v1/responses", body).await;
    let events = response.data();
    assert_eq!(events[2]["item"]["name"], "get_weather");
    let arguments = joined(&events, "/delta");
    assert_eq!(events[6]["arguments"], arguments.as_str());
    // The name, and three parts of its arguments.
    assert_eq!((record.output_events, record.tool_chars), (4, chars(&arguments)));

    let body = json!({"stream": true, "max_output_tokens": 2});
    let (response, _) = server.post("/v1/responses", body).await;
    assert_eq!(response.data().last().unwrap()["type"], "response.incomplete");
    let body = json!({"stream": true, "sim": {"output_tokens": 5, "error_after": 1}});
    let (response, _) = server.post("/v1/responses", body).await;
    let events = response.data();
    let types: Vec<&Value> = events.iter().rev().map(|event| &event["type"]).take(2).collect();
    assert_eq!(types, ["response.failed", "error"]);
}

#[tokio::test]
async fn whole_responses_have_their_items() {
    let server = start(quick()).await;
    let body = json!({"input": "x", "sim": {"output_tokens": 3, "reasoning_tokens": 2}});
    let (response, record) = server.post("/v1/responses", body).await;
    let output = response.json()["output"].clone();
    assert_eq!((&output[0]["type"], &output[1]["type"]), (&json!("reasoning"), &json!("message")));
    let text = output[1]["content"][0]["text"].as_str().unwrap();
    assert_eq!((record.answer_chars, record.output_tokens), (chars(text), 5));
}

#[tokio::test]
async fn documents_report_their_prompt_but_no_output() {
    let server = start(quick()).await;
    let table = [
        ("/v1/embeddings", json!({"input": ["12345678", "1234"]}), "/data", 2, Some(3)),
        ("/v1/embeddings", json!({"input": [1, 2, 3]}), "/data", 1, Some(3)),
        ("/api/embed", json!({"input": ["12345678", "1234"]}), "/embeddings", 2, Some(3)),
        (
            "/v1/rerank",
            json!({"query": "1234", "documents": ["1234", "1234"]}),
            "/results",
            2,
            Some(3),
        ),
        ("/v1/score", json!({"text_1": "1234", "text_2": ["1234", "1234"]}), "/data", 2, Some(3)),
        ("/v1/classify", json!({"input": "12345678"}), "/data", 1, Some(2)),
        ("/tokenize", json!({"prompt": "12345678"}), "/tokens", 2, None),
        ("/v1/moderations", json!({"input": ["a", "b"]}), "/results", 2, None),
    ];
    for (path, mut body, at, items, input) in table {
        // Ignored.
        body["stream"] = json!(true);
        let (response, record) = server.post(path, body).await;
        let found = response.json().pointer(at).unwrap().as_array().unwrap().len();
        assert_eq!(
            (found, record.reported.input_tokens),
            (items, input),
            "{path}: {}",
            response.text
        );
        assert_eq!(
            (record.stream, record.output_tokens, record.ttft_s),
            (false, 0, None),
            "{path}"
        );
        assert_eq!(
            (record.end, record.reported.output_tokens),
            (TruthEnd::Finished, None),
            "{path}"
        );
        assert!(record.ended - record.received >= 0.02, "{path}: it was prefilled");
    }
    let (response, record) =
        server.post("/v1/images/generations", json!({"prompt": "x", "n": 2})).await;
    assert_eq!(response.json()["data"].as_array().unwrap().len(), 2);
    let reported = ReportedValues {
        input_tokens: Some(1),
        output_tokens: Some(64),
        ..ReportedValues::default()
    };
    assert_eq!((record.reported, record.answer_chars), (reported, 0));
}

#[tokio::test]
async fn audio_requests_are_forms_and_responses_are_sound() {
    let server = start(quick()).await;
    let part = |name: &str, value: &str| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let sim = r#"{"output_tokens": 3, "prompt_tokens": 50}"#;
    for stream in [true, false] {
        let form = [
            part("model", "m"),
            part("file\"; filename=\"a.wav", "RIFF"),
            part("stream", &stream.to_string()),
            part("sim", sim),
            "--b--\r\n".to_owned(),
        ];
        let response = server.form("/v1/audio/transcriptions", form.concat()).await;
        let record = server.record().await;
        assert_eq!((response.status, record.model.as_str(), record.stream), (200, "m", stream));
        let reported = record.reported;
        assert_eq!((reported.input_tokens, reported.output_tokens), (Some(50), Some(3)));
        let text = if stream {
            let events = response.data();
            assert_eq!(events.len(), 3 + 1);
            assert_eq!(events[3]["type"], "transcript.text.done");
            assert_eq!(events[3]["text"], joined(&events, "/delta"));
            joined(&events, "/delta")
        } else {
            response.json()["text"].as_str().unwrap().to_owned()
        };
        assert_eq!(record.answer_chars, chars(&text));
    }
    let body = json!({"input": "Say it.", "response_format": "pcm", "sim": {"output_tokens": 3}});
    let (response, record) = server.post("/v1/audio/speech", body).await;
    assert_eq!((response.header("content-type"), response.frames.len()), ("audio/pcm", 3));
    assert_eq!((record.stream, record.output_tokens, record.output_events), (false, 3, 0));
    assert_eq!(record.end, TruthEnd::Finished);
}
