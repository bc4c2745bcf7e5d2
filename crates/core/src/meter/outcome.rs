//! How a request ended: one of a closed list.

/// The one terminal outcome of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// 2xx, 3xx or 101, and complete.
    Ok,
    /// 4xx, also our own for a malformed request.
    ClientError,
    /// The server's 429 or 503.
    Rejected,
    /// 5xx.
    ServerError,
    /// A 200 and then an error in the body.
    StreamError,
    /// The response broke off, or ended without what completes it.
    Truncated,
    UpstreamUnreachable,
    Timeout,
    /// Our own limit or drain.
    ProxyRejected,
    /// Cut by our shutdown.
    ProxyShutdown,
    ClientGoneBeforeHead,
    ClientGoneBeforeToken,
    ClientGoneMidStream,
    /// A fault of ours.
    Internal,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 14] = [
        Self::Ok,
        Self::ClientError,
        Self::Rejected,
        Self::ServerError,
        Self::StreamError,
        Self::Truncated,
        Self::UpstreamUnreachable,
        Self::Timeout,
        Self::ProxyRejected,
        Self::ProxyShutdown,
        Self::ClientGoneBeforeHead,
        Self::ClientGoneBeforeToken,
        Self::ClientGoneMidStream,
        Self::Internal,
    ];

    /// The label's value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::ClientError => "client_error",
            Self::Rejected => "rejected",
            Self::ServerError => "server_error",
            Self::StreamError => "stream_error",
            Self::Truncated => "truncated",
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::Timeout => "timeout",
            Self::ProxyRejected => "proxy_rejected",
            Self::ProxyShutdown => "proxy_shutdown",
            Self::ClientGoneBeforeHead => "client_gone_before_head",
            Self::ClientGoneBeforeToken => "client_gone_before_token",
            Self::ClientGoneMidStream => "client_gone_mid_stream",
            Self::Internal => "internal",
        }
    }
}

/// What ended a request, as the data plane saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The upstream's body ended as HTTP says it must.
    Complete,
    /// The upstream broke off: before the head, or in the body.
    Broken,
    /// We answered in the upstream's place.
    Answered(Outcome),
    /// Our shutdown cut it.
    Shutdown,
    /// The request was dropped and nobody had said why: the client left.
    Dropped,
}

/// How a gRPC call ended, by its `grpc-status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallStatus {
    Code(u32),
    /// The server did not say.
    Missing,
}

impl CallStatus {
    /// The status in these bytes of a header or trailer.
    pub fn of(value: &[u8]) -> Option<Self> {
        std::str::from_utf8(value).ok()?.trim().parse().ok().map(Self::Code)
    }

    /// The outcome of a call that ended like this (gRPC's status codes), if it is told. `output` is
    /// whether any came before, `error` whether a message told one.
    fn outcome(self, output: bool, error: bool) -> Option<Outcome> {
        let Self::Code(code) = self else { return None };
        Some(match code {
            // Triton tells the errors of a stream of requests in its messages.
            0 if error => Outcome::StreamError,
            0 => Outcome::Ok,
            _ if output => Outcome::StreamError,
            // RESOURCE_EXHAUSTED, UNAVAILABLE.
            8 | 14 => Outcome::Rejected,
            // DEADLINE_EXCEEDED.
            4 => Outcome::Timeout,
            // CANCELLED, INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, PERMISSION_DENIED,
            // FAILED_PRECONDITION, OUT_OF_RANGE, UNIMPLEMENTED, UNAUTHENTICATED.
            1 | 3 | 5 | 6 | 7 | 9 | 11 | 12 | 16 => Outcome::ClientError,
            _ => Outcome::ServerError,
        })
    }
}

/// What is known of a request at its end.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    pub end: End,
    /// The upstream's status, once its head arrived.
    pub status: Option<u16>,
    /// The first output event arrived (streams), or the first byte of the body (all others).
    pub output: bool,
    /// The body held an error.
    pub error: bool,
    /// The body held what completes it, whatever HTTP said of its end.
    pub complete: bool,
    /// The body is a stream that something must complete; the clean end of HTTP is not enough.
    pub needs_terminator: bool,
    /// Of a gRPC call.
    pub call: Option<CallStatus>,
}

