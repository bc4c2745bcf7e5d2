//! Reads the classes of `[[slo]]`.

use super::ProxyConfig;
use super::check::{Reader, Values};
use super::keys::{Key, SLO_KEYS, SLO_SIZE_KEYS};
use super::value::Read;
use config::{Value, ValueKind};
use serde_json::{Value as Json, json};
use streamgauge_core::dialect::route::Operation;
use streamgauge_core::meter::{InputSizeLimits, SloClass, SloClasses, SloLimits, SloTarget};
use strum::VariantArray;

/// Most classes, and most different limits of a target: each is a bucket edge of its histograms.
const MOST: usize = 8;

impl Reader {
    /// The classes of `[[slo]]`; `proxies` are the upstreams that they may name.
    pub fn slo(&mut self, values: &Values, proxies: &[ProxyConfig]) -> SloClasses {
        let Some(Read::Tables(list)) = values.get("slo") else { return SloClasses::default() };
        // What a proxy with a problem is called is not known.
        let upstreams = self.problems.is_empty().then(|| names(proxies));
        if list.len() > MOST {
            let why = format!("too many classes; allowed: at most {MOST}");
            self.problem("slo", &format!("{} tables", list.len()), why);
        }
        let mut classes: Vec<SloClass> = Vec::new();
        for (index, item) in list.iter().enumerate() {
            let at = format!("slo[{index}].");
            let Some(values) = self.keys_of(&at, item, SLO_KEYS) else { continue };
            let Some(class) = self.class(&at, &values, upstreams.as_deref()) else { continue };
            if classes.iter().any(|one| one.name == class.name) {
                let why = "two classes have this name; each needs its own";
                self.problem(&format!("{at}name"), &class.name, why);
            }
            classes.push(class);
        }
        let classes = SloClasses::new(classes);
        for &target in SloTarget::VARIANTS {
            let count = classes.distinct_limits(target).len();
            if count > MOST {
                let why = "too many different limits in all classes and sizes, since each is a bucket edge";
                let key = format!("slo[].{}", target.key());
                self.problem(&key, &count.to_string(), format!("{why}; allowed: at most {MOST}"));
            }
        }
        classes
    }

    /// Reads one table of a list; `at` is what stands before its keys in messages.
    fn keys_of(&mut self, at: &str, item: &Value, keys: &'static [Key]) -> Option<Values> {
        let ValueKind::Table(table) = &item.kind else {
            self.problem(at.trim_end_matches('.'), "", "must be a table");
            return None;
        };
        Some(self.table(at, table.clone(), &keys.iter().collect::<Vec<_>>()))
    }

    fn class(&mut self, at: &str, values: &Values, upstreams: Option<&[&str]>) -> Option<SloClass> {
        let name = match values.get("name") {
            Some(Read::Text(name)) => Some(name.as_str().into()),
            _ => None,
        };
        if name.is_none() && !self.has_problem(at, "name") {
            self.problem(&format!("{at}name"), "", "required");
        }
        let limits = self.limits(at, values);
        let sizes = self.sizes(at, values);
        let operations = texts(values, "operations");
        let all = Operation::VARIANTS.iter().copied().filter(|one| one.is_inference());
        let labels: Vec<&str> = all.clone().map(Operation::label).collect();
        self.all_of(&format!("{at}operations"), &operations, &labels);
        let names = texts(values, "upstreams");
        if let Some(upstreams) = upstreams {
            self.all_of(&format!("{at}upstreams"), &names, upstreams);
        }
        Some(SloClass {
            name: name?,
            models: texts(values, "models"),
            operations: all.filter(|one| operations.iter().any(|o| o == one.label())).collect(),
            upstreams: names,
            limits,
            sizes,
        })
    }

    /// The limits of a table, which must have one.
    fn limits(&mut self, at: &str, values: &Values) -> SloLimits {
        let limits = SloLimits::from_fn(|target| match values.get(target.key()) {
            Some(Read::Seconds(limit)) => Some(*limit),
            _ => None,
        });
        let is_told = SloTarget::VARIANTS.iter().any(|target| self.has_problem(at, target.key()));
        if limits.is_empty() && !is_told {
            let keys: Vec<_> = SloTarget::VARIANTS.iter().map(|target| target.key()).collect();
            let at = at.trim_end_matches('.');
            self.problem(at, "", format!("has no target; at least one of {}", keys.join(", ")));
        }
        limits
    }

    fn sizes(&mut self, at: &str, values: &Values) -> Vec<InputSizeLimits> {
        let Some(Read::Tables(list)) = values.get("sizes") else { return Vec::new() };
        let mut sizes: Vec<InputSizeLimits> = Vec::new();
        for (index, item) in list.iter().enumerate() {
            let at = format!("{at}sizes[{index}].");
            let Some(values) = self.keys_of(&at, item, SLO_SIZE_KEYS) else { continue };
            let limits = self.limits(&at, &values);
            let key = format!("{at}up_to_tokens");
            match values.get("up_to_tokens") {
                Some(Read::Count(tokens))
                    if sizes.iter().any(|one| one.up_to_tokens == *tokens) =>
                {
                    self.problem(&key, &tokens.to_string(), "two sizes of the class end there");
                }
                Some(Read::Count(tokens)) => {
                    sizes.push(InputSizeLimits { up_to_tokens: *tokens, limits });
                }
                _ if !self.has_problem(&at, "up_to_tokens") => self.problem(&key, "", "required"),
                _ => {}
            }
        }
        sizes.sort_by_key(|size| size.up_to_tokens);
        sizes
    }

    fn has_problem(&self, at: &str, key: &str) -> bool {
        self.problems.iter().any(|problem| problem.key.strip_prefix(at) == Some(key))
    }

    /// Tells the texts that are none of these.
    fn all_of(&mut self, key: &str, texts: &[String], allowed: &[&str]) {
        for text in texts.iter().filter(|text| !allowed.contains(&text.as_str())) {
            self.problem(key, text, format!("there is none; allowed: {}", allowed.join(", ")));
        }
    }
}

fn names(proxies: &[ProxyConfig]) -> Vec<&str> {
    proxies.iter().map(|proxy| proxy.tap.name.as_str()).collect()
}

fn texts(values: &Values, key: &str) -> Vec<String> {
    match values.get(key) {
        Some(Read::Texts(texts)) => texts.clone(),
        _ => Vec::new(),
    }
}

/// The classes in force, as `GET /config` shows them.
pub(super) fn shown(classes: &SloClasses) -> Json {
    let limits = |table: &mut serde_json::Map<String, Json>, limits: &SloLimits| {
        for &target in SloTarget::VARIANTS {
            table.insert(target.key().into(), json!(limits.get(target)));
        }
    };
    let class = |class: &SloClass| {
        let operations: Vec<_> = class.operations.iter().map(|one| one.label()).collect();
        let mut table = serde_json::Map::new();
        table.insert("name".into(), json!(class.name));
        table.insert("models".into(), json!(class.models));
        table.insert("operations".into(), json!(operations));
        table.insert("upstreams".into(), json!(class.upstreams));
        limits(&mut table, &class.limits);
        let size = |size: &InputSizeLimits| {
            let mut table = serde_json::Map::new();
            table.insert("up_to_tokens".into(), json!(size.up_to_tokens));
            limits(&mut table, &size.limits);
            Json::Object(table)
        };
        table.insert("sizes".into(), class.sizes.iter().map(size).collect());
        Json::Object(table)
    };
    classes.iter().map(class).collect()
}
