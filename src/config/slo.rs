//! Reads the `[[slo]]` tables.

use super::keys::{
    KeyInfo, SLO_KEYS, SLO_LATENCY_SECONDS, SLO_MAX_GAP_SECONDS, SLO_MODELS,
    SLO_NORMALIZED_SECONDS, SLO_OPERATIONS, SLO_REFUSALS, SLO_SIZE_KEYS, SLO_SIZES,
    SLO_TPOT_SECONDS, SLO_TTFT_SECONDS, SLO_UPSTREAMS, TABLE_NAME, UP_TO_TOKENS,
};
use super::origin::Origin;
use super::settings::{Settings, SettingsReader};
use super::source::{RawData, RawValue};
use serde_json::{Value as Json, json};
use streamgauge_core::dialect::route::Operation;
use streamgauge_core::meter::{InputSizeLimits, SloClass, SloClasses, SloLimits, SloTarget};
use strum::VariantArray;

/// Maximum number of classes, and of different limits of a target: each limit is a bucket edge of its
/// histograms.
const MAX_CLASSES: usize = 8;

/// Reads the classes. `upstreams` are the names that they may refer to; `None` if the proxies have a
/// problem, so that their names are not certain.
pub(super) fn read_classes(
    reader: &mut SettingsReader,
    tables: Vec<RawValue>,
    origin: &Origin,
    upstreams: Option<&[String]>,
) -> SloClasses {
    if tables.len() > MAX_CLASSES {
        let message = format!("at most {MAX_CLASSES} classes are allowed");
        reader.report(origin.clone(), "slo", format!("{} tables", tables.len()), message);
    }
    let mut classes: Vec<SloClass> = Vec::new();
    for (index, table) in tables.into_iter().enumerate() {
        let prefix = format!("slo[{index}].");
        let origin = table.origin.clone();
        let Some(settings) = read_item(reader, &prefix, table, SLO_KEYS) else { continue };
        let Some(class) = class(reader, &prefix, &origin, &settings, upstreams) else { continue };
        if classes.iter().any(|other| other.name == class.name) {
            let message = "another class has this name; each class needs its own";
            reader.report(
                settings.origin(&TABLE_NAME.info),
                format!("{prefix}name"),
                &class.name,
                message,
            );
        }
        classes.push(class);
    }
    let classes = SloClasses::new(classes);
    for &target in SloTarget::VARIANTS {
        let count = classes.distinct_limits(target).len();
        if count > MAX_CLASSES {
            let message = format!(
                "at most {MAX_CLASSES} different limits are allowed over all classes and sizes, because \
                 each is a bucket edge"
            );
            reader.report(origin.clone(), format!("slo[].{}", target.key()), count, message);
        }
    }
    classes
}

/// Reads one table of a list.
pub(super) fn read_item(
    reader: &mut SettingsReader,
    prefix: &str,
    item: RawValue,
    keys: &[KeyInfo],
) -> Option<Settings> {
    let RawData::Table(table) = item.data else {
        reader.report(item.origin, prefix.trim_end_matches('.'), item.data, "expected a table");
        return None;
    };
    Some(reader.read_table(prefix, table, keys))
}

fn class(
    reader: &mut SettingsReader,
    prefix: &str,
    origin: &Origin,
    settings: &Settings,
    upstreams: Option<&[String]>,
) -> Option<SloClass> {
    let name = settings.find(&TABLE_NAME);
    if name.is_none() && !reader.has_problem(prefix, TABLE_NAME.info.name) {
        reader.report_missing(origin, format!("{prefix}name"));
    }
    let limits = limits(reader, prefix, origin, settings);
    let sizes = sizes(reader, prefix, settings);
    let operations = settings.find(&SLO_OPERATIONS).unwrap_or_default();
    let inference =
        Operation::VARIANTS.iter().copied().filter(|operation| operation.is_inference());
    let labels: Vec<&str> = inference.clone().map(Operation::label).collect();
    check_names(reader, prefix, settings, &SLO_OPERATIONS.info, &operations, &labels);
    let names = settings.find(&SLO_UPSTREAMS).unwrap_or_default();
    if let Some(upstreams) = upstreams {
        let known: Vec<&str> = upstreams.iter().map(String::as_str).collect();
        check_names(reader, prefix, settings, &SLO_UPSTREAMS.info, &names, &known);
    }
    Some(SloClass {
        name: name?.into(),
        models: settings.find(&SLO_MODELS).unwrap_or_default(),
        operations: inference
            .filter(|operation| operations.iter().any(|label| label == operation.label()))
            .collect(),
        upstreams: names,
        refusals: settings.find(&SLO_REFUSALS).unwrap_or_default(),
        limits,
        sizes,
    })
}

