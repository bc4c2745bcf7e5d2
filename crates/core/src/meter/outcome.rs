//! How a request ended: one of a closed list.

use strum::VariantArray;

/// The one terminal outcome of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, VariantArray)]
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
pub enum EndCause {
    /// The upstream's body ended as HTTP says it must.
    Complete,
    /// The upstream broke off: before the head, or in the body.
    UpstreamFailed,
    /// We answered in the upstream's place.
    LocalResponse(Outcome),
    /// Our shutdown cut it.
    Shutdown,
    /// The request was dropped and nobody had said why: the client left.
    Dropped,
}

/// How a gRPC call ended, by its `grpc-status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrpcStatus {
    Code(u32),
    /// The server did not say.
    Missing,
}

impl GrpcStatus {
    /// The status in these bytes of a header or trailer.
    pub fn parse(value: &[u8]) -> Option<Self> {
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
pub struct EndedRequest {
    pub cause: EndCause,
    /// The upstream's status, once its head arrived.
    pub status: Option<u16>,
    /// The first output event arrived (streams), or the first byte of the body (all others).
    pub has_output: bool,
    /// The body held an error.
    pub has_error: bool,
    /// The body held what completes it, whatever HTTP said of its end.
    pub is_complete: bool,
    /// The body is a stream that something must complete; the clean end of HTTP is not enough.
    pub needs_terminator: bool,
    /// Of a gRPC call.
    pub grpc_status: Option<GrpcStatus>,
}

impl EndedRequest {
    /// The outcome. Where several would fit, the first of these decides: our own answer, the status,
    /// an error in the body, what completes the stream, and then who broke off.
    pub fn outcome(self) -> Outcome {
        if let EndCause::LocalResponse(outcome) = self.cause {
            return outcome;
        }
        match self.status {
            Some(429 | 503) => return Outcome::Rejected,
            Some(400..=499) => return Outcome::ClientError,
            Some(500..) => return Outcome::ServerError,
            _ => {}
        }
        if let Some(outcome) =
            self.grpc_status.and_then(|call| call.outcome(self.has_output, self.has_error))
        {
            return outcome;
        }
        if self.has_error {
            return Outcome::StreamError;
        }
        if self.is_complete {
            return Outcome::Ok;
        }
        match self.cause {
            EndCause::Complete if self.needs_terminator || self.grpc_status.is_some() => {
                Outcome::Truncated
            }
            EndCause::Complete => Outcome::Ok,
            EndCause::UpstreamFailed => Outcome::Truncated,
            EndCause::Shutdown => Outcome::ProxyShutdown,
            EndCause::Dropped if self.status.is_none() => Outcome::ClientGoneBeforeHead,
            EndCause::Dropped if self.has_output => Outcome::ClientGoneMidStream,
            EndCause::Dropped => Outcome::ClientGoneBeforeToken,
            EndCause::LocalResponse(outcome) => outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_a_number() {
        assert_eq!(GrpcStatus::parse(b"14"), Some(GrpcStatus::Code(14)));
        assert_eq!(GrpcStatus::parse(b"x"), None);
    }

    #[test]
    fn table() {
        use Outcome::*;
        let stream = EndedRequest {
            cause: EndCause::Complete,
            status: Some(200),
            has_output: true,
            has_error: false,
            is_complete: true,
            needs_terminator: true,
            grpc_status: None,
        };
        let body = EndedRequest { is_complete: false, needs_terminator: false, ..stream };
        let none = EndedRequest { status: None, has_output: false, is_complete: false, ..stream };
        let cases = [
            (stream, Ok),
            (EndedRequest { cause: EndCause::Dropped, ..stream }, Ok),
            (EndedRequest { cause: EndCause::UpstreamFailed, ..stream }, Ok),
            (EndedRequest { is_complete: false, ..stream }, Truncated),
            (
                EndedRequest { is_complete: false, cause: EndCause::UpstreamFailed, ..stream },
                Truncated,
            ),
            (
                EndedRequest { is_complete: false, cause: EndCause::Dropped, ..stream },
                ClientGoneMidStream,
            ),
            (
                EndedRequest {
                    is_complete: false,
                    cause: EndCause::Dropped,
                    has_output: false,
                    ..stream
                },
                ClientGoneBeforeToken,
            ),
            (
                EndedRequest { is_complete: false, cause: EndCause::Shutdown, ..stream },
                ProxyShutdown,
            ),
            (EndedRequest { has_error: true, ..stream }, StreamError),
            (
                EndedRequest {
                    has_error: true,
                    is_complete: false,
                    cause: EndCause::Dropped,
                    ..stream
                },
                StreamError,
            ),
            (body, Ok),
            (EndedRequest { status: Some(302), ..body }, Ok),
            (EndedRequest { cause: EndCause::UpstreamFailed, ..body }, Truncated),
            (EndedRequest { status: Some(404), ..body }, ClientError),
            (EndedRequest { status: Some(429), ..body }, Rejected),
            (EndedRequest { status: Some(503), cause: EndCause::Dropped, ..body }, Rejected),
            (EndedRequest { status: Some(500), has_error: true, ..body }, ServerError),
            (
                EndedRequest {
                    grpc_status: Some(GrpcStatus::Code(0)),
                    is_complete: false,
                    ..stream
                },
                Ok,
            ),
            (
                EndedRequest { grpc_status: Some(GrpcStatus::Code(0)), has_error: true, ..stream },
                StreamError,
            ),
            (EndedRequest { grpc_status: Some(GrpcStatus::Code(13)), ..stream }, StreamError),
            (
                EndedRequest {
                    grpc_status: Some(GrpcStatus::Code(13)),
                    has_output: false,
                    ..stream
                },
                ServerError,
            ),
            (
                EndedRequest {
                    grpc_status: Some(GrpcStatus::Code(14)),
                    has_output: false,
                    ..stream
                },
                Rejected,
            ),
            (
                EndedRequest {
                    grpc_status: Some(GrpcStatus::Code(4)),
                    has_output: false,
                    ..stream
                },
                Timeout,
            ),
            (
                EndedRequest {
                    grpc_status: Some(GrpcStatus::Code(3)),
                    has_output: false,
                    ..stream
                },
                ClientError,
            ),
            (EndedRequest { grpc_status: Some(GrpcStatus::Missing), ..body }, Truncated),
            (
                EndedRequest {
                    grpc_status: Some(GrpcStatus::Missing),
                    cause: EndCause::Dropped,
                    ..body
                },
                ClientGoneMidStream,
            ),
            (none, Truncated),
            (EndedRequest { cause: EndCause::Dropped, ..none }, ClientGoneBeforeHead),
            (EndedRequest { cause: EndCause::UpstreamFailed, ..none }, Truncated),
            (
                EndedRequest { cause: EndCause::LocalResponse(UpstreamUnreachable), ..none },
                UpstreamUnreachable,
            ),
        ];
        for (ended, expected) in cases {
            assert_eq!(ended.outcome(), expected, "{ended:?}");
        }
    }
}
