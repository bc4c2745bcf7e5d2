//! The traffic of the demo: a few GPUs of a small company on a busy afternoon, in four APIs.
//!
//! The load fills every panel of the dashboard. At 6 requests per second, the chat model uses 8 of its 16 slots on average
//! and the reasoning model about 5 of 8, so a queue forms now and then. The small model is sometimes idle for long
//! enough to be unloaded. In total about 900 tokens per second: a few percent of one core.
//!
//! | model | API |
//! |---|---|
//! | llama-3.1-8b-instruct, qwen3-32b | OpenAI's chat, as vLLM |
//! | devstral-24b | Anthropic's messages, for coding agents: several tokens per event, reasoning |
//! | mistral-7b-instruct | TGI's own API |
//! | phi-4-mini | Ollama's own API, which loads and unloads the model |

use std::net::SocketAddr;
use std::time::Duration;

use super::super::model::EngineSpec;
use super::{Traffic, TrafficApi, TrafficClass};

const CHAT: &str = "llama-3.1-8b-instruct";
const REASONING: &str = "qwen3-32b";
const AGENTS: &str = "devstral-24b";
const TGI: &str = "mistral-7b-instruct";
const SMALL: &str = "phi-4-mini";

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const fn us(n: u64) -> Duration {
    Duration::from_micros(n)
}

/// The engines for [`Traffic::demo_mix`].
pub fn demo_engines() -> Vec<EngineSpec> {
    vec![
        EngineSpec {
            slots: 16,
            prefill_base: ms(25),
            prefill_per_token: us(150),
            decode_base: ms(9),
            decode_per_running: us(300),
            jitter: 0.08,
            seed: 11,
            load_time: ms(2000),
            ..EngineSpec::new(CHAT)
        },
        EngineSpec {
            slots: 8,
            queue_limit: Some(32),
            prefill_base: ms(60),
            prefill_per_token: us(400),
            decode_base: ms(20),
            decode_per_running: us(700),
            jitter: 0.08,
            seed: 12,
            load_time: ms(4000),
            reject_while_loading: true,
            ..EngineSpec::new(REASONING)
        },
        EngineSpec {
            slots: 6,
            prefill_base: ms(40),
            prefill_per_token: us(80),
            decode_base: ms(15),
            decode_per_running: us(500),
            jitter: 0.08,
            seed: 14,
            ..EngineSpec::new(AGENTS)
        },
        EngineSpec {
            slots: 4,
            prefill_base: ms(20),
            prefill_per_token: us(120),
            decode_base: ms(8),
            decode_per_running: us(400),
            jitter: 0.08,
            seed: 15,
            ..EngineSpec::new(TGI)
        },
        EngineSpec {
            slots: 2,
            prefill_base: ms(10),
            prefill_per_token: us(40),
            decode_base: ms(5),
            decode_per_running: us(300),
            jitter: 0.08,
            seed: 13,
            load_time: ms(2500),
            idle_unload: Some(ms(10_000)),
            ..EngineSpec::new(SMALL)
        },
    ]
}

impl Traffic {
    /// The traffic of the demo: short chats, long prompts with documents (prefill of 1 to 3 s), reasoning, agents, clients
    /// that disconnect early, responses that are not streamed, and rare requests for a model that is unloaded when idle.
    /// 6 requests per second, without a drain at the end.
    pub fn demo_mix(target: SocketAddr) -> Self {
        let chat = TrafficClass {
            name: "chat".into(),
            weight: 40.0,
            api: TrafficApi::OpenAi,
            model: CHAT.into(),
            prompt_tokens: (20, 400),
            output_tokens: (40, 200),
            reasoning_tokens: (0, 0),
            stream: true,
            include_usage: true,
            tokens_per_event: 1,
            abort_after: None,
            choices: 1,
        };
        let classes = vec![
            TrafficClass {
                name: "documents".into(),
                weight: 13.0,
                prompt_tokens: (6_500, 19_500),
                output_tokens: (80, 220),
                ..chat.clone()
            },
            TrafficClass {
                name: "reasoning".into(),
                weight: 9.0,
                model: REASONING.into(),
                prompt_tokens: (50, 800),
                output_tokens: (60, 200),
                reasoning_tokens: (100, 400),
                ..chat.clone()
            },
            TrafficClass {
                name: "agents".into(),
                weight: 9.0,
                api: TrafficApi::Anthropic,
                model: AGENTS.into(),
                prompt_tokens: (2_000, 8_000),
                output_tokens: (80, 300),
                reasoning_tokens: (0, 100),
                tokens_per_event: 3,
                ..chat.clone()
            },
            TrafficClass {
                name: "text generation".into(),
                weight: 8.0,
                api: TrafficApi::Tgi,
                model: TGI.into(),
                prompt_tokens: (50, 600),
                output_tokens: (40, 160),
                ..chat.clone()
            },
            TrafficClass {
                name: "left early".into(),
                weight: 8.0,
                output_tokens: (300, 600),
                include_usage: false,
                abort_after: Some((ms(500), ms(3500))),
                ..chat.clone()
            },
            TrafficClass {
                name: "not streamed".into(),
                weight: 11.0,
                output_tokens: (20, 140),
                stream: false,
                ..chat.clone()
            },
            TrafficClass {
                name: "rare model".into(),
                weight: 2.0,
                api: TrafficApi::Ollama,
                model: SMALL.into(),
                output_tokens: (20, 80),
                ..chat.clone()
            },
            chat,
        ];
        Self { drain: Duration::ZERO, ..Self::new(target, 6.0, classes, 42) }
    }
}
