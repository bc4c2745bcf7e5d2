//! Limits that clients or the server can exceed, as label values.

use strum::{IntoStaticStr, VariantArray};

/// A limit of a proxy. `docs/proxy.md` lists the configuration key of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum LimitKind {
    /// A client did not send the headers of a request in time.
    RequestHeaderTime,
    /// A client sent no further request in time.
    KeepAliveTime,
    /// A client did not continue the body of its request in time.
    RequestBodyTime,
    /// A client did not complete the TLS handshake in time.
    TlsHandshakeTime,
    /// There were too many connections of clients.
    Connections,
    /// A client sent the last request that its connection may have.
    ConnectionRequests,
    /// The headers of a request were too large or too many.
    RequestHeaderSize,
    /// The server sent no response headers in time.
    ResponseHeaderTime,
    /// The server sent no part of a response body in time.
    ResponseSilence,
    /// A request took too long in total.
    RequestTime,
    /// A client reset too many HTTP/2 streams.
    Http2Resets,
    /// The server sent too many interim responses.
    InterimResponses,
    /// A connection could not be accepted, for lack of descriptors or memory.
    Descriptors,
}

impl LimitKind {
    /// Value of the label `limit`.
    pub(super) fn label(self) -> &'static str {
        self.into()
    }
}

/// A limit of the admin port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum AdminLimitKind {
    /// There were too many connections.
    Connections,
    /// A client did not send a request or read a response in time.
    Time,
}

impl AdminLimitKind {
    /// Value of the label `limit`.
    pub(super) fn label(self) -> &'static str {
        self.into()
    }
}
