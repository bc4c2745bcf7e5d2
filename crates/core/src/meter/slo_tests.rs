use super::*;
use proptest::prelude::*;

fn class(limits: &[(SloTarget, f64)]) -> SloClass {
    SloClass {
        name: "class".into(),
        models: Vec::new(),
        operations: Vec::new(),
        upstreams: Vec::new(),
        refusals: RefusalRule::default(),
        limits: of(limits),
        sizes: Vec::new(),
    }
}

fn of(limits: &[(SloTarget, f64)]) -> SloLimits {
    SloLimits::from_fn(|target| {
        limits.iter().find(|(one, _)| *one == target).map(|(_, limit)| *limit)
    })
}

/// A complete stream: first token after 1 s, last after 3 s, 21 tokens, TPOT 0.1 s.
fn stream() -> RequestRecord {
    RequestRecord {
        operation: "chat",
        dialect: Some("openai-chat"),
        upstream: "gpu".into(),
        model: Some("m".into()),
        stream: Some(true),
        ttft_s: Some(1.0),
        tpot_s: Some(0.1),
        latency_s: Some(3.0),
        max_gap_s: Some(0.2),
        duration_s: 3.5,
        input_tokens: Some(100),
        output_tokens: Some(21),
        ..RequestRecord::default()
    }
}

fn document() -> RequestRecord {
    let none = None;
    RequestRecord {
        stream: Some(false),
        ttft_s: none,
        tpot_s: none,
        latency_s: none,
        max_gap_s: none,
        ..stream()
    }
}

#[test]
fn each_target_compares_its_quantity() {
    use SloTarget::{Latency, MaxGap, Normalized, Tpot, Ttft};
    let silent =
        RequestRecord { ttft_s: None, tpot_s: None, latency_s: None, max_gap_s: None, ..stream() };
    let cases = [
        // The value of each quantity. It meets a limit of this value, and misses one just below it.
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
        (RequestRecord { output_tokens: None, ..document() }, Normalized, None),
        (RequestRecord { output_tokens: Some(0), ..document() }, Normalized, None),
        // A complete stream without output.
        (silent.clone(), Ttft, Some(3.5)),
        (silent.clone(), Latency, Some(3.5)),
        (silent.clone(), MaxGap, None),
        (silent, Tpot, None),
        (RequestRecord { operation: "realtime", ..stream() }, Ttft, None),
        (RequestRecord { operation: "realtime", ..stream() }, Latency, None),
        (RequestRecord { operation: "realtime", ..stream() }, Normalized, None),
        (RequestRecord { operation: "realtime", ..stream() }, MaxGap, Some(0.2)),
    ];
    for (record, target, takes) in cases {
        let judged = |limit: f64| class(&[(target, limit)]).evaluate(&record, Outcome::Ok);
        match takes {
            Some(takes) => {
                assert_eq!(judged(takes), SloVerdict::Met, "{target:?} {record:?}");
                assert_eq!(judged(takes - 1e-9), SloVerdict::Missed, "{target:?} {record:?}");
            }
            None => assert_eq!(judged(1e-9), SloVerdict::Met, "{target:?} {record:?}"),
        }
    }
}

#[test]
fn a_request_must_meet_all_targets() {
    let limits = [(SloTarget::Ttft, 1.0), (SloTarget::Tpot, 0.1)];
    let judge = |record: &RequestRecord| class(&limits).evaluate(record, Outcome::Ok);
    assert_eq!(judge(&stream()), SloVerdict::Met);
    assert_eq!(judge(&RequestRecord { ttft_s: Some(1.1), ..stream() }), SloVerdict::Missed);
    assert_eq!(judge(&RequestRecord { tpot_s: Some(0.11), ..stream() }), SloVerdict::Missed);
    assert_eq!(judge(&RequestRecord { tpot_s: None, ..stream() }), SloVerdict::Met);
}

