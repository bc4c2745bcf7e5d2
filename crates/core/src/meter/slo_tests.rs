use super::*;
use proptest::prelude::*;

fn class(limits: &[(Target, f64)]) -> SloClass {
    SloClass {
        name: "class".into(),
        models: Vec::new(),
        operations: Vec::new(),
        upstreams: Vec::new(),
        limits: of(limits),
        sizes: Vec::new(),
    }
}

fn of(limits: &[(Target, f64)]) -> Limits {
    Limits::of(|target| limits.iter().find(|(one, _)| *one == target).map(|(_, limit)| *limit))
}

/// A stream that was answered in good time: first token after 1 s, last after 3, 21 tokens, 0.1 s each.
fn stream() -> Record {
    Record {
        operation: "chat",
        dialect: Some("openai-chat"),
        upstream: "gpu".into(),
        model: Some("m".into()),
        stream: true,
        ttft_s: Some(1.0),
        tpot_s: Some(0.1),
        latency_s: Some(3.0),
        max_gap_s: Some(0.2),
        duration_s: 3.5,
        input_tokens: Some(100),
        output_tokens: Some(21),
        ..Record::default()
    }
}

fn document() -> Record {
    let none = None;
    Record {
        stream: false,
        ttft_s: none,
        tpot_s: none,
        latency_s: none,
        max_gap_s: none,
        ..stream()
    }
}

#[test]
fn each_target_alone() {
    use Target::{Latency, MaxGap, Normalized, Tpot, Ttft};
    let silent =
        Record { ttft_s: None, tpot_s: None, latency_s: None, max_gap_s: None, ..stream() };
    let cases = [
        // What it takes, exactly at the limit and just below it.
        (stream(), Ttft, Some(1.0)),
        (stream(), Tpot, Some(0.1)),
        (stream(), Latency, Some(3.0)),
        (stream(), MaxGap, Some(0.2)),
        (stream(), Normalized, Some(3.5 / 21.0)),
        (document(), Ttft, None),
        (document(), Tpot, None),
        (document(), Latency, Some(3.5)),
        (document(), MaxGap, None),
        (document(), Normalized, Some(3.5 / 21.0)),
        (Record { output_tokens: None, ..document() }, Normalized, None),
        (Record { output_tokens: Some(0), ..document() }, Normalized, None),
        // A stream that ended well and never had an output.
        (silent.clone(), Ttft, Some(3.5)),
        (silent.clone(), Latency, Some(3.5)),
        (silent.clone(), MaxGap, None),
        (silent, Tpot, None),
        (Record { operation: "realtime", ..stream() }, Ttft, None),
        (Record { operation: "realtime", ..stream() }, Latency, None),
        (Record { operation: "realtime", ..stream() }, Normalized, None),
        (Record { operation: "realtime", ..stream() }, MaxGap, Some(0.2)),
    ];
    for (record, target, takes) in cases {
        let judged = |limit: f64| class(&[(target, limit)]).judge(&record, Outcome::Ok);
        match takes {
            Some(takes) => {
                assert_eq!(judged(takes), Met::True, "{target:?} {record:?}");
                assert_eq!(judged(takes - 1e-9), Met::False, "{target:?} {record:?}");
            }
            None => assert_eq!(judged(1e-9), Met::True, "{target:?} {record:?}"),
        }
    }
}

#[test]
fn targets_are_met_jointly() {
    let limits = [(Target::Ttft, 1.0), (Target::Tpot, 0.1)];
    let judge = |record: &Record| class(&limits).judge(record, Outcome::Ok);
    assert_eq!(judge(&stream()), Met::True);
    assert_eq!(judge(&Record { ttft_s: Some(1.1), ..stream() }), Met::False);
    assert_eq!(judge(&Record { tpot_s: Some(0.11), ..stream() }), Met::False);
    assert_eq!(judge(&Record { tpot_s: None, ..stream() }), Met::True);
}

#[test]
fn outcomes() {
    use Outcome::*;
    for outcome in Outcome::ALL {
        let expected = match outcome {
            Ok => Met::True,
            ClientError | ClientGoneBeforeHead | ClientGoneBeforeToken | ClientGoneMidStream => {
                Met::Undecided
            }
            _ => Met::False,
        };
        let generous = class(&[(Target::Ttft, 100.0)]);
        assert_eq!(generous.judge(&stream(), outcome), expected, "{outcome:?}");
        let strict = class(&[(Target::Ttft, 0.5)]);
        let expected = if outcome == ClientError { Met::Undecided } else { Met::False };
        assert_eq!(strict.judge(&stream(), outcome), expected, "{outcome:?}");
    }
}

