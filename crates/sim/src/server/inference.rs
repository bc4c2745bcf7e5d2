//! The inference routes: from a request body to a job, and from its tokens to a response.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode};
use tokio::sync::mpsc::UnboundedReceiver;

use super::{ServerState, json_response, respond, unix_seconds};
use crate::api::{
    ApiError, EVENT_STREAM, HeadersAt, ResponseContext, ResponseWriter, SimApi, SimRoute,
    has_unknown_flavor,
};
use crate::content::{ChoiceTexts, ResponseContent};
use crate::frame_queue::FrameContent;
use crate::model::{Emission, EmissionKind, JobRejected};
use crate::pending_record::PendingRecord;
use crate::request::{ResponsePlan, SimRequest};
use crate::response_body::{DocumentBody, EventStreamBody, SimBody};
use crate::truth::TruthEnd;

/// Maximum size of a body; a prompt of a million tokens is far below.
const MAX_BODY: usize = 64 << 20;

pub(super) async fn respond_to_inference(
    shared: Arc<ServerState>,
    request: Request<Incoming>,
    mut route: SimRoute,
) -> Response<SimBody> {
    let header = |name: &str| {
        let value = request.headers().get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let (request_id, content_type) = (header("x-request-id"), header("content-type"));
    let mut record = PendingRecord::open(
        shared.truth.clone(),
        shared.epoch,
        request.uri().path(),
        request_id.clone(),
    );
    let body = match Limited::new(request.into_body(), MAX_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return reject(record, route.api, &ApiError::Malformed(error.to_string())),
    };
    let body = route.body().map_or(body, Bytes::from);
    let request = match SimRequest::read(&body, content_type.as_deref()) {
        Ok(request) if has_unknown_flavor(&request.script) => {
            return reject(record, route.api, &ApiError::Malformed("sim: flavor".to_owned()));
        }
        Ok(request) => request,
        Err(message) => return reject(record, route.api, &ApiError::Malformed(message)),
    };
    drop(body);
    route.settle(&request);
    let mut plan = match request.plan(&route.api.fields()) {
        Ok(plan) => plan,
        Err(message) => return reject(record, route.api, &ApiError::Malformed(message)),
    };
    plan.stream = route.stream.unwrap_or(plan.stream);
    // Sound is also sent in parts, but has no events.
    let stream = plan.stream && route.api != SimApi::Speech;
    let named = route.model.as_deref().or_else(|| request.model());
    record.set_request(route.api, named.unwrap_or_default(), stream);
    let Some(host) = shared.host(named).map(Arc::clone) else {
        let name = named.unwrap_or_default().to_owned();
        return reject(record, route.api, &ApiError::NoModel(name));
    };
    record.set_request(route.api, &host.name, stream);
    record.planned(&plan);
    let (job, arrival, emissions) = match host.submit(plan.job) {
        Ok(accepted) => accepted,
        Err(rejected) => {
            let error = match rejected {
                JobRejected::Loading => ApiError::Loading,
                JobRejected::QueueFull => ApiError::QueueFull,
            };
            let event = plan.stream.then(|| route.api.reject_in_stream(&error, &request)).flatten();
            return match event {
                Some(event) => reject_in_stream(record, event),
                None => reject(record, route.api, &error),
            };
        }
    };
    record.accepted(Arc::clone(&host), job, arrival);

    let answer = ResponseContent::new(host.seed ^ job.0, &plan);
    let id = request_id.unwrap_or_else(|| shared.next_response().to_string());
    let writer = route.api.writer(&ResponseContext {
        route: &route,
        request: &request,
        plan: &plan,
        id: &id,
        created: unix_seconds(),
        model: &host.name,
    });
    // A prompt can be large, and is not needed any more.
    drop(request);
    if plan.stream {
        answer_stream(plan, answer, writer, record, emissions).await
    } else {
        answer_whole(plan, answer, writer, route.api, record, emissions).await
    }
}

/// Sends the response headers when the imitated server would.
async fn answer_stream(
    plan: ResponsePlan,
    answer: ResponseContent,
    writer: Box<dyn ResponseWriter>,
    record: PendingRecord,
    emissions: UnboundedReceiver<Emission>,
) -> Response<SimBody> {
    let head_at = writer.head_at();
    let mut body = EventStreamBody::new(plan, answer, writer, record, emissions);
    match head_at {
        HeadersAt::Admission => {}
        HeadersAt::Start => {
            body.wait_for(|kind| matches!(kind, EmissionKind::Started { .. })).await;
        }
        HeadersAt::FirstToken => {
            body.wait_for(|kind| matches!(kind, EmissionKind::Token { .. })).await;
        }
    }
    let (content_type, headers) = body.head();
    let response = respond(StatusCode::OK, content_type, SimBody::Stream(Box::new(body)));
    with_headers(response, headers)
}

/// Waits for all tokens; the headers are sent with the JSON.
async fn answer_whole(
    plan: ResponsePlan,
    answer: ResponseContent,
    mut writer: Box<dyn ResponseWriter>,
    api: SimApi,
    mut record: PendingRecord,
    mut emissions: UnboundedReceiver<Emission>,
) -> Response<SimBody> {
    let mut choices = vec![ChoiceTexts::default(); plan.job.choices as usize];
    let mut carried = FrameContent { visible: true, ..FrameContent::default() };
    let mut break_off = false;
    while let Some(emission) = emissions.recv().await {
        record.note(&emission);
        let EmissionKind::Token { choice, index } = emission.kind else {
            continue;
        };
        let text_of = answer.token(choice, index);
        if let Some(texts) = choices.get_mut(choice as usize) {
            texts.push(text_of.part, &text_of.json);
        }
        carried.add(text_of.part, text_of.chars);
        let due = |after: Option<u32>| after.is_some_and(|after| carried.tokens >= after);
        if due(plan.script.error_after) {
            return end_with(record, TruthEnd::Errored, api, &ApiError::Failed);
        }
        if due(plan.script.break_after) {
            break_off = true;
            break;
        }
    }
    if !api.fields().shows {
        carried = carried.numbers();
    }
    record.status(200);
    let whole = writer.whole(&choices, &record.account(&carried));
    let body = DocumentBody::new(whole.bytes, carried, whole.reported, record, break_off);
    let response = respond(StatusCode::OK, "application/json", SimBody::Whole(Box::new(body)));
    with_headers(response, whole.headers)
}

fn with_headers(
    mut response: Response<SimBody>,
    headers: Vec<(&'static str, String)>,
) -> Response<SimBody> {
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    response
}

fn reject(record: PendingRecord, api: SimApi, error: &ApiError) -> Response<SimBody> {
    end_with(record, TruthEnd::Rejected, api, error)
}

fn reject_in_stream(mut record: PendingRecord, event: String) -> Response<SimBody> {
    record.status(200);
    record.finish(TruthEnd::Errored);
    respond(StatusCode::OK, EVENT_STREAM, SimBody::Fixed(Some(event.into())))
}

fn end_with(
    mut record: PendingRecord,
    end: TruthEnd,
    api: SimApi,
    error: &ApiError,
) -> Response<SimBody> {
    let (status, error) = api.reject(error);
    record.status(status);
    record.finish(end);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    json_response(status, &error)
}