#[test]
fn failed_outcomes_miss_and_client_outcomes_are_undecided() {
    use Outcome::*;
    for &outcome in Outcome::VARIANTS {
        let expected = match outcome {
            Ok => SloVerdict::Met,
            ClientError | ClientGoneBeforeHead | ClientGoneBeforeToken | ClientGoneMidStream => {
                SloVerdict::Undecided
            }
            _ => SloVerdict::Missed,
        };
        let generous = class(&[(SloTarget::Ttft, 100.0)]);
        assert_eq!(generous.evaluate(&stream(), outcome), expected, "{outcome:?}");
        let strict = class(&[(SloTarget::Ttft, 0.5)]);
        let expected =
            if outcome == ClientError { SloVerdict::Undecided } else { SloVerdict::Missed };
        assert_eq!(strict.evaluate(&stream(), outcome), expected, "{outcome:?}");
    }
}

#[test]
fn a_request_whose_client_disconnected_counts_with_its_time_so_far() {
    use Outcome::{ClientGoneBeforeHead, ClientGoneBeforeToken, ClientGoneMidStream};
    use SloTarget::{Latency, MaxGap, Normalized, Tpot, Ttft};
    let waited = |duration_s| RequestRecord {
        ttft_s: None,
        tpot_s: None,
        latency_s: None,
        max_gap_s: None,
        output_tokens: None,
        duration_s,
        ..stream()
    };
    let left = |duration_s| RequestRecord { duration_s, ..stream() };
    let cases = [
        (waited(6.0), ClientGoneBeforeToken, Ttft, 5.0, SloVerdict::Missed),
        (waited(6.0), ClientGoneBeforeHead, Ttft, 5.0, SloVerdict::Missed),
        (waited(4.0), ClientGoneBeforeToken, Ttft, 5.0, SloVerdict::Undecided),
        (waited(6.0), ClientGoneBeforeToken, Latency, 5.0, SloVerdict::Missed),
        (waited(6.0), ClientGoneBeforeToken, MaxGap, 1.0, SloVerdict::Undecided),
        (waited(6.0), ClientGoneBeforeToken, Tpot, 0.1, SloVerdict::Undecided),
        (left(3.1), ClientGoneMidStream, Ttft, 1.0, SloVerdict::Undecided),
        (left(3.1), ClientGoneMidStream, Ttft, 0.9, SloVerdict::Missed),
        (left(3.1), ClientGoneMidStream, Tpot, 0.09, SloVerdict::Missed),
        // The last output came after 3 s, and the client disconnected while it waited for the next.
        (left(3.4), ClientGoneMidStream, Latency, 3.3, SloVerdict::Missed),
        // The longest gap includes the open one, without the time in which the client accepted nothing.
        (left(9.0), ClientGoneMidStream, MaxGap, 0.25, SloVerdict::Undecided),
        (left(9.0), ClientGoneMidStream, MaxGap, 0.15, SloVerdict::Missed),
        // The value falls with each further token.
        (left(3.4), ClientGoneMidStream, Normalized, 0.01, SloVerdict::Undecided),
        // Not a stream, and the response has not arrived.
        (
            RequestRecord { duration_s: 6.0, ..document() },
            ClientGoneBeforeHead,
            Ttft,
            5.0,
            SloVerdict::Undecided,
        ),
        (
            RequestRecord { duration_s: 6.0, ..document() },
            ClientGoneBeforeHead,
            Latency,
            5.0,
            SloVerdict::Missed,
        ),
    ];
    for (record, outcome, target, limit, expected) in cases {
        let judged = class(&[(target, limit)]).evaluate(&record, outcome);
        assert_eq!(judged, expected, "{target:?} of {limit}: {outcome:?} {record:?}");
    }
}

