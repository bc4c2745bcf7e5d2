//! The inference routes: from the request's body to a job, and from its tokens to a response.

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
    has_strange_flavor,
};
use crate::content::{ChoiceTexts, ResponseContent};
use crate::frame_queue::FrameContent;
use crate::model::{Emission, EmissionKind, JobRejected};
use crate::pending_record::PendingRecord;
use crate::request::{ResponsePlan, SimRequest};
use crate::response_body::{DocumentBody, EventStreamBody, SimBody};
use crate::truth::TruthEnd;

/// Bodies beyond this are refused; a prompt of a million tokens is well below.
const MAX_BODY: usize = 64 << 20;

pub(super) async fn answer(
    shared: Arc<ServerState>,
    request: Request<Incoming>,
    mut route: SimRoute,
) -> Response<SimBody> {
    let header = |name: &str| {
        let value = request.headers().get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let (request_id, content_type) = (header("x-request-id"), header("content-type"));
    let mut ticket = PendingRecord::open(
        shared.truth.clone(),
        shared.epoch,
        request.uri().path(),
        request_id.clone(),
    );
    let body = match Limited::new(request.into_body(), MAX_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return refuse(ticket, route.api, &ApiError::Malformed(error.to_string())),
    };
    let body = route.body().map_or(body, Bytes::from);
    let ask = match SimRequest::read(&body, content_type.as_deref()) {
        Ok(ask) if has_strange_flavor(&ask.script) => {
            return refuse(ticket, route.api, &ApiError::Malformed("sim: flavor".to_owned()));
        }
        Ok(ask) => ask,
        Err(message) => return refuse(ticket, route.api, &ApiError::Malformed(message)),
    };
    drop(body);
    route.settle(&ask);
    let mut plan = match ask.plan(&route.api.fields()) {
        Ok(plan) => plan,
        Err(message) => return refuse(ticket, route.api, &ApiError::Malformed(message)),
    };
    plan.stream = route.stream.unwrap_or(plan.stream);
    // Sound comes bit by bit too, but has no events.
    let stream = plan.stream && route.api != SimApi::Speech;
    let named = route.model.as_deref().or_else(|| ask.model());
    ticket.asked(route.api, named.unwrap_or_default(), stream);
    let Some(host) = shared.host(named).map(Arc::clone) else {
        let name = named.unwrap_or_default().to_owned();
        return refuse(ticket, route.api, &ApiError::NoModel(name));
    };
    ticket.asked(route.api, &host.name, stream);
    ticket.planned(&plan);
    let (job, arrival, emissions) = match host.submit(plan.job) {
        Ok(accepted) => accepted,
        Err(rejected) => {
            let refusal = match rejected {
                JobRejected::Loading => ApiError::Loading,
                JobRejected::QueueFull => ApiError::QueueFull,
            };
            let event = plan.stream.then(|| route.api.refuse_in_stream(&refusal, &ask)).flatten();
            return match event {
                Some(event) => refuse_in_stream(ticket, event),
                None => refuse(ticket, route.api, &refusal),
            };
        }
    };
    ticket.accepted(Arc::clone(&host), job, arrival);

    let answer = ResponseContent::new(host.seed ^ job.0, &plan);
    let id = request_id.unwrap_or_else(|| shared.next_response().to_string());
    let writer = route.api.writer(&ResponseContext {
        route: &route,
        ask: &ask,
        plan: &plan,
        id: &id,
        created: unix_seconds(),
        model: &host.name,
    });
    // A prompt may be large, and is not needed any more.
    drop(ask);
    if plan.stream {
        answer_stream(plan, answer, writer, ticket, emissions).await
    } else {
        answer_whole(plan, answer, writer, route.api, ticket, emissions).await
    }
}

/// The head goes out when this server's would.
async fn answer_stream(
    plan: ResponsePlan,
    answer: ResponseContent,
    writer: Box<dyn ResponseWriter>,
    ticket: PendingRecord,
    emissions: UnboundedReceiver<Emission>,
) -> Response<SimBody> {
    let head_at = writer.head_at();
    let mut body = EventStreamBody::new(plan, answer, writer, ticket, emissions);
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

/// Waits for all tokens; the head goes out with the JSON.
async fn answer_whole(
    plan: ResponsePlan,
    answer: ResponseContent,
    mut writer: Box<dyn ResponseWriter>,
    api: SimApi,
    mut ticket: PendingRecord,
    mut emissions: UnboundedReceiver<Emission>,
) -> Response<SimBody> {
    let mut choices = vec![ChoiceTexts::default(); plan.job.choices as usize];
    let mut carried = FrameContent { visible: true, ..FrameContent::default() };
    let mut break_off = false;
    while let Some(emission) = emissions.recv().await {
        ticket.note(&emission);
        let EmissionKind::Token { choice, index } = emission.kind else {
            continue;
        };
        let said = answer.token(choice, index);
        if let Some(texts) = choices.get_mut(choice as usize) {
            texts.push(said.part, &said.json);
        }
        carried.add(said.part, said.chars);
        let due = |after: Option<u32>| after.is_some_and(|after| carried.tokens >= after);
        if due(plan.script.error_after) {
            return end_with(ticket, TruthEnd::Errored, api, &ApiError::Failed);
        }
        if due(plan.script.break_after) {
            break_off = true;
            break;
        }
    }
    if !api.fields().shows {
        carried = carried.numbers();
    }
    ticket.status(200);
    let whole = writer.whole(&choices, &ticket.account(&carried));
    let body = DocumentBody::new(whole.bytes, carried, whole.reported, ticket, break_off);
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

fn refuse(ticket: PendingRecord, api: SimApi, refusal: &ApiError) -> Response<SimBody> {
    end_with(ticket, TruthEnd::Rejected, api, refusal)
}

fn refuse_in_stream(mut ticket: PendingRecord, event: String) -> Response<SimBody> {
    ticket.status(200);
    ticket.finish(TruthEnd::Errored);
    respond(StatusCode::OK, EVENT_STREAM, SimBody::Fixed(Some(event.into())))
}

fn end_with(
    mut ticket: PendingRecord,
    end: TruthEnd,
    api: SimApi,
    refusal: &ApiError,
) -> Response<SimBody> {
    let (status, error) = api.refuse(refusal);
    ticket.status(status);
    ticket.finish(end);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    json_response(status, &error)
}
