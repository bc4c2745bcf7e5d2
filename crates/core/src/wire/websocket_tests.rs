use super::super::test_messages::*;
use super::*;
use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::*;

fn parse(deflate: bool, parts: &[&[u8]]) -> Vec<CollectedEvent> {
    let (mut framer, mut messages) = (WebSocketFramer::new(deflate), FrameCollector::default());
    let mut sink = |event: FrameEvent<'_>| messages.add(event);
    parts.iter().for_each(|part| framer.push(part, &mut sink));
    framer.end(&mut sink);
    messages.finish()
}

/// Writes a frame with this first byte and the shortest encoding of its length.
fn frame(first: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let length = payload.len();
    let mut frame = vec![first];
    match length {
        0..126 => frame.push(length as u8),
        126..65536 => frame.extend([&[126], &(length as u16).to_be_bytes()[..]].concat()),
        _ => frame.extend([&[127], &(length as u64).to_be_bytes()[..]].concat()),
    }
    if let Some(mask) = mask {
        frame[1] |= MASKED;
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    } else {
        frame.extend(payload);
    }
    frame
}

fn text(data: &str) -> CollectedEvent {
    CollectedEvent::Whole("text".into(), data.into())
}

fn binary(data: &str) -> CollectedEvent {
    CollectedEvent::Whole("binary".into(), data.into())
}

fn close() -> CollectedEvent {
    CollectedEvent::Whole("close".into(), "".into())
}

fn broken(data: &str) -> CollectedEvent {
    CollectedEvent::Broken(data.into())
}