impl Ended {
    /// The outcome. Where several would fit, the first of these decides: our own answer, the status,
    /// an error in the body, what completes the stream, and then who broke off.
    pub fn outcome(self) -> Outcome {
        if let End::Answered(outcome) = self.end {
            return outcome;
        }
        match self.status {
            Some(429 | 503) => return Outcome::Rejected,
            Some(400..=499) => return Outcome::ClientError,
            Some(500..) => return Outcome::ServerError,
            _ => {}
        }
        if let Some(outcome) = self.call.and_then(|call| call.outcome(self.output, self.error)) {
            return outcome;
        }
        if self.error {
            return Outcome::StreamError;
        }
        if self.complete {
            return Outcome::Ok;
        }
        match self.end {
            End::Complete if self.needs_terminator || self.call.is_some() => Outcome::Truncated,
            End::Complete => Outcome::Ok,
            End::Broken => Outcome::Truncated,
            End::Shutdown => Outcome::ProxyShutdown,
            End::Dropped if self.status.is_none() => Outcome::ClientGoneBeforeHead,
            End::Dropped if self.output => Outcome::ClientGoneMidStream,
            End::Dropped => Outcome::ClientGoneBeforeToken,
            End::Answered(outcome) => outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_a_number() {
        assert_eq!(CallStatus::of(b"14"), Some(CallStatus::Code(14)));
        assert_eq!(CallStatus::of(b"x"), None);
    }

    #[test]
    fn table() {
        use Outcome::*;
        let stream = Ended {
            end: End::Complete,
            status: Some(200),
            output: true,
            error: false,
            complete: true,
            needs_terminator: true,
            call: None,
        };
        let body = Ended { complete: false, needs_terminator: false, ..stream };
        let none = Ended { status: None, output: false, complete: false, ..stream };
        let cases = [
            (stream, Ok),
            (Ended { end: End::Dropped, ..stream }, Ok),
            (Ended { end: End::Broken, ..stream }, Ok),
            (Ended { complete: false, ..stream }, Truncated),
            (Ended { complete: false, end: End::Broken, ..stream }, Truncated),
            (Ended { complete: false, end: End::Dropped, ..stream }, ClientGoneMidStream),
            (
                Ended { complete: false, end: End::Dropped, output: false, ..stream },
                ClientGoneBeforeToken,
            ),
            (Ended { complete: false, end: End::Shutdown, ..stream }, ProxyShutdown),
            (Ended { error: true, ..stream }, StreamError),
            (Ended { error: true, complete: false, end: End::Dropped, ..stream }, StreamError),
            (body, Ok),
            (Ended { status: Some(302), ..body }, Ok),
            (Ended { end: End::Broken, ..body }, Truncated),
            (Ended { status: Some(404), ..body }, ClientError),
            (Ended { status: Some(429), ..body }, Rejected),
            (Ended { status: Some(503), end: End::Dropped, ..body }, Rejected),
            (Ended { status: Some(500), error: true, ..body }, ServerError),
            (Ended { call: Some(CallStatus::Code(0)), complete: false, ..stream }, Ok),
            (Ended { call: Some(CallStatus::Code(0)), error: true, ..stream }, StreamError),
            (Ended { call: Some(CallStatus::Code(13)), ..stream }, StreamError),
            (Ended { call: Some(CallStatus::Code(13)), output: false, ..stream }, ServerError),
            (Ended { call: Some(CallStatus::Code(14)), output: false, ..stream }, Rejected),
            (Ended { call: Some(CallStatus::Code(4)), output: false, ..stream }, Timeout),
            (Ended { call: Some(CallStatus::Code(3)), output: false, ..stream }, ClientError),
            (Ended { call: Some(CallStatus::Missing), ..body }, Truncated),
            (
                Ended { call: Some(CallStatus::Missing), end: End::Dropped, ..body },
                ClientGoneMidStream,
            ),
            (none, Truncated),
            (Ended { end: End::Dropped, ..none }, ClientGoneBeforeHead),
            (Ended { end: End::Broken, ..none }, Truncated),
            (Ended { end: End::Answered(UpstreamUnreachable), ..none }, UpstreamUnreachable),
        ];
        for (ended, expected) in cases {
            assert_eq!(ended.outcome(), expected, "{ended:?}");
        }
    }
}