/// The limits of a table, which must have at least one.
fn limits(
    reader: &mut SettingsReader,
    prefix: &str,
    origin: &Origin,
    settings: &Settings,
) -> SloLimits {
    let limits = SloLimits::from_fn(|target| {
        settings.find(match target {
            SloTarget::Ttft => &SLO_TTFT_SECONDS,
            SloTarget::Tpot => &SLO_TPOT_SECONDS,
            SloTarget::Latency => &SLO_LATENCY_SECONDS,
            SloTarget::MaxGap => &SLO_MAX_GAP_SECONDS,
            SloTarget::Normalized => &SLO_NORMALIZED_SECONDS,
        })
    });
    let is_reported =
        SloTarget::VARIANTS.iter().any(|target| reader.has_problem(prefix, target.key()));
    if limits.is_empty() && !is_reported {
        let keys: Vec<_> = SloTarget::VARIANTS.iter().map(|target| target.key()).collect();
        let message = format!("the table has no limit; set at least one of {}", keys.join(", "));
        reader.report(origin.clone(), prefix.trim_end_matches('.'), "", message);
    }
    limits
}

fn sizes(reader: &mut SettingsReader, prefix: &str, settings: &Settings) -> Vec<InputSizeLimits> {
    let mut sizes: Vec<InputSizeLimits> = Vec::new();
    for (index, table) in settings.find(&SLO_SIZES).unwrap_or_default().into_iter().enumerate() {
        let prefix = format!("{prefix}sizes[{index}].");
        let origin = table.origin.clone();
        let Some(settings) = read_item(reader, &prefix, table, SLO_SIZE_KEYS) else { continue };
        let limits = limits(reader, &prefix, &origin, &settings);
        let tokens = settings.find(&UP_TO_TOKENS).and_then(|tokens| u64::try_from(tokens).ok());
        let key = format!("{prefix}{}", UP_TO_TOKENS.info.name);
        match tokens {
            Some(tokens) if sizes.iter().any(|size| size.up_to_tokens == tokens) => {
                let message = "another size of this class has the same limit; give each its own";
                reader.report(settings.origin(&UP_TO_TOKENS.info), key, tokens, message);
            }
            Some(up_to_tokens) => sizes.push(InputSizeLimits { up_to_tokens, limits }),
            None if !reader.has_problem(&prefix, UP_TO_TOKENS.info.name) => {
                reader.report_missing(&origin, key);
            }
            None => {}
        }
    }
    sizes.sort_by_key(|size| size.up_to_tokens);
    sizes
}

/// Reports the names that are not known.
fn check_names(
    reader: &mut SettingsReader,
    prefix: &str,
    settings: &Settings,
    key: &KeyInfo,
    names: &[String],
    known: &[&str],
) {
    for name in names.iter().filter(|name| !known.contains(&name.as_str())) {
        let message = format!("expected one of {}", known.join(", "));
        reader.report(
            settings.origin(key),
            format!("{prefix}{}", key.name),
            format!("{name:?}"),
            message,
        );
    }
}

/// The classes as `/config` shows them.
pub(super) fn to_json(classes: &SloClasses) -> Json {
    let insert_limits = |table: &mut serde_json::Map<String, Json>, limits: &SloLimits| {
        for &target in SloTarget::VARIANTS {
            table.insert(target.key().into(), json!(limits.get(target)));
        }
    };
    let class = |class: &SloClass| {
        let operations: Vec<_> =
            class.operations.iter().map(|operation| operation.label()).collect();
        let mut table = serde_json::Map::new();
        table.insert("name".into(), json!(class.name));
        table.insert("models".into(), json!(class.models));
        table.insert("operations".into(), json!(operations));
        table.insert("upstreams".into(), json!(class.upstreams));
        table.insert("refusals".into(), json!(<&str>::from(class.refusals)));
        insert_limits(&mut table, &class.limits);
        let size = |size: &InputSizeLimits| {
            let mut table = serde_json::Map::new();
            table.insert("up_to_tokens".into(), json!(size.up_to_tokens));
            insert_limits(&mut table, &size.limits);
            Json::Object(table)
        };
        table.insert("sizes".into(), class.sizes.iter().map(size).collect());
        Json::Object(table)
    };
    classes.iter().map(class).collect()
}
