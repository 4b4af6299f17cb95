//! End-to-end tests: the real programs, as processes, against a simulated plant and
//! against servers that are not ours. Each topic has its module; each test has its
//! own directory, its own ports and its own everything.

mod world;

mod acquisition;
mod alerts;
mod api;
mod audit;
mod browser;
mod chain;
mod consented;
mod demo;
mod disk;
mod docs;
mod erase;
mod faults;
mod fuzz_corpus;
mod identity;
mod identity_time;
mod interop_modbus;
mod interop_mosquitto;
mod kills;
mod loadgen;
mod marker;
mod mosquitto;
mod notify;
mod ordeal;
mod outage;
mod pg_restore;
mod plc_faults;
mod probe;
mod processes;
mod promtool;
mod quickstart;
mod refusals;
mod reload;
mod rtu;
mod scenarios;
mod security;
mod servers;
mod sharing;
mod sparkplug;
mod storm;
mod supervision;
mod tidy;
mod upload;
