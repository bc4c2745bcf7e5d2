//! Request bodies, plain and compressed.

use super::*;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use std::io::Write;

const CODEX: &str = r#"{"model":"gpt-5.6","instructions":"\"model\":\"no\"","input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"Fix the test."}]}],"tools":[],"store":false,"stream":true}"#;

fn facts(model: &str, stream: bool) -> RequestFacts {
    RequestFacts { model: Some(model.into()), stream: Some(stream), choices: None }
}

fn read(body: &str) -> RequestFacts {
    let mut reader = RequestBodyReader::default();
    body.as_bytes().chunks(3).for_each(|part| reader.push(part).unwrap());
    reader.facts().clone()
}

/// The body in every coding, each with its name.
fn coded(body: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    fn written<W: Write>(mut writer: W, body: &[u8], end: impl FnOnce(W) -> Vec<u8>) -> Vec<u8> {
        writer.write_all(body).unwrap();
        end(writer)
    }
    let level = Compression::default();
    let mut zstd = vec![0; 2 * body.len() + 1024];
    let length = zstd_safe::compress(&mut zstd[..], body, 3).unwrap();
    zstd.truncate(length);
    vec![
        ("gzip", written(GzEncoder::new(Vec::new(), level), body, |w| w.finish().unwrap())),
        ("deflate", written(ZlibEncoder::new(Vec::new(), level), body, |w| w.finish().unwrap())),
        ("deflate", written(DeflateEncoder::new(Vec::new(), level), body, |w| w.finish().unwrap())),
        (
            "br",
            written(brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22), body, |w| {
                w.into_inner()
            }),
        ),
        ("zstd", zstd),
        ("identity", body.to_vec()),
    ]
}

/// Reads a coded body in parts of this size. Returns the facts, whether the body is whole, and the faults.
fn read_coded(coding: &str, body: &[u8], size: usize) -> (RequestFacts, bool, Vec<UnparsedReason>) {
    let mut reader = RequestBodyReader::with_encoding(coding.as_bytes());
    let mut faults: Vec<_> = body.chunks(size).filter_map(|part| reader.push(part).err()).collect();
    faults.extend(reader.end().err());
    (reader.facts().clone(), reader.is_whole(), faults)
}

#[test]
fn model_and_stream_are_read_at_the_top_level() {
    let found = read(
        r#"{"messages":[{"role":"user","content":"\"model\":\"no\"","model":"no"}],
            "model":"m\u0031","stream":true,"max_completion_tokens":64,"n":2}"#,
    );
    assert_eq!(found, RequestFacts { choices: Some(2), ..facts("m1", true) });
    assert_eq!(read(r#"{"n":null,"n_cmpl":3}"#).choices, Some(3));
    assert_eq!(read(r#"{"n":-1}"#).choices, None);
}

#[test]
fn facts_outlast_the_body() {
    let mut reader = RequestBodyReader::default();
    reader.push(br#"{"model":"m","stream":true}"#).unwrap();
    assert!(!reader.is_whole());
    reader.end().unwrap();
    reader.push(br#"{"model":"other"}"#).unwrap();
    assert_eq!(*reader.facts(), facts("m", true));
    assert!(reader.is_whole());
}

#[test]
fn odd_bodies_have_no_facts() {
    for body in ["", "not json", "[]", r#"{"model":7,"stream":"yes"}"#] {
        assert_eq!(read(body), RequestFacts::default(), "{body}");
    }
    assert_eq!(
        read(&format!(r#"{{"model":"{}"}}"#, "x".repeat(5000))).model.map(|m| m.len()),
        Some(256)
    );
}

#[test]
fn compressed_bodies_are_decoded_in_any_split() {
    for (coding, body) in coded(CODEX.as_bytes()) {
        for size in [1, 7, body.len()] {
            let (found, _, faults) = read_coded(coding, &body, size);
            assert_eq!((found, faults), (facts("gpt-5.6", true), vec![]), "{coding} by {size}");
        }
    }
    // Without `stream`, the whole body is read.
    for (coding, body) in coded(br#"{"model":"m","input":"hello"}"#) {
        let expected = RequestFacts { model: Some("m".into()), ..RequestFacts::default() };
        assert_eq!(read_coded(coding, &body, 5), (expected, true, vec![]), "{coding}");
    }
}

#[test]
fn a_body_that_cannot_be_decoded_is_reported_once() {
    let fault = vec![UnparsedReason::RequestEncoding];
    let none = || RequestFacts::default();
    // An uncompressed frame would show the model to a reader that ignores the coding.
    for coding in ["compress", "aes128gcm", "gzip, zstd"] {
        assert_eq!(read_coded(coding, CODEX.as_bytes(), 10), (none(), false, fault.clone()));
    }
    for (coding, body) in coded(CODEX.as_bytes()) {
        if coding != "identity" {
            let (found, is_whole, faults) = read_coded(coding, &body[..body.len() / 4], 3);
            assert_eq!((found.stream, is_whole, faults), (None, false, fault.clone()), "{coding}");
        }
        let broken = read_coded(coding, b"\xFF\xFE no coding starts like this", 4);
        assert!(coding == "identity" || broken == (none(), false, fault.clone()), "{coding}");
        assert_eq!(read_coded(coding, b"", 1), (none(), true, vec![]), "{coding}, no body");
    }
    // A bomb, before the model.
    let bomb = format!(r#"{{"input":"{}","model":"m"}}"#, "a".repeat(5 << 20));
    for (coding, body) in coded(bomb.as_bytes()).into_iter().filter(|(name, _)| *name != "identity")
    {
        assert_eq!(read_coded(coding, &body, 1 << 16), (none(), false, fault.clone()), "{coding}");
    }
}
