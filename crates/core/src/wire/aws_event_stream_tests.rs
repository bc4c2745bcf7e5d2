use super::super::test_messages::*;
use super::*;
use proptest::prelude::*;

fn parse(parts: &[&[u8]]) -> Vec<CollectedEvent> {
    let (mut framer, mut messages) = (AwsEventStreamFramer::default(), FrameCollector::default());
    let mut sink = |event: FrameEvent<'_>| messages.add(event);
    parts.iter().for_each(|part| framer.push(part, &mut sink));
    framer.end(&mut sink);
    messages.finish()
}

/// Writes a header: its name, the type of its value, and the value.
fn header(name: &str, value_type: u8, value: &[u8]) -> Vec<u8> {
    [&[name.len() as u8], name.as_bytes(), &[value_type], value].concat()
}

fn text(name: &str, value: &str) -> Vec<u8> {
    let length = (value.len() as u16).to_be_bytes();
    header(name, 7, &[&length, value.as_bytes()].concat())
}

fn message(headers: &[Vec<u8>], payload: &[u8]) -> Vec<u8> {
    let headers = headers.concat();
    let total = (16 + headers.len() + payload.len()) as u32;
    let mut message = [total.to_be_bytes(), (headers.len() as u32).to_be_bytes()].concat();
    message.extend(crc32fast::hash(&message).to_be_bytes());
    message.extend(headers);
    message.extend(payload);
    message.extend(crc32fast::hash(&message).to_be_bytes());
    message
}

/// Writes a message as Bedrock does.
fn event(name: &str, payload: &str) -> Vec<u8> {
    let json = text(":content-type", "application/json");
    let headers = [text(":event-type", name), json, text(":message-type", "event")];
    message(&headers, payload.as_bytes())
}

fn whole(name: &str, data: &str) -> CollectedEvent {
    CollectedEvent::Whole(name.into(), data.into())
}

/// Two test vectors of Amazon's SDKs: an empty message and one with only a payload (aws-sdk-go,
/// private/protocol/eventstream/testdata).
#[test]
fn sdk_test_vectors_are_parsed() {
    let empty = [0, 0, 0, 16, 0, 0, 0, 0, 5, 0xc2, 0x48, 0xeb, 0x7d, 0x98, 0xc8, 0xff];
    assert_eq!(message(&[], b""), empty);
    assert_eq!(parse(&[&empty]), [plain("")]);
    let payload = message(&[], b"{'foo':'bar'}");
    assert_eq!(payload[..12], [0, 0, 0, 0x1d, 0, 0, 0, 0, 0xfd, 0x52, 0x8c, 0x5a]);
    assert_eq!(payload[25..], [0xc3, 0x65, 0x39, 0x36]);
    assert_eq!(parse(&[&payload]), [plain("{'foo':'bar'}")]);
}

#[test]
fn exceptions_and_errors_are_reported_as_errors() {
    let exception =
        [text(":exception-type", "throttlingException"), text(":message-type", "exception")];
    let error = [
        text(":message-type", "error"),
        text(":error-code", "InternalError"),
        text(":error-message", "x"),
    ];
    let stream = [
        event("messageStart", "{\"role\":\"assistant\"}"),
        message(&exception, b"{\"message\":\"Too many requests\"}"),
        message(&error, b""),
        event("messageStop", "{}"),
    ];
    let expected = [
        whole("messageStart", "{\"role\":\"assistant\"}"),
        CollectedEvent::Error(
            "throttlingException".into(),
            "{\"message\":\"Too many requests\"}".into(),
        ),
        CollectedEvent::Error("InternalError".into(), "".into()),
        whole("messageStop", "{}"),
    ];
    assert_eq!(parse(&[&stream.concat()]), expected);
}

#[test]
fn headers_of_every_type_are_skipped() {
    let headers = [
        header("true", 0, b""),
        header("false", 1, b""),
        header("byte", 2, b"\x01"),
        header("short", 3, b"\x01\x02"),
        header("int", 4, b"\x01\x02\x03\x04"),
        header("long", 5, &[7; 8]),
        header("bytes", 6, b"\x00\x03abc"),
        header("empty", 7, b"\x00\x00"),
        header("time", 8, &[8; 8]),
        header("uuid", 9, &[9; 16]),
        // Not the event's name, because the value is not a string.
        header(":event-type", 6, b"\x00\x01x"),
        text(":event-type", "chunk"),
        text(&"n".repeat(255), "x"),
    ];
    assert_eq!(parse(&[&message(&headers, b"data")]), [whole("chunk", "data")]);
    let long = "n".repeat(1000);
    assert_eq!(parse(&[&message(&[text(":event-type", &long)], b"")]), [whole(&long[..64], "")]);
}

