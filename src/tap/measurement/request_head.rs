//! What is known of a request by its head.

use super::super::cold_request::ColdRequest;
use super::super::edge_and_trace::EdgeAndTrace;
use super::Tap;
use crate::socket::{self, SocketTimestamps};
use hyper::http::{Version, request};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use streamgauge_core::dialect::route::{OTHER, Route};

/// When a request arrived.
pub(super) struct ArrivalTime {
    /// The first byte of its head.
    pub start: Duration,
    /// The same since 1970.
    pub time: Duration,
}

impl ArrivalTime {
    pub fn now(client: &SocketTimestamps, version: Version) -> Self {
        let start = match version {
            // Other requests are on the connection, so that only the latest read is surely of this one.
            Version::HTTP_2 => client.last_read().at,
            _ => client.head_arrived_at(),
        };
        let elapsed = socket::now().saturating_sub(start);
        let time = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().saturating_sub(elapsed);
        Self { start, time }
    }
}

/// What the head of a request tells.
pub(super) struct RequestHead {
    pub route: &'static Route,
    /// The model that its target names.
    pub model: Option<String>,
    pub before: Option<Box<EdgeAndTrace>>,
    pub cold: Option<ColdRequest>,
}

impl RequestHead {
    pub fn read(tap: &Arc<Tap>, head: &request::Parts, arrived: &ArrivalTime) -> Self {
        let path = head.uri.path();
        tap.faults.strike(path.as_bytes());
        let route = Route::find(head.method.as_str(), path);
        let model = route.model(path).or_else(|| route.model_from_query(head.uri.query()));
        let ArrivalTime { start, time } = *arrived;
        let before = EdgeAndTrace::of(tap, route.operation, &head.headers, start, time);
        let is_inference = route.operation.is_inference();
        let cold = is_inference.then(|| ColdRequest::arrived(tap, start));
        Self { route, model, before, cold }
    }

    /// What is no known request is forwarded as any other.
    pub fn unknown() -> Self {
        Self { route: &OTHER, model: None, before: None, cold: None }
    }
}
