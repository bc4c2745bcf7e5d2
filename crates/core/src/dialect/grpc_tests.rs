//! Messages after the services' `.proto` files, encoded by hand.

use super::*;
use crate::dialect::{EventFacts, ResponseReader, TokenCounts};

/// Field with a number.
fn number(field: u8, value: u8) -> Vec<u8> {
    vec![field << 3, value]
}

/// Length-delimited field.
fn bytes(field: u8, bytes: &[u8]) -> Vec<u8> {
    [&[field << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

fn facts(dialect: &'static Dialect, message: &[u8]) -> EventFacts {
    let mut reader = ResponseReader::new(dialect);
    message.chunks(3).for_each(|part| reader.push(part));
    let facts = reader.finish_event(b"");
    EventFacts { choices: facts.choices.clone(), model: facts.model.clone(), ..*facts }
}

#[test]
fn kserve_outputs_count_as_output() {
    let infer = |fields: &[Vec<u8>]| bytes(2, &fields.concat());
    let tensor = bytes(5, &[bytes(1, b"text_output"), bytes(2, b"BYTES")].concat());
    let message = infer(&[bytes(1, b"llama"), tensor, bytes(6, b"\x02\0\0\0hi")]);
    let found = facts(&KSERVE_STREAM, &message);
    assert_eq!(found.model.as_deref(), Some("llama"));
    assert!(found.choices[0].has_output());
    // Triton's empty last message, `triton_final_response`.
    let parameter =
        bytes(4, &[bytes(1, b"triton_final_response"), bytes(2, &number(1, 1))].concat());
    let last = facts(&KSERVE_STREAM, &infer(&[bytes(1, b"llama"), parameter]));
    assert!(last.choices.is_empty() && !last.error);
    assert!(facts(&KSERVE_STREAM, &bytes(1, b"no such model")).error);
    assert!(!facts(&KSERVE_STREAM, &bytes(1, b"")).error);
    let one = [bytes(1, b"llama"), bytes(6, b"1234")].concat();
    assert!(facts(&KSERVE, &one).choices[0].has_output());
}

#[test]
fn token_ids_are_output_with_exact_counts() {
    // The first three tokens of choice 0 (proto3 omits the 0), then of choice 1, as deltas.
    let ids = bytes(1, &[5, 0xC8, 0x01, 9]);
    let cases = [
        (&VLLM, bytes(1, &[ids.clone(), number(2, 7), number(3, 3)].concat()), 0),
        (&VLLM, bytes(1, &[ids.clone(), number(2, 7), number(3, 3), number(7, 1)].concat()), 1),
        (
            &SGLANG,
            [
                bytes(1, b"id"),
                bytes(2, &[ids.clone(), number(2, 7), number(3, 3), number(8, 1)].concat()),
            ]
            .concat(),
            1,
        ),
        (&TRTLLM, bytes(2, &[ids.clone(), number(2, 1), number(3, 7), number(4, 3)].concat()), 1),
        (
            &TOKENSPEED,
            bytes(2, &[ids.clone(), number(2, 7), number(3, 3), number(6, 1)].concat()),
            1,
        ),
        (&MLX, bytes(1, &[ids.clone(), number(2, 7), number(3, 3)].concat()), 0),
    ];
    for (dialect, message, index) in cases {
        let found = facts(dialect, &message);
        let [choice] = found.choices.as_slice() else { panic!("{}: {found:?}", dialect.name) };
        assert_eq!(
            (choice.index, choice.token_ids, choice.has_output()),
            (index, 3, true),
            "{}",
            dialect.name
        );
        let counts = TokenCounts { input: Some(7), output: Some(3), ..TokenCounts::default() };
        assert_eq!(found.engine_counts, Some(counts), "{}", dialect.name);
    }
}

#[test]
fn the_last_message_repeats_the_ids_and_finishes() {
    let ids = bytes(1, &[1, 2, 3, 4]);
    let cases = [
        (&VLLM, bytes(2, &[ids.clone(), bytes(2, b"stop"), number(3, 7), number(4, 4)].concat())),
        (
            &SGLANG,
            bytes(
                3,
                &[ids.clone(), bytes(2, b"stop"), number(3, 7), number(4, 4), number(12, 1)]
                    .concat(),
            ),
        ),
        (&TRTLLM, bytes(3, &[ids.clone(), bytes(3, b"stop"), number(5, 7), number(6, 4)].concat())),
        (
            &TOKENSPEED,
            bytes(3, &[ids.clone(), bytes(2, b"stop"), number(3, 7), number(4, 4)].concat()),
        ),
        (&MLX, bytes(2, &[ids, bytes(2, b"stop"), number(3, 7), number(4, 4)].concat())),
    ];
    for (dialect, message) in cases {
        let found = facts(dialect, &message);
        let [choice] = found.choices.as_slice() else { panic!("{}: {found:?}", dialect.name) };
        assert_eq!((choice.token_ids, choice.has_output()), (0, false), "{}", dialect.name);
        assert_eq!(choice.finish.as_deref(), Some("stop"), "{}", dialect.name);
        assert_eq!(found.engine_counts.unwrap().output, Some(4), "{}", dialect.name);
    }
}

#[test]
fn counts_of_all_choices_are_summed() {
    let mut reader = ResponseReader::new(&VLLM);
    let mut output_after = |index: u8, tokens: u8| {
        let ids = bytes(1, &[1, 2]);
        let chunk = [ids, number(2, 7), number(3, tokens), number(7, index)].concat();
        reader.push(&bytes(1, &chunk));
        let output = reader.finish_event(b"").engine_counts.unwrap().total_output();
        reader.clear_event();
        output
    };
    let outputs = [output_after(0, 2), output_after(1, 2), output_after(0, 4), output_after(1, 4)];
    assert_eq!(outputs, [Some(2), Some(4), Some(6), Some(8)]);
}

/// For vLLM, `smg-grpc-servicer` 0.14.1 sends the count of each message, also in the last one.
#[test]
fn a_count_is_never_less_than_the_ids() {
    let mut reader = ResponseReader::new(&VLLM);
    let mut output_after = |message: Vec<u8>| {
        reader.push(&message);
        let output = reader.finish_event(b"").engine_counts.unwrap().total_output();
        reader.clear_event();
        output
    };
    let chunk = || bytes(1, &[bytes(1, &[1, 2]), number(2, 7), number(3, 2)].concat());
    let last =
        bytes(2, &[bytes(1, &[1, 2]), bytes(2, b"stop"), number(3, 7), number(4, 2)].concat());
    assert_eq!(
        [output_after(chunk()), output_after(chunk()), output_after(last)],
        [Some(2), Some(4), Some(4)]
    );
    let whole =
        bytes(2, &[bytes(1, &[1, 2]), bytes(2, b"stop"), number(3, 7), number(4, 2)].concat());
    assert_eq!(facts(&VLLM, &whole).engine_counts.unwrap().output, Some(2));
}

#[test]
fn embeddings_have_input_tokens() {
    assert_eq!(facts(&VLLM_EMBED, &number(2, 9)).engine_counts.unwrap().input, Some(9));
    assert_eq!(facts(&SGLANG_EMBED, &number(6, 9)).engine_counts.unwrap().input, Some(9));
}
