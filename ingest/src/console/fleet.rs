//! *Now*: each gateway that somebody looks after, and word of it when something changes.

use std::collections::hash_map::DefaultHasher;
use std::convert::Infallible;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream;

use super::{At, Console, page, see};
use crate::access::View;
use crate::consent::Role;

/// How often an open page is looked after: a change is on it within two seconds.
const TICK: Duration = Duration::from_secs(1);
/// Ticks of a stream: browsers come again by themselves, and whoever was signed out does not.
const TICKS: u32 = 60;
/// After this a browser comes again; by itself it takes some seconds, in which nothing would be told.
const AGAIN: Duration = Duration::from_millis(200);
/// What a browser had last when it comes again.
const LAST_EVENT_ID: &str = "last-event-id";
/// Pages that are looked after at once; others renew themselves each ten seconds.
const MAX_STREAMS: usize = 100;

static STREAMS: AtomicUsize = AtomicUsize::new(0);

pub(super) async fn home(State(console): State<Arc<Console>>, Extension(at): Extension<At>) -> Response {
    if matches!(at.who.role(), Role::Auditor | Role::AllianceAdministrator) {
        return see("/account");
    }
    match console.access.scene(&at.who).await {
        Ok(scene) => page::now(&console.complex, &at, &scene).into_response(),
        Err(error) => console.stopped(at.lang, error.into()),
    }
}

/// One page that is looked after.
struct Watched {
    console: Arc<Console>,
    at: At,
    last: Option<u64>,
    ticks: u32,
}

impl Drop for Watched {
    fn drop(&mut self) {
        STREAMS.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(super) async fn live(
    State(console): State<Arc<Console>>,
    Extension(at): Extension<At>,
    headers: HeaderMap,
) -> Response {
    if STREAMS.fetch_add(1, Ordering::Relaxed) >= MAX_STREAMS {
        STREAMS.fetch_sub(1, Ordering::Relaxed);
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    // What changed between two streams is told by the second one.
    let last = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok()?.parse().ok());
    let watched = Watched { console, at, last, ticks: 0 };
    let events = stream::unfold(watched, |mut it| async move {
        while it.ticks < TICKS {
            it.ticks += 1;
            let now = pulse(&it.console.access.pulse(&it.at.who));
            let before = it.last.replace(now);
            // Without data it is no event, and the browser notes its id all the same.
            let noted = Event::default().id(now.to_string()).retry(AGAIN);
            match before {
                None => return Some((Ok::<_, Infallible>(noted), it)),
                Some(before) if before != now => return Some((Ok(noted.event("change").data("")), it)),
                Some(_) => {}
            }
            tokio::time::sleep(TICK).await;
        }
        None
    });
    Sse::new(events).into_response()
}

/// Differs when something is to be seen that was not before.
fn pulse(views: &[View]) -> u64 {
    let mut hash = DefaultHasher::new();
    for view in views {
        (view.id.as_str(), view.state, view.worst().map(|it| (it.id, it.level))).hash(&mut hash);
        for link in &view.links {
            (link.device.as_str(), link.state).hash(&mut hash);
        }
    }
    hash.finish()
}
