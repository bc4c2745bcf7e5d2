//! Reads the `[[api]]` tables: APIs without built-in support.

use super::effective;
use super::keys::{
    API_CUMULATIVE, API_KEYS, API_LIKE, API_METHOD, API_OPERATION, API_PATH, API_PLACES,
    API_SAMPLE, KeyInfo, TABLE_NAME,
};
use super::origin::Origin;
use super::problem::closest;
use super::settings::{Settings, SettingsReader};
use super::slo::read_item;
use super::source::RawValue;
use serde_json::{Map, Value as Json};
use std::path::PathBuf;
use streamgauge_core::dialect::custom::{ApiValue, CustomDialect};
use streamgauge_core::dialect::route::{Operation, Route};
use streamgauge_core::dialect::{Dialect, ROUTES};
use strum::VariantArray;

/// An API of the configuration.
#[derive(Debug, Clone)]
pub struct ConfiguredApi {
    /// Its requests, with their dialect.
    pub route: Route,
    /// Dialect of its responses. Its name is that of the API.
    pub dialect: &'static Dialect,
    /// Recorded response that `check-config` reads.
    pub sample: Option<ApiSample>,
}

/// File with a recorded response, and where it was configured.
#[derive(Debug, Clone)]
pub struct ApiSample {
    /// The file.
    pub path: PathBuf,
    /// Where its path was set.
    pub origin: Origin,
    /// Full name of the key.
    pub key: String,
}

/// An API without a problem, and its settings for `/config`.
#[derive(Debug)]
pub(super) struct CheckedApi {
    pub api: ConfiguredApi,
    settings: Settings,
}

/// Reads the tables.
pub(super) fn read_apis(reader: &mut SettingsReader, tables: Vec<RawValue>) -> Vec<CheckedApi> {
    let known: Vec<KeyInfo> =
        [TABLE_NAME.info].into_iter().chain(API_KEYS.iter().copied()).collect();
    let mut apis: Vec<CheckedApi> = Vec::new();
    for (index, item) in tables.into_iter().enumerate() {
        let prefix = format!("api[{index}].");
        let origin = item.origin.clone();
        let Some(mut settings) = read_item(reader, &prefix, item, &known) else { continue };
        for key in [&TABLE_NAME.info, &API_PATH.info] {
            if !settings.has(key) && !reader.has_problem(&prefix, key.name) {
                reader.report_missing(&origin, format!("{prefix}{}", key.name));
            }
        }
        reader.read_defaults(&mut settings, API_KEYS);
        let mut table = ApiTable { reader, prefix: &prefix, settings: &settings };
        table.check_name(&apis);
        let operation = table.operation();
        let dialect = table.dialect(&origin);
        let route = table.route(operation, dialect, &apis);
        if let (Some(route), Some(dialect)) = (route, dialect) {
            let sample = settings.find(&API_SAMPLE).map(|path| ApiSample {
                path,
                origin: settings.origin(&API_SAMPLE.info),
                key: format!("{prefix}{}", API_SAMPLE.info.name),
            });
            apis.push(CheckedApi { api: ConfiguredApi { route, dialect, sample }, settings });
        }
    }
    apis
}

/// One table while it is checked.
struct ApiTable<'a> {
    reader: &'a mut SettingsReader,
    prefix: &'a str,
    settings: &'a Settings,
}

