//! Polls the admin port.

use crate::admin_client::{AdminClient, AdminClientError};
use crate::live::slow::SlowRequests;
use crate::live::snapshot::LiveSnapshot;
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

/// Time between two polls.
const INTERVAL: Duration = Duration::from_secs(1);

/// News from the admin port.
#[derive(Debug)]
pub(super) enum LiveUpdate {
    /// The response of `/live`.
    Snapshot(Box<LiveSnapshot>),
    /// The response of `/requests/slow`.
    Slow(SlowRequests),
    /// Why there is none.
    Failure(String),
}

/// Polls one admin port.
pub(super) struct LiveFeed {
    client: AdminClient,
}

impl LiveFeed {
    /// Creates a feed. Nothing is requested yet.
    pub fn new(client: AdminClient) -> Self {
        Self { client }
    }

    /// Requests `/live` once.
    async fn snapshot(&mut self) -> Result<LiveSnapshot, AdminClientError> {
        self.get("/live").await
    }

    /// Requests `/live` and `/requests/slow` once.
    pub async fn updates(&mut self) -> Result<[LiveUpdate; 2], AdminClientError> {
        let snapshot = self.snapshot().await?;
        let slow = self.get("/requests/slow").await?;
        Ok([LiveUpdate::Snapshot(Box::new(snapshot)), LiveUpdate::Slow(slow)])
    }

    /// Sends an update each second, until nobody receives them. `/requests/slow` is requested only while it is wanted.
    pub async fn run(
        mut self,
        updates: mpsc::Sender<LiveUpdate>,
        mut wants_slow: watch::Receiver<bool>,
    ) {
        loop {
            let update = match self.snapshot().await {
                Ok(snapshot) => LiveUpdate::Snapshot(Box::new(snapshot)),
                Err(error) => LiveUpdate::Failure(error.to_string()),
            };
            let has_failed = matches!(update, LiveUpdate::Failure(_));
            if updates.send(update).await.is_err() {
                return;
            }
            let is_wanted = *wants_slow.borrow_and_update();
            if is_wanted && !has_failed {
                let update = match self.get("/requests/slow").await {
                    Ok(slow) => LiveUpdate::Slow(slow),
                    Err(error) => LiveUpdate::Failure(error.to_string()),
                };
                if updates.send(update).await.is_err() {
                    return;
                }
            }
            match timeout(INTERVAL, wants_slow.changed()).await {
                // The view has ended.
                Ok(Err(_)) => return,
                Ok(Ok(())) => {}
                Err(_) => {}
            }
            if has_failed {
                // A change of the view does not make a failing port respond.
                sleep(Duration::from_millis(100)).await;
            }
        }
    }

    async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, AdminClientError> {
        let response = self.client.get(path).await?;
        serde_json::from_slice(&response.body).map_err(|error| AdminClientError::Content {
            path: path.to_owned(),
            error: error.to_string(),
        })
    }
}
