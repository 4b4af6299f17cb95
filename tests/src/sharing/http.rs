//! Questions and commands over HTTP, as scripts send them.

use std::net::SocketAddr;

use anyhow::Context;
use sandan_ingest::access::Receipt;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use crate::harness::PATIENCE;

/// An address that answers.
#[derive(Debug, Clone)]
pub(super) struct Http {
    base: String,
    agent: ureq::Agent,
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) receipt: Option<Receipt>,
    /// None where it broke off.
    pub(super) body: Option<String>,
}

impl Answer {
    pub(super) fn json(&self) -> Json {
        self.body.as_deref().and_then(|body| serde_json::from_str(body).ok()).unwrap_or_default()
    }

    /// The word of a problem.
    pub(super) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// What is done to a consent, and by which word.
#[derive(Debug, Clone)]
pub(super) struct Order<'a> {
    pub(super) id: &'a str,
    pub(super) word: &'a str,
    /// The whole new terms, where the word takes some.
    pub(super) terms: Option<Json>,
}

/// Why a command was not carried out: the word.
#[derive(Debug)]
pub(super) struct Refused(pub(super) String);

impl Http {
    pub(super) fn new(address: SocketAddr) -> Self {
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).build();
        Self { base: format!("http://{address}"), agent: config.into() }
    }

    pub(super) fn get(&self, token: &str, path: &str) -> anyhow::Result<Answer> {
        // Others go on meanwhile.
        tokio::task::block_in_place(|| {
            let request = self.agent.get(format!("{}{path}", self.base)).header("authorization", bearer(token));
            read(request.call().with_context(|| format!("no answer to GET {path}"))?)
        })
    }

    pub(super) fn post(&self, token: Option<&str>, path: &str, body: &Json) -> anyhow::Result<Answer> {
        tokio::task::block_in_place(|| {
            let mut request =
                self.agent.post(format!("{}{path}", self.base)).header("content-type", "application/json");
            if let Some(token) = token {
                request = request.header("authorization", bearer(token));
            }
            let request = request.header("idempotency-key", Uuid::new_v4().to_string());
            read(request.send(body.to_string()).with_context(|| format!("no answer to POST {path}"))?)
        })
    }

    /// Carries a command out on the newest revision; the consent as it is then.
    pub(super) fn act(&self, token: &str, order: &Order<'_>) -> anyhow::Result<Result<Json, Refused>> {
        let Order { id, word, terms } = order;
        let reads = matches!(*word, "send" | "accept" | "approve");
        let seen = self.get(token, &format!("/v1/consents/{id}{}", if reads { "/page?lang=en" } else { "" }))?;
        if seen.status != 200 {
            return Ok(Err(Refused(seen.code())));
        }
        let seen = seen.json();
        let mut body = json!({ "revision": seen["revision"] });
        if reads {
            body["page"] = seen["page"].clone();
        }
        if let Some(terms) = terms {
            body["terms"] = terms.clone();
        }
        let done = self.post(Some(token), &format!("/v1/consents/{id}/{word}"), &body)?;
        Ok(if done.status == 200 { Ok(done.json()) } else { Err(Refused(done.code())) })
    }
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn read(mut response: ureq::http::Response<ureq::Body>) -> anyhow::Result<Answer> {
    let status = response.status().as_u16();
    let receipt =
        response.headers().get("sandan-receipt").map(|it| serde_json::from_slice(it.as_bytes())).transpose()?;
    // An answer that a withdrawal ends has no last chunk.
    let body = response.body_mut().with_config().limit(u64::MAX).read_to_string().ok();
    Ok(Answer { status, receipt, body })
}
