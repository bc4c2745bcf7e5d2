use super::super::test_messages::{cut, cuts};
use super::*;
use ::brotli::CompressorWriter;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proptest::prelude::*;
use std::io::Write;
use zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer};

/// Name of each coding, and whether `deflate` is sent without the zlib format.
const CODINGS: [(&str, bool); 5] =
    [("gzip", false), ("deflate", false), ("deflate", true), ("br", false), ("zstd", false)];

/// Returns what a server sends that flushes after each part. The last item is the end of the
/// stream.
fn flushed(coding: (&str, bool), parts: &[&[u8]]) -> Vec<Vec<u8>> {
    fn each<W: Write>(
        parts: &[&[u8]],
        writer: &mut W,
        mut written: impl FnMut(&mut W) -> Vec<u8>,
    ) -> Vec<Vec<u8>> {
        let mut write = |part: &&[u8]| {
            writer.write_all(part).unwrap();
            writer.flush().unwrap();
            written(writer)
        };
        parts.iter().map(&mut write).collect()
    }
    let level = Compression::default();
    let take = std::mem::take::<Vec<u8>>;
    match coding {
        ("gzip", _) => {
            let mut writer = GzEncoder::new(Vec::new(), level);
            let mut all = each(parts, &mut writer, |writer| take(writer.get_mut()));
            all.push(writer.finish().unwrap());
            all
        }
        ("deflate", false) => {
            let mut writer = ZlibEncoder::new(Vec::new(), level);
            let mut all = each(parts, &mut writer, |writer| take(writer.get_mut()));
            all.push(writer.finish().unwrap());
            all
        }
        ("deflate", true) => {
            let mut writer = DeflateEncoder::new(Vec::new(), level);
            let mut all = each(parts, &mut writer, |writer| take(writer.get_mut()));
            all.push(writer.finish().unwrap());
            all
        }
        ("br", _) => brotli(22, parts),
        ("zstd", _) => zstd(0, parts),
        _ => panic!("{coding:?}"),
    }
}

fn brotli(window: u32, parts: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut writer = CompressorWriter::new(Vec::new(), 4096, 5, window);
    let mut all = Vec::new();
    for part in parts {
        writer.write_all(part).unwrap();
        writer.flush().unwrap();
        all.push(std::mem::take(writer.get_mut()));
    }
    all.push(writer.into_inner());
    all
}

/// `window` is the logarithm of its size; 0 selects the encoder's default.
fn zstd(window: u32, parts: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut context = CCtx::create();
    context.set_parameter(CParameter::WindowLog(window)).unwrap();
    context.set_parameter(CParameter::ChecksumFlag(true)).unwrap();
    let mut write = |part: &[u8], directive: ZSTD_EndDirective| {
        let mut buffer = vec![0; zstd_safe::compress_bound(part.len()) + 100];
        let mut output = OutBuffer::around(&mut buffer[..]);
        let left = context.compress_stream2(&mut output, &mut InBuffer::around(part), directive);
        assert_eq!(left, Ok(0));
        output.as_slice().to_vec()
    };
    let mut all: Vec<_> =
        parts.iter().map(|part| write(part, ZSTD_EndDirective::ZSTD_e_flush)).collect();
    all.push(write(b"", ZSTD_EndDirective::ZSTD_e_end));
    all
}

fn encoded(coding: (&str, bool), text: &[u8]) -> Vec<u8> {
    flushed(coding, &[text]).concat()
}

/// Result of decoding, the output, and whether the body was complete.
type DecodeResult = (Result<(), CodingError>, Vec<u8>, bool);

fn decode(names: &str, parts: &[&[u8]]) -> DecodeResult {
    let mut decoder = ContentDecoder::new(names.as_bytes()).unwrap().unwrap();
    let mut out = Vec::new();
    let mut push = |part: &&[u8]| decoder.push(part, &mut |part| out.extend_from_slice(part));
    let done = parts.iter().try_for_each(&mut push);
    (done, out, decoder.is_complete())
}

fn good(text: &[u8]) -> DecodeResult {
    (Ok(()), text.to_vec(), true)
}

#[test]
fn names_of_codings_are_recognised() {
    for none in ["", "identity", " Identity , ,identity"] {
        assert!(ContentDecoder::new(none.as_bytes()).unwrap().is_none(), "{none}");
    }
    for known in ["gzip", "GZip", "x-gzip", "deflate", "br", " zstd ", "identity, br", "gzip,br"] {
        assert!(ContentDecoder::new(known.as_bytes()).unwrap().is_some(), "{known}");
    }
    for unknown in ["compress", "gzip br", "gzip, dcb", "br,gzip,zstd", "aes128gcm"] {
        assert_eq!(
            ContentDecoder::new(unknown.as_bytes()).err(),
            Some(CodingError::Unknown),
            "{unknown}"
        );
    }
}

