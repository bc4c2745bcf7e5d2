//! Tables and properties of the scanner, held against `serde_json`.

use super::*;
use proptest::prelude::*;

#[derive(Debug, Clone, Copy, PartialEq)]
enum TestTag {
    Root,
    A,
    List,
    Item,
    Kept,
    Deep,
    Whole,
}

static DEEP: JsonNode<TestTag> = JsonNode::object(TestTag::Deep, &[("a", &A)]);
static A: JsonNode<TestTag> = JsonNode::scalar(TestTag::A);
static KEPT: JsonNode<TestTag> = JsonNode::text(TestTag::Kept);
static ITEM: JsonNode<TestTag> = JsonNode {
    strings: StringMode::Keep,
    items: Some(&A),
    ..JsonNode::object(TestTag::Item, &[("a", &A)])
};
static LIST: JsonNode<TestTag> = JsonNode::array(TestTag::List, &ITEM);
static ROOT: JsonNode<TestTag> = JsonNode::object(
    TestTag::Root,
    &[
        ("a", &A),
        ("list", &LIST),
        ("kept", &KEPT),
        ("deep", &DEEP),
        ("whole", &JsonNode::raw(TestTag::Whole)),
    ],
);

fn scan(parts: &[&[u8]]) -> (Vec<String>, Result<(), ScanError>) {
    let mut scanner = JsonScanner::new(&ROOT);
    let mut found = Vec::new();
    let mut sink = |tag: TestTag, token: ScanEvent<'_>| {
        found.push(match token {
            ScanEvent::Text { chars, text, valid } => {
                let (text, validity) =
                    (String::from_utf8_lossy(text), if valid { "" } else { "!" });
                format!("{tag:?}={chars}{validity}:{text}")
            }
            token => format!("{tag:?}={token:?}"),
        });
    };
    parts.iter().for_each(|part| scanner.push(part, &mut sink));
    let end = scanner.end(&mut sink);
    (found, end)
}

fn found(document: &str) -> String {
    let (found, end) = scan(&[document.as_bytes()]);
    assert_eq!(end, Ok(()), "{document}");
    found.join(" ")
}

