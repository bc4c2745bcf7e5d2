//! What goes wrong: errors, breaks, departures, refusals, shutdown; each with its record.

use std::net::Ipv4Addr;

use http_body_util::BodyExt;

use super::rig::*;
use crate::server::*;
use crate::truth::TruthEnd;

#[tokio::test]
async fn error_after_ends_in_an_error_event() {
    let rig = rig(quick()).await;
    let sim = json!({"output_tokens": 9, "error_after": 3});
    let seen = rig.chat(json!({"stream": true, "sim": sim})).await;
    let record = rig.record().await;
    assert_eq!(seen.status, 200);
    let chunks = seen.chunks();
    assert_eq!(chunks.len(), 1 + 3 + 1);
    assert_eq!(chunks[4]["error"]["code"], 500);
    assert!(seen.complete && seen.done());
    assert_eq!((record.end, record.output_tokens), (TruthEnd::Errored, 3));

    let seen = rig.chat(json!({"sim": sim})).await;
    assert_eq!((seen.status, seen.json()["error"]["code"].as_u64()), (500, Some(500)));
    assert_eq!(rig.record().await.status, Some(500));
}

#[tokio::test]
async fn break_after_leaves_the_body_incomplete() {
    let rig = rig(quick()).await;
    let sim = json!({"output_tokens": 9, "break_after": 3});
    let seen = rig.chat(json!({"stream": true, "sim": sim})).await;
    let record = rig.record().await;
    assert!(!seen.complete && !seen.done());
    assert_eq!(seen.outputs().len(), 3);
    assert_eq!((record.end, record.output_tokens), (TruthEnd::Broken, 3));

    let seen = rig.chat(json!({"sim": sim})).await;
    assert!(!seen.complete && seen.text.starts_with('{'));
    assert_eq!(rig.record().await.end, TruthEnd::Broken);
}

#[tokio::test]
async fn a_client_that_leaves_frees_its_slot() {
    for stream in [true, false] {
        let rig = rig(EngineSpec { slots: 1, ..quick() }).await;
        let body = json!({"stream": stream, "sim": {"output_tokens": 100_000}});
        let first = rig.send("POST", "/v1/chat/completions", &body);
        let held = tokio::time::timeout(ms(100), async {
            let mut body = first.await.into_body();
            while body.frame().await.is_some() {}
        });
        let (left, _) = tokio::join!(held, async {
            sleep(ms(60)).await;
            assert_eq!(rig.shared.hosts[0].occupancy(), (1, 0));
        });
        assert!(left.is_err());
        let record = rig.record().await;
        assert_eq!(record.end, TruthEnd::Cancelled);
        assert_eq!(rig.shared.hosts[0].occupancy(), (0, 0));
        assert_eq!(record.status.is_some(), stream, "no head, no status");
        assert_eq!(record.output_tokens > 0, stream);
        assert!((3..40).contains(&record.generated_tokens), "{record:?}");
        let next = rig.chat(json!({"max_tokens": 1})).await;
        assert_eq!(next.status, 200);
    }
}

#[tokio::test]
async fn loading_is_told_or_waited_for() {
    let loads = EngineSpec { load_time: ms(150), ..quick() };
    let refuses = rig(EngineSpec { refuse_while_loading: true, ..loads.clone() }).await;
    let seen = refuses.chat(json!({"max_tokens": 1})).await;
    let words =
        json!({"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}});
    assert_eq!((seen.status, seen.json()), (503, words));
    assert_eq!(refuses.get("/health").await.status, 503);
    let record = refuses.record().await;
    assert_eq!((record.end, record.status), (TruthEnd::Rejected, Some(503)));
    sleep(ms(200)).await;
    assert_eq!(refuses.get("/health").await.status, 200);
    assert_eq!(refuses.chat(json!({"max_tokens": 1})).await.status, 200);

    let holds = rig(loads).await;
    assert_eq!(holds.chat(json!({"stream": true, "max_tokens": 1})).await.status, 200);
    let record = holds.record().await;
    let load = record.load_s.unwrap();
    assert!((0.05..=0.15).contains(&load) && record.ttft_s.unwrap() > load, "{record:?}");
    assert_eq!(record.queue_s, Some(0.0));
}

#[tokio::test]
async fn what_can_not_be_served_is_refused() {
    let rig = rig(EngineSpec { slots: 1, queue_limit: Some(0), ..quick() }).await;
    let table = [
        (json!({"model": "other"}), 404, "NotFoundError"),
        (json!({"messages": 3}), 400, "BadRequestError"),
        (json!({"sim": {"misspelt": 1}}), 400, "BadRequestError"),
    ];
    for (body, status, kind) in table {
        let seen = rig.chat(body).await;
        assert_eq!(seen.status, status);
        assert_eq!(seen.json()["error"]["type"], kind);
        let record = rig.record().await;
        assert_eq!((record.end, record.status), (TruthEnd::Rejected, Some(status)));
    }
    let (served, refused) = tokio::join!(rig.chat(json!({"max_tokens": 60})), async {
        sleep(ms(20)).await;
        rig.chat(json!({"max_tokens": 9})).await
    });
    assert_eq!((served.status, refused.status), (200, 503));
    assert_eq!(refused.json()["error"]["type"], "QueueOverflowError");
    assert_eq!(rig.get("/nowhere").await.status, 404);
    assert_eq!(rig.get("/v1/models").await.json()["data"][0]["id"], "m");
}

#[tokio::test]
async fn shutting_down_records_what_it_cuts() {
    let server = SimServer::bind((Ipv4Addr::LOCALHOST, 0).into(), vec![quick()]).await.unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let rig = TestServer {
        addr: server.local_addr().unwrap(),
        truth: server.truth(),
        shared: Arc::clone(&server.shared),
        server: tokio::spawn(server.run(async { stopped.await.unwrap_or_default() })),
    };
    let (seen, ()) =
        tokio::join!(rig.chat(json!({"stream": true, "sim": {"output_tokens": 100_000}})), async {
            sleep(ms(100)).await;
            stop.send(()).unwrap();
        });
    assert!(!seen.complete);
    rig.server.await.unwrap();
    let records = rig.truth.take();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].end, TruthEnd::Cancelled);
}
