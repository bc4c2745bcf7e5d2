//! The program as users run it: command line, configuration, admin port, and real clients and servers.

#[path = "../support/mod.rs"]
mod support;

mod admin;
mod admin_access;
mod admin_commands;
mod cli_documents;
mod compare;
mod config;
mod config_messages;
mod cookbook;
mod custom_api;
mod demo;
mod descriptors;
mod explain;
mod external;
mod live_page;
mod logs;
mod mixin;
mod outages;
mod process;
mod reload;
mod shutdown;
mod tail;
mod top;