#[test]
fn clients_that_left() {
    use Outcome::{ClientGoneBeforeHead, ClientGoneBeforeToken, ClientGoneMidStream};
    use Target::{Latency, MaxGap, Normalized, Tpot, Ttft};
    let waited = |duration_s| Record {
        ttft_s: None,
        tpot_s: None,
        latency_s: None,
        max_gap_s: None,
        output_tokens: None,
        duration_s,
        ..stream()
    };
    let left = |duration_s| Record { duration_s, ..stream() };
    let cases = [
        (waited(6.0), ClientGoneBeforeToken, Ttft, 5.0, Met::False),
        (waited(6.0), ClientGoneBeforeHead, Ttft, 5.0, Met::False),
        (waited(4.0), ClientGoneBeforeToken, Ttft, 5.0, Met::Undecided),
        (waited(6.0), ClientGoneBeforeToken, Latency, 5.0, Met::False),
        (waited(6.0), ClientGoneBeforeToken, MaxGap, 1.0, Met::Undecided),
        (waited(6.0), ClientGoneBeforeToken, Tpot, 0.1, Met::Undecided),
        (left(3.1), ClientGoneMidStream, Ttft, 1.0, Met::Undecided),
        (left(3.1), ClientGoneMidStream, Ttft, 0.9, Met::False),
        (left(3.1), ClientGoneMidStream, Tpot, 0.09, Met::False),
        // The last output came after 3 s, and the next one had not come when it left.
        (left(3.4), ClientGoneMidStream, Latency, 3.3, Met::False),
        // The longest gap holds the one that was open then, but for the time in which the client took nothing.
        (left(9.0), ClientGoneMidStream, MaxGap, 0.25, Met::Undecided),
        (left(9.0), ClientGoneMidStream, MaxGap, 0.15, Met::False),
        // It would have fallen.
        (left(3.4), ClientGoneMidStream, Normalized, 0.01, Met::Undecided),
        // It did not ask for a stream, and the answer is not there yet.
        (Record { duration_s: 6.0, ..document() }, ClientGoneBeforeHead, Ttft, 5.0, Met::Undecided),
        (Record { duration_s: 6.0, ..document() }, ClientGoneBeforeHead, Latency, 5.0, Met::False),
    ];
    for (record, outcome, target, limit, expected) in cases {
        let judged = class(&[(target, limit)]).judge(&record, outcome);
        assert_eq!(judged, expected, "{target:?} of {limit}: {outcome:?} {record:?}");
    }
}

#[test]
fn what_could_not_be_read_is_undecided() {
    let unread = Record { ttft_s: None, unparsed: 1, duration_s: 60.0, ..stream() };
    let class = class(&[(Target::Ttft, 5.0)]);
    assert_eq!(class.judge(&unread, Outcome::Ok), Met::Undecided);
    assert_eq!(class.judge(&unread, Outcome::ClientGoneMidStream), Met::Undecided);
    assert_eq!(
        class.judge(&unread, Outcome::Truncated),
        Met::False,
        "that it broke off is certain"
    );
    let opaque = Record { ttft_s: None, dialect: None, duration_s: 60.0, ..stream() };
    assert_eq!(
        class.judge(&opaque, Outcome::Ok),
        Met::Undecided,
        "nobody reads what its route answers"
    );
    let in_part = Record { unparsed: 1, ..stream() };
    assert_eq!(class.judge(&in_part, Outcome::Ok), Met::True);
    let session = Record { operation: "realtime", ..unread };
    assert_eq!(class.judge(&session, Outcome::Ok), Met::True);
}

#[test]
fn sizes_go_before_the_class() {
    let mut class = class(&[(Target::Ttft, 5.0), (Target::Tpot, 0.2)]);
    let size =
        |up_to_tokens, ttft| SizeLimits { up_to_tokens, limits: of(&[(Target::Ttft, ttft)]) };
    class.sizes = vec![size(100, 0.5), size(1000, 2.0)];
    let ttft = |tokens| class.limits(tokens).get(Target::Ttft);
    assert_eq!(ttft(Some(0)), Some(0.5));
    assert_eq!(ttft(Some(100)), Some(0.5));
    assert_eq!(ttft(Some(101)), Some(2.0));
    assert_eq!(ttft(Some(1001)), Some(5.0));
    assert_eq!(ttft(None), Some(5.0), "nobody knows");
    assert_eq!(class.limits(Some(1)).get(Target::Tpot), Some(0.2), "the size has none");
    assert_eq!(class.judge(&stream(), Outcome::Ok), Met::False, "1 s at 100 tokens");
    assert_eq!(
        class.judge(&Record { input_tokens: Some(101), ..stream() }, Outcome::Ok),
        Met::True
    );
}

