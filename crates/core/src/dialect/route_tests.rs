use super::*;

#[test]
fn requests_match_their_routes() {
    let cases = [
        ("POST", "/v1/chat/completions", "/v1/chat/completions"),
        ("POST", "/chat/completions", "/v1/chat/completions"),
        (
            "POST",
            "/openai/deployments/gpt/chat/completions/",
            "/openai/deployments/{model}/chat/completions",
        ),
        ("POST", "/api/v1/completions", "/v1/completions"),
        ("POST", "/v1/messages", "/v1/messages"),
        ("POST", "/api/anthropic/v1/messages", "/v1/messages"),
        ("POST", "/v1/messages/count_tokens", "/v1/messages/count_tokens"),
        // OpenAI's assistants.
        ("POST", "/v1/threads/thread_1/messages", "other"),
        ("POST", "/cohere/v2/chat", "/v2/chat"),
        ("POST", "/models/chat/completions", "/v1/chat/completions"),
        ("POST", "/serving-endpoints/chat/completions", "/v1/chat/completions"),
        ("POST", "/v1/models/m/completions", "/v1/models/{model}/completions"),
        ("POST", "/v1/fim/completions", "/v1/completions"),
        ("POST", "/v1/agents/completions", "/v1/agents/completions"),
        ("POST", "/backend-api/codex/responses", "/v1/responses"),
        ("GET", "/v1/responses/resp_1", "/v1/responses/*"),
        ("POST", "/v1/responses/resp_1/cancel", "/v1/responses/*/cancel"),
        ("POST", "/v1/chat/completions/chatcmpl-1", "/v1/chat/completions/*"),
        ("POST", "/v1/chat/completions/batch", "/v1/chat/completions/batch"),
        ("POST", "/v1/threads/t/runs", "/v1/threads/*/runs"),
        ("POST", "/v1/threads", "other"),
        ("POST", "/v2/rerank", "/v1/rerank"),
        ("POST", "/openai/v1/audio/speech", "/v1/audio/speech"),
        ("GET", "/v1/streams/abc", "/v1/streams/*"),
        ("GET", "/v1/chat/completions", "other"),
        ("POST", "/xcompletions", "other"),
        ("POST", "/completions.html", "other"),
        ("GET", "/v1/models", "other"),
        ("POST", "/ollama/api/chat", "/api/chat"),
        ("POST", "/api/generate", "/api/generate"),
        ("POST", "/generate", "/generate"),
        ("POST", "/inference/v1/generate", "/inference/v1/generate"),
        ("POST", "/v2/models/llama/generate", "/v2/models/{model}/generate"),
        (
            "POST",
            "/v2/models/llama/versions/1/generate_stream",
            "/v2/models/{model}/versions/*/generate_stream",
        ),
        ("POST", "/v2/models/llama/infer", "/v2/models/{model}/infer"),
        ("POST", "/completion", "/completion"),
        ("POST", "/api/v1/chat", "/api/v1/chat"),
        ("POST", "/v1/chat", "/v1/chat"),
        ("POST", "/v1/chat/completions/batch", "/v1/chat/completions/batch"),
        ("POST", "/api/v1/generate", "/api/v1/generate"),
        ("POST", "/api/extra/generate/stream", "/api/extra/generate/stream"),
        ("POST", "/api/extra/generate/check", "other"),
        ("POST", "/v1/generate", "/v1/generate"),
        (
            "POST",
            "/api/v1/services/aigc/text-generation/generation",
            "/api/v1/services/aigc/text-generation/generation",
        ),
        ("POST", "/api/v1/apps/a1/completion", "/api/v1/apps/*/completion"),
        ("POST", "/client/v4/accounts/a/ai/run/@cf/meta/llama", "/ai/run/{model...}"),
        ("POST", "/client/v4/accounts/a/ai/run", "/ai/run"),
        ("POST", "/client/v4/accounts/a/ai/v1/chat/completions", "/v1/chat/completions"),
        ("POST", "/v1/a/gateway/workers-ai/@cf/meta/llama", "/workers-ai/{model...}"),
        ("POST", "/v1/a/gateway/workers-ai/v1/chat/completions", "/v1/chat/completions"),
        ("POST", "/ml/v1/text/generation_stream", "/ml/v1/text/generation_stream"),
        (
            "POST",
            "/ml/v1/deployments/d/text/generation",
            "/ml/v1/deployments/{model}/text/generation",
        ),
        (
            "POST",
            "/v2/inference/deployments/d/completion",
            "/v2/inference/deployments/*/completion",
        ),
        (
            "POST",
            "/v2/inference/deployments/d/v2/completion",
            "/v2/inference/deployments/*/v2/completion",
        ),
        (
            "POST",
            "/v2/inference/deployments/d/converse-stream",
            "/v2/inference/deployments/{model}/converse-stream",
        ),
        ("POST", "/v1/sonar", "/v1/sonar"),
        ("POST", "/v1/text/chatcompletion_v2", "/v1/text/chatcompletion_v2"),
        ("POST", "/v1/conversations", "/v1/conversations"),
        ("POST", "/v1/conversations/conv_1", "/v1/conversations/*"),
        ("POST", "/v1/conversations/conv_1/restart", "/v1/conversations/*/restart"),
        ("POST", "/v1/conversations/conv_1/items", "other"),
        ("GET", "/v1/conversations/conv_1", "other"),
        ("POST", "/endpoints/e/invocations", "/endpoints/{model}/invocations"),
        (
            "POST",
            "/endpoints/e/invocations-response-stream",
            "/endpoints/{model}/invocations-response-stream",
        ),
        ("POST", "/openai", "/openai"),
        ("POST", "/embed", "/embed"),
        ("POST", "/api/embed", "/api/embed"),
        ("POST", "/completions", "/v1/completions"),
        ("GET", "/", "other"),
        ("POST", "/", "/"),
        ("POST", "", "other"),
        ("OPTIONS", "*", "other"),
    ];
    for (method, path, expected) in cases {
        assert_eq!(Route::find(method, path).path, expected, "{method} {path}");
    }
}

