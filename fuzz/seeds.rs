//! Writes initial inputs, one folder per target: the shapes that the unit tests use.
//!
//!     seeds DIRECTORY

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use std::io::Write;
use std::path::Path;
use std::{env, fs, io};
use zstd_safe::CCtx;

const EVENT: &str =
    r#"{"choices":[{"index":0,"delta":{"content":"\u00e9 \"x\" \\"}}],"n":[1,-2e3,true,null]}"#;
const HELLO: &[u8] = b"\xf2\x48\xcd\xc9\xc9\x07\x00";

fn main() -> io::Result<()> {
    let Some(directory) = env::args().nth(1) else { panic!("seeds DIRECTORY") };
    for (target, seeds) in all() {
        let directory = Path::new(&directory).join(target);
        fs::create_dir_all(&directory)?;
        for (number, (mode, stream)) in seeds.iter().enumerate() {
            let input = [&[*mode, 5 * number as u8, 1], &stream[..]].concat();
            fs::write(directory.join(format!("seed-{number}")), input)?;
        }
    }
    Ok(())
}

/// The mode and the stream of each seed.
type FuzzSeeds = Vec<(u8, Vec<u8>)>;

/// Returns the seeds of all targets.
fn all() -> Vec<(&'static str, FuzzSeeds)> {
    let plain = |streams: Vec<Vec<u8>>| streams.into_iter().map(|stream| (0, stream)).collect();
    vec![
        ("sse", plain(sse())),
        ("lines", plain(lines())),
        ("json_array", plain(json_array())),
        ("aws_event_stream", plain(aws_event_stream())),
        ("length_prefixed", plain(length_prefixed())),
        ("websocket", websocket()),
        ("chunked", plain(chunked())),
        ("request_checker", plain(requests())),
        ("base64_member", plain(base64_member())),
        ("coding", coding()),
        ("dialects", dialects()),
    ]
}

/// Returns a small stream for each dialect. The fuzzer finds the byte that selects the dialect.
fn dialects() -> FuzzSeeds {
    let streams: [&str; 12] = [
        "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"model\":\"m\"}}\n\nevent: x\ndata: {\"type\":\"response.output_text.delta\",\"item_id\":\"i\",\"output_index\":0,\"content_index\":0,\"delta\":\"Hi\"}\n\ndata: {\"type\":\"response.output_text.done\",\"text\":\"Hi\"}\n\ndata: {\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"usage\":{\"input_tokens\":3,\"output_tokens\":2}}}\n\n",
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"m\",\"usage\":{\"input_tokens\":3,\"cache_read_input_tokens\":2,\"output_tokens\":1}}}\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}}\n\nevent: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":4}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        "{\"model\":\"m\",\"created_at\":\"x\",\"message\":{\"content\":\"Hi\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":{\"a\":[1,\"b\"]}}}]},\"done\":false}\n{\"done\":true,\"done_reason\":\"stop\",\"load_duration\":5,\"eval_count\":2}\n",
        "data:{\"token\":{\"id\":1,\"text\":\"Hi\",\"special\":false},\"generated_text\":null}\n\ndata:{\"token\":{\"id\":2,\"text\":\"!\"},\"generated_text\":\"Hi!\",\"details\":{\"finish_reason\":\"length\",\"generated_tokens\":2}}\n\n",
        "data: {\"text\":\"Hi\",\"output_ids\":[1],\"meta_info\":{\"prompt_tokens\":3,\"completion_tokens\":1,\"finish_reason\":null}}\n\ndata: {\"text\":\"Hi!\",\"output_ids\":[1,2],\"meta_info\":{\"completion_tokens\":2,\"finish_reason\":{\"type\":\"stop\"}}}\n\ndata: [DONE]\n\n",
        "data: {\"content\":\"Hi\",\"stop\":false,\"tokens\":[1]}\n\ndata: {\"content\":\"\",\"stop\":true,\"tokens_predicted\":2,\"timings\":{\"prompt_n\":1,\"prompt_ms\":2.5}}\n\n",
        "[{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Hi\",\"thought\":true},{\"functionCall\":{\"name\":\"f\",\"args\":{\"a\":1}}}]},\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":3,\"candidatesTokenCount\":2,\"thoughtsTokenCount\":1}}\n,\r\n{}]",
        "event: content-delta\ndata: {\"type\":\"content-delta\",\"delta\":{\"message\":{\"content\":{\"text\":\"Hi\"}}}}\n\nevent: message-end\ndata: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"COMPLETE\",\"usage\":{\"tokens\":{\"input_tokens\":3,\"output_tokens\":2}}}}\n\ndata: [DONE]\n\n",
        "{\"text\":[\"prompt Hi\"]}\0{\"text\":[\"prompt Hi!\"]}\0",
        "data: {\"model_name\":\"m\",\"text_output\":\"Hi\"}\n\ndata: {\"error\":\"boom\"}\n\n",
        "event: output\ndata: Hi\n\nevent: done\ndata: {}\n\n",
        "\0\0\0\0\x0d\x0a\x0b\x0a\x02\x05\x06\x10\x03\x18\x02\x38\x01\x20\x00",
    ];
    let each = |(at, stream): (usize, &&str)| (7 * at as u8, stream.as_bytes().to_vec());
    let more = streams.iter().enumerate().map(each);
    let chat = sse().into_iter().chain(lines()).chain(json_array()).chain(aws_event_stream());
    more.chain(chat.map(|stream| (2, stream))).collect()
}

