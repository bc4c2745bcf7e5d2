//! `docs/cookbook.md`: each question has queries, which name only what exists, and an answer. The queries run in
//! `external::mixin`.

use crate::support::promql::undefined_names;
use std::collections::BTreeSet;
use std::path::Path;

const PAGE: &str = "docs/cookbook.md";
const QUESTIONS: usize = 25;
const BEGIN: &str = "\n```promql\n";
const END: &str = "\n```";

/// Each question with its text.
fn questions() -> Vec<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = std::fs::read_to_string(path).unwrap();
    let sections = page.split("\n### ").skip(1);
    let parts = sections.filter_map(|section| {
        let (title, text) = section.split_once('\n')?;
        let text = text.split("\n## ").next()?;
        Some((title.to_owned(), text.to_owned()))
    });
    parts.collect()
}

/// Every query with its question.
pub fn expressions() -> Vec<(String, String)> {
    let queries = |(title, text): (String, String)| {
        let blocks = text.split(BEGIN).skip(1);
        let query = |block: &str| block.split(END).next().unwrap_or_default().to_owned();
        let queries: Vec<_> =
            blocks.map(|block| (format!("{PAGE}: {title}"), query(block))).collect();
        assert!(!queries.is_empty(), "{PAGE}: {title} has no query");
        queries
    };
    questions().into_iter().flat_map(queries).collect()
}

#[test]
fn every_question_has_an_answer() {
    let questions = questions();
    assert_eq!(questions.len(), QUESTIONS, "{PAGE}");
    for (at, (title, text)) in (1..).zip(&questions) {
        assert!(title.starts_with(&format!("{at}. ")) && title.ends_with('?'), "{title}");
        let (_, answer) = text.rsplit_once(END).unwrap_or_default();
        assert!(answer.trim().len() > 150, "{title} has no answer");
    }
}

#[test]
fn queries_name_only_what_exists() {
    for (place, expression) in expressions() {
        let missing = undefined_names(&expression, &BTreeSet::new());
        assert!(missing.is_empty(), "{place}: {}", missing.join(", "));
    }
}