/// The publisher in the path decides the dialect.
#[test]
fn publishers_on_vertex_ai_have_their_own_dialects() {
    let cases = [
        ("anthropic/models/claude-sonnet-4@20250514:streamRawPredict", "anthropic-messages"),
        ("anthropic/models/claude-sonnet-4@20250514:rawPredict", "anthropic-messages"),
        ("mistralai/models/codestral:streamRawPredict", "openai-chat"),
        ("google/models/gemini-2.5-flash:streamGenerateContent", "gemini"),
    ];
    for (path, expected) in cases {
        let path = format!("/v1/projects/p/locations/l/publishers/{path}");
        let dialect = Route::find("POST", &path).dialect();
        assert_eq!(dialect.map(|dialect| dialect.name), Some(expected), "{path}");
    }
    let count = "/publishers/anthropic/models/count-tokens:rawPredict";
    assert_eq!(Route::find("POST", count).operation, Operation::Tokenize);
}

#[test]
fn no_route_hides_another() {
    for (at, route) in ROUTES.iter().enumerate() {
        let path = route.path_suffix.replace("{model...}", "m/n").replace("{model}", "m");
        let path = format!("/x{}", path.replace('*', "x"));
        let path = if route.path_suffix == "/" { "/" } else { &path };
        let found = Route::find(route.method, path);
        assert_eq!(found, route, "{} is never reached ({at})", route.path);
    }
}

#[test]
fn the_literal_tail_is_the_part_after_the_last_wildcard() {
    for (pattern, tail) in [
        ("/v1/chat", "/v1/chat"),
        ("/deployments/{model}/chat/completions", "/chat/completions"),
        ("/a/*/b/*", ""),
        ("/{model}:predict", ":predict"),
        ("/run/{model...}", ""),
        ("/", "/"),
        ("", ""),
    ] {
        assert_eq!(literal_tail(pattern), tail, "{pattern}");
    }
}

#[test]
fn audio_and_subtitles_are_not_read() {
    for (path, may_be_media) in [
        ("/v1/audio/transcriptions", true),
        ("/v1/audio/speech", true),
        ("/v1/chat/completions", false),
        ("/tokenize", false),
    ] {
        assert_eq!(Route::find("POST", path).may_be_media(), may_be_media, "{path}");
    }
    assert!(Route::find("POST", "/x").is_unknown());
    assert!(!Route::find("POST", "/api/pull").is_unknown());
}

#[test]
fn streams_by_default_depends_on_the_path() {
    for (path, expected) in [
        ("/api/chat", true),
        ("/api/generate", true),
        ("/api/embed", false),
        ("/v1beta/models/gemini:streamGenerateContent", true),
        ("/v1beta/models/gemini:generateContent", false),
        ("/inference.GRPCInferenceService/ModelStreamInfer", true),
        ("/v1/chat/completions", false),
        ("/api/extra/generate/stream", true),
        ("/ml/v1/text/generation_stream", true),
        ("/endpoints/e/invocations-response-stream", true),
    ] {
        assert_eq!(Route::find("POST", path).streams_by_default(), expected, "{path}");
    }
}

