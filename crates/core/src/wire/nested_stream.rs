//! A stream whose bytes are the payloads of another stream's messages.
//!
//! SageMaker sends the response of a container this way, in messages of Amazon's event stream. Each
//! payload is a part of the container's own stream, server-sent events or lines of JSON. The parts
//! end anywhere, also in the middle of an event. An exception has a separate message.

use super::FrameEvent;
use super::framing::Framing;
use super::lines::LineFramer;
use super::sse::SseFramer;

/// Framer of the inner stream.
#[derive(Debug, Default)]
enum InnerFramer {
    /// No byte yet; the first one decides.
    #[default]
    Undetected,
    Sse(SseFramer),
    Lines(LineFramer),
    /// Not a stream that is read, such as plain text.
    Unreadable,
}

impl InnerFramer {
    fn push(&mut self, mut bytes: &[u8], sink: &mut impl FnMut(FrameEvent<'_>)) {
        if let Self::Undetected = self {
            bytes = bytes.trim_ascii_start();
            let Some(first) = bytes.first() else { return };
            *self = match Framing::detect(*first, Framing::Lines) {
                Some(Framing::Sse) => Self::Sse(SseFramer::default()),
                Some(Framing::Lines) => Self::Lines(LineFramer::default()),
                _ => {
                    sink(FrameEvent::Broken);
                    Self::Unreadable
                }
            };
        }
        match self {
            Self::Undetected | Self::Unreadable => {}
            Self::Sse(framer) => framer.push(bytes, sink),
            Self::Lines(framer) => framer.push(bytes, sink),
        }
    }

    fn end(&mut self, sink: &mut impl FnMut(FrameEvent<'_>)) {
        match self {
            Self::Undetected | Self::Unreadable => {}
            Self::Sse(framer) => framer.end(sink),
            Self::Lines(framer) => framer.end(sink),
        }
    }
}

/// Incremental parser of the inner stream, from the messages of the outer one.
#[derive(Debug, Default)]
pub struct NestedStream {
    inner: InnerFramer,
    /// The current message is an exception: its payload is not part of the inner stream.
    in_exception: bool,
}

impl NestedStream {
    /// Parses the next part of an outer message.
    pub fn push(&mut self, event: FrameEvent<'_>, sink: &mut impl FnMut(FrameEvent<'_>)) {
        match event {
            FrameEvent::Data(payload) if !self.in_exception => self.inner.push(payload, sink),
            FrameEvent::Data(_) => sink(event),
            FrameEvent::ErrorField => {
                // Nothing follows an exception, so an event before it lacks only its end.
                self.inner.end(sink);
                self.in_exception = true;
                sink(event);
            }
            FrameEvent::End { .. } => {
                if std::mem::take(&mut self.in_exception) {
                    sink(event);
                }
            }
            FrameEvent::Broken => {
                self.in_exception = false;
                sink(event);
            }
        }
    }

    /// Ends the inner stream.
    pub fn end(&mut self, sink: &mut impl FnMut(FrameEvent<'_>)) {
        self.inner.end(sink);
    }
}

#[cfg(test)]
mod tests {
    use super::super::framing::Framer;
    use super::super::test_messages::{CollectedEvent, FrameCollector, cut, cuts, plain};
    use super::*;
    use proptest::prelude::*;

    /// Message of Amazon's event stream with this type.
    fn message(kind: &str, name: &str, payload: &[u8]) -> Vec<u8> {
        let header = |name: &str, value: &str| {
            let length = u16::try_from(value.len()).unwrap().to_be_bytes();
            let name_length = u8::try_from(name.len()).unwrap();
            [&[name_length], name.as_bytes(), &[7], &length, value.as_bytes()].concat()
        };
        let name_header = if kind == "exception" { ":exception-type" } else { ":event-type" };
        let headers = [header(":message-type", kind), header(name_header, name)].concat();
        let total = u32::try_from(16 + headers.len() + payload.len()).unwrap().to_be_bytes();
        let length = u32::try_from(headers.len()).unwrap().to_be_bytes();
        let prelude = [total, length].concat();
        let checked = [&prelude, &crc32fast::hash(&prelude).to_be_bytes()[..], &headers, payload];
        let checked = checked.concat();
        [&checked, &crc32fast::hash(&checked).to_be_bytes()[..]].concat()
    }

    fn part(payload: &str) -> Vec<u8> {
        message("event", "PayloadPart", payload.as_bytes())
    }

    fn parse(parts: &[&[u8]]) -> Vec<CollectedEvent> {
        let mut framer = Framer::new(Framing::AwsNested);
        let mut collector = FrameCollector::default();
        parts.iter().for_each(|part| framer.push(part, &mut |event| collector.add(event)));
        framer.end(&mut |event| collector.add(event));
        collector.finish()
    }

    #[test]
    fn events_span_messages_and_messages_hold_several_events() {
        let cases: [(&[&str], &[&str]); 6] = [
            (&["data: one\n\ndata: t", "w", "o\n\n"], &["one", "two"]),
            (&[" \n", "data: one\n\n"], &["one"]),
            (
                &["{\"a\":", "1}\n{\"a\":2}\n{\"a\"", ":3}"],
                &["{\"a\":1}", "{\"a\":2}", "{\"a\":3}"],
            ),
            (&[": comment\n\n", "id: 1\ndata: one\n\n"], &["one"]),
            (&["data: without its end"], &["without its end"]),
            (&[], &[]),
        ];
        for (payloads, expected) in cases {
            let stream: Vec<u8> = payloads.iter().flat_map(|payload| part(payload)).collect();
            let expected: Vec<_> = expected.iter().map(|data| plain(data)).collect();
            assert_eq!(parse(&[&stream]), expected, "{payloads:?}");
        }
    }

    #[test]
    fn an_exception_is_an_error_of_its_own() {
        let exception = message("exception", "ModelStreamError", b"{\"Message\":\"no\"}");
        let stream = [part("data: one\n\n"), exception].concat();
        let error = CollectedEvent::Error("ModelStreamError".into(), "{\"Message\":\"no\"}".into());
        assert_eq!(parse(&[&stream]), [plain("one"), error]);
    }

    #[test]
    fn plain_text_is_broken_once() {
        let stream = [part("Hello"), part(" world")].concat();
        assert_eq!(parse(&[&stream]), [CollectedEvent::Broken(String::new())]);
    }

    proptest! {
        #[test]
        fn every_split_gives_the_same_events(
            payloads in prop::collection::vec("(data: [a-z]{0,9}\n\n){0,3}[a-z:]{0,4}", 0..5),
            has_exception in prop::bool::ANY,
            cuts in cuts(),
        ) {
            let mut stream: Vec<u8> = payloads.iter().flat_map(|payload| part(payload)).collect();
            if has_exception {
                stream.extend(message("exception", "InternalStreamFailure", b"{}"));
            }
            let whole = parse(&[&stream]);
            prop_assert_eq!(&parse(&cut(&stream, &cuts)), &whole);
            prop_assert_eq!(&parse(&stream.chunks(1).collect::<Vec<_>>()), &whole);
        }
    }
}