/// The examples of RFC 6455, section 5.7.
#[test]
fn examples_of_rfc_6455_are_parsed() {
    let cases: &[(&[u8], &[CollectedEvent])] = &[
        (b"\x81\x05Hello", &[text("Hello")]),
        (b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", &[text("Hello")]),
        (b"\x01\x03Hel\x80\x02lo", &[text("Hello")]),
        (b"\x89\x05Hello", &[]),
        (b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", &[]),
    ];
    for (stream, expected) in cases {
        assert_eq!(&parse(false, &[stream]), expected);
    }
    let long = "x".repeat(256);
    let stream = [b"\x82\x7e\x01\x00", long.as_bytes()].concat();
    assert_eq!(parse(false, &[&stream]), [binary(&long)]);
    let long = "x".repeat(65536);
    let stream = [b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", long.as_bytes()].concat();
    assert_eq!(parse(false, &[&stream]), [binary(&long)]);
}

#[test]
fn control_frames_between_fragments_are_skipped_and_close_is_reported() {
    let mask = Some([1, 2, 3, 4]);
    let stream = [
        frame(0x81, b"one", mask),
        frame(0x81, b"", mask),
        frame(0x02, b"two, ", mask),
        frame(0x89, b"ping", mask),
        frame(0x00, b"", None),
        frame(0x8a, b"", mask),
        frame(0x80, b"three", None),
        frame(0x88, b"\x03\xe8bye", mask),
        frame(0x81, b"late", None),
    ];
    let expected = [text("one"), text(""), binary("two, three"), close()];
    assert_eq!(parse(false, &[&stream.concat()]), expected);
    let stream = [frame(0x01, b"half", None), frame(0x88, b"", None)].concat();
    assert_eq!(parse(false, &[&stream]), [broken("half"), close()]);
}

#[test]
fn nothing_is_reported_after_a_protocol_violation() {
    let wrong: &[(&str, &[u8])] = &[
        ("RSV1 without the extension", &frame(0xc1, b"x", None)),
        ("RSV2", &frame(0xa1, b"x", None)),
        ("RSV3", &frame(0x91, b"x", None)),
        ("a reserved data frame", &frame(0x83, b"x", None)),
        ("a reserved control frame", &frame(0x8b, b"x", None)),
        ("nothing to continue", &frame(0x80, b"x", None)),
        ("a ping in fragments", &frame(0x09, b"x", None)),
        ("a long ping", &frame(0x89, &[b'x'; 126], None)),
        ("a length in too many bytes", b"\x81\x7e\x00\x01x"),
        ("a length in far too many bytes", b"\x81\x7f\x00\x00\x00\x00\x00\x00\x01\x00"),
        ("a negative length", b"\x81\x7f\x80\x00\x00\x00\x00\x00\x00\x00"),
    ];
    for (what, bytes) in wrong {
        let stream = [frame(0x81, b"one", None), bytes.to_vec(), frame(0x81, b"two", None)];
        assert_eq!(parse(false, &[&stream.concat()]), [text("one"), broken("")], "{what}");
    }
    let stream = [frame(0x01, b"one", None), frame(0x81, b"two", None)].concat();
    assert_eq!(parse(false, &[&stream]), [broken("one")]);
    // RSV1 may only be set in a message's first frame, and in no control frame.
    for first in [0xc0, 0xc9] {
        let stream = [frame(0x01, b"one", None), frame(first, b"two", None)].concat();
        assert_eq!(parse(true, &[&stream]), [broken("one")]);
    }
}

#[test]
fn a_truncated_message_is_broken() {
    let stream = [frame(0x01, b"one", None), frame(0x80, &[b'x'; 200], Some([7; 4]))].concat();
    for length in 1..stream.len() {
        let found = parse(false, &[&stream[..length]]);
        assert!(matches!(&found[..], [CollectedEvent::Broken(_)]), "{length}: {found:?}");
    }
    assert_eq!(parse(false, &[]), []);
}

/// The examples of RFC 7692, section 7.2.3.
#[test]
fn examples_of_rfc_7692_are_decompressed() {
    let hello: &[u8] = b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00";
    let cases: &[(&[&[u8]], &[&str])] = &[
        (&[hello], &["Hello"]),
        (&[b"\x41\x03\xf2\x48\xcd\x80\x04\xc9\xc9\x07\x00"], &["Hello"]),
        // The second refers to the first.
        (&[hello, b"\xc1\x05\xf2\x00\x11\x00\x00"], &["Hello", "Hello"]),
        (&[hello, hello], &["Hello", "Hello"]),
        // Not compressed, a block that is not, a last block within the message, and two blocks.
        (&[b"\x81\x05Hello", hello], &["Hello", "Hello"]),
        (&[b"\xc1\x0b\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"], &["Hello"]),
        (&[b"\xc1\x08\xf3\x48\xcd\xc9\xc9\x07\x00\x00", hello], &["Hello", "Hello"]),
        (&[b"\xc1\x0d\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"], &["Hello"]),
        (&[b"\xc1\x01\x00"], &[""]),
    ];
    for (frames, expected) in cases {
        let expected: Vec<_> = expected.iter().map(|data| text(data)).collect();
        assert_eq!(parse(true, &[&frames.concat()]), expected, "{frames:?}");
    }
    let junk = [hello, &frame(0xc1, &[0xff; 9], None), hello].concat();
    assert_eq!(parse(true, &[&junk]), [text("Hello"), broken("")]);
}

/// Compresses a message as a sender does: flushed, without the last four bytes of the flush.
fn compress(compress: &mut Compress, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 1000);
    compress.compress_vec(message, &mut out, FlushCompress::Sync).unwrap();
    assert!(out.len() < out.capacity());
    out.truncate(out.strip_suffix(&DEFLATE_END).unwrap().len());
    out
}

#[test]
fn a_decompression_bomb_is_broken() {
    let mut sender = Compress::new(Compression::default(), false);
    let bomb = compress(&mut sender, &vec![b'x'; 65 << 20]);
    let mut framer = WebSocketFramer::new(true);
    let (mut given, mut ends) = (0, Vec::new());
    let mut sink = |event: FrameEvent<'_>| match event {
        FrameEvent::Data(data) => given += data.len(),
        other => ends.push(format!("{other:?}")),
    };
    framer.push(&frame(0xc1, &bomb, None), &mut sink);
    framer.push(b"\x81\x05Hello", &mut sink);
    framer.end(&mut sink);
    assert_eq!((given, ends), (64 << 20, vec!["Broken".to_owned()]));
}

/// Drops the data of broken messages: how much of it is reported depends on the split, because an
/// inflater produces output in blocks.
fn without_broken_data(messages: Vec<CollectedEvent>) -> Vec<CollectedEvent> {
    let settle =
        |message| if let CollectedEvent::Broken(_) = message { broken("") } else { message };
    messages.into_iter().map(settle).collect()
}

proptest! {
    #[test]
    fn every_split_gives_the_same_messages(
        messages in prop::collection::vec(
            (prop::collection::vec("[a-z]{0,12}|x{126}|y{5000}", 1..4), any::<bool>(), any::<bool>(),
             prop::option::of(any::<[u8; 4]>())), 0..6),
        rest in prop::collection::vec(any::<u8>(), 0..12),
        cuts in cuts(),
    ) {
        let mut sender = Compress::new(Compression::default(), false);
        let (mut stream, mut expected) = (Vec::new(), Vec::new());
        for (fragments, is_text, compressed, mask) in &messages {
            let whole = fragments.concat();
            expected.push(if *is_text { text(&whole) } else { binary(&whole) });
            let sent = compressed.then(|| compress(&mut sender, whole.as_bytes()));
            let parts: Vec<&[u8]> = match &sent {
                Some(sent) => sent.chunks(sent.len() / fragments.len() + 1).collect(),
                None => fragments.iter().map(|fragment| fragment.as_bytes()).collect(),
            };
            for (at, part) in parts.iter().enumerate() {
                let opcode = if at > 0 { CONTINUATION } else if *is_text { TEXT } else { BINARY };
                let rsv1 = if *compressed && at == 0 { COMPRESSED } else { 0 };
                let fin = if at + 1 == parts.len() { FIN } else { 0 };
                stream.extend(frame(0x80 | PING, b"ping", *mask));
                stream.extend(frame(fin | rsv1 | opcode, part, *mask));
            }
        }
        prop_assert_eq!(&parse(true, &[&stream]), &expected);
        stream.extend(rest);
        let whole = without_broken_data(parse(true, &[&stream]));
        prop_assert!(whole.starts_with(&expected));
        prop_assert_eq!(&without_broken_data(parse(true, &cut(&stream, &cuts))), &whole);
        let single = parse(true, &stream.chunks(1).collect::<Vec<_>>());
        prop_assert_eq!(&without_broken_data(single), &whole);
    }

    #[test]
    fn no_input_panics(stream in prop::collection::vec(any::<u8>(), 0..200), deflate in any::<bool>()) {
        parse(deflate, &[&stream]);
    }
}
