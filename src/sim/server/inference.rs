//! The inference routes: from the request's body to a job, and from its tokens to a response.

use std::sync::Arc;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;

use super::{Shared, json_response, loading, respond, unix_seconds};
use crate::sim::answer::Answer;
use crate::sim::body::{SimBody, StreamBody, WholeBody};
use crate::sim::model::{Emission, EmissionKind, Rejected};
use crate::sim::openai::{ChoiceText, ChunkWriter, error_json, whole};
use crate::sim::request::{Api, Ask, Plan};
use crate::sim::ticket::{Carried, Ticket};
use crate::sim::truth::End;

/// Bodies beyond this are refused; a prompt of a million tokens is well below.
const MAX_BODY: usize = 64 << 20;

/// What a response says of itself.
struct Labels {
    id: String,
    created: u64,
    model: String,
}

pub(super) async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
    api: Api,
) -> Response<SimBody> {
    let request_id = request
        .headers()
        .get("x-request-id")
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let mut ticket =
        Ticket::open(shared.truth.clone(), shared.epoch, request.uri().path(), request_id.clone());
    let body = Limited::new(request.into_body(), MAX_BODY).collect().await;
    let ask: Ask = match body.map(|body| serde_json::from_slice(&body.to_bytes())) {
        Ok(Ok(ask)) => ask,
        Ok(Err(error)) => return reject(ticket, 400, bad_request(&error.to_string())),
        Err(error) => return reject(ticket, 400, bad_request(&error.to_string())),
    };
    let named = ask.model.clone();
    ticket.asked(named.as_deref().unwrap_or_default(), ask.is_stream());
    let Some(host) = shared.host(named.as_deref()).map(Arc::clone) else {
        let name = named.unwrap_or_default();
        let message = format!("The model `{name}` does not exist.");
        let error = error_json(404, "NotFoundError", &message, Some("model"));
        return reject(ticket, 404, error);
    };
    ticket.asked(&host.name, ask.is_stream());
    let plan = ask.plan(api);
    ticket.planned(&plan);
    let (job, arrival, emissions) = match host.submit(plan.job) {
        Ok(accepted) => accepted,
        Err(Rejected::Loading) => return reject(ticket, 503, loading()),
        Err(Rejected::QueueFull) => {
            let message = "The waiting queue is full, try again later.";
            let error = error_json(503, "QueueOverflowError", message, None);
            return reject(ticket, 503, error);
        }
    };
    ticket.accepted(Arc::clone(&host), job, arrival);

    let answer = Answer::new(host.seed ^ job.0, &plan);
    let prefix = match api {
        Api::Chat => "chatcmpl-",
        Api::Completions => "cmpl-",
    };
    let labels = Labels {
        id: match request_id {
            Some(id) => format!("{prefix}{id}"),
            None => format!("{prefix}{}", shared.next_response()),
        },
        created: unix_seconds(),
        model: host.name.clone(),
    };
    if plan.stream {
        // Like vLLM: the head goes out on admission, before the job has a slot.
        ticket.status(200);
        let writer = ChunkWriter::new(api, &labels.id, labels.created, &labels.model);
        let body = StreamBody::new(plan, answer, writer, ticket, emissions);
        return respond(
            StatusCode::OK,
            "text/event-stream; charset=utf-8",
            SimBody::Stream(Box::new(body)),
        );
    }
    answer_whole(plan, &answer, &labels, ticket, emissions).await
}

/// Waits for all tokens; the head goes out with the JSON.
async fn answer_whole(
    plan: Plan,
    answer: &Answer,
    labels: &Labels,
    mut ticket: Ticket,
    mut emissions: UnboundedReceiver<Emission>,
) -> Response<SimBody> {
    let mut choices = vec![ChoiceText::default(); plan.job.choices as usize];
    let mut carried = Carried::default();
    let mut break_off = false;
    while let Some(emission) = emissions.recv().await {
        ticket.note(&emission);
        let EmissionKind::Token { choice, index } = emission.kind else {
            continue;
        };
        let said = answer.token(choice, index);
        if let Some(text) = choices.get_mut(choice as usize) {
            text.push(&said);
        }
        carried.add(said.part, said.chars);
        let due = |after: Option<u32>| after.is_some_and(|after| carried.tokens >= after);
        if due(plan.script.error_after) {
            let error = error_json(500, "InternalServerError", "scripted error", None);
            return end_with(ticket, 500, End::Errored, &error);
        }
        if due(plan.script.break_after) {
            break_off = true;
            break;
        }
    }
    ticket.status(200);
    let usage = ticket.usage_with(&carried);
    let bytes = whole(
        plan.api,
        (&labels.id, labels.created, &labels.model),
        &choices,
        plan.finish_reason,
        &usage,
    );
    let body = WholeBody::new(bytes, carried, ticket, break_off);
    respond(StatusCode::OK, "application/json", SimBody::Whole(Box::new(body)))
}

fn bad_request(message: &str) -> Value {
    error_json(400, "BadRequestError", message, None)
}

fn reject(ticket: Ticket, status: u16, error: Value) -> Response<SimBody> {
    end_with(ticket, status, End::Rejected, &error)
}

fn end_with(mut ticket: Ticket, status: u16, end: End, error: &Value) -> Response<SimBody> {
    ticket.status(status);
    ticket.finish(end);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    json_response(status, error)
}
