//! Tests of failures: errors, aborts, disconnected clients, rejections, shutdown, each with its record.

use std::net::Ipv4Addr;

use http_body_util::BodyExt;

use super::test_server::*;
use crate::server::*;
use crate::truth::TruthEnd;

#[tokio::test]
async fn error_after_sends_an_error_event() {
    let server = start(quick()).await;
    let sim = json!({"output_tokens": 9, "error_after": 3});
    let response = server.chat(json!({"stream": true, "sim": sim})).await;
    let record = server.record().await;
    assert_eq!(response.status, 200);
    let chunks = response.chunks();
    assert_eq!(chunks.len(), 1 + 3 + 1);
    assert_eq!(chunks[4]["error"]["code"], 500);
    assert!(response.complete && response.done());
    assert_eq!((record.end, record.output_tokens), (TruthEnd::Errored, 3));

    let response = server.chat(json!({"sim": sim})).await;
    assert_eq!((response.status, response.json()["error"]["code"].as_u64()), (500, Some(500)));
    assert_eq!(server.record().await.status, Some(500));
}

#[tokio::test]
async fn break_after_leaves_the_body_incomplete() {
    let server = start(quick()).await;
    let sim = json!({"output_tokens": 9, "break_after": 3});
    let response = server.chat(json!({"stream": true, "sim": sim})).await;
    let record = server.record().await;
    assert!(!response.complete && !response.done());
    assert_eq!(response.outputs().len(), 3);
    assert_eq!((record.end, record.output_tokens), (TruthEnd::Broken, 3));

    let response = server.chat(json!({"sim": sim})).await;
    assert!(!response.complete && response.text.starts_with('{'));
    assert_eq!(server.record().await.end, TruthEnd::Broken);
}

#[tokio::test]
async fn disconnected_client_frees_its_slot() {
    for stream in [true, false] {
        let server = start(EngineSpec { slots: 1, ..quick() }).await;
        let body = json!({"stream": stream, "sim": {"output_tokens": 100_000}});
        let first = server.send("POST", "/v1/chat/completions", &body);
        let held = tokio::time::timeout(ms(100), async {
            let mut body = first.await.into_body();
            while body.frame().await.is_some() {}
        });
        let (left, _) = tokio::join!(held, async {
            sleep(ms(60)).await;
            assert_eq!(server.shared.hosts[0].occupancy(), (1, 0));
        });
        assert!(left.is_err());
        let record = server.record().await;
        assert_eq!(record.end, TruthEnd::Cancelled);
        assert_eq!(server.shared.hosts[0].occupancy(), (0, 0));
        assert_eq!(record.status.is_some(), stream, "no head, no status");
        assert_eq!(record.output_tokens > 0, stream);
        assert!((3..40).contains(&record.generated_tokens), "{record:?}");
        let next = server.chat(json!({"max_tokens": 1})).await;
        assert_eq!(next.status, 200);
    }
}

#[tokio::test]
async fn requests_during_a_load_are_rejected_or_held() {
    let loads = EngineSpec { load_time: ms(150), ..quick() };
    let rejecting = start(EngineSpec { reject_while_loading: true, ..loads.clone() }).await;
    let response = rejecting.chat(json!({"max_tokens": 1})).await;
    let words =
        json!({"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}});
    assert_eq!((response.status, response.json()), (503, words));
    assert_eq!(rejecting.get("/health").await.status, 503);
    let record = rejecting.record().await;
    assert_eq!((record.end, record.status), (TruthEnd::Rejected, Some(503)));
    sleep(ms(200)).await;
    assert_eq!(rejecting.get("/health").await.status, 200);
    assert_eq!(rejecting.chat(json!({"max_tokens": 1})).await.status, 200);

    let holds = start(loads).await;
    assert_eq!(holds.chat(json!({"stream": true, "max_tokens": 1})).await.status, 200);
    let record = holds.record().await;
    let load = record.load_s.unwrap();
    assert!((0.05..=0.15).contains(&load) && record.ttft_s.unwrap() > load, "{record:?}");
    assert_eq!(record.queue_s, Some(0.0));
}

#[tokio::test]
async fn invalid_requests_are_rejected() {
    let server = start(EngineSpec { slots: 1, queue_limit: Some(0), ..quick() }).await;
    let table = [
        (json!({"model": "other"}), 404, "NotFoundError"),
        (json!({"messages": 3}), 400, "BadRequestError"),
        (json!({"sim": {"misspelt": 1}}), 400, "BadRequestError"),
    ];
    for (body, status, kind) in table {
        let response = server.chat(body).await;
        assert_eq!(response.status, status);
        assert_eq!(response.json()["error"]["type"], kind);
        let record = server.record().await;
        assert_eq!((record.end, record.status), (TruthEnd::Rejected, Some(status)));
    }
    let (served, rejected) = tokio::join!(server.chat(json!({"max_tokens": 60})), async {
        sleep(ms(20)).await;
        server.chat(json!({"max_tokens": 9})).await
    });
    assert_eq!((served.status, rejected.status), (200, 503));
    assert_eq!(rejected.json()["error"]["type"], "QueueOverflowError");
    assert_eq!(server.get("/nowhere").await.status, 404);
    assert_eq!(server.get("/v1/models").await.json()["data"][0]["id"], "m");
}

#[tokio::test]
async fn shutdown_records_open_requests_as_cancelled() {
    let server = SimServer::bind((Ipv4Addr::LOCALHOST, 0).into(), vec![quick()]).await.unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = TestServer {
        addr: server.local_addr().unwrap(),
        truth: server.truth(),
        shared: Arc::clone(&server.shared),
        server: tokio::spawn(server.run(async { stopped.await.unwrap_or_default() })),
    };
    let (response, ()) = tokio::join!(
        server.chat(json!({"stream": true, "sim": {"output_tokens": 100_000}})),
        async {
            sleep(ms(100)).await;
            stop.send(()).unwrap();
        }
    );
    assert!(!response.complete);
    server.server.await.unwrap();
    let records = server.truth.take();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].end, TruthEnd::Cancelled);
}
