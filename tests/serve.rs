//! The server over loopback: what it answers, many clients at once, what it refuses, how it stops, and the `openai` package against it.

#[path = "serve/answers.rs"]
mod answers;
#[path = "serve/batching.rs"]
mod batching;
#[path = "serve/client.rs"]
mod client;
#[path = "serve/crowds.rs"]
mod crowds;
#[path = "serve/openai.rs"]
mod openai;
#[path = "serve/refusals.rs"]
mod refusals;
#[path = "serve/setting.rs"]
mod setting;
#[path = "small_folder/mod.rs"]
mod small_folder;
#[path = "serve/stopping.rs"]
mod stopping;