#[test]
fn flushed_data_is_decoded_at_once() {
    let events: Vec<String> = (0..50)
        .map(|at| {
            format!(
                "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"w{at}\"}}}}]}}\n\n"
            )
        })
        .collect();
    let parts: Vec<&[u8]> = events.iter().map(|event| event.as_bytes()).collect();
    for coding in CODINGS {
        let mut decoder = ContentDecoder::new(coding.0.as_bytes()).unwrap().unwrap();
        for (at, (sent, event)) in flushed(coding, &parts).iter().zip(&parts).enumerate() {
            assert!(!sent.is_empty());
            let mut out = Vec::new();
            decoder.push(sent, &mut |part| out.extend_from_slice(part)).unwrap();
            assert_eq!(out, *event, "{coding:?}, event {at}");
            assert!(!decoder.is_complete());
        }
    }
}

#[test]
fn a_truncated_body_is_decoded_as_far_as_possible() {
    let zeros = vec![0; 100_000];
    for coding in CODINGS {
        let body = encoded(coding, &zeros);
        for length in 0..body.len() {
            let (_, whole, _) = decode(coding.0, &[&body[..length]]);
            let (_, bytes, _) = decode(coding.0, &body[..length].chunks(1).collect::<Vec<_>>());
            assert_eq!(whole.len(), bytes.len(), "{coding:?} cut at {length}");
        }
    }
}

#[test]
fn truncated_bodies_are_incomplete() {
    let text = b"data: hello\n\n".repeat(30);
    for coding in CODINGS {
        let body = encoded(coding, &text);
        assert_eq!(decode(coding.0, &[&body]), good(&text), "{coding:?}");
        assert_eq!(decode(coding.0, &[]), good(b""));
        for length in 1..body.len() {
            let (done, out, over) = decode(coding.0, &[&body[..length]]);
            assert!(done == Ok(()) && !over, "{coding:?} cut at {length}: {done:?}");
            assert!(text.starts_with(&out));
        }
    }
}

#[test]
fn concatenated_members_and_frames_are_decoded() {
    for name in ["gzip", "zstd"] {
        let body = [&b"one"[..], b"", b"two"].map(|part| encoded((name, false), part)).concat();
        assert_eq!(decode(name, &[&body]), good(b"onetwo"));
        let (done, out, over) = decode(name, &[&body[..body.len() - 1]]);
        assert_eq!((done, &out[..], over), (Ok(()), &b"onetwo"[..], false));
    }
    // Bytes after the end are ignored. gzip files may be padded with zeros.
    for coding in [("gzip", false), ("deflate", false), ("deflate", true), ("br", false)] {
        let body = [&encoded(coding, b"text")[..], b"\0\0rest"].concat();
        assert_eq!(decode(coding.0, &[&body]), good(b"text"), "{coding:?}");
    }
}

#[test]
fn every_field_of_a_gzip_header_is_skipped() {
    let mut writer = flate2::GzBuilder::new()
        .extra(&b"extra"[..])
        .filename("name")
        .comment("comment")
        .mtime(7)
        .write(Vec::new(), Compression::fast());
    writer.write_all(b"text").unwrap();
    let mut body = writer.finish().unwrap();
    assert_eq!(decode("gzip", &body.chunks(1).collect::<Vec<_>>()), good(b"text"));
    let header = 10 + 2 + 5 + 5 + 8;
    assert_eq!(body[3], 0b1_1100);
    body[3] |= 2;
    body.splice(header..header, [1, 2]);
    assert_eq!(decode("gzip", &body.chunks(1).collect::<Vec<_>>()), good(b"text"));
    body[3] |= 0x20;
    assert_eq!(decode("gzip", &[&body]).0, Err(CodingError::Malformed));
    let empty_extra =
        [&[0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 3, 0, 0][..], &encoded(CODINGS[0], b"x")[10..]];
    assert_eq!(decode("gzip", &[&empty_extra.concat()]), good(b"x"));
}

#[test]
fn two_codings_are_decoded_in_reverse_order() {
    let text = b"data: hello\n\n".repeat(100);
    for first in CODINGS {
        for second in CODINGS {
            let body = encoded(second, &encoded(first, &text));
            let names = format!("{}, identity,{}", first.0, second.0);
            assert_eq!(decode(&names, &[&body]), good(&text), "{first:?}, {second:?}");
            let bytes: Vec<&[u8]> = body.chunks(1).collect();
            assert_eq!(decode(&names, &bytes), good(&text), "{first:?}, {second:?}");
        }
    }
    let body = encoded(CODINGS[3], &encoded(CODINGS[0], &text));
    assert_eq!(decode("br, gzip", &[&body]).0, Err(CodingError::Malformed));
}