impl ApiTable<'_> {
    /// Reports a value of this table.
    fn report(&mut self, key: &KeyInfo, value: &str, message: impl Into<String>) {
        let name = format!("{}{}", self.prefix, key.name);
        self.reader.report(self.settings.origin(key), name, format!("{value:?}"), message);
    }

    fn check_name(&mut self, others: &[CheckedApi]) {
        let Some(name) = self.settings.find(&TABLE_NAME) else { return };
        if others.iter().any(|other| other.api.dialect.name == name) {
            self.report(
                &TABLE_NAME.info,
                &name,
                "another API has this name; each API needs its own",
            );
        }
        if Dialect::by_name(&name).is_some() {
            let message = "Streamgauge has an API of this name already; choose another";
            self.report(&TABLE_NAME.info, &name, message);
        }
    }

    fn operation(&mut self) -> Option<Operation> {
        let name = self.settings.find(&API_OPERATION)?;
        let known = || Operation::VARIANTS.iter().copied().filter(|known| known.is_inference());
        let found = known().find(|operation| operation.label() == name);
        if found.is_none() {
            let labels: Vec<&str> = known().map(Operation::label).collect();
            let message = format!("expected one of {}", labels.join(", "));
            self.report(&API_OPERATION.info, &name, message);
        }
        if found == Some(Operation::Realtime) && !self.settings.has(&API_LIKE.info) {
            let message = "sessions over a WebSocket need like = \"openai-realtime\"";
            self.report(&API_OPERATION.info, &name, message);
        }
        found
    }

    fn dialect(&mut self, origin: &Origin) -> Option<&'static Dialect> {
        let name = self.settings.find(&TABLE_NAME);
        let places: Vec<&KeyInfo> = API_PLACES
            .iter()
            .map(|(key, _)| &key.info)
            .filter(|key| self.settings.has(key))
            .collect();
        let has_problem = |key: &KeyInfo| self.reader.has_problem(self.prefix, key.name);
        let is_reported =
            has_problem(&API_LIKE.info) || API_PLACES.iter().any(|(key, _)| has_problem(&key.info));
        match (self.settings.find(&API_LIKE), places.first()) {
            (Some(like), None) => {
                if self.settings.is_given(&API_CUMULATIVE.info) {
                    let message =
                        "not allowed beside like, whose API decides it; remove one of them";
                    self.report_key(&API_CUMULATIVE.info, message);
                }
                let dialect = self.like(&like)?;
                Some(dialect.leak_renamed(&name?))
            }
            (Some(_), Some(place)) => {
                let message = "not allowed beside like, which names an API with all its places; \
                               remove one of them";
                self.report_key(place, message);
                None
            }
            (None, Some(_)) => self.custom(name),
            (None, None) if is_reported => None,
            (None, None) => {
                let table = self.prefix.trim_end_matches('.');
                let keys: Vec<&str> = ApiValue::VARIANTS.iter().map(|value| value.key()).collect();
                let message = format!(
                    "the table does not describe the responses; set like to the name of an API, or \
                     the places of the values: {}",
                    keys.join(", ")
                );
                self.reader.report(origin.clone(), table, "", message);
                None
            }
        }
    }

    /// Reports a key of this table.
    fn report_key(&mut self, key: &KeyInfo, message: &str) {
        let name = format!("{}{}", self.prefix, key.name);
        self.reader.report(self.settings.origin(key), name, "", message);
    }

    /// The dialect with this name.
    fn like(&mut self, name: &str) -> Option<&'static Dialect> {
        let found = Dialect::by_name(name);
        if found.is_none() {
            self.report(&API_LIKE.info, name, format!("unknown API; {}", dialect_hint(name, [])));
        }
        found
    }

    /// The dialect with the places of the table; `None` if one of them has a problem.
    fn custom(&mut self, name: Option<String>) -> Option<&'static Dialect> {
        let mut dialect = CustomDialect::new(self.settings.find(&API_CUMULATIVE).unwrap_or(false));
        let mut is_valid = true;
        for (key, value) in API_PLACES {
            for place in self.settings.find(key).unwrap_or_default() {
                if let Err(error) = dialect.add(*value, &place) {
                    self.report(&key.info, &place, error.to_string());
                    is_valid = false;
                }
            }
        }
        Some(dialect.leak(&name.filter(|_| is_valid)?))
    }

    fn route(
        &mut self,
        operation: Option<Operation>,
        dialect: Option<&'static Dialect>,
        others: &[CheckedApi],
    ) -> Option<Route> {
        let path = self.settings.find(&API_PATH)?;
        let method: &'static str = self.settings.find(&API_METHOD)?.into();
        // The path is checked also if the rest of the table has a problem.
        let placeholder = ROUTES.iter().find_map(Route::dialect)?;
        let operation_or_chat = operation.unwrap_or(Operation::Chat);
        // Never freed: each measurement refers to its route, and a configuration has a few of them.
        let pattern = Box::leak(path.clone().into_boxed_str());
        let route =
            Route::configured(method, pattern, operation_or_chat, dialect.unwrap_or(placeholder));
        match route {
            Err(error) => self.report(&API_PATH.info, &path, error.to_string()),
            Ok(route) => {
                let is_same = |other: &CheckedApi| {
                    (other.api.route.method, other.api.route.path) == (route.method, route.path)
                };
                if others.iter().any(is_same) {
                    let message = "another API has this path; a request can have only one";
                    self.report(&API_PATH.info, &path, message);
                }
            }
        }
        operation.and(dialect).and(route.ok())
    }
}

/// Names of the dialects that a route uses, each once.
pub fn dialect_names() -> Vec<&'static str> {
    let mut names: Vec<&str> =
        ROUTES.iter().filter_map(Route::dialect).map(|dialect| dialect.name).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Advice for the name of an unknown dialect. `own` are the names of configured APIs.
pub fn dialect_hint<'a>(name: &str, own: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = own.into_iter().chain(dialect_names()).collect();
    match closest(name, names.iter().copied()) {
        Some(meant) => format!("did you mean {meant:?}?"),
        None => format!("the known ones are {}", names.join(", ")),
    }
}

/// The APIs as `/config` shows them.
pub(super) fn to_json(apis: &[CheckedApi]) -> Json {
    let table = |api: &CheckedApi| {
        let entry = |key: &KeyInfo| (key.name.to_owned(), effective::value(&api.settings, key));
        Json::Object(
            [&TABLE_NAME.info].into_iter().chain(API_KEYS).map(entry).collect::<Map<_, _>>(),
        )
    };
    apis.iter().map(table).collect()
}
