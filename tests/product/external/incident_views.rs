//! Views of an incident: the live page in Chromium, `streamgauge top`, and `/requests/slow`.

use crate::support::browser::Browser;
use crate::support::process::command;
use crate::support::{scrape, wait_for};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Instant;

/// The views of one Streamgauge.
pub struct IncidentViews {
    admin: SocketAddr,
    /// `None` without Chromium.
    browser: Option<Browser>,
}

/// Words that name an incident. A view is not looked at if it has none.
#[derive(Default)]
pub struct IncidentWords<'a> {
    /// In the incident line of the page.
    pub page: &'a str,
    /// The kind of an event in the page's data, and words in the events of the page.
    pub event: (&'a str, &'a str),
    /// In the text of `top --once`, with one space between words.
    pub top: &'a [&'a str],
    /// In the sentence of a slow request, and the part that was unusual.
    pub slow: (&'a str, Option<&'a str>),
}

impl IncidentViews {
    pub fn open(admin: SocketAddr) -> Self {
        let browser = Browser::start();
        if let Some(browser) = &browser {
            browser.open(&format!("http://{admin}/"));
        }
        Self { admin, browser }
    }

    /// Waits until each view has its words.
    pub fn assert_name(&self, words: &IncidentWords<'_>) {
        let IncidentWords { page, event, top, slow } = words;
        let start = Instant::now();
        if !page.is_empty() {
            self.wait_for_page("#summary .incident", page);
        }
        let (kind, text) = event;
        if !kind.is_empty() {
            wait_for(kind, || {
                let live = self.json("/live");
                let events = live["events"].as_array().unwrap().iter();
                events.map(|one| &one["kind"]).any(|one| one == kind).then_some(())
            });
            self.wait_for_page("#events", text);
        }
        if !top.is_empty() {
            wait_for(&format!("top: {top:?}"), || {
                let output = command(&["top", "--once", &self.admin.to_string()]).output().unwrap();
                assert!(output.status.success(), "{output:?}");
                let text = String::from_utf8(output.stdout).unwrap();
                // Long sentences are broken into lines.
                let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
                top.iter().all(|word| text.contains(word)).then_some(())
            });
        }
        let (sentence, unusual) = slow;
        if !sentence.is_empty() {
            wait_for(&format!("slow requests: {sentence}"), || {
                let slow = self.json("/requests/slow");
                let is_named = |one: &Value| {
                    one["sentence"].as_str().unwrap().contains(sentence)
                        && unusual.is_none_or(|part| one["unusual"] == part)
                };
                slow["requests"].as_array().unwrap().iter().any(is_named).then_some(())
            });
        }
        println!("named {:.1} s later: {}", start.elapsed().as_secs_f64(), slow.0);
    }

    /// Waits until the page has no incident.
    pub fn assert_calm(&self) {
        self.wait_for_page("#summary", "No incident now.");
    }

    /// Waits for an element with these words.
    fn wait_for_page(&self, selector: &str, words: &str) {
        let Some(browser) = &self.browser else { return };
        wait_for(&format!("page, {selector}: {words}"), || {
            browser.text(selector).contains(words).then_some(())
        });
    }

    fn json(&self, path: &str) -> Value {
        serde_json::from_str(&scrape::get(self.admin, path)).unwrap()
    }
}
