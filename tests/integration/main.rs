//! The integration tests, in one binary. Some run the real `lookoutd` and talk to it over loopback
//! as browsers, scrapers and attackers do; others run the synchronous path in this process, where
//! thousands of inputs cost nothing; one reads the sources and keeps the walls between them standing.

// A test says what it expects by failing; clippy's exception for tests does not reach helpers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod admin;
mod bad_input;
mod corpus;
mod golden;
mod intake;
mod kinds;
mod layout;
mod privacy;
mod process;
mod properties;
mod sites;
mod stalls;
mod support;
