//! The APIs of inference engines.

use super::example::{DEFAULTS, ExampleFraming, FormatExample};

const OLLAMA_QUEUE: &str = "derived from `total_duration`";

pub const EXAMPLES: &[FormatExample] = &[
    FormatExample {
        section: "Ollama",
        path: "/api/chat",
        framing: ExampleFraming::Lines,
        tokens: "`eval_count`, `prompt_eval_count`",
        queue: OLLAMA_QUEUE,
        load: "`load_duration`",
        first_token: "queue + load + `prompt_eval_duration`",
        events: &[
            br#"{"model":"m","message":{"role":"assistant","content":"Hi"},"done":false}"#,
            br#"{"model":"m","message":{"role":"assistant","content":"!"},"done":false}"#,
            br#"{"model":"m","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","total_duration":4852334875,"load_duration":55301250,"prompt_eval_count":9,"prompt_eval_duration":99508167,"eval_count":2,"eval_duration":18903630}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Ollama",
        path: "/api/chat",
        framing: ExampleFraming::Document,
        tokens: "`eval_count`, `prompt_eval_count`",
        load: "`load_duration`",
        first_token: "load + `prompt_eval_duration`",
        events: &[
            br#"{"model":"m","message":{"role":"assistant","content":"Hi!"},"done":true,"done_reason":"stop","total_duration":4852334875,"load_duration":55301250,"prompt_eval_count":9,"prompt_eval_duration":99508167,"eval_count":2,"eval_duration":4388903630}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Ollama",
        path: "/api/generate",
        framing: ExampleFraming::Lines,
        tokens: "`eval_count`, `prompt_eval_count`",
        queue: OLLAMA_QUEUE,
        load: "`load_duration`",
        first_token: "queue + load + `prompt_eval_duration`",
        events: &[
            br#"{"model":"m","response":"Hi","done":false}"#,
            br#"{"model":"m","response":"","done":true,"done_reason":"stop","total_duration":4852334875,"load_duration":55301250,"prompt_eval_count":9,"prompt_eval_duration":99508167,"eval_count":2,"eval_duration":8903630}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Ollama",
        path: "/api/embed",
        framing: ExampleFraming::Document,
        tokens: "`prompt_eval_count` (input)",
        load: "`load_duration`",
        events: &[
            br#"{"model":"m","embeddings":[[0.1]],"total_duration":14143917,"load_duration":1019500,"prompt_eval_count":8}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "TGI and compatible servers",
        path: "/generate_stream",
        tokens: "`details.generated_tokens`, `details.input_length`",
        headers: &[("x-compute-type", "1-nvidia-a10g")],
        events: &[
            br#"{"index":1,"token":{"id":330,"text":"Hi","logprob":-0.5,"special":false},"generated_text":null,"details":null}"#,
            br#"{"index":2,"token":{"id":2,"text":"</s>","logprob":-0.1,"special":true},"generated_text":"Hi","details":{"finish_reason":"eos_token","generated_tokens":2,"seed":null,"input_length":9}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "TGI and compatible servers",
        path: "/generate",
        framing: ExampleFraming::Document,
        tokens: "headers `x-generated-tokens`, `x-prompt-tokens`",
        queue: "header `x-queue-time`",
        headers: &[("x-compute-type", "1-nvidia-a10g"), ("x-queue-time", "13"), ("x-total-time", "2484"), ("x-prompt-tokens", "9"), ("x-generated-tokens", "2")],
        events: &[
            br#"{"generated_text":"Hi"}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "TGI and compatible servers",
        path: "/",
        tokens: "`details.generated_tokens`, `details.input_length`",
        headers: &[("x-compute-type", "1-nvidia-a10g")],
        events: &[
            br#"{"index":1,"token":{"id":330,"text":"Hi","logprob":-0.5,"special":false},"generated_text":null,"details":null}"#,
            br#"{"index":2,"token":{"id":2,"text":"</s>","logprob":-0.1,"special":true},"generated_text":"Hi","details":{"finish_reason":"eos_token","generated_tokens":2,"seed":null,"input_length":9}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "TGI and compatible servers",
        path: "/",
        framing: ExampleFraming::Document,
        tokens: "headers `x-generated-tokens`, `x-prompt-tokens`",
        queue: "header `x-queue-time`",
        headers: &[("x-compute-type", "1-nvidia-a10g"), ("x-queue-time", "13"), ("x-total-time", "2484"), ("x-prompt-tokens", "9"), ("x-generated-tokens", "2")],
        events: &[
            br#"[{"generated_text":"Hi"}]"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "TGI and compatible servers",
        case: "LightLLM",
        path: "/generate_stream",
        tokens: "`token.count_output_tokens`, `token.prompt_tokens`",
        events: &[
            br#"{"token":{"id":7,"text":"a","special":false,"count_output_tokens":1,"prompt_tokens":4},"generated_text":null,"finished":false,"finish_reason":null,"details":null}"#,
            br#"{"token":{"id":2,"text":"b","special":false,"count_output_tokens":2,"prompt_tokens":4},"generated_text":null,"finished":true,"finish_reason":"length","details":null}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "TGI and compatible servers",
        case: "SageMaker LMI",
        path: "/endpoints/e/invocations",
        framing: ExampleFraming::Lines,
        tokens: "`details.generated_tokens`",
        events: &[
            br#"{"token":{"id":5,"text":"Hi","log_prob":-0.2}}"#,
            br#"{"token":{"id":6,"text":"!","log_prob":-0.2},"generated_text":"Hi!","details":{"finish_reason":"length","generated_tokens":2}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "llama.cpp",
        path: "/completion",
        tokens: "`tokens_predicted`, `tokens_evaluated`",
        first_token: "`timings.prompt_ms`",
        events: &[
            br#"{"index":0,"content":"Hi","tokens":[1326],"stop":false,"tokens_predicted":1,"tokens_evaluated":5}"#,
            br#"{"index":0,"content":"!","tokens":[2],"stop":false,"tokens_predicted":2,"tokens_evaluated":5}"#,
            br#"{"index":0,"content":"","tokens":[],"stop":true,"model":"m","tokens_predicted":2,"tokens_evaluated":5,"stop_type":"eos","timings":{"cache_n":2,"prompt_n":3,"prompt_ms":3.5,"predicted_n":2,"predicted_ms":3.8}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "llama.cpp",
        path: "/completion",
        framing: ExampleFraming::Document,
        tokens: "`tokens_predicted`, `tokens_evaluated`",
        first_token: "`timings.prompt_ms`",
        events: &[
            br#"{"index":0,"content":"Hi!","tokens":[],"stop":true,"model":"m","tokens_predicted":2,"tokens_evaluated":5,"stop_type":"eos","timings":{"cache_n":2,"prompt_n":3,"prompt_ms":3.5,"predicted_n":2,"predicted_ms":3.8}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "llama.cpp",
        path: "/infill",
        tokens: "`tokens_predicted`, `tokens_evaluated`",
        first_token: "`timings.prompt_ms`",
        events: &[
            br#"{"index":0,"content":"Hi","tokens":[1326],"stop":false,"tokens_predicted":1,"tokens_evaluated":5}"#,
            br#"{"index":0,"content":"!","tokens":[2],"stop":false,"tokens_predicted":2,"tokens_evaluated":5}"#,
            br#"{"index":0,"content":"","tokens":[],"stop":true,"model":"m","tokens_predicted":2,"tokens_evaluated":5,"stop_type":"eos","timings":{"cache_n":2,"prompt_n":3,"prompt_ms":3.5,"predicted_n":2,"predicted_ms":3.8}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "SGLang",
        path: "/generate",
        tokens: "`meta_info.completion_tokens`, `meta_info.prompt_tokens`",
        queue: "`meta_info.queue_time`",
        events: &[
            br#"{"text":"Hi","output_ids":[5],"meta_info":{"finish_reason":null,"prompt_tokens":5,"weight_version":"default","completion_tokens":1,"cached_tokens":2}}"#,
            br#"{"text":"Hi!","output_ids":[5,6],"meta_info":{"finish_reason":{"type":"stop","matched":2},"prompt_tokens":5,"weight_version":"default","completion_tokens":2,"cached_tokens":2,"queue_time":0.25,"e2e_latency":1.5}}"#,
            b"[DONE]",
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "SGLang",
        path: "/generate",
        framing: ExampleFraming::Document,
        tokens: "`meta_info.completion_tokens`, `meta_info.prompt_tokens`",
        queue: "`meta_info.queue_time`",
        events: &[
            br#"{"text":"Hi!","output_ids":[5,6],"meta_info":{"finish_reason":{"type":"stop","matched":2},"prompt_tokens":5,"weight_version":"default","completion_tokens":2,"cached_tokens":2,"queue_time":0.25,"e2e_latency":1.5}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "SGLang",
        path: "/encode",
        framing: ExampleFraming::Document,
        tokens: "`meta_info.prompt_tokens` (input)",
        events: &[
            br#"{"embedding":[0.1],"meta_info":{"finish_reason":{"type":"stop"},"prompt_tokens":5,"e2e_latency":0.1}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "vLLM",
        path: "/inference/v1/generate",
        tokens: "`usage`, else number of `token_ids`",
        events: &[
            br#"{"request_id":"r","choices":[{"index":0,"logprobs":null,"finish_reason":null,"token_ids":[9906]}],"usage":null}"#,
            br#"{"request_id":"r","choices":[{"index":0,"logprobs":null,"finish_reason":"length","token_ids":[11,30]}]}"#,
            br#"{"request_id":"r","choices":[],"usage":{"prompt_tokens":4,"total_tokens":7,"completion_tokens":3}}"#,
            b"[DONE]",
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "vLLM",
        case: "vLLM before 0.10",
        path: "/generate",
        framing: ExampleFraming::Nul,
        events: &[
            br#"{"text": ["Once"]}"#,
            br#"{"text": ["Once upon"]}"#,
            br#"{"text": ["Once upon a time"]}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Triton and KServe",
        path: "/v2/models/m/generate_stream",
        events: &[
            br#"{"model_name":"m","model_version":"1","text_output":"Hi"}"#,
            br#"{"model_name":"m","model_version":"1","text_output":"!"}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Triton and KServe",
        path: "/v2/models/m/generate",
        framing: ExampleFraming::Document,
        events: &[
            br#"{"model_name":"m","model_version":"1","text_output":"Hi"}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Triton and KServe",
        case: "infer, streamed",
        path: "/inference.GRPCInferenceService/ModelStreamInfer",
        framing: ExampleFraming::Grpc,
        events: &[
            b"\x12\x07\x0a\x01m\x32\x02Hi",
            b"\x12\x06\x0a\x01m\x32\x01!",
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Triton and KServe",
        path: "/inference.GRPCInferenceService/ModelInfer",
        framing: ExampleFraming::Grpc,
        events: &[
            b"\x0a\x01m\x32\x02Hi",
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "vLLM",
        path: "/vllm.grpc.engine.VllmEngine/Generate",
        framing: ExampleFraming::Grpc,
        tokens: "`completion_tokens`, `prompt_tokens`",
        events: &[
            b"\x0a\x07\x0a\x01\x05\x10\x09\x18\x01",
            b"\x0a\x07\x0a\x01\x06\x10\x09\x18\x02",
            b"\x12\x0e\x0a\x02\x05\x06\x12\x04stop\x18\x09\x20\x02",
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "vLLM",
        path: "/vllm.grpc.engine.VllmEngine/Embed",
        framing: ExampleFraming::Grpc,
        tokens: "`prompt_tokens` (input)",
        events: &[
            b"\x10\x09",
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "SGLang",
        path: "/sglang.grpc.scheduler.SglangScheduler/Generate",
        framing: ExampleFraming::Grpc,
        tokens: "`completion_tokens`, `prompt_tokens`",
        events: &[
            b"\x0a\x01r\x12\x07\x0a\x01\x05\x10\x09\x18\x01",
            b"\x0a\x01r\x12\x07\x0a\x01\x06\x10\x09\x18\x02",
            b"\x0a\x01r\x1a\x0e\x0a\x02\x05\x06\x12\x04stop\x18\x09\x20\x02",
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "SGLang",
        path: "/sglang.grpc.scheduler.SglangScheduler/Embed",
        framing: ExampleFraming::Grpc,
        tokens: "`prompt_tokens` (input)",
        events: &[
            b"\x30\x09",
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Other gRPC services",
        case: "TensorRT-LLM",
        path: "/trtllm.TrtllmService/Generate",
        framing: ExampleFraming::Grpc,
        tokens: "`completion_tokens`, `prompt_tokens`",
        events: &[
            b"\x12\x07\x0a\x01\x05\x18\x09\x20\x01",
            b"\x12\x07\x0a\x01\x06\x18\x09\x20\x02",
            b"\x1a\x0e\x0a\x02\x05\x06\x1a\x04stop\x28\x09\x30\x02",
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Other gRPC services",
        case: "TokenSpeed",
        path: "/tokenspeed.grpc.scheduler.TokenSpeedScheduler/Generate",
        framing: ExampleFraming::Grpc,
        tokens: "`completion_tokens`, `prompt_tokens`",
        events: &[
            b"\x0a\x01r\x12\x07\x0a\x01\x05\x10\x09\x18\x01",
            b"\x0a\x01r\x12\x07\x0a\x01\x06\x10\x09\x18\x02",
            b"\x0a\x01r\x1a\x0e\x0a\x02\x05\x06\x12\x04stop\x18\x09\x20\x02",
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Other gRPC services",
        case: "MLX",
        path: "/mlx.grpc.engine.MlxEngine/Generate",
        framing: ExampleFraming::Grpc,
        tokens: "`completion_tokens`, `prompt_tokens`",
        events: &[
            b"\x0a\x07\x0a\x01\x05\x10\x09\x18\x01",
            b"\x0a\x07\x0a\x01\x06\x10\x09\x18\x02",
            b"\x12\x0e\x0a\x02\x05\x06\x12\x04stop\x18\x09\x20\x02",
        ],
        ..DEFAULTS
    },
];