#[test]
fn selected_values_are_reported() {
    let cases = [
        (r#"{"a":1}"#, "Root=Open A=Number(1.0) Root=Close"),
        (r#" { "b" : {"a":1} , "a" : "x\ny" } "#, "Root=Open A=3: Root=Close"),
        (r#"{"a":null,"kept":true}"#, "Root=Open A=Null Kept=Bool(true) Root=Close"),
        (
            r#"{"kept":"\u0041\ud83d\ude00\ud83d\"\\"}"#,
            "Root=Open Kept=5:A\u{1f600}\"\\ Root=Close",
        ),
        (r#"{"kept":"\udc00x"}"#, "Root=Open Kept=2:\u{fffd}x Root=Close"),
        (
            r#"{"list":["s",{"a":2,"z":[{"a":9}]},[3],[[4]],-1.5e2]}"#,
            "Root=Open List=Open Item=1:s Item=Open A=Number(2.0) Item=Close Item=Open A=Number(3.0) \
             Item=Close Item=Open A=Open A=Close Item=Close Item=Number(-150.0) List=Close Root=Close",
        ),
        (r#"{"x":[[],{},"]}",{"a":[1]}],"a":NaN}"#, "Root=Open A=Null Root=Close"),
        (r#"{"x":-Infinity,"a":[]}"#, "Root=Open A=Open A=Close Root=Close"),
        (r#"{"\u0061":1,"aa":2,"":3}"#, "Root=Open Root=Close"),
        (
            r#"{"deep":{"a":1,"deep":{"a":2}}}"#,
            "Root=Open Deep=Open A=Number(1.0) Deep=Close Root=Close",
        ),
        ("[1,2]", "Root=Open Root=Close"),
        ("\"text\"", "Root=4:"),
        ("17", "Root=Number(17.0)"),
    ];
    for (document, expected) in cases {
        assert_eq!(found(document), expected, "{document}");
    }
}

#[test]
fn malformed_documents_are_errors() {
    let deep = "[".repeat(MAX_DEPTH + 1);
    let cases = [
        ("", ScanError::Incomplete),
        ("{", ScanError::Incomplete),
        (r#"{"a":1"#, ScanError::Incomplete),
        (r#"{"a":"x"#, ScanError::Incomplete),
        (r#"{"a"}"#, ScanError::Syntax),
        (r#"{"a":1]"#, ScanError::Syntax),
        (r#"{"a":1,}"#, ScanError::Syntax),
        (r#"{a:1}"#, ScanError::Syntax),
        (r#"{"a":1}x"#, ScanError::Syntax),
        (r#"{"a":"\x"}"#, ScanError::Syntax),
        (r#"{"a":"\u12G4"}"#, ScanError::Syntax),
        (r#"{"a":1}{"a":2}"#, ScanError::Syntax),
        (&deep, ScanError::TooDeep),
    ];
    for (document, expected) in cases {
        assert_eq!(scan(&[document.as_bytes()]).1, Err(expected), "{document}");
    }
}

#[test]
fn numbers_are_parsed() {
    let digits = |count: usize| "1234567890".repeat(5)[..count].to_owned();
    let cases = [
        ("007".to_owned(), Some(7.0)),
        ("-0".to_owned(), Some(-0.0)),
        ("+5".to_owned(), Some(5.0)),
        (digits(15), Some(123_456_789_012_345.0)),
        (digits(16), Some(1_234_567_890_123_456.0)),
        (digits(40), Some(1.234_567_890_123_456_8e39)),
        // Too long to be a count.
        (digits(41), None),
        ("1e999".to_owned(), None),
        ("1x".to_owned(), None),
    ];
    for (number, value) in cases {
        let document = format!(r#"{{"list":[true],"a":{number}}}"#);
        let value = value.map_or(ScanEvent::Null, ScanEvent::Number);
        for size in 1..document.len() {
            let parts: Vec<&[u8]> = document.as_bytes().chunks(size).collect();
            assert_eq!(scan(&parts).0[4], format!("A={value:?}"), "{number} in parts of {size}");
        }
    }
}

#[test]
fn invalid_utf8_is_counted_and_reported() {
    let (found, end) = scan(&[b"{\"a\":\"x\xff\xe2\x82\",\"kept\":\"ok\"}"]);
    assert_eq!(end, Ok(()));
    assert_eq!(found, ["Root=Open", "A=3!:", "Kept=2:ok", "Root=Close"]);
}

#[test]
fn a_long_text_is_counted_completely_and_truncated() {
    let document = format!(r#"{{"kept":"{}"}}"#, "x".repeat(100_000));
    let (found, _) = scan(&[document.as_bytes()]);
    assert_eq!(found[1], format!("Kept=100000:{}", "x".repeat(MAX_TEXT)));
}

#[test]
fn the_scanner_is_reusable_after_any_document() {
    let mut scanner = JsonScanner::new(&ROOT);
    for broken in ["{\"list\":[[", "{\"a\":\"x", "}", "{\"a\":1}"] {
        scanner.push(broken.as_bytes(), &mut |_, _| {});
        let _ = scanner.end(&mut |_, _| {});
        let mut count = 0;
        scanner.push(b"{\"a\":7}", &mut |tag, token| {
            count += usize::from(tag == TestTag::A && token == ScanEvent::Number(7.0));
        });
        assert_eq!(scanner.end(&mut |_, _| {}), Ok(()), "after {broken}");
        assert_eq!(count, 1, "after {broken}");
    }
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::vec(("(a|list|kept|deep|x|\\PC{0,3})", inner), 0..6)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

fn any_cuts() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(any::<usize>(), 0..8)
}

/// Generates the content of a string, valid or not.
fn any_text() -> impl Strategy<Value = Vec<u8>> {
    const PARTS: [&[u8]; 24] = [
        b"a",
        b"words of ASCII, more than eight",
        "\u{e9}".as_bytes(),
        "\u{5b66}\u{4e60}".as_bytes(),
        "\u{1f600}".as_bytes(),
        b"\\n",
        b"\\\"",
        b"\\\\",
        b"\\/",
        b"\\u00e9",
        b"\\u0007",
        b"\\ud83d\\ude00",
        b"\\ud83d",
        b"\\ude00",
        b"\\ud83d\\n",
        b"{}[]:,",
        b"\x00\x7f",
        b"\xe2\x82",
        b"\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\\x",
        b"\\u12G4",
        b"\"",
    ];
    // Escapes at the end break the document.
    let (good, bad) = PARTS.split_at(17);
    let good = proptest::sample::select(good);
    let part = prop_oneof![20 => good, 1 => proptest::sample::select(bad)];
    proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

/// Checks that the document scans the same in these parts and byte by byte.
fn assert_every_split_scans_the_same(
    document: &[u8],
    cuts: &[usize],
    whole: &(Vec<String>, Result<(), ScanError>),
) -> Result<(), TestCaseError> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (document.len() + 1)).collect();
    cuts.sort_unstable();
    let mut parts = Vec::new();
    let mut from = 0;
    for cut in cuts {
        parts.push(&document[from..cut]);
        from = cut;
    }
    parts.push(&document[from..]);
    prop_assert_eq!(&scan(&parts), whole);
    let bytes: Vec<&[u8]> = document.chunks(1).collect();
    prop_assert_eq!(&scan(&bytes), whole);
    Ok(())
}

proptest! {
    #[test]
    fn any_document_scans_as_serde_json_parses(json in any_json(), cuts in any_cuts()) {
        let document = json.to_string().into_bytes();
        let whole = scan(&[&document]);
        prop_assert_eq!(whole.1, Ok(()));
        if let Some(text) = json.get("kept").and_then(|kept| kept.as_str()) {
            let expected = format!("Kept={}:{text}", text.chars().count());
            prop_assert!(whole.0.contains(&expected), "{:?} lacks {}", whole.0, expected);
        }
        assert_every_split_scans_the_same(&document, &cuts, &whole)?;
    }

    #[test]
    fn any_strings_scan_the_same_in_every_split(key in any_text(), text in any_text(), after in any_text(), cuts in any_cuts()) {
        let document = [b"{\"kept\":\"", &text[..], b"\",\"", &key, b"\":\"", &text, b"\",\"list\":[\"", &after,
            b"\"],\"whole\":{\"", &key, b"\":\"", &text, b"\"},\"a\":\"", &text, b"\"}"].concat();
        let whole = scan(&[&document]);
        assert_every_split_scans_the_same(&document, &cuts, &whole)?;
        let quoted = [b"\"", &text[..], b"\""].concat();
        if let Ok(text) = serde_json::from_slice::<String>(&quoted) {
            let chars = text.chars().count();
            prop_assert_eq!(&whole.0[1], &format!("Kept={chars}:{text}"));
        }
    }

    #[test]
    fn malformed_documents_scan_the_same_in_every_split(json in any_json(), at in any::<usize>(), put in any_text(), cut in 0usize..4, cuts in any_cuts()) {
        let mut document = json.to_string().into_bytes();
        let at = at % (document.len() + 1);
        document.splice(at..document.len().min(at + cut), put);
        assert_every_split_scans_the_same(&document, &cuts, &scan(&[&document]))?;
    }

    #[test]
    fn documents_that_serde_json_rejects_are_rejected(mut document in any_json().prop_map(|json| json.to_string().into_bytes()), at in any::<usize>(), byte in prop_oneof![Just(b'{'), Just(b'}'), Just(b'['), Just(b']'), Just(b':'), Just(b'"')]) {
        // The structure is checked completely, so a stray bracket, colon or quote is always
        // detected.
        let at = at % (document.len() + 1);
        document.insert(at, byte);
        if scan(&[&document]).1.is_ok() {
            // A byte inserted into a character breaks the encoding, which is reported separately.
            let text = String::from_utf8_lossy(&document);
            prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{}", text);
        }
    }
}

#[test]
fn a_container_is_counted_as_a_whole() {
    // As serde_json writes it without white space, in Unicode scalar values.
    for value in [
        "{}",
        "[]",
        r#"{"city": "Tokyo, Japan"}"#,
        r#"{ "a" : [1, -2.5, true, null, [], {"b": {}}] , "whole": {"a": 1} }"#,
        "{\"k\u{e9}y\": \"\u{1f600} \\n \\u00e9 \\u0001 \\/ \\\" \\\\ \\u0022\"}",
        r#"["\ud83d\ude00", "a\tb"]"#,
    ] {
        let parsed: serde_json::Value = serde_json::from_str(value).unwrap();
        let chars = serde_json::to_string(&parsed).unwrap().chars().count();
        let document = format!(r#"{{"whole": {value}, "a": 7}}"#);
        let expected = format!(
            "Root=Open Whole=Open Whole=Raw {{ chars: {chars} }} Whole=Close A=Number(7.0) Root=Close"
        );
        for size in [1, 3, 1000] {
            let parts: Vec<&[u8]> = document.as_bytes().chunks(size).collect();
            assert_eq!(scan(&parts).0.join(" "), expected, "{value} in parts of {size}");
        }
    }
    assert_eq!(found(r#"{"whole":"text"}"#), "Root=Open Whole=4: Root=Close");
}