#[test]
fn which_requests_a_class_is_of() {
    let any = class(&[(Target::Ttft, 5.0)]);
    let only = SloClass {
        models: vec!["m".into(), "n".into()],
        operations: vec![Operation::Chat],
        upstreams: vec!["gpu".into()],
        ..any.clone()
    };
    let cases = [
        (stream(), true, true),
        (Record { model: Some("n".into()), ..stream() }, true, true),
        (Record { model: Some("o".into()), ..stream() }, true, false),
        (Record { model: None, ..stream() }, true, false),
        (Record { operation: "embeddings", ..stream() }, true, false),
        (Record { operation: "other", ..stream() }, false, false),
        (Record { upstream: "cpu".into(), ..stream() }, true, false),
    ];
    for (record, of_any, of_only) in cases {
        assert_eq!((any.is_of(&record), only.is_of(&record)), (of_any, of_only), "{record:?}");
    }
    let classes = SloClasses::new(vec![any, SloClass { name: "only".into(), ..only }]);
    let names = |record: &Record| -> Vec<String> {
        classes.judge(record, Outcome::Ok).iter().map(|(name, _)| name.to_string()).collect()
    };
    assert_eq!(names(&stream()), ["class", "only"]);
    assert_eq!(names(&Record { model: None, ..stream() }), ["class"]);
}

fn seconds() -> impl Strategy<Value = Option<f64>> {
    prop::option::of(0.0..10.0)
}

prop_compose! {
    fn any_record()(
        stream in any::<bool>(), session in any::<bool>(), ttft_s in seconds(), tpot_s in seconds(),
        after in 0.0..10.0, max_gap_s in seconds(), more in 0.0..10.0, unparsed in 0_u64..2,
        output_tokens in prop::option::of(0_u64..50), input_tokens in prop::option::of(0_u64..50),
    ) -> Record {
        let latency_s = ttft_s.map(|first: f64| first + after);
        Record {
            operation: if session { "realtime" } else { "chat" },
            dialect: Some("openai-chat"),
            duration_s: latency_s.unwrap_or(0.0) + more,
            stream, ttft_s, tpot_s, latency_s, max_gap_s, unparsed, output_tokens, input_tokens,
            ..Record::default()
        }
    }
}

/// How good a judgement is; undecided is in between.
fn grade(met: Met) -> u8 {
    match met {
        Met::False => 0,
        Met::Undecided => 1,
        Met::True => 2,
    }
}

proptest! {
    #[test]
    fn looser_limits_never_judge_worse(
        record in any_record(), outcome in prop::sample::select(Outcome::ALL.to_vec()),
        strict in prop::array::uniform5(seconds()), looser in prop::array::uniform5(0.0..5.0), drop in any::<[bool; 5]>(),
    ) {
        let loose = Limits::of(|target| {
            let at = target as usize;
            strict[at].filter(|_| !drop[at]).map(|limit| limit + looser[at])
        });
        let strict = Limits::of(|target| strict[target as usize]);
        let judge = |limits| SloClass { limits, ..class(&[]) }.judge(&record, outcome);
        prop_assert!(grade(judge(loose)) >= grade(judge(strict)));
    }

    /// Had the client waited longer for what was still to come, a miss would have stayed one.
    #[test]
    fn a_miss_of_one_that_left_stays_one(
        record in any_record(), limits in prop::array::uniform5(seconds()), longer in 0.0..10.0,
    ) {
        let class = SloClass { limits: Limits::of(|target| limits[target as usize]), ..class(&[]) };
        let later = Record { duration_s: record.duration_s + longer, ..record.clone() };
        let judge = |record: &Record| class.judge(record, Outcome::ClientGoneMidStream);
        prop_assert!(judge(&record) != Met::True);
        prop_assert!(grade(judge(&later)) <= grade(judge(&record)));
    }
}