#[test]
fn an_unreadable_response_is_undecided() {
    let unread = RequestRecord { ttft_s: None, unparsed: 1, duration_s: 60.0, ..stream() };
    let class = class(&[(SloTarget::Ttft, 5.0)]);
    assert_eq!(class.evaluate(&unread, Outcome::Ok), SloVerdict::Undecided);
    assert_eq!(class.evaluate(&unread, Outcome::ClientGoneMidStream), SloVerdict::Undecided);
    assert_eq!(
        class.evaluate(&unread, Outcome::Truncated),
        SloVerdict::Missed,
        "a truncated response is a failure in any case"
    );
    let opaque = RequestRecord { ttft_s: None, dialect: None, duration_s: 60.0, ..stream() };
    assert_eq!(
        class.evaluate(&opaque, Outcome::Ok),
        SloVerdict::Undecided,
        "the route has no dialect"
    );
    let in_part = RequestRecord { unparsed: 1, ..stream() };
    assert_eq!(class.evaluate(&in_part, Outcome::Ok), SloVerdict::Met);
    let page = RequestRecord { unparsed: 1, input_tokens: None, output_tokens: None, ..document() };
    assert_eq!(class.evaluate(&page, Outcome::Ok), SloVerdict::Undecided, "no document was read");
    let session = RequestRecord { operation: "realtime", ..unread };
    assert_eq!(class.evaluate(&session, Outcome::Ok), SloVerdict::Met);
}

#[test]
fn a_class_selects_how_refusals_are_judged() {
    for reason in ["content_filter", "SAFETY", "refusal"] {
        let refused = RequestRecord { finish_reasons: vec![reason.into()], ..stream() };
        for (refusals, expected) in [
            (RefusalRule::Undecided, SloVerdict::Undecided),
            (RefusalRule::Missed, SloVerdict::Missed),
            (RefusalRule::Judged, SloVerdict::Met),
        ] {
            let class = SloClass { refusals, ..class(&[(SloTarget::Ttft, 5.0)]) };
            assert_eq!(class.evaluate(&refused, Outcome::Ok), expected, "{reason} {refusals:?}");
        }
    }
    let stopped = RequestRecord { finish_reasons: vec!["stop".into()], ..stream() };
    assert_eq!(class(&[]).evaluate(&stopped, Outcome::Ok), SloVerdict::Met);
}

#[test]
fn size_limits_take_precedence_over_class_limits() {
    let mut class = class(&[(SloTarget::Ttft, 5.0), (SloTarget::Tpot, 0.2)]);
    let size = |up_to_tokens, ttft| InputSizeLimits {
        up_to_tokens,
        limits: of(&[(SloTarget::Ttft, ttft)]),
    };
    class.sizes = vec![size(100, 0.5), size(1000, 2.0)];
    let ttft = |tokens| class.limits(tokens).get(SloTarget::Ttft);
    assert_eq!(ttft(Some(0)), Some(0.5));
    assert_eq!(ttft(Some(100)), Some(0.5));
    assert_eq!(ttft(Some(101)), Some(2.0));
    assert_eq!(ttft(Some(1001)), Some(5.0));
    assert_eq!(ttft(None), Some(5.0), "unknown size");
    assert_eq!(class.limits(Some(1)).get(SloTarget::Tpot), Some(0.2), "the size has no such limit");
    assert_eq!(class.evaluate(&stream(), Outcome::Ok), SloVerdict::Missed, "1 s at 100 tokens");
    assert_eq!(
        class.evaluate(&RequestRecord { input_tokens: Some(101), ..stream() }, Outcome::Ok),
        SloVerdict::Met
    );
}

