//! The server over real sockets: what a client sees must be what the records say.

mod apis;
mod endings;
mod engines;
mod flavors;
mod openai;
mod rig;
mod streamed;
mod streams;
mod vendors;
