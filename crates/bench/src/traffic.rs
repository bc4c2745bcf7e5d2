//! Options of the generated traffic that the server, the load generator and the runner share.

use std::str::FromStr;

use strum::VariantArray;

/// How the tokens of different streams are distributed in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
pub enum SendPattern {
    /// Each stream has its own phase, so every token is sent alone: the most expensive case for a proxy.
    Spread,
    /// All streams send at the same instants, like the steps of an engine.
    Step,
}

impl SendPattern {
    /// Name on the command line and in requests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Spread => "spread",
            Self::Step => "step",
        }
    }

    /// Returns the instant of the first token of stream `number`, requested at `now`: within the next period.
    pub fn first_token_at(self, now: u64, number: u64, period: u64) -> u64 {
        let phase = match self {
            // Multiples of the golden ratio are evenly spread for any number of streams.
            Self::Spread => {
                ((number as f64 * 0.618_033_988_749_895).fract() * period as f64) as u64
            }
            Self::Step => 0,
        };
        now + (phase + period - now % period) % period
    }
}

impl FromStr for SendPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::VARIANTS
            .iter()
            .copied()
            .find(|pattern| pattern.name() == text)
            .ok_or_else(|| "must be spread or step".to_owned())
    }
}

/// Use of connections by the clients of short requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
pub enum ConnectionReuse {
    /// A new connection per request. The request has `Connection: close`, and the proxy closes it.
    New,
    /// The connection is kept for the next request.
    Kept,
}

impl ConnectionReuse {
    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Kept => "kept",
        }
    }
}

impl FromStr for ConnectionReuse {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::VARIANTS
            .iter()
            .copied()
            .find(|reuse| reuse.name() == text)
            .ok_or_else(|| "must be new or kept".to_owned())
    }
}