#[test]
fn an_error_is_permanent() {
    for coding in CODINGS {
        let mut decoder = ContentDecoder::new(coding.0.as_bytes()).unwrap().unwrap();
        // The first byte of br declares a window of 4 MiB.
        let junk = [&[0x1b; 1][..], &[0xff; 64]].concat();
        assert_eq!(decoder.push(&junk, &mut |_| {}), Err(CodingError::Malformed), "{coding:?}");
        let body = encoded(coding, b"text");
        let again = decoder.push(&body, &mut |part| panic!("{part:?}"));
        assert_eq!((again, decoder.is_complete()), (Err(CodingError::Malformed), false));
    }
    // The checksums: the last bytes of gzip (before the length), of zlib and of zstd.
    for (coding, from_end) in [(CODINGS[0], 5), (CODINGS[0], 1), (CODINGS[1], 1), (CODINGS[4], 1)] {
        let mut body = encoded(coding, b"text");
        let at = body.len() - from_end;
        body[at] ^= 1;
        let (done, out, over) = decode(coding.0, &[&body]);
        assert_eq!((done, over), (Err(CodingError::Malformed), false), "{coding:?}");
        assert!(out == b"text" || out.is_empty());
    }
}

#[test]
fn windows_of_up_to_4_mib_are_accepted() {
    let text: Vec<u8> = (0..100_000u32).flat_map(|at| at.wrapping_mul(at).to_le_bytes()).collect();
    for window in [10, 16, 17, 18, 22] {
        assert_eq!(decode("br", &[&brotli(window, &[&text]).concat()]), good(&text), "{window}");
        assert_eq!(decode("zstd", &[&zstd(window, &[&text]).concat()]), good(&text), "{window}");
    }
    for window in [23, 24] {
        let error = (Err(CodingError::Window), vec![], false);
        assert_eq!(decode("br", &[&brotli(window, &[&text]).concat()]), error, "{window}");
        assert_eq!(decode("zstd", &[&zstd(window, &[&text]).concat()]), error, "{window}");
    }
    // The extension with large windows.
    assert_eq!(decode("br", &[&[0x11, 30]]).0, Err(CodingError::Window));
}

#[test]
fn windows_are_charged_to_the_budget_and_returned() {
    const MIB: usize = 1024 * 1024;
    static BUDGET: WindowBudget = WindowBudget::new(8 * MIB);
    let decoder = |name: &str| {
        ContentDecoder::within(&BUDGET, RESPONSE_GROWTH, name.as_bytes()).map(Option::unwrap)
    };
    let mut used = 0;
    let mut charged = || BUDGET.used() - std::mem::replace(&mut used, BUDGET.used());
    let ignore = &mut |_: &[u8]| {};

    let gzip = decoder("gzip, deflate").unwrap();
    assert_eq!(charged(), 64 * 1024);
    // The window of br grows with the data.
    let parts = vec![b"data: hello\n\n".repeat(100_000); 4];
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    let mut br = decoder("br").unwrap();
    let sent = brotli(22, &[b"data: hello\n\n"]);
    br.push(&sent[0], ignore).unwrap();
    let small = charged();
    assert!((1..64 * 1024).contains(&small), "{small}");
    drop(br);
    let mut br = decoder("br").unwrap();
    brotli(22, &parts).iter().for_each(|sent| br.push(sent, ignore).unwrap());
    let large = BUDGET.used() - 64 * 1024;
    assert!((4 * MIB..5 * MIB).contains(&large), "{large}");
    // The window of zstd has its full size at once, 2 MiB by default.
    let sent = zstd(0, &[b"data: hello\n\n"]);
    let mut zstd = decoder("zstd").unwrap();
    let before = BUDGET.used();
    zstd.push(&sent[0], ignore).unwrap();
    let charged = BUDGET.used() - before;
    assert!((2 * MIB..3 * MIB).contains(&charged), "{charged}");
    // The budget has no room for another.
    let mut second = decoder("zstd").unwrap();
    let before = BUDGET.used();
    assert_eq!(second.push(&sent[0], ignore), Err(CodingError::Budget));
    assert_eq!(BUDGET.used(), before);
    assert_eq!(second.push(&sent[0], ignore), Err(CodingError::Budget));
    let mut others: Vec<_> = std::iter::from_fn(|| decoder("gzip").ok()).collect();
    assert!(!others.is_empty() && BUDGET.used() + 32 * 1024 > 8 * MIB);
    assert_eq!(decoder("gzip").err(), Some(CodingError::Budget));
    others.pop();
    assert!(decoder("gzip").is_ok());
    drop((gzip, br, zstd, second, others));
    assert_eq!(BUDGET.used(), 0);
}

