//! The mixin: its generated files are current and well-formed, name only what exists, and every alert has a runbook and
//! tests.

use crate::support::promql::{is_name, undefined_names};
use crate::support::{skip, text_format::promtool};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

pub const RULES: &str = "deploy/prometheus/rules.yml";
pub const ALERTS: &str = "deploy/prometheus/alerts.yml";
const RUNBOOKS: &str = "docs/runbooks.md";

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Files of a folder with this ending, below it too, sorted.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|own| own == ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// All dashboards by file name.
pub fn dashboards() -> BTreeMap<String, Value> {
    let named = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, serde_json::from_str(&text).unwrap())
    };
    files("deploy/grafana", "json").into_iter().map(named).collect()
}

/// All panels of a dashboard except rows, also those of collapsed rows.
pub fn panels(dashboard: &Value) -> Vec<&Value> {
    let outer = dashboard["panels"].as_array().unwrap();
    let inner = outer.iter().flat_map(|panel| panel["panels"].as_array().into_iter().flatten());
    outer.iter().chain(inner).filter(|panel| panel["type"] != "row").collect()
}

/// All rules of a file.
pub fn rules(path: &str) -> Vec<Value> {
    let file = yaml(path);
    let groups = file["groups"].as_array().unwrap().clone();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

/// Names of the recording rules.
fn recorded() -> BTreeSet<String> {
    rules(RULES).iter().map(|rule| rule["record"].as_str().unwrap().to_owned()).collect()
}

/// Names of the alerts.
fn alert_names() -> Vec<String> {
    rules(ALERTS).iter().map(|rule| rule["alert"].as_str().unwrap().to_owned()).collect()
}

/// Evaluates a jsonnet expression over the mixin. `None` without jsonnet.
fn jsonnet(expression: &str) -> Option<Value> {
    let output = Command::new("jsonnet")
        .current_dir(root().join("mixin"))
        .arg("-e")
        .arg(expression)
        .output();
    let Ok(output) = output else {
        skip("there is no jsonnet (Debian's package jsonnet has it)");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn generated_files_are_current() {
    let expression = "local m = import 'mixin.libsonnet'; \
        { dashboards: m.grafanaDashboards, rules: m.prometheusRules, alerts: m.prometheusAlerts }";
    let Some(generated) = jsonnet(expression) else { return };
    let committed: Value = dashboards().into_iter().collect::<serde_json::Map<_, _>>().into();
    let current =
        |name: &str, is_same: bool| assert!(is_same, "{name} is not current: run mixin/generate");
    current("deploy/grafana", generated["dashboards"] == committed);
    current(RULES, generated["rules"] == yaml(RULES));
    current(ALERTS, generated["alerts"] == yaml(ALERTS));
}

/// The place of a panel: left, top, right, bottom.
fn place(panel: &Value) -> (u64, u64, u64, u64) {
    let part = |name: &str| panel["gridPos"][name].as_u64().unwrap();
    (part("x"), part("y"), part("x") + part("w"), part("y") + part("h"))
}

#[test]
fn dashboards_are_well_formed() {
    let all = dashboards();
    assert_eq!(all.len(), 5);
    let uids: BTreeSet<&str> = all.values().map(|one| one["uid"].as_str().unwrap()).collect();
    assert_eq!(uids.len(), all.len(), "unique uids");
    for (name, dashboard) in &all {
        assert_eq!(format!("{}.json", dashboard["uid"].as_str().unwrap()), *name);
        let outer = dashboard["panels"].as_array().unwrap();
        let mut ids = BTreeSet::new();
        for panel in outer.iter().chain(panels(dashboard)) {
            ids.insert(panel["id"].as_u64().unwrap());
        }
        let rows = outer.iter().filter(|panel| panel["type"] == "row").count();
        assert_eq!(ids.len(), rows + panels(dashboard).len(), "{name}: unique ids");
        assert_eq!(outer[0]["type"], "row");
        let open: Vec<_> = outer.iter().filter(|panel| panel["collapsed"] == false).collect();
        assert_eq!(open.len(), 1, "{name}: only the first row is open");
        assert_no_overlap(name, outer);
        for row in outer {
            assert_no_overlap(name, row["panels"].as_array().map_or(&[], Vec::as_slice));
        }
        let variables: BTreeSet<&str> = dashboard["templating"]["list"]
            .as_array()
            .unwrap()
            .iter()
            .map(|variable| variable["name"].as_str().unwrap())
            .collect();
        for variable in ["datasource", "namespace", "pod", "instance", "upstream"] {
            assert!(variables.contains(variable), "{name}: selector {variable}");
        }
        for annotation in ["Cold starts", "Outages"] {
            let list = dashboard["annotations"]["list"].as_array().unwrap();
            assert!(list.iter().any(|own| own["name"] == annotation), "{name}: {annotation}");
        }
        for panel in panels(dashboard) {
            assert_panel(name, panel, &variables);
        }
    }
}

fn assert_no_overlap(name: &str, panels: &[Value]) {
    for (i, one) in panels.iter().enumerate() {
        let (left, top, right, bottom) = place(one);
        assert!(right <= 24, "{name}: {}", one["title"]);
        for other in &panels[i + 1..] {
            let (other_left, other_top, other_right, other_bottom) = place(other);
            let is_apart = right <= other_left
                || other_right <= left
                || bottom <= other_top
                || other_bottom <= top;
            assert!(is_apart, "{name}: {} overlaps {}", one["title"], other["title"]);
        }
    }
}

fn assert_panel(dashboard: &str, panel: &Value, variables: &BTreeSet<&str>) {
    let name = format!("{dashboard}: {}", panel["title"]);
    let known = ["timeseries", "stat", "heatmap", "table"];
    assert!(known.contains(&panel["type"].as_str().unwrap()), "{name}");
    let defaults = &panel["fieldConfig"]["defaults"];
    assert!(defaults["unit"].is_string() && defaults["noValue"].is_string(), "{name}");
    let description = panel["description"].as_str().unwrap();
    let (text, link) = description.split_once(" [Definition](").unwrap_or_else(|| panic!("{name}"));
    assert!(text.len() > 20, "{name}");
    let target = link.trim_end_matches(").").rsplit('/').next().unwrap();
    assert_anchor(&name, target);
    let mut references = BTreeSet::new();
    for target in panel["targets"].as_array().unwrap() {
        assert_eq!(target["datasource"]["uid"], "${datasource}", "{name}");
        assert!(references.insert(target["refId"].as_str().unwrap()), "{name}");
        for variable in target["expr"].as_str().unwrap().split('$').skip(1) {
            let end = |c: char| !c.is_ascii_alphanumeric() && c != '_';
            let variable = variable.split(end).next().unwrap();
            assert!(
                variable.starts_with("__") || variables.contains(variable),
                "{name}: {variable}"
            );
        }
    }
    assert!(!references.is_empty(), "{name}");
}

/// Fails unless this page of docs/ has this heading.
fn assert_anchor(name: &str, target: &str) {
    let (page, anchor) = target.split_once('#').unwrap_or((target, ""));
    let page = read(&format!("docs/{page}"));
    let anchors = page.lines().filter(|line| line.starts_with('#')).map(|line| {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.collect::<String>().replace(' ', "-")
    });
    assert!(anchors.into_iter().any(|own| own == anchor), "{name}: {target} has no heading");
}

/// Every expression of the mixin with its place: panels, annotations, rules, alerts.
pub fn expressions() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (name, dashboard) in &dashboards() {
        for panel in panels(dashboard) {
            for target in panel["targets"].as_array().unwrap() {
                let place = format!("{name}: {}", panel["title"].as_str().unwrap());
                found.push((place, target["expr"].as_str().unwrap().to_owned()));
            }
        }
        for annotation in dashboard["annotations"]["list"].as_array().unwrap() {
            if let Some(expression) = annotation["expr"].as_str() {
                let place = format!("{name}: annotation {}", annotation["name"].as_str().unwrap());
                found.push((place, expression.to_owned()));
            }
        }
    }
    for (path, key) in [(RULES, "record"), (ALERTS, "alert")] {
        for rule in rules(path) {
            let text = |key: &str| rule[key].as_str().unwrap().to_owned();
            found.push((format!("{key} {}", text(key)), text("expr")));
        }
    }
    found
}

#[test]
fn expressions_name_only_what_exists() {
    let recorded = recorded();
    let missing: Vec<String> = expressions()
        .iter()
        .flat_map(|(place, expression)| {
            let names = undefined_names(expression, &recorded);
            names.into_iter().map(move |name| format!("{place}: {name}"))
        })
        .collect();
    assert_eq!(missing, Vec::<String>::new(), "names that do not exist");
    // The check itself finds a wrong metric, label, and value.
    for wrong in [
        "rate(streamgauge_stall_total[5m])",
        "streamgauge_upstream_up{model=\"a\"}",
        "sum by (modell) (streamgauge_upstream_up)",
        "streamgauge_requests_total{outcome=~\"ok|failed\"}",
        "upstream:streamgauge_nothing:rate5m",
    ] {
        assert_eq!(undefined_names(wrong, &recorded).len(), 1, "{wrong}");
    }
}

#[test]
fn names_of_metrics_in_the_documentation_exist() {
    let mut missing = Vec::new();
    let mut pages = vec![root().join("README.md"), root().join("ARCHITECTURE.md")];
    pages.extend(files("docs", "md"));
    for folder in ["deploy", "mixin"] {
        for ending in ["md", "yml", "yaml", "libsonnet", "json"] {
            pages.extend(files(folder, ending));
        }
    }
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        for start in ["streamgauge_", "gen_ai_"] {
            for (at, _) in text.match_indices(start) {
                let word = text[at..].split(|c| !is_part(c)).next().unwrap();
                let after = &text[at + word.len()..];
                let is_inside = text[..at].ends_with(is_part);
                let is_prefix = word.ends_with('_')
                    || after.starts_with(['*', '.']) && after.starts_with("...");
                if !is_inside && !is_prefix && !is_name(word) && !is_recorded_part(word) {
                    missing.push(format!("{}: {word}", page.display()));
                }
            }
        }
    }
    assert_eq!(missing, Vec::<String>::new(), "names that are not in src/metrics/table.rs");
}

/// Whether a word is the middle of the name of a recording rule in deploy/.
fn is_recorded_part(word: &str) -> bool {
    let middle = format!(":{word}:");
    files("deploy", "yml").iter().any(|path| {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().any(|line| line.contains("record: ") && line.contains(&middle))
    })
}

/// The sections of the runbooks: heading and text.
fn sections(page: &str) -> Vec<(String, String)> {
    let parts = page.split("\n## ").skip(1);
    let section = |part: &str| {
        let (heading, text) = part.split_once('\n').unwrap_or((part, ""));
        (heading.to_owned(), text.to_owned())
    };
    parts.map(section).filter(|(heading, _)| heading.starts_with("Streamgauge")).collect()
}

#[test]
fn each_alert_has_its_runbook_and_each_runbook_its_alert() {
    let sections = sections(&read(RUNBOOKS));
    let headings: Vec<String> = sections.iter().map(|(heading, _)| heading.clone()).collect();
    assert_eq!(
        headings,
        alert_names(),
        "{RUNBOOKS} has the sections of the alerts, in their order"
    );
    for (heading, text) in &sections {
        for part in ["**Meaning.**", "**Look at.**", "**Usual causes.**", "**What to do.**"] {
            assert!(text.contains(part), "{RUNBOOKS}: {heading} has no {part}");
        }
    }
    for rule in rules(ALERTS) {
        let name = rule["alert"].as_str().unwrap();
        let annotations = &rule["annotations"];
        let link = format!("/runbooks.md#{}", name.to_lowercase());
        assert!(annotations["runbook_url"].as_str().unwrap().ends_with(&link), "{name}");
        let dashboard = annotations["dashboard_url"].as_str().unwrap().rsplit('/').next().unwrap();
        assert!(dashboards().contains_key(&format!("{dashboard}.json")), "{name}: {dashboard}");
        let severity = rule["labels"]["severity"].as_str().unwrap();
        assert!(["critical", "warning", "info"].contains(&severity), "{name}");
        for text in ["summary", "description"] {
            assert!(annotations[text].as_str().unwrap().len() > 20, "{name}: {text}");
        }
        assert!(rule["for"].is_string(), "{name}");
    }
}

#[test]
fn each_alert_is_tested_to_fire_and_not_to_fire() {
    let mut fires = BTreeSet::new();
    let mut is_silent = BTreeSet::new();
    let tests = files("mixin/tests", "yml");
    for path in &tests {
        let file: Value = serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        for test in file["tests"].as_array().unwrap() {
            for check in test["promql_expr_test"].as_array().into_iter().flatten() {
                let expression = check["expr"].as_str().unwrap();
                let name = expression.split("alertname=\"").nth(1).expect("ALERTS with a name");
                let name = name.split('"').next().unwrap().to_owned();
                match check["exp_samples"].as_array().is_some_and(|samples| !samples.is_empty()) {
                    true => fires.insert(name),
                    false => is_silent.insert(name),
                };
            }
        }
    }
    let expected: BTreeSet<String> = alert_names().into_iter().collect();
    assert_eq!(fires, expected, "alerts with a test that they fire");
    assert_eq!(is_silent, expected, "alerts with a test that they do not fire");
    let paths: Vec<String> = tests.iter().map(|path| path.display().to_string()).collect();
    let mut arguments = vec!["test", "rules"];
    arguments.extend(paths.iter().map(String::as_str));
    promtool(&arguments, "");
}

#[test]
fn promtool_accepts_rules_and_alerts() {
    let [rules, alerts] = [RULES, ALERTS].map(|path| root().join(path).display().to_string());
    promtool(&["check", "rules", "--lint=all", "--lint-fatal", &rules, &alerts], "");
}

/// The keys of an object, for a comparison with those of a schema.
fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// Fails unless an object has these keys and no others.
fn assert_keys(value: &Value, expected: &[&str]) {
    assert_eq!(keys(value), expected.iter().copied().collect(), "{value}");
}

/// Fails unless this is PromQL that names only what exists.
fn assert_expressions(expressions: &[String]) {
    for expression in expressions {
        assert_eq!(undefined_names(expression, &BTreeSet::new()), Vec::<String>::new());
    }
    let rule = |(i, expression): (usize, &String)| json!({"record": format!("rule{i}"), "expr": expression});
    let rules: Vec<Value> = expressions.iter().enumerate().map(rule).collect();
    let groups = json!({"groups": [{"name": "slo", "rules": rules}]});
    promtool(&["check", "rules", "/dev/stdin"], &groups.to_string());
}

/// The schema is Sloth's `prometheus/v1`. Sloth itself cannot be installed here.
#[test]
fn slos_for_sloth_follow_its_schema() {
    let file = yaml("mixin/slo/sloth.yml");
    assert_keys(&file, &["version", "service", "labels", "slos"]);
    assert_eq!(file["version"], "prometheus/v1");
    let mut expressions = Vec::new();
    for slo in file["slos"].as_array().unwrap() {
        assert_keys(slo, &["name", "objective", "description", "sli", "alerting"]);
        assert!((0.0..100.0).contains(&slo["objective"].as_f64().unwrap()));
        let events = &slo["sli"]["events"];
        assert_keys(events, &["error_query", "total_query"]);
        let alerting = &slo["alerting"];
        assert_keys(alerting, &["name", "labels", "annotations", "page_alert", "ticket_alert"]);
        for query in ["error_query", "total_query"] {
            let query = events[query].as_str().unwrap();
            assert!(query.contains("[{{.window}}]"), "{query}");
            expressions.push(query.replace("{{.window}}", "5m"));
        }
        let runbook = alerting["annotations"]["runbook_url"].as_str().unwrap();
        assert_anchor("sloth.yml", runbook.rsplit('/').next().unwrap());
    }
    assert_expressions(&expressions);
}

/// The schema is that of Pyrra's custom resource `ServiceLevelObjective`. Pyrra itself cannot be installed here.
#[test]
fn slos_for_pyrra_follow_its_schema() {
    let text = read("mixin/slo/pyrra.yml");
    let mut expressions = Vec::new();
    for document in text.split("\n---\n") {
        let slo: Value = serde_saphyr::from_str(document).unwrap();
        assert_keys(&slo, &["apiVersion", "kind", "metadata", "spec"]);
        assert_eq!(
            (&slo["apiVersion"], &slo["kind"]),
            (&json!("pyrra.dev/v1alpha1"), &json!("ServiceLevelObjective"))
        );
        let spec = &slo["spec"];
        assert_keys(spec, &["target", "window", "description", "indicator"]);
        // The schema wants text.
        assert!((0.0..100.0).contains(&spec["target"].as_str().unwrap().parse::<f64>().unwrap()));
        assert_keys(&spec["indicator"], &["ratio"]);
        let ratio = &spec["indicator"]["ratio"];
        assert_keys(ratio, &["errors", "total", "grouping"]);
        let grouping: Vec<&str> = ratio["grouping"]
            .as_array()
            .unwrap()
            .iter()
            .map(|label| label.as_str().unwrap())
            .collect();
        for part in ["errors", "total"] {
            assert_keys(&ratio[part], &["metric"]);
            let selector = ratio[part]["metric"].as_str().unwrap();
            expressions.push(format!("sum by ({}) (rate({selector}[5m]))", grouping.join(", ")));
        }
    }
    assert_eq!(expressions.len(), 4);
    assert_expressions(&expressions);
}
