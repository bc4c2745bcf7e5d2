//! Result of comparing a finished request with the targets of an SLO class.

use serde::{Serialize, Serializer};
use strum::VariantArray;

/// Whether a request met all targets of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, VariantArray)]
pub enum SloVerdict {
    /// All targets were met.
    Met,
    /// The request failed, or a target was missed.
    Missed,
    /// Cannot be decided: the request was the client's error, the client disconnected before a target was missed, or
    /// the response could not be read.
    Undecided,
}

impl SloVerdict {
    /// Value of the label `met`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Met => "true",
            Self::Missed => "false",
            Self::Undecided => "undecided",
        }
    }
}

/// In the request log: true, false, or null for undecided.
impl Serialize for SloVerdict {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Met => to.serialize_bool(true),
            Self::Missed => to.serialize_bool(false),
            Self::Undecided => to.serialize_unit(),
        }
    }
}
