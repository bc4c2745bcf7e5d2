//! Tests of the server over real sockets: the records equal what a client receives.

mod apis;
mod endings;
mod engines;
mod flavors;
mod openai;
mod streamed;
mod streams;
mod test_server;
mod vendors;
