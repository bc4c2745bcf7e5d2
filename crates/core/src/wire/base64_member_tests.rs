use super::super::test_messages::*;
use super::*;
use proptest::prelude::*;

fn decode(parts: &[&[u8]]) -> (Base64Outcome, Vec<u8>) {
    let (mut member, mut decoded) = (Base64Member::default(), Vec::new());
    // A previous, unfinished object must not affect the result.
    member.push(b"{\"bytes\":\"QQ", &mut |_| {});
    assert_eq!(member.end(), Base64Outcome::Broken);
    for part in parts {
        member.push(part, &mut |part| decoded.extend_from_slice(part));
    }
    (member.end(), decoded)
}

#[test]
fn complete_absent_and_broken_members() {
    let whole: &[(&str, &str)] = &[
        // The test vectors of RFC 4648, section 10.
        (r#"{"bytes":"","p":"abc"}"#, ""),
        (r#"{"bytes":"Zg==","p":"abc"}"#, "f"),
        (r#"{"bytes":"Zm8=","p":"abc"}"#, "fo"),
        (r#"{"p":"abc","bytes":"Zm9v"}"#, "foo"),
        (r#" { "bytes" : "Zm9vYg==" } "#, "foob"),
        (r#"{"p":{"bytes":"QQ=="},"bytes":"Zm9vYmE="}"#, "fooba"),
        (r#"{"p":["bytes","bytes"],"bytes":"Zm9vYmFy"}"#, "foobar"),
        (r#"{"p":"bytes","bytes":"Zm9v","bytes":"QQ=="}"#, "foo"),
        (r#"{"x\"bytes":1,"p":"\\","bytes":"Zm9v"}"#, "foo"),
        (r#"{"byte":1,"bytess":2,"bytes":"Zm9v"}"#, "foo"),
        (r#"{"bytes":null,"bytes":"Zm9v"}"#, "foo"),
        (r#"{"bytes":"Zg\u003d\u003D"}"#, "f"),
        (r#"{"bytes":"Pz8\/"}"#, "???"),
        (r#"{"bytes":"Pz8_"}"#, "???"),
        (r#"{"bytes":"Zg"}"#, "f"),
        (r#"{"bytes":"Zm9v\nYmFy\r\n"}"#, "foobar"),
    ];
    for (object, expected) in whole {
        let expected = (Base64Outcome::Complete, expected.as_bytes().to_vec());
        assert_eq!(decode(&[object.as_bytes()]), expected, "{object}");
    }
    let absent = [
        "",
        "{}",
        "[]",
        "{\"p\":\"abc\"}",
        "{\"bytes\":1}",
        "{\"bytes\":[\"QQ==\"]}",
        "[\"bytes\",\"QQ==\"]",
        "[{\"bytes\":\"QQ==\"}]",
        "{\"bytes\",\"QQ==\"}",
        "{\"a\":\"bytes\":\"QQ==\"}",
        "}{\"bytes\":\"QQ==\"}",
        "{} {\"bytes\":\"QQ==\"}",
        "\"bytes\":\"QQ==\"",
    ];
    for object in absent {
        assert_eq!(decode(&[object.as_bytes()]), (Base64Outcome::Absent, vec![]), "{object}");
    }
    let broken = [
        (r#"{"bytes":"Zm9v"#, "foo"),
        (r#"{"bytes":"Zm9vY"}"#, "foo"),
        (r#"{"bytes":"Zm9vYh"}"#, "foob"),
        (r#"{"bytes":"Zm9v.Zm9v"}"#, "foo"),
        (r#"{"bytes":"Zg==Zg=="}"#, "f"),
        (r#"{"bytes":"Zm9v\u0"#, "foo"),
        (r#"{"bytes":"Zm9v\u00xx"}"#, "foo"),
        (r#"{"bytes":"Zm9v\u0141"}"#, "foo"),
        (r#"{"bytes":"Zm9v\"}"#, "foo"),
        (r#"{"bytes":"Zm9v\tbtA"}"#, "foo"),
    ];
    for (object, expected) in broken {
        let expected = (Base64Outcome::Broken, expected.as_bytes().to_vec());
        assert_eq!(decode(&[object.as_bytes()]), expected, "{object}");
    }
}

#[test]
fn recorded_chunks_decode_to_json_documents() {
    use crate::wire::FrameEvent;
    use crate::wire::aws_event_stream::AwsEventStreamFramer;
    let mut chunks = 0;
    for (id, body, _) in recorded("aws-eventstream") {
        let mut framer = AwsEventStreamFramer::default();
        let (mut member, mut document) = (Base64Member::default(), Vec::new());
        framer.push(&body, &mut |event| match event {
            FrameEvent::Data(data) => {
                member.push(data, &mut |part| document.extend_from_slice(part))
            }
            FrameEvent::End { name: b"chunk" } if id.starts_with("bedrock-invoke") => {
                assert_eq!(member.end(), Base64Outcome::Complete, "{id}");
                serde_json::from_slice::<serde_json::Value>(&std::mem::take(&mut document))
                    .unwrap_or_else(|error| panic!("{id}: {error}"));
                chunks += 1;
            }
            _ => drop(member.end()),
        });
    }
    assert!(chunks > 100 || std::env::var_os("STREAMGAUGE_CORPUS").is_none(), "{chunks}");
}

/// Encodes `bytes` in base64 without padding.
fn encode(bytes: &[u8]) -> String {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let letters = bytes.chunks(3).flat_map(|three| {
        let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - three.len()));
        (0..=three.len()).map(move |at| alphabet[(bits >> (18 - 6 * at)) as usize & 63])
    });
    letters.map(char::from).collect()
}

proptest! {
    #[test]
    fn encoded_bytes_decode_in_every_split(
        before in r#"("[a-z]{0,8}":("[a-z]{0,8}"|[0-9]|\{\}|\["bytes"\]),){0,3}"#,
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
        cuts in cuts(),
    ) {
        prop_assume!(!before.contains("\"bytes\":"));
        let object = format!("{{{before}\"bytes\":\"{}\"}}", encode(&bytes)).into_bytes();
        let expected = (Base64Outcome::Complete, bytes);
        prop_assert_eq!(&decode(&cut(&object, &cuts)), &expected);
        prop_assert_eq!(&decode(&object.chunks(1).collect::<Vec<_>>()), &expected);
    }

    #[test]
    fn every_split_gives_the_same_result(
        parts in prop::collection::vec(
            prop_oneof![
                Just("{"), Just("}"), Just("["), Just("]"), Just("\""), Just("\\"), Just(","),
                Just(":"), Just("bytes"), Just("\"bytes\":\""), Just("Zm9v"), Just("="),
                Just("\\u003d"), Just("\\/"), Just(" "), Just("x"),
            ], 0..40),
        cuts in cuts(),
    ) {
        let object = ("{".to_owned() + &parts.concat()).into_bytes();
        let whole = decode(&[&object]);
        prop_assert_eq!(&decode(&cut(&object, &cuts)), &whole);
        prop_assert_eq!(&decode(&object.chunks(1).collect::<Vec<_>>()), &whole);
    }
}
