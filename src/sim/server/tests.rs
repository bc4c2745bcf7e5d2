//! The server over real sockets: what a client sees must be what the records say.

mod endings;
mod rig;
mod streams;
