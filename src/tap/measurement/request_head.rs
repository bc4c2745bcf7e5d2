//! Request headers: arrival time, route, model, edge wait and trace.

use super::super::cold_request::ColdRequest;
use super::super::edge_and_trace::EdgeAndTrace;
use super::super::headers::content_encoding;
use super::Tap;
use crate::socket::{self, SocketTimestamps};
use hyper::Method;
use hyper::http::{Version, request};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use streamgauge_core::dialect::request::RequestBodyReader;
use streamgauge_core::dialect::route::{OTHER, Operation, Route};

/// When a request arrived: its first read, or with HTTP/2 the read that completed its headers.
pub(super) struct ArrivalTime {
    /// On the clock that all instants share.
    pub started_at: Duration,
    /// Since 1970.
    pub wall_time: Duration,
}

impl ArrivalTime {
    /// Arrival time of the request whose headers were just read.
    pub fn now(client: &SocketTimestamps, version: Version) -> Self {
        let started_at = match version {
            // Requests share the connection, so only the latest read is certain to belong to this one.
            Version::HTTP_2 => client.last_read().at,
            _ => client.head_arrived_at(),
        };
        let elapsed = socket::now().saturating_sub(started_at);
        let wall_time =
            SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().saturating_sub(elapsed);
        Self { started_at, wall_time }
    }
}

/// Contents of the request headers.
pub(super) struct RequestHead {
    pub route: &'static Route,
    /// The model in the path or the query, where the API has it there.
    pub model: Option<String>,
    pub body: RequestBodyReader,
    pub edge: Option<Box<EdgeAndTrace>>,
    /// Inference requests only.
    pub cold: Option<ColdRequest>,
}

impl RequestHead {
    /// Reads the headers of a request, and registers the request with the cold-start detector and its trace.
    pub fn read(tap: &Arc<Tap>, head: &request::Parts, arrived: &ArrivalTime) -> Self {
        let path = head.uri.path();
        // Only for tests.
        tap.faults.inject(path.as_bytes());
        let query = head.uri.query();
        let (routes, trusts_start) = {
            let config = tap.config.load();
            (config.routes, config.trust_request_start)
        };
        let route = Route::find_with_query(routes, head.method.as_str(), path, query);
        let model = route.model(path).or_else(|| route.model_from_query(query));
        let ArrivalTime { started_at, wall_time } = *arrived;
        let (operation, headers) = (route.operation, &head.headers);
        let edge = EdgeAndTrace::read(tap, trusts_start, operation, headers, started_at, wall_time);
        let is_inference = route.operation.is_inference();
        let cold = is_inference.then(|| ColdRequest::start(tap, started_at));
        // The response on an unknown path may show that the request is inference.
        let may_be_inference = route.is_unknown() && head.method == Method::POST;
        let body = if route.operation == Operation::Other && !may_be_inference {
            RequestBodyReader::ignoring()
        } else {
            RequestBodyReader::with_encoding(&content_encoding(&head.headers))
        };
        Self { route, model, body, edge, cold }
    }

    /// A request that could not be read. It is forwarded like any other.
    pub fn unknown() -> Self {
        let body = RequestBodyReader::ignoring();
        Self { route: &OTHER, model: None, body, edge: None, cold: None }
    }
}
