//! The compared proxies.

use std::str::FromStr;

use crate::rival::RivalProxy;

/// One of the compared ways from the client to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contestant {
    /// No proxy.
    Direct,
    /// Streamgauge.
    Streamgauge,
    /// A hyper proxy with hyper-util's pooled client.
    Bare,
    /// A hyper proxy with `hyper::client::conn`.
    BareConn,
    /// Another proxy.
    Rival(RivalProxy),
}

impl Contestant {
    /// nginx, the reference for ratios.
    pub const NGINX: Self = Self::Rival(RivalProxy::Nginx);

    /// All contestants, in the order of the report.
    pub const ALL: [Self; 7] = [
        Self::Direct,
        Self::Bare,
        Self::BareConn,
        Self::NGINX,
        Self::Rival(RivalProxy::HaProxy),
        Self::Rival(RivalProxy::Envoy),
        Self::Streamgauge,
    ];

    /// The contestants that ratios refer to.
    pub const BASELINES: [Self; 5] = [
        Self::Bare,
        Self::BareConn,
        Self::NGINX,
        Self::Rival(RivalProxy::HaProxy),
        Self::Rival(RivalProxy::Envoy),
    ];

    /// Name on the command line and in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Streamgauge => "streamgauge",
            Self::Bare => "bare",
            Self::BareConn => "bare-conn",
            Self::Rival(rival) => rival.name(),
        }
    }
}

impl FromStr for Contestant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|contestant| contestant.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("unknown contestant: {text}; must be one of {names}")
        })
    }
}
