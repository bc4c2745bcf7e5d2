//! Tests of the detector against a simulated server on virtual time.
//!
//! | file | content |
//! |---|---|
//! | `simulated_world` | the server, its clients, and the prober |
//! | `scenarios` | ways in which a server is, or seems, not ready; each cold start is found exactly once |
//! | `evaluation` | the scenarios of the benchmark `cold` |
//! | `last_sign` | which requests are cold around the last sign of a server that is not ready |
//! | `process_restarts` | restarts found by the metrics page |
//! | `robustness` | no false cold start, bounded memory, bounded probing |

mod evaluation;
mod last_sign;
mod process_restarts;
mod robustness;
mod scenarios;
mod simulated_world;
