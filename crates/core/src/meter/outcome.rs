//! How a request ended.

use strum::VariantArray;

/// Outcome of a request: each request has exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, VariantArray)]
pub enum Outcome {
    /// Status 2xx, 3xx or 101, and a complete response.
    Ok,
    /// Status 4xx, also Streamgauge's own for a malformed request.
    ClientError,
    /// Status 429 or 503 from the server.
    Rejected,
    /// Status 5xx from the server, except 503.
    ServerError,
    /// A successful status, and an error in the body.
    StreamError,
    /// The response broke off, or ended without its end marker.
    Truncated,
    /// No connection to the upstream.
    UpstreamUnreachable,
    /// No connection to the upstream, no response or no part of it in time, or `DEADLINE_EXCEEDED` from a gRPC server.
    Timeout,
    /// Rejected by Streamgauge, because there were too many connections.
    ProxyRejected,
    /// Cut by the shutdown of Streamgauge.
    ProxyShutdown,
    /// The client disconnected before the response headers.
    ClientGoneBeforeHead,
    /// The client disconnected before the first output event of a stream, or the first body byte of another response.
    ClientGoneBeforeToken,
    /// The client disconnected after that.
    ClientGoneMidStream,
    /// A fault of Streamgauge. Reserved: not used yet.
    Internal,
}

impl Outcome {
    /// Value of the label `outcome`.
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

    /// Whether the request failed by an error of the server or of Streamgauge. What clients do is no failure.
    pub fn is_failure(self) -> bool {
        match self {
            Self::Ok
            | Self::ClientError
            | Self::ClientGoneBeforeHead
            | Self::ClientGoneBeforeToken
            | Self::ClientGoneMidStream => false,
            Self::Rejected
            | Self::ServerError
            | Self::StreamError
            | Self::Truncated
            | Self::UpstreamUnreachable
            | Self::Timeout
            | Self::ProxyRejected
            | Self::ProxyShutdown
            | Self::Internal => true,
        }
    }

    /// Whether the outcome with this [`label`](Self::label) is a failure.
    pub fn is_failure_label(label: &str) -> bool {
        Self::VARIANTS.iter().any(|one| one.is_failure() && one.label() == label)
    }
}

/// How a response with a successful status shows that it failed: the request log's `error_kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, VariantArray)]
pub enum ErrorKind {
    /// The body contains an error: an error object, an error event, or a field that reports a failure.
    Reported,
    /// A finish reason says that the generation failed, such as `error`, `abort` or `MALFORMED_FUNCTION_CALL`.
    FinishReason,
    /// A stream ended as if it were complete, but had no output, no finish reason and no token count.
    NoOutput,
    /// The status of a gRPC call.
    GrpcStatus,
}

impl ErrorKind {
    /// Value in the request log.
    pub fn label(self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::FinishReason => "finish_reason",
            Self::NoOutput => "no_output",
            Self::GrpcStatus => "grpc_status",
        }
    }
}

/// Event that ended a request, as the proxy observed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndCause {
    /// The response body ended as HTTP requires.
    Complete,
    /// The upstream closed the connection before the response headers or within the body.
    UpstreamFailed,
    /// Streamgauge responded in place of the upstream.
    LocalResponse(Outcome),
    /// The request exceeded a time limit of Streamgauge.
    TimedOut,
    /// The shutdown of Streamgauge cut the request.
    Shutdown,
    /// The request was dropped without another cause: the client disconnected.
    Dropped,
}

/// Status of a gRPC call, from the header or trailer `grpc-status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrpcStatus {
    /// One of the status codes of gRPC.
    Code(u32),
    /// The server sent no status.
    Missing,
}

impl GrpcStatus {
    /// Parses the value of a header or trailer. `None` if it is not a number.
    pub fn parse(value: &[u8]) -> Option<Self> {
        std::str::from_utf8(value).ok()?.trim().parse().ok().map(Self::Code)
    }

    /// Outcome of a call with this status. `None` if the server sent none.
    ///
    /// `has_output`: output arrived before. `has_error`: a message of the stream reported an error.
    fn outcome(self, has_output: bool, has_error: bool) -> Option<Outcome> {
        let Self::Code(code) = self else { return None };
        Some(match code {
            // Triton reports the errors of a stream in its messages and ends the call with 0.
            0 if has_error => Outcome::StreamError,
            0 => Outcome::Ok,
            _ if has_output => Outcome::StreamError,
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

/// Facts about a request at its end that decide its outcome.
#[derive(Debug, Clone, Copy)]
pub struct EndedRequest {
    /// Event that ended the request.
    pub cause: EndCause,
    /// Status of the response; `None` before its headers arrived.
    pub status: Option<u16>,
    /// The first output event of a stream arrived, or the first body byte of any other response.
    pub has_output: bool,
    /// The body reported an error.
    pub has_error: bool,
    /// The body contained its end marker, however the connection ended.
    pub is_complete: bool,
    /// The API requires an end marker: a clean end of the HTTP body is not enough.
    pub needs_terminator: bool,
    /// Status of a gRPC call; `None` for other requests.
    pub grpc_status: Option<GrpcStatus>,
}

impl EndedRequest {
    /// Outcome of the request.
    ///
    /// The first of these that applies decides: a response by Streamgauge, the HTTP status, the gRPC status, an error in
    /// the body, the end marker, the side that closed the connection.
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
            EndCause::TimedOut => Outcome::Timeout,
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
    fn grpc_status_parses_numbers_only() {
        assert_eq!(GrpcStatus::parse(b"14"), Some(GrpcStatus::Code(14)));
        assert_eq!(GrpcStatus::parse(b"x"), None);
    }

    #[test]
    fn outcome_table() {
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
            (EndedRequest { is_complete: false, cause: EndCause::TimedOut, ..stream }, Timeout),
            (EndedRequest { cause: EndCause::TimedOut, ..none }, Timeout),
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
