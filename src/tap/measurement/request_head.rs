//! Request headers: arrival time, route, model, edge wait and trace.

use super::super::cold_request::ColdRequest;
use super::super::edge_and_trace::EdgeAndTrace;
use super::Tap;
use crate::socket::{self, SocketTimestamps};
use hyper::http::{Version, request};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use streamgauge_core::dialect::route::{OTHER, Route};

/// When the first byte of a request's headers arrived.
pub(super) struct ArrivalTime {
    /// On the clock that all instants share.
    pub start: Duration,
    /// Since 1970.
    pub time: Duration,
}

impl ArrivalTime {
    /// Arrival time of the request whose headers were just read.
    pub fn now(client: &SocketTimestamps, version: Version) -> Self {
        let start = match version {
            // Requests share the connection, so only the latest read is certain to belong to this one.
            Version::HTTP_2 => client.last_read().at,
            _ => client.head_arrived_at(),
        };
        let elapsed = socket::now().saturating_sub(start);
        let time = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().saturating_sub(elapsed);
        Self { start, time }
    }
}

/// Contents of the request headers.
pub(super) struct RequestHead {
    pub route: &'static Route,
    /// The model in the path or the query, where the API has it there.
    pub model: Option<String>,
    pub edge: Option<Box<EdgeAndTrace>>,
    /// Inference requests only.
    pub cold: Option<ColdRequest>,
}

impl RequestHead {
    /// Reads the headers of a request, and registers the request with the cold-start detector and its trace.
    pub fn read(tap: &Arc<Tap>, head: &request::Parts, arrived: &ArrivalTime) -> Self {
        let path = head.uri.path();
        tap.faults.inject(path.as_bytes());
        let route = Route::find(head.method.as_str(), path);
        let model = route.model(path).or_else(|| route.model_from_query(head.uri.query()));
        let ArrivalTime { start, time } = *arrived;
        let edge = EdgeAndTrace::read(tap, route.operation, &head.headers, start, time);
        let is_inference = route.operation.is_inference();
        let cold = is_inference.then(|| ColdRequest::start(tap, start));
        Self { route, model, edge, cold }
    }

    /// A request that could not be read. It is forwarded like any other.
    pub fn unknown() -> Self {
        Self { route: &OTHER, model: None, edge: None, cold: None }
    }
}
