//! `streamgauge demo` as a process: it ends in order, and its summary is true.

use crate::support::Disturbance;
use std::net::TcpListener;
use std::process::{Command, Output};

fn demo(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_streamgauge")).arg("demo").args(args).output().unwrap()
}

/// The rows of the summary: section, name, and cells.
fn rows(summary: &str) -> Vec<(&str, &str, Vec<&str>)> {
    let mut section = "";
    let mut rows = Vec::new();
    for line in summary.lines() {
        let mut cells = line.trim().split("  ").map(str::trim).filter(|cell| !cell.is_empty());
        let Some(name) = cells.next() else { continue };
        let cells: Vec<_> = cells.collect();
        if cells.starts_with(&["measured", "true", "difference"]) {
            section = name;
        } else if !section.is_empty() && cells.len() >= 3 {
            rows.push((section, name, cells));
        }
    }
    rows
}

fn number(cell: &str) -> f64 {
    let digits = cell.trim_end_matches(" ms").replace(',', "");
    digits.parse().unwrap_or_else(|_| panic!("{cell} is not a number"))
}

#[test]
fn the_summary_matches_the_simulated_servers_record() {
    let disturbance = Disturbance::watch_alone();
    let ended = demo(&["--seconds", "6", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    let text = String::from_utf8(ended.stdout).unwrap();
    let errors = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.success(), "{}: {errors}\n{text}", ended.status);
    assert_eq!(errors, "");

    let (live, summary) = text.split_once("Summary of ").unwrap();
    assert!(live.contains("curl -N http://127.0.0.1:"), "{live}");
    assert!(live.contains("\nall models "), "one table in six seconds: {live}");
    assert!(live.contains("queue95") && live.contains("cold  good"), "{live}");
    assert!(!text.contains('\x1b'), "no escape codes where there is no terminal");

    let too_wide: Vec<_> = summary.lines().filter(|line| line.chars().count() > 80).collect();
    assert!(too_wide.is_empty(), "over 80 columns: {too_wide:#?}");

    let rows = rows(summary);
    let of = |section: &str, name: &str| -> (f64, f64) {
        let row = rows.iter().find(|row| (row.0, row.1) == (section, name));
        let cells = &row.unwrap_or_else(|| panic!("{section} has no {name}: {summary}")).2;
        (number(cells[0]), number(cells[1]))
    };
    const CHAT: &str = "llama-3.1-8b-instruct";
    for name in ["requests", "ok", "client gone", "input tokens"] {
        let (measured, truth) = of(CHAT, name);
        assert_eq!(measured, truth, "{name}: {summary}");
        assert!(truth > 0.0, "{name}: {summary}");
    }
    for (section, name, cells) in &rows {
        match *name {
            "requests" | "ok" | "rejected" | "client gone" | "failed" => {
                assert_eq!(number(cells[0]), number(cells[1]), "{section}, {name}: {summary}");
            }
            "mean TTFT" | "mean latency" | "mean TPOT" => {
                let (measured, truth) = cells.last().unwrap().split_once(" / ").unwrap();
                assert_eq!(measured, truth, "{section}, requests of {name}: {summary}");
            }
            _ => {}
        }
    }
    for section in [CHAT, "all models"] {
        let (measured, truth) = of(section, "mean TTFT");
        let allowed = disturbance.allow_in_mean((truth * 0.01).max(2.0) / 1e3) * 1e3;
        assert!((measured - truth).abs() <= allowed, "{section}: {summary}");
    }
    for (section, name, cells) in &rows {
        let (measured, truth) = (number(cells[0]), number(cells[1]));
        match *name {
            "output tokens" => {
                // The server may have sent an event or two that an abandoned stream never delivered.
                let left = rows.iter().find(|row| (row.0, row.1) == (*section, "client gone"));
                let allowed = 2.0 * left.map_or(0.0, |row| number(row.2[1]));
                assert!(measured <= truth && measured >= truth - allowed, "{section}: {summary}");
            }
            "mean TPOT" => {
                let allowed = disturbance.allow_in_mean((truth * 0.02).max(0.2) / 1e3) * 1e3;
                assert!((measured - truth).abs() <= allowed, "{section}: {summary}");
            }
            _ => {}
        }
    }
    // With a fixed seed, six seconds always have responses of every API with reported token counts.
    for (model, dialect) in [
        (CHAT, "openai-chat"),
        ("devstral-24b", "anthropic-messages"),
        ("mistral-7b-instruct", "tgi"),
        ("phi-4-mini", "ollama-chat"),
    ] {
        let (_, section) = summary.split_once(&format!("\n{model} ")).unwrap();
        let by = section.lines().nth(1).unwrap();
        assert_eq!(by, format!("API: {dialect}"), "{model}: {summary}");
        // The only Ollama request waits for its model, and a cold request has no TPOT.
        let time = if dialect == "ollama-chat" { "mean TTFT" } else { "mean TPOT" };
        for name in ["ok", "output tokens", time] {
            assert!(of(model, name).0 > 0.0, "{model}, {name}: {summary}");
        }
    }
    // A stream with several tokens per event that ended before its token count.
    assert!(of("devstral-24b", "client gone").0 > 0.0, "{summary}");
    assert!(summary.contains("without usage"), "{summary}");
    assert!(summary.contains("Both sides counted every request"), "{summary}");
}

#[test]
fn a_used_address_is_reported_with_its_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (flag, other) in [("--listen", "--admin"), ("--admin", "--listen")] {
        let ended = demo(&["--seconds", "1", flag, &address, other, "127.0.0.1:0"]);
        let errors = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{errors}");
        assert!(errors.contains(&address) && errors.contains(flag), "{errors}");
        assert!(!errors.contains(other), "{errors}");
        assert_eq!(ended.stdout, b"");
    }
}

#[test]
fn a_negative_rate_is_refused() {
    let ended = demo(&["--rate=-1"]);
    let errors = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{errors}");
    assert!(errors.contains("--rate"), "{errors}");
}