#[test]
fn an_error_returns_the_window() {
    static BUDGET: WindowBudget = WindowBudget::new(1 << 20);
    let mut decoder = ContentDecoder::within(&BUDGET, RESPONSE_GROWTH, b"gzip").unwrap().unwrap();
    assert_eq!(BUDGET.used(), 32 * 1024);
    decoder.push(b"x", &mut |_| {}).unwrap_err();
    assert_eq!(BUDGET.used(), 0);
}

#[test]
fn a_decompression_bomb_is_an_error() {
    let mib = vec![0; 1 << 20];
    for coding in CODINGS {
        let sent = flushed(coding, &[&mib[..]; 65]).concat();
        let mut given = 0;
        let mut decoder = ContentDecoder::new(coding.0.as_bytes()).unwrap().unwrap();
        let done = decoder.push(&sent, &mut |part| given += part.len());
        assert_eq!((done, given), (Err(CodingError::Bomb), 64 << 20), "{coding:?}");
    }
    // The same between two codings; the second decoder ignores nearly all of the bytes.
    let small = encoded(CODINGS[0], b"x");
    let mut parts = vec![&mib[..]; 65];
    parts.insert(0, &small);
    let (done, out, _) = decode("gzip, zstd", &[&flushed(CODINGS[4], &parts).concat()]);
    assert_eq!((done, &out[..]), (Err(CodingError::Bomb), &b"x"[..]));
}

#[test]
fn requests_have_lower_limits() {
    let mib = vec![0; 1 << 20];
    for coding in CODINGS {
        let sent = flushed(coding, &[&mib[..]; 5]).concat();
        let mut given = 0;
        let mut decoder = ContentDecoder::for_request(coding.0.as_bytes()).unwrap().unwrap();
        let done = decoder.push(&sent, &mut |part| given += part.len());
        assert_eq!((done, given), (Err(CodingError::Bomb), 4 << 20), "{coding:?}");
    }
    for unsupported in ["gzip, zstd", "gzip, gzip, gzip", "compress"] {
        let decoder = ContentDecoder::for_request(unsupported.as_bytes());
        assert_eq!(decoder.err(), Some(CodingError::Unknown), "{unsupported}");
    }
    assert!(ContentDecoder::for_request(b"identity").is_ok_and(|decoder| decoder.is_none()));
}

#[test]
fn a_large_body_at_a_low_ratio_is_decoded() {
    let noise: Vec<u8> =
        (0..1 << 18).flat_map(|at: u32| at.wrapping_mul(at).to_le_bytes()).collect();
    let mut writer = GzEncoder::new(Vec::new(), Compression::none());
    (0..65).for_each(|_| writer.write_all(&noise).unwrap());
    let body = writer.finish().unwrap();
    let mut decoder = ContentDecoder::new(b"gzip").unwrap().unwrap();
    let mut given = 0;
    for part in body.chunks(100_000) {
        decoder.push(part, &mut |output| given += output.len()).unwrap();
    }
    assert_eq!((given, decoder.is_complete()), (65 << 20, true));
}

#[test]
fn a_decoder_can_be_sent_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<ContentDecoder>();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_split_gives_the_same(
        coding in prop::sample::select(&CODINGS[..]),
        parts in prop::collection::vec(
            prop_oneof![
                "[a-z \n]{0,50}".prop_map(String::into_bytes),
                prop::collection::vec(any::<u8>(), 0..300),
                (any::<u8>(), 0usize..50_000).prop_map(|(byte, length)| vec![byte; length]),
            ], 0..6),
        cuts in cuts(),
    ) {
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let text = parts.concat();
        let body = flushed(coding, &parts).concat();
        prop_assert_eq!(&decode(coding.0, &[&body]), &good(&text));
        prop_assert_eq!(&decode(coding.0, &cut(&body, &cuts)), &good(&text));
        prop_assert_eq!(&decode(coding.0, &body.chunks(1).collect::<Vec<_>>()), &good(&text));
    }

    #[test]
    fn damage_is_told_in_any_split(
        coding in prop::sample::select(&CODINGS[..]),
        text in "[a-z]{0,200}",
        flips in prop::collection::vec((any::<usize>(), any::<u8>()), 1..4),
        cuts in cuts(),
    ) {
        let mut body = encoded(coding, text.as_bytes());
        for (at, bits) in flips {
            let at = at % body.len();
            body[at] ^= bits;
        }
        let (done, _, over) = decode(coding.0, &[&body]);
        let (done_cut, _, over_cut) = decode(coding.0, &cut(&body, &cuts));
        prop_assert_eq!((done, over), (done_cut, over_cut));
    }
}
