use super::*;
use crate::dialect::test_support::describe_events;

/// Dialect of these places.
fn dialect(is_cumulative: bool, places: &[(ApiValue, &str)]) -> &'static Dialect {
    let mut dialect = CustomDialect::new(is_cumulative);
    for (value, place) in places {
        dialect.add(*value, place).unwrap_or_else(|error| panic!("{place}: {error}"));
    }
    dialect.leak("acme")
}

#[track_caller]
fn assert_read(dialect: &'static Dialect, stream: &[(&str, &str)]) {
    let events: Vec<&str> = stream.iter().map(|(event, _)| *event).collect();
    for ((event, expected), found) in stream.iter().zip(describe_events(dialect, &events)) {
        assert_eq!(found, *expected, "{event}");
    }
}

#[test]
fn every_value_is_read_at_its_place() {
    use ApiValue::*;
    let acme = dialect(
        false,
        &[
            (Text, "/out/*/text"),
            (Text, "/answer"),
            (Reasoning, "/out/*/thought"),
            (ToolName, "/out/0/call/name"),
            (ToolArguments, "/out/-/call/args"),
            (InputTokens, "/usage/in"),
            (OutputTokens, "/usage/out"),
            (CachedTokens, "/usage/cached"),
            (ReasoningTokens, "/usage/a~1b~0c"),
            (Model, "/model"),
            (FinishReason, "/reason"),
            (Error, "/error"),
            (End, "/last"),
        ],
    );
    assert_eq!((acme.name, acme.stream_end), ("acme", StreamEnd::Event));
    assert_read(
        acme,
        &[
            (r#"{"model":"m","out":[{"text":"Hi"},{"text":" you"}]}"#, "answer 6, model m"),
            (r#"{"answer":"abc","out":[]}"#, "answer 3"),
            (r#"{"out":[{"thought":"hm"}]}"#, "reasoning 2"),
            (r#"{"out":[{"call":{"name":"f"}}]}"#, "output"),
            (r#"{"out":[{"call":{"args":{"a":1}}}]}"#, "tool 7"),
            (r#"{"out":[{"call":{"args":"{}"}}]}"#, "tool 2"),
            (
                r#"{"usage":{"in":9,"out":5,"cached":4,"a/b~c":3}}"#,
                "input 9, cached 4, output 5, reasoned 3",
            ),
            // Servers that do not count send zeros.
            (r#"{"usage":{"in":0,"out":0}}"#, ""),
            (r#"{"reason":"stop","last":false}"#, "ends as stop"),
            (r#"{"error":{"message":"no"}}"#, "error"),
            (r#"{"error":null,"last":null}"#, ""),
            (r#"{"last":true}"#, "done"),
            ("[DONE]", "done"),
            ("{", "unparsed"),
        ],
    );
}

#[test]
fn an_end_can_be_a_value_or_a_text() {
    use ApiValue::*;
    let any = dialect(false, &[(End, "/end")]);
    for (event, expected) in [
        (r#"{"end":"x"}"#, "done"),
        (r#"{"end":0}"#, "done"),
        (r#"{"end":{}}"#, "done"),
        (r#"{"end":[]}"#, "done"),
        (r#"{"end":""}"#, ""),
        (r#"{"end":false}"#, ""),
        (r#"{}"#, ""),
    ] {
        assert_read(any, &[(event, expected)]);
    }
    let text = dialect(false, &[(End, "/type=done"), (End, "/type=failed"), (Text, "/t")]);
    assert_read(
        text,
        &[
            (r#"{"type":"token","t":"a"}"#, "answer 1"),
            (r#"{"type":"failed"}"#, "done"),
            (r#"{"type":"done"}"#, "done"),
            (r#"{"type":true}"#, ""),
        ],
    );
    // One place for the finish reason and for the end, in any order.
    for places in [[(End, "/why"), (FinishReason, "/why")], [(FinishReason, "/why"), (End, "/why")]]
    {
        let both = dialect(false, &places);
        assert_eq!(both.stream_end, StreamEnd::Event);
        assert_read(both, &[(r#"{"why":null}"#, ""), (r#"{"why":"stop"}"#, "ends as stop")]);
    }
    assert_eq!(dialect(false, &[(Text, "")]).stream_end, StreamEnd::Body);
}

#[test]
fn a_document_can_be_a_value_and_a_list() {
    use ApiValue::*;
    assert_read(dialect(false, &[(Text, "")]), &[(r#""Hello""#, "answer 5"), (r#"{"a":1}"#, "")]);
    let list = dialect(false, &[(Text, "/content"), (Text, "/content/*/text")]);
    assert_read(
        list,
        &[(r#"{"content":"abc"}"#, "answer 3"), (r#"{"content":[{"text":"ab"}]}"#, "answer 2")],
    );
}

#[test]
fn a_condition_decides_on_text() {
    use ApiValue::*;
    let events = dialect(
        false,
        &[
            (Text, "/content[type=message.delta]"),
            (Reasoning, "/content[type=reasoning.delta]"),
            (End, "/type=chat.end"),
            (Text, "/output/*/content[type=message]"),
            (Reasoning, "/output/*/content[type=reasoning]"),
        ],
    );
    assert_read(
        events,
        &[
            (r#"{"type":"reasoning.delta","content":"hm"}"#, "reasoning 2"),
            // The members can have any order.
            (r#"{"content":"Hello","type":"message.delta"}"#, "answer 5"),
            (r#"{"type":"message.summary","content":"Hello"}"#, ""),
            (r#"{"content":"Hello"}"#, ""),
            (r#"{"type":"chat.end","content":"Hello"}"#, "done"),
            // An object can contain others with conditions of their own.
            (
                r#"{"content":"ab","output":[{"type":"reasoning","content":"c"}],"type":"message.delta"}"#,
                "answer 2, reasoning 1",
            ),
            (
                r#"{"output":[{"type":"reasoning","content":"hm"},{"type":"message","content":"abc"},
                    {"content":"no type"}]}"#,
                "answer 3, reasoning 2",
            ),
        ],
    );
    // The end can come before the condition.
    let other = dialect(false, &[(End, "/type=end"), (Text, "/text[type=token]")]);
    assert_read(
        other,
        &[
            (r#"{"type":"token","text":"ab"}"#, "answer 2"),
            (r#"{"type":"end","text":"ab"}"#, "done"),
        ],
    );
}

#[test]
fn cumulative_texts_count_once() {
    use ApiValue::*;
    let cumulative = dialect(
        true,
        &[(Text, "/t"), (Reasoning, "/r"), (ToolArguments, "/a"), (ToolName, "/n"), (End, "/end")],
    );
    assert_read(
        cumulative,
        &[
            (r#"{"r":"hm"}"#, "reasoning 2"),
            (r#"{"r":"hm hm","t":"A"}"#, "answer 1, reasoning 3"),
            (r#"{"r":"hm hm","t":"A b","n":"f"}"#, "answer 2"),
            (r#"{"r":"hm hm","t":"A b","n":"f"}"#, ""),
            (r#"{"t":"A b","n":"f","a":"{}"}"#, "tool 2"),
            (r#"{"t":"A"}"#, ""),
            (r#"{"t":"A b c","end":true}"#, "answer 2, done"),
        ],
    );
    // The name of a tool alone is output.
    let cumulative = dialect(true, &[(ToolName, "/n")]);
    assert_read(cumulative, &[(r#"{"n":"f"}"#, "output"), (r#"{"n":"f"}"#, "")]);
}

#[test]
fn places_that_cannot_be_used() {
    use ApiValue::*;
    let error = |places: &[(ApiValue, &str)]| {
        let mut dialect = CustomDialect::default();
        let mut added = places.iter().map(|(value, place)| dialect.add(*value, place));
        added.find_map(Result::err)
    };
    let long = "x".repeat(41);
    for (place, expected) in [
        ("text", PlaceError::NoSlash),
        ("$.text", PlaceError::NoSlash),
        ("/a~", PlaceError::Escape),
        ("/a~2b", PlaceError::Escape),
        ("/1/2/3/4/5/6/7/8/9/10/11/12", PlaceError::TooDeep(12)),
        (&format!("/{long}"), PlaceError::LongName(long.clone())),
        ("/a\"b", PlaceError::EscapedName("a\"b".into())),
    ] {
        assert_eq!(error(&[(Text, place)]), Some(expected), "{place}");
    }
    assert_eq!(error(&[(Text, "/a"), (Text, "/a")]), None);
    assert_eq!(error(&[(Text, "/a"), (Model, "/a")]), Some(PlaceError::Taken("text")));
    assert_eq!(error(&[(Text, "/a/0"), (Reasoning, "/a/*")]), Some(PlaceError::Taken("text")));
    assert_eq!(
        error(&[(FinishReason, "/a"), (End, "/a=x")]),
        Some(PlaceError::Taken("finish_reason"))
    );
    for (places, expected) in [
        (vec![(Text, "/a]")], PlaceError::Condition),
        (vec![(Text, "/a[b]")], PlaceError::Condition),
        (vec![(Text, "[b=c]")], PlaceError::Condition),
        (vec![(Text, "/a/0[b=c]")], PlaceError::Condition),
        (vec![(Text, "/b[b=c]")], PlaceError::Condition),
        (vec![(Model, "/a[b=c]")], PlaceError::NotConditional),
        (vec![(Text, "/a[b=c]"), (Text, "/x[b=d]")], PlaceError::Conditions),
        (vec![(Text, "/a[b=c]"), (Text, "/a[x=c]")], PlaceError::Conditions),
        (vec![(Text, "/a[b=c]"), (Text, "/a")], PlaceError::Taken("text with a condition")),
        (vec![(Text, "/a[b=c]"), (Model, "/b")], PlaceError::Taken("a condition")),
        (vec![(Text, "/a"), (Reasoning, "/a[b=c]")], PlaceError::Taken("text")),
        (vec![(End, "/b"), (Text, "/a[b=c]")], PlaceError::Taken("end")),
    ] {
        assert_eq!(error(&places), Some(expected), "{places:?}");
    }
    let inside = Some(PlaceError::InsideArguments);
    assert_eq!(error(&[(ToolArguments, "/a"), (Text, "/a/b")]), inside);
    assert_eq!(error(&[(Text, "/a/b"), (ToolArguments, "/a")]), inside);
}

/// The longest pointer reaches its value, also an object.
#[test]
fn the_deepest_place_is_read() {
    let names: Vec<String> = (0..MAX_STEPS).map(|step| format!("n{step}")).collect();
    let pointer = format!("/{}", names.join("/"));
    let document = |value: &str| {
        names.iter().rev().fold(value.to_owned(), |inner, name| format!("{{\"{name}\":{inner}}}"))
    };
    let text = dialect(false, &[(ApiValue::Text, &pointer)]);
    assert_read(text, &[(&document("\"ab\""), "answer 2")]);
    let arguments = dialect(false, &[(ApiValue::ToolArguments, &pointer)]);
    assert_read(arguments, &[(&document("{\"a\":1}"), "tool 7")]);
}

#[test]
fn keys_are_unique() {
    let mut keys: Vec<&str> = ApiValue::VARIANTS.iter().map(|value| value.key()).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), ApiValue::VARIANTS.len());
}