fn sse() -> Vec<Vec<u8>> {
    vec![
        format!("data: {EVENT}\n\ndata: {EVENT}\n\ndata: [DONE]\n\n").into(),
        format!("\u{feff}event: delta\r\nid: 7\r\ndata: {EVENT}\r\n\r\n: ping\r\n\r\n").into(),
        b"event: error\rdata:a\rdata\rdata: b\r\rerror: x\n\nretry: 1\ndata: last".to_vec(),
    ]
}

fn lines() -> Vec<Vec<u8>> {
    vec![format!("{EVENT}\n{EVENT}\r\n\n  \n{EVENT}").into(), format!("{EVENT}\0{EVENT}\0").into()]
}

fn json_array() -> Vec<Vec<u8>> {
    vec![
        format!("[{{\n  \"candidates\": [\n    {EVENT}\n  ]\n}}\n,\r\n{EVENT}]\n").into(),
        format!("\u{feff}[1, \"]\\\"\", [[]], true , {EVENT}").into(),
        b"{\"error\": {\"code\": 400}}".to_vec(),
    ]
}

fn aws_event_stream() -> Vec<Vec<u8>> {
    let event = |name| [text(":event-type", name), text(":message-type", "event")].concat();
    let exception =
        [text(":exception-type", "throttlingException"), text(":message-type", "exception")];
    let every = [
        &b"\x01a\x00\x01b\x01\x01c\x02x\x01d\x03xx\x01e\x04xxxx\x01f\x05xxxxxxxx"[..],
        b"\x01g\x06\x00\x02xx\x01h\x08xxxxxxxx\x01i\x09xxxxxxxxxxxxxxxx",
        &text(":event-type", "chunk"),
    ];
    let events = ["messageStart", "contentBlockDelta"].map(|name| aws(&event(name), EVENT));
    vec![
        events.concat(),
        [aws(&exception.concat(), "{\"message\":\"x\"}"), aws(b"", "")].concat(),
        aws(&every.concat(), "x"),
        [&aws(b"\x00", "x")[..], &aws(b"", "{'foo':'bar'}")].concat(),
    ]
}

fn text(name: &str, value: &str) -> Vec<u8> {
    let (name, value) = (name.as_bytes(), value.as_bytes());
    [&[name.len() as u8], name, &[7, 0, value.len() as u8], value].concat()
}

fn aws(headers: &[u8], payload: &str) -> Vec<u8> {
    let total = (16 + headers.len() + payload.len()) as u32;
    let mut message = [total.to_be_bytes(), (headers.len() as u32).to_be_bytes()].concat();
    message.extend(crc32fast::hash(&message).to_be_bytes());
    message.extend(headers);
    message.extend(payload.as_bytes());
    message.extend(crc32fast::hash(&message).to_be_bytes());
    message
}

fn length_prefixed() -> Vec<Vec<u8>> {
    vec![
        b"\0\0\0\0\x03one\0\0\0\0\0\x01\0\0\0\x03zzz\0\0\0\0\x03two".to_vec(),
        b"\0\x40\0\0\0cut".to_vec(),
    ]
}

