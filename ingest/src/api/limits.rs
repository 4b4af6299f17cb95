//! Bounds on every request, whichever page it asks for, and on those of one firm.
//!
//! Who is nobody yet takes no place: strangers cannot keep members out, and one firm
//! cannot keep out another.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use sandan_proto::id::FirmId;

use super::{Code, Problem};
use crate::metrics::{Answer, Metrics};

/// Longest path and query. The longest sensible pull has some 400 bytes.
const MAX_TARGET_BYTES: usize = 4_096;
/// Requests of members that are worked on at once; each may hold a chunk of rows, some megabytes.
const MAX_REQUESTS: usize = 256;
/// Of which for one firm.
const MAX_REQUESTS_PER_FIRM: usize = 32;
/// Until an answer must have begun. A page of 10,000 rows takes well under a second.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The members' requests that are being worked on.
#[derive(Default)]
pub struct Slots(Mutex<Taken>);

#[derive(Default)]
struct Taken {
    all: usize,
    of: HashMap<FirmId, usize>,
}

/// A place among them.
pub(super) struct Slot {
    slots: Arc<Slots>,
    firm: FirmId,
}

impl Slots {
    /// A place for a request of `firm`; none when there is none left.
    pub(super) fn take(self: &Arc<Self>, firm: &FirmId) -> Option<Slot> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = taken.of.get(firm).copied().unwrap_or(0);
        if taken.all >= MAX_REQUESTS || of >= MAX_REQUESTS_PER_FIRM {
            return None;
        }
        taken.all += 1;
        taken.of.insert(firm.clone(), of + 1);
        Some(Slot { slots: self.clone(), firm: firm.clone() })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        if let Some(of) = taken.of.get_mut(&self.firm) {
            *of -= 1;
            if *of == 0 {
                taken.of.remove(&self.firm);
            }
        }
    }
}

/// Counts a request while it is open, also one whose caller goes away.
struct Open(Arc<Metrics>);

impl Open {
    fn count(metrics: Arc<Metrics>) -> Self {
        metrics.requests_open.inc();
        Self(metrics)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.requests_open.dec();
    }
}

/// `router` with the bounds around it and its answers counted.
pub fn limited(router: Router, metrics: Arc<Metrics>) -> Router {
    router
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(middleware::from_fn_with_state(metrics, limit))
}

async fn limit(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let open = Open::count(metrics.clone());
    let response = answer(request, next).await;
    drop(open);
    // Only paths of the tables become labels; what people make up is one.
    let status = response.status().as_u16();
    metrics.answers.get_or_create(&Answer { route: route.unwrap_or_default(), status }).inc();
    response
}

async fn answer(request: Request, next: Next) -> Response {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if target > MAX_TARGET_BYTES {
        let detail = format!("path and query have {target} bytes, more than {MAX_TARGET_BYTES}");
        return Problem::new(Code::QueryTooLong, &detail).into_response();
    }
    tokio::time::timeout(ANSWER_TIMEOUT, next.run(request)).await.unwrap_or_else(|_| {
        let detail = "no answer was ready in time; ask for a shorter range";
        Problem::new(Code::TooSlow, detail).into_response()
    })
}