#[test]
fn a_class_matches_by_model_operation_and_upstream() {
    let any = class(&[(SloTarget::Ttft, 5.0)]);
    let only = SloClass {
        models: vec!["m".into(), "n".into()],
        operations: vec![Operation::Chat],
        upstreams: vec!["gpu".into()],
        ..any.clone()
    };
    let cases = [
        (stream(), true, true),
        (RequestRecord { model: Some("n".into()), ..stream() }, true, true),
        (RequestRecord { model: Some("o".into()), ..stream() }, true, false),
        (RequestRecord { model: None, ..stream() }, true, false),
        (RequestRecord { operation: "embeddings", ..stream() }, true, false),
        (RequestRecord { operation: "other", ..stream() }, false, false),
        (RequestRecord { operation: "replay", ..stream() }, false, false),
        (RequestRecord { operation: "tokenize", ..stream() }, false, false),
        (RequestRecord { upstream: "cpu".into(), ..stream() }, true, false),
    ];
    for (record, by_any, by_only) in cases {
        assert_eq!((any.matches(&record), only.matches(&record)), (by_any, by_only), "{record:?}");
    }
    let classes = SloClasses::new(vec![any, SloClass { name: "only".into(), ..only }]);
    let names = |record: &RequestRecord| -> Vec<String> {
        classes.evaluate(record, Outcome::Ok).iter().map(|(name, _)| name.to_string()).collect()
    };
    assert_eq!(names(&stream()), ["class", "only"]);
    assert_eq!(names(&RequestRecord { model: None, ..stream() }), ["class"]);
}

fn seconds() -> impl Strategy<Value = Option<f64>> {
    prop::option::of(0.0..10.0)
}

prop_compose! {
    fn any_record()(
        stream in any::<Option<bool>>(), session in any::<bool>(), ttft_s in seconds(), tpot_s in seconds(),
        after in 0.0..10.0, max_gap_s in seconds(), more in 0.0..10.0, unparsed in 0_u64..2,
        output_tokens in prop::option::of(0_u64..50), input_tokens in prop::option::of(0_u64..50),
    ) -> RequestRecord {
        let latency_s = ttft_s.map(|first: f64| first + after);
        RequestRecord {
            operation: if session { "realtime" } else { "chat" },
            dialect: Some("openai-chat"),
            duration_s: latency_s.unwrap_or(0.0) + more,
            stream, ttft_s, tpot_s, latency_s, max_gap_s, unparsed, output_tokens, input_tokens,
            ..RequestRecord::default()
        }
    }
}

/// Order of verdicts; undecided is in between.
fn grade(met: SloVerdict) -> u8 {
    match met {
        SloVerdict::Missed => 0,
        SloVerdict::Undecided => 1,
        SloVerdict::Met => 2,
    }
}

proptest! {
    #[test]
    fn looser_limits_never_give_a_worse_verdict(
        record in any_record(), outcome in prop::sample::select(Outcome::VARIANTS.to_vec()),
        strict in prop::array::uniform5(seconds()), looser in prop::array::uniform5(0.0..5.0), drop in any::<[bool; 5]>(),
    ) {
        let loose = SloLimits::from_fn(|target| {
            let at = target as usize;
            strict[at].filter(|_| !drop[at]).map(|limit| limit + looser[at])
        });
        let strict = SloLimits::from_fn(|target| strict[target as usize]);
        let judge = |limits| SloClass { limits, ..class(&[]) }.evaluate(&record, outcome);
        prop_assert!(grade(judge(loose)) >= grade(judge(strict)));
    }

    /// A longer wait of the client never turns a missed target into a met one.
    #[test]
    fn a_miss_stays_a_miss_if_the_client_waits_longer(
        record in any_record(), limits in prop::array::uniform5(seconds()), longer in 0.0..10.0,
    ) {
        let class = SloClass { limits: SloLimits::from_fn(|target| limits[target as usize]), ..class(&[]) };
        let later = RequestRecord { duration_s: record.duration_s + longer, ..record.clone() };
        let judge = |record: &RequestRecord| class.evaluate(record, Outcome::ClientGoneMidStream);
        prop_assert!(judge(&record) != SloVerdict::Met);
        prop_assert!(grade(judge(&later)) <= grade(judge(&record)));
    }
}