#[test]
fn the_model_is_read_from_the_path_or_the_query() {
    let model = |path: &str| Route::find("POST", path).model(path);
    assert_eq!(model("/openai/deployments/gpt%2D4/chat/completions").as_deref(), Some("gpt-4"));
    assert_eq!(model("/v1/chat/completions"), None);
    let session = |query| Route::find("GET", "/openai/v1/realtime").model_from_query(query);
    assert_eq!(session(Some("intent=x&model=gpt%2Drealtime")).as_deref(), Some("gpt-realtime"));
    assert_eq!(session(Some("deployment=d")).as_deref(), Some("d"));
    assert_eq!((session(Some("model=")), session(None)), (None, None));
    assert_eq!(Route::find("POST", "/v1/chat/completions").model_from_query(Some("model=m")), None);
    for path in [
        "/v1beta/models/gemini-2.5-flash:streamGenerateContent",
        "/v1/projects/p/locations/l/publishers/google/models/gemini-2.5-flash:generateContent",
    ] {
        assert_eq!(model(path).as_deref(), Some("gemini-2.5-flash"));
    }
    let run = "/client/v4/accounts/a/ai/run";
    assert_eq!(
        model(&format!("{run}/@cf/meta/llama-3.1-8b")).as_deref(),
        Some("@cf/meta/llama-3.1-8b")
    );
    assert_eq!(model(&format!("{run}/%40cf/meta/m/")).as_deref(), Some("@cf/meta/m"));
    assert_eq!((model(run), model(&format!("{run}/"))), (None, None));
    for (name, expected) in [("a}b*", Some("a}b*")), ("x/y", None), ("", None)] {
        let path = format!("/openai/deployments/{name}/chat/completions");
        assert_eq!(model(&path).as_deref(), expected, "{path}");
    }
    assert_eq!(model("/models/m:predict:predict").as_deref(), Some("m:predict"));
    assert_eq!(percent_decoded("a%3Ab%zz%"), "a:b%zz%");
    let long = format!("/openai/deployments/{}/chat/completions", "%E2%82%AC".repeat(9_000));
    assert_eq!(model(&long).map(|model| model.len()), Some(255));
}

#[test]
fn a_stored_response_is_a_replay_only_if_it_is_streamed() {
    let operation =
        |method, path, query| Route::find_with_query(&[], method, path, query).operation.label();
    let path = "/v1/responses/resp_1";
    for (query, expected) in [
        (Some("stream=true"), "replay"),
        (Some("include[]=usage&stream=True&starting_after=3"), "replay"),
        (Some("stream=1"), "replay"),
        (Some("stream=false"), "other"),
        (Some("include_stream=true"), "other"),
        (None, "other"),
    ] {
        assert_eq!(operation("GET", path, query), expected, "{query:?}");
    }
    let stream = Some("stream=true");
    assert_eq!(operation("GET", "/v1/responses/resp_1/input_items", stream), "other");
    assert_eq!(operation("DELETE", path, stream), "other");
    assert_eq!(operation("GET", "/v1/responses", None), "realtime");
    assert_eq!(operation("POST", "/v1/responses", None), "chat");
    assert_eq!(operation("GET", "/v1/stream/conversation-1", Some("from=17")), "replay");
    assert_eq!(operation("GET", "/v1/streams", None), "other");
    assert!(Route::find("GET", path).streams_by_default());
}

#[test]
fn operations_without_a_model_are_not_inference() {
    for operation in Operation::VARIANTS {
        let expected = !matches!(operation.label(), "tokenize" | "replay" | "other");
        assert_eq!(operation.is_inference(), expected, "{operation:?}");
        assert_eq!(Operation::is_inference_label(operation.label()), expected, "{operation:?}");
    }
    assert!(!Operation::is_inference_label(""));
}

#[test]
fn configured_routes_come_first() {
    let chat = crate::dialect::Dialect::by_name("openai-chat").unwrap().leak_renamed("acme");
    let route = |path| Route::configured("POST", path, Operation::Chat, chat).unwrap();
    let routes: &'static [Route] =
        vec![route("/acme/{model}:run"), route("/v1/completions")].leak();
    for (method, path, expected) in [
        ("POST", "/x/acme/m:run", "/acme/{model}:run"),
        ("POST", "/v1/completions/", "/v1/completions"),
        ("GET", "/v1/completions", "other"),
        ("POST", "/v1/chat/completions", "/v1/chat/completions"),
    ] {
        assert_eq!(Route::find_with(routes, method, path).path, expected, "{method} {path}");
    }
    let found = Route::find_with(routes, "POST", "/acme/m:run");
    assert_eq!(found.dialect().map(|dialect| dialect.name), Some("acme"));
    assert_eq!(found.model("/acme/m:run").as_deref(), Some("m"));
}

#[test]
fn patterns_that_match_no_path_or_all_are_errors() {
    for (path, expected) in [
        ("/v1/chat", None),
        ("/", None),
        ("/models/{model}:run", None),
        ("/a/*/b", None),
        ("chat", Some(PathPatternError::NoSlash)),
        ("/chat?stream=1", Some(PathPatternError::Query)),
        ("/chat/", Some(PathPatternError::TrailingSlash)),
        ("/*", Some(PathPatternError::Everything)),
        ("/{model}/*", Some(PathPatternError::Everything)),
        ("/run-*", Some(PathPatternError::Wildcard)),
        ("/*-{model}", Some(PathPatternError::Wildcard)),
        ("/{name}/run", Some(PathPatternError::Brace)),
    ] {
        let dialect = crate::dialect::Dialect::by_name("openai-chat").unwrap();
        let route = Route::configured("POST", path, Operation::Chat, dialect);
        assert_eq!(route.err(), expected, "{path}");
    }
}
