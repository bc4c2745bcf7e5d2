//! Items for this repository's integration tests and benchmarks, beyond the public API. They can change in
//! any release.

use crate::{App, AppError, Config};

pub use crate::config::keys;
pub use crate::request_log::RequestLog;
pub use crate::tap::FaultInjection;

/// Binds an [`App`] whose meter panics where `faults` says.
///
/// # Errors
/// Those of [`App::bind`].
pub fn bind_with_faults(config: Config, faults: FaultInjection) -> Result<App, AppError> {
    App::bind_with_faults(config, faults)
}

/// The admin port.
pub mod admin {
    pub use crate::admin::{Admin, AdminSettings, Login, bind, serve};
    pub use crate::config::AdminLimits;
    pub use crate::live::LiveHistory;
}

/// The comparison of two request logs.
pub mod compare {
    pub use crate::compare::{
        Comparison, ComparisonReport, ComparisonRow, Conclusion, RowStatistic, Selection, compare,
    };
}

/// The metrics and their table.
pub mod metrics {
    pub use crate::metrics::{Metrics, MetricsConfig, RequestSeries, StartKind, table};
}
