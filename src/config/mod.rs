//! The configuration: command-line flags, environment variables and a TOML file, in this order of
//! precedence.
//!
//! `keys.rs` is the table of keys. [`load`] merges the sources (`source.rs`), checks every value against
//! the table and collects all problems (`settings.rs`, `check.rs`, `slo.rs`, `api.rs`), and fills a [`Config`]
//! (`assemble.rs`). `effective.rs` makes the output of `/config` from the same table.

mod api;
mod assemble;
mod check;
mod config_key;
mod effective;
mod ignored_variables;
#[doc(hidden)]
pub mod keys;
mod origin;
mod problem;
mod reload;
mod settings;
mod slo;
mod source;
mod upstream_url;
mod value;

pub use api::{ApiSample, ConfiguredApi, dialect_hint, dialect_names};
pub use assemble::{
    AccessConfig, AdminEndpoint, AdminLimits, Config, ProxyConfig, default_workers,
};
pub use ignored_variables::ignored_variables;
pub use keys::{LogFormat, MetricsAccess};
pub use origin::Origin;
pub use problem::{ConfigError, ConfigProblem, variable_name};
pub use reload::{LoadedSources, ReloadError};
pub use source::{CONFIG_FILE, Sources};
pub use value::ValueType;

use source::RawTable;

/// Reads only the `[[api]]` tables of the sources.
///
/// # Errors
/// Everything that is wrong with them, at once.
pub fn load_apis(sources: &Sources) -> Result<Vec<ConfiguredApi>, ConfigError> {
    check::check_apis(sources.merge()?)
}

/// Reads only how to connect to the admin port.
///
/// # Errors
/// If the file cannot be read, or a value of these keys is wrong.
pub fn load_admin_endpoint(sources: &Sources) -> Result<AdminEndpoint, ConfigError> {
    Ok(AdminEndpoint::assemble(&check::check_admin_endpoint(sources.merge()?)?)?)
}

/// Merges the sources and checks the result.
///
/// # Errors
/// Everything that is wrong with the configuration, at once.
pub fn load(sources: &Sources) -> Result<Config, ConfigError> {
    load_merged(sources, sources.merge()?)
}

fn load_merged(sources: &Sources, merged: RawTable) -> Result<Config, ConfigError> {
    let loaded_from = LoadedSources::new(sources, &merged);
    let checked = check::check(merged)?;
    let effective = effective::to_json(&checked);
    Ok(Config::assemble(checked, effective, loaded_from)?)
}
