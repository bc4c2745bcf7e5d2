//! Plays the same raw requests against Streamgauge and the other proxies, and prints what each of them does.

mod cases;
mod recording_server;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use crate::BoxError;
use crate::contestant::Contestant;
use crate::options::RunOptions;
use crate::running_contestant::RunningContestant;
use cases::{CaseRule, DifferentialCase, MARKER};
use recording_server::RecordingServer;

/// A response that takes longer does not come.
const SILENCE: Duration = Duration::from_millis(400);
const COLUMN: usize = 16;

/// Reaction of a proxy to one case.
#[derive(Debug)]
struct CaseResult {
    /// Statuses that the client received.
    statuses: Vec<String>,
    /// Requests that reached the server completely, without the marker.
    forwarded: usize,
    /// How many times the rule of the case was broken.
    laxness: usize,
}

impl CaseResult {
    fn cell(&self) -> String {
        let statuses = self.statuses.join(" ");
        let statuses = if statuses.is_empty() { "-" } else { &statuses };
        let forwarded = match self.forwarded {
            0 => String::new(),
            1 => " fwd".to_owned(),
            count => format!(" fwd{count}"),
        };
        format!("{statuses}{forwarded}{}", if self.laxness > 0 { " !" } else { "" })
    }
}

/// Runs the role `differential`.
///
/// # Errors
/// If Streamgauge breaks the rule of a case more often than every other proxy.
pub async fn role(words: Vec<String>) -> Result<(), BoxError> {
    let options = RunOptions::parse_run(words)?;
    let server = RecordingServer::start()?;
    let mut proxies = Vec::new();
    for contestant in options.contestants()? {
        if !matches!(contestant, Contestant::Rival(_) | Contestant::Streamgauge) {
            continue;
        }
        match RunningContestant::start(contestant, server.address, &options).await {
            Ok(running) => proxies.push((contestant, running)),
            Err(error) => println!("{} is skipped: {error}.", contestant.name()),
        }
    }
    if !proxies.iter().any(|(contestant, _)| *contestant == Contestant::Streamgauge) {
        return Err("Streamgauge does not run: set --streamgauge PATH".into());
    }
    println!(
        "\nEach cell has the statuses that the client received, fwd if the request reached the server, and ! if that \
         breaks the rule.\n"
    );
    let names: Vec<&str> = proxies.iter().map(|(contestant, _)| contestant.name()).collect();
    print_row("case", "rule", names.into_iter().map(str::to_owned));
    let mut laxest = Vec::new();
    for case in cases::all() {
        let results: Vec<(Contestant, CaseResult)> = proxies
            .iter()
            .map(|(contestant, running)| Ok((*contestant, play(&case, running.target, &server)?)))
            .collect::<Result<_, BoxError>>()?;
        print_row(case.name, case.rule.text(), results.iter().map(|(_, result)| result.cell()));
        if is_laxest(&results) {
            laxest.push(case.name);
        }
    }
    if laxest.is_empty() {
        println!("\nStreamgauge is the laxest in no row.");
        return Ok(());
    }
    Err(format!("Streamgauge is the laxest in: {}", laxest.join(", ")).into())
}

/// Whether Streamgauge breaks the rule more often than every other proxy, or alone without another proxy.
fn is_laxest(results: &[(Contestant, CaseResult)]) -> bool {
    let (ours, others): (Vec<_>, Vec<_>) =
        results.iter().partition(|(contestant, _)| *contestant == Contestant::Streamgauge);
    let most = |results: &[&(Contestant, CaseResult)]| {
        results.iter().map(|(_, result)| result.laxness).max().unwrap_or(0)
    };
    most(&ours) > most(&others)
}

fn print_row(name: &str, rule: &str, cells: impl Iterator<Item = String>) {
    let cells: String = cells.map(|cell| format!(" {cell:<COLUMN$}")).collect();
    println!("{name:<34} {rule:<9}{}", cells.trim_end());
}

fn play(
    case: &DifferentialCase,
    proxy: SocketAddr,
    server: &RecordingServer,
) -> Result<CaseResult, BoxError> {
    server.begin(case.response.clone());
    let mut client = TcpStream::connect(proxy)?;
    client.set_read_timeout(Some(SILENCE))?;
    let answer = match client.write_all(&case.request) {
        Ok(()) => read_answer(&mut client),
        Err(_) => Vec::new(),
    };
    // The next case must not meet a request of this one.
    let _ = client.shutdown(Shutdown::Both);
    drop(client);
    let requests = server.take_requests();
    let statuses = statuses(&answer);
    let forwarded = requests.iter().filter(|request| !request.starts_with(MARKER)).count();
    let received = requests.concat();
    let holds = |bytes: &[u8], text: &str| {
        bytes.windows(text.len()).any(|part| part.eq_ignore_ascii_case(text.as_bytes()))
    };
    let laxness = match case.rule {
        CaseRule::Reject => forwarded,
        CaseRule::Hide(text) => usize::from(holds(&received, text)),
        CaseRule::Keep(text) => usize::from(forwarded > 0 && !holds(&received, text)),
        CaseRule::Answer(status) => {
            usize::from(statuses.first().is_none_or(|first| first != status))
        }
        CaseRule::Deliver(text) => usize::from(!holds(&answer, text)),
        CaseRule::Any => 0,
    };
    Ok(CaseResult { statuses, forwarded, laxness })
}

/// Reads until the connection ends, or nothing has come for a while.
fn read_answer(client: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    let mut part = [0; 16 * 1024];
    while let Ok(count @ 1..) = client.read(&mut part) {
        answer.extend_from_slice(part.get(..count).unwrap_or_default());
    }
    answer
}

/// The status of each response in these bytes.
fn statuses(answer: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(answer);
    let starts = text.split("HTTP/1.1 ").skip(1).map(|rest| rest.chars().take(3));
    starts.map(String::from_iter).filter(|status| status.parse::<u16>().is_ok()).collect()
}
