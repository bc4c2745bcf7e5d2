//! Polls `/requests` for the requests that ended since the last poll.

use crate::admin::{ENDED_HEADER, INSTANCE_HEADER};
use crate::admin_client::{AdminClient, AdminClientError, AdminResponse};
use crate::request_log::MAX_RECENT;
use serde::Deserialize;
use std::borrow::Cow;

/// Result of one poll.
#[derive(Debug)]
pub(super) struct FeedUpdate {
    text: String,
    /// Number of requests that ended since the last poll and are not kept any more.
    pub missed: u64,
    /// Whether Streamgauge has started again since the last poll.
    pub is_restart: bool,
}

impl FeedUpdate {
    /// An update without lines.
    #[cfg(test)]
    pub fn of_notices(missed: u64, is_restart: bool) -> Self {
        Self { text: String::new(), missed, is_restart }
    }

    /// The JSON lines of the new requests, oldest first.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.lines()
    }
}

/// Requests of one Streamgauge, in the order in which they end.
pub(super) struct RequestFeed {
    client: AdminClient,
    /// Number of requests to return at the first poll.
    first: usize,
    position: Option<FeedPosition>,
}

/// The state of the request log at the last poll.
#[derive(Debug, Clone, PartialEq)]
struct FeedPosition {
    instance: u64,
    /// Number of requests that had ended.
    ended: u64,
    /// The newest of them.
    newest: Option<String>,
}

/// The member that identifies a request.
#[derive(Deserialize)]
struct RequestNumber<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
}

impl RequestFeed {
    /// Creates a feed that begins with the `first` newest requests.
    pub fn new(client: AdminClient, first: usize) -> Self {
        Self { client, first, position: None }
    }

    /// Returns the requests that ended since the last poll.
    pub async fn poll(&mut self) -> Result<FeedUpdate, AdminClientError> {
        let path = match &self.position {
            None => format!("/requests?last={}", self.first),
            Some(FeedPosition { newest: Some(id), .. }) => format!("/requests?after={id}"),
            Some(FeedPosition { newest: None, .. }) => format!("/requests?last={MAX_RECENT}"),
        };
        let response = self.client.get(&path).await?;
        let number = |name: &'static str| {
            header_number(&response, name).ok_or_else(|| AdminClientError::Content {
                path: path.clone(),
                error: format!("the header {name} is missing; is this an older Streamgauge?"),
            })
        };
        let (instance, ended) = (number(INSTANCE_HEADER)?, number(ENDED_HEADER)?);
        let text = String::from_utf8_lossy(&response.body).into_owned();
        let newest = text.lines().next_back().map(serde_json::from_str::<RequestNumber<'_>>);
        let newest = newest.transpose().map_err(|error| AdminClientError::Content {
            path: path.clone(),
            error: error.to_string(),
        })?;
        let newest = newest.map(|number| number.id.into_owned());
        let update = advance(&mut self.position, FeedPosition { instance, ended, newest }, text);
        Ok(update)
    }
}

/// Moves the position, and compares the number of new requests with the number of lines.
fn advance(position: &mut Option<FeedPosition>, mut now: FeedPosition, text: String) -> FeedUpdate {
    let lines = u64::try_from(text.lines().count()).unwrap_or(u64::MAX);
    let (is_restart, new) = match position.take() {
        // Requests before the first poll are not missed.
        None => (false, lines),
        Some(before) if before.instance == now.instance => {
            now.newest = now.newest.or(before.newest);
            (false, now.ended.saturating_sub(before.ended))
        }
        Some(_) => (true, now.ended),
    };
    *position = Some(now);
    FeedUpdate { text, missed: new.saturating_sub(lines), is_restart }
}

fn header_number(response: &AdminResponse, name: &str) -> Option<u64> {
    response.headers.get(name)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_requests_and_restarts_are_detected() {
        let mut position = None;
        let mut poll = |instance, ended, lines: usize| {
            let newest = (lines > 0).then(|| format!("{ended:016x}"));
            let now = FeedPosition { instance, ended, newest };
            let update = advance(&mut position, now, "{}\n".repeat(lines));
            let newest = position.as_ref().and_then(|position| position.newest.clone());
            (update.missed, update.is_restart, newest)
        };
        let id = |number: u64| Some(format!("{number:016x}"));
        assert_eq!(poll(1, 0, 0), (0, false, None));
        assert_eq!(poll(1, 500, 10), (490, false, id(500)), "the log was empty at the first poll");
        assert_eq!(poll(1, 503, 3), (0, false, id(503)));
        assert_eq!(poll(1, 503, 0), (0, false, id(503)), "the position stays without new requests");
        assert_eq!(poll(1, 2503, 1000), (1000, false, id(2503)));
        assert_eq!(
            poll(2, 3000, 1000),
            (2000, true, id(3000)),
            "also with more requests than before"
        );
        assert_eq!(poll(3, 0, 0), (0, true, None));
    }
}
