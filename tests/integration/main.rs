//! The integration tests, in one binary. Some run the real `lookoutd` and send requests over loopback as
//! browsers, scrapers and attackers do; others run the synchronous path in this process, where thousands of
//! inputs are cheap; two check the sources: their imports and their words.

// Clippy's exception for tests does not cover their support code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod admin;
mod api;
mod bad_input;
mod commands;
mod corpus;
mod cost;
mod exposition;
mod findings;
mod fingerprint;
mod fold;
mod golden;
mod intake;
mod kinds;
mod layout;
mod listeners;
mod privacy;
mod process;
mod properties;
mod reload;
mod rules;
mod sites;
mod stalls;
mod support;
mod tls;
mod wording;