fn websocket() -> FuzzSeeds {
    let masked = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    let long = [b"\x82\x7e\x01\x00", &[b'x'; 256][..]].concat();
    let hello = [&[0xc1, HELLO.len() as u8], HELLO].concat();
    vec![
        (0, [&masked[..], b"\x01\x03Hel\x89\x02hi\x80\x02lo\x8a\x00\x88\x02\x03\xe8"].concat()),
        (0, long.clone()),
        (1, [&hello[..], b"\xc1\x05\xf2\x00\x11\x00\x00", &hello].concat()),
        (1, [&b"\x41\x03\xf2\x48\xcd\x80\x04\xc9\xc9\x07\x00"[..], &long].concat()),
        (
            1,
            b"\xc1\x08\xf3\x48\xcd\xc9\xc9\x07\x00\x00\xc1\x0b\x00\x05\x00\xfa\xffHello\x00"
                .to_vec(),
        ),
    ]
}

fn requests() -> Vec<Vec<u8>> {
    let get = "GET /a?b HTTP/1.1\r\nHost: h\r\n\r\n";
    let post = "POST http://h/ HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";
    let chunked =
        "POST / HTTP/1.1\nTransfer-Encoding: chunked\n\n3;a=b\r\nabc\r\n0\r\nC: d\r\n\r\n";
    vec![
        format!("{get}{post}{chunked}{get}").into(),
        b"OPTIONS * HTTP/1.0\r\nTransfer-Encoding: gzip, chunked\r\nContent-Length: 2, 2\r\n\r\n"
            .to_vec(),
    ]
}

fn chunked() -> Vec<Vec<u8>> {
    vec![
        b"5\r\nhello\r\n6 ;a=\"b\"\r\n world\r\n0\r\n\r\nHTTP".to_vec(),
        b"00A;x\r\n0123456789\r\n0\r\na: b\r\nc: d\r\n\r\n".to_vec(),
    ]
}

fn base64_member() -> Vec<Vec<u8>> {
    vec![
        br#"{"bytes":"Zm9vYg==","p":"abc"}"#.to_vec(),
        br#"{"p":{"bytes":["x\"",{}]}, "bytes" : "Zm9v\/-_\u003d\n"}"#.to_vec(),
    ]
}

fn coding() -> FuzzSeeds {
    let event = format!("data: {EVENT}\n\n");
    let text = event.repeat(3).into_bytes();
    let zeros = vec![0; 100_000];
    let mut named = flate2::GzBuilder::new()
        .extra(&b"extra"[..])
        .filename("name")
        .comment("comment")
        .write(Vec::new(), Compression::fast());
    named.write_all(&text).unwrap();
    let deflate = |text: &[u8]| {
        let mut writer = DeflateEncoder::new(Vec::new(), Compression::default());
        writer.write_all(text).unwrap();
        writer.finish().unwrap()
    };
    let zlib = |text: &[u8]| {
        let mut writer = ZlibEncoder::new(Vec::new(), Compression::default());
        writer.write_all(text).unwrap();
        writer.finish().unwrap()
    };
    vec![
        (0, [gzip(&text), gzip(b"x")].concat()),
        (0, named.finish().unwrap()),
        (0, gzip(&zeros)),
        (1, zlib(&text)),
        (1, deflate(&text)),
        (2, brotli(&text)),
        (2, brotli(&zeros)),
        (3, [zstd(&text), zstd(b"x")].concat()),
        (3, zstd(&zeros)),
        (4, brotli(&gzip(&text))),
        (5, gzip(&zstd(&text))),
        (6, zlib(&deflate(&text))),
        (7, zstd(&brotli(&text))),
    ]
}

/// Writes the text with a flush in the middle, as a streaming server does.
fn halves(text: &[u8], writer: &mut impl Write) {
    let (one, two) = text.split_at(text.len() / 2);
    writer.write_all(one).unwrap();
    writer.flush().unwrap();
    writer.write_all(two).unwrap();
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut writer = GzEncoder::new(Vec::new(), Compression::default());
    halves(text, &mut writer);
    writer.finish().unwrap()
}

fn brotli(text: &[u8]) -> Vec<u8> {
    let mut writer = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22);
    halves(text, &mut writer);
    writer.into_inner()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0; zstd_safe::compress_bound(text.len())];
    let length = CCtx::create().compress(&mut buffer[..], text, 3).unwrap();
    buffer.truncate(length);
    buffer
}