#[test]
fn the_message_after_a_broken_one_is_read() {
    let broken = |data: &str| [CollectedEvent::Broken(data.into()), whole("a", "next")];
    let next = event("a", "next");
    let mut wrong = event("chunk", "{\"bytes\":\"\"}");
    *wrong.last_mut().unwrap() ^= 1;
    assert_eq!(parse(&[&wrong, &next]), broken("{\"bytes\":\"\"}"));
    let mut wrong = event("chunk", "{}");
    wrong[30] ^= 1;
    assert_eq!(parse(&[&wrong, &next]), broken("{}"));
    for bad in [
        header("x", 10, b""),
        header("", 0, b""),
        header("x", 7, b"\x00\x09short"),
        header("x", 9, b"short"),
        header("x", 7, b"\x00"),
        b"\x05x".to_vec(),
    ] {
        assert_eq!(parse(&[&message(&[bad], b"data"), &next]), broken("data"));
    }
}

#[test]
fn nothing_is_reported_after_a_wrong_prelude() {
    let prelude = |total: u32, headers: u32| {
        let mut bytes = [total.to_be_bytes(), headers.to_be_bytes()].concat();
        bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
        bytes
    };
    let mut wrong = event("a", "x");
    wrong[9] ^= 1;
    let mib = 1 << 20;
    for wrong in [
        wrong,
        prelude(15, 0),
        prelude(100, 85),
        prelude(24 * mib + 1, 0),
        prelude(mib, 128 * 1024 + 1),
        prelude(u32::MAX, u32::MAX),
    ] {
        let stream = [event("a", "x"), wrong, event("b", "y")].concat();
        assert_eq!(parse(&[&stream]), [whole("a", "x"), CollectedEvent::Broken("".into())]);
    }
    // The longest accepted message.
    assert_eq!(parse(&[&prelude(24 * mib, 128 * 1024)]), [CollectedEvent::Broken("".into())]);
    let mut framer = AwsEventStreamFramer::default();
    framer.push(&prelude(24 * mib, 128 * 1024), &mut |event| panic!("{event:?}"));
}

#[test]
fn a_truncated_message_is_broken() {
    let stream = event("a", "payload");
    for length in 1..stream.len() {
        let found = parse(&[&stream[..length]]);
        assert!(matches!(&found[..], [CollectedEvent::Broken(_)]), "{length}: {found:?}");
    }
}

#[test]
fn recorded_streams_have_the_labelled_number_of_events() {
    let streams = crate::wire::test_messages::recorded("aws-eventstream");
    for (id, body, events) in streams {
        for size in [1, 7, 1000, body.len()] {
            let mut found = 0;
            let mut framer = AwsEventStreamFramer::default();
            let mut sink = |event: FrameEvent<'_>| match event {
                FrameEvent::Data(_) | FrameEvent::ErrorField => {}
                FrameEvent::End { .. } => found += 1,
                FrameEvent::Broken => panic!("{id}: a broken message"),
            };
            body.chunks(size).for_each(|part| framer.push(part, &mut sink));
            framer.end(&mut sink);
            assert_eq!(found, events, "{id} in parts of {size}");
        }
    }
}

proptest! {
    #[test]
    fn every_split_gives_the_same_messages(
        parts in prop::collection::vec(("[:a-z]{0,70}", prop::bool::ANY, "[ -~]{0,30}"), 0..6),
        flip in prop::option::of((any::<usize>(), 0u8..8)),
        cuts in cuts(),
    ) {
        let write = |(name, error, payload): &(String, bool, String)| {
            let kind = if *error { "exception" } else { "event" };
            message(&[text(":event-type", name), text(":message-type", kind)], payload.as_bytes())
        };
        let mut stream = parts.iter().map(write).collect::<Vec<_>>().concat();
        if let (Some((at, bit)), false) = (flip, stream.is_empty()) {
            let at = at % stream.len();
            stream[at] ^= 1 << bit;
        }
        let whole = parse(&[&stream]);
        if flip.is_none() {
            prop_assert_eq!(whole.len(), parts.len());
        }
        prop_assert_eq!(&parse(&cut(&stream, &cuts)), &whole);
        prop_assert_eq!(&parse(&stream.chunks(1).collect::<Vec<_>>()), &whole);
    }

    #[test]
    fn no_input_panics(stream in prop::collection::vec(any::<u8>(), 0..200)) {
        parse(&[&stream]);
    }
}
