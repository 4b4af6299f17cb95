//! The table of routes. Each module that answers has a `ROUTES` of its own, beside its
//! handlers, and stands in [`TABLES`]; the router is built from them alone, and so are the
//! tests of who may call what.
//!
//! A further route: a line in the `ROUTES` of its module (a further module: a line in
//! [`TABLES`] too), a case in `api/tests.rs`, a line in tests/cases/consent/roles.txt and
//! one in each README, and its operation in a file under `openapi/`. A test of each tells what
//! is missing.

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::MethodRouter;

use super::{
    Api, Problem, alerts, audit, compress, consents, dead_letters, errors, gaps, groups, guard, live, officers,
    openapi, readings, runs, series, watch,
};
use crate::auth::route::{Guard, Route};

/// What the modules answer, in the order in which a member comes to need it.
const TABLES: [&[Endpoint]; 14] = [
    series::ROUTES,
    readings::ROUTES,
    live::ROUTES,
    gaps::ROUTES,
    consents::ROUTES,
    groups::ROUTES,
    officers::ROUTES,
    runs::ROUTES,
    audit::ROUTES,
    dead_letters::ROUTES,
    openapi::ROUTES,
    errors::ROUTES,
    alerts::ROUTES,
    watch::ROUTES,
];

/// A route and what answers it.
pub(super) struct Endpoint {
    route: Route,
    /// A function that makes it: a constant cannot hold a handler.
    handler: fn() -> MethodRouter<Arc<Api>>,
}

impl Endpoint {
    /// `GET` of `path`.
    pub(super) const fn get(path: &'static str, guard: Guard, handler: fn() -> MethodRouter<Arc<Api>>) -> Self {
        Self { route: Route { path, method: "GET", guard }, handler }
    }

    /// `POST` to `path`.
    pub(super) const fn post(path: &'static str, guard: Guard, handler: fn() -> MethodRouter<Arc<Api>>) -> Self {
        Self { route: Route { path, method: "POST", guard }, handler }
    }
}

/// Every route of the API. The same path may stand there once for each of its methods.
pub fn routes() -> impl Iterator<Item = Route> {
    entries().map(|entry| entry.route)
}

fn entries() -> impl Iterator<Item = &'static Endpoint> {
    TABLES.into_iter().flatten()
}

/// The routes with their guards.
pub fn router(api: Arc<Api>) -> Router {
    let mut router = Router::new();
    for Endpoint { route, handler } in entries() {
        let guarded = match route.guard {
            Guard::Public => handler(),
            Guard::Firm(roles) => {
                handler().route_layer(middleware::from_fn_with_state((api.clone(), roles), guard::of_firm))
            }
            Guard::Person => handler().route_layer(middleware::from_fn_with_state(api.clone(), guard::person)),
            Guard::Page(_) => unreachable!("browsers have the console"),
        };
        router = router.route(route.path, guarded);
    }
    let router = router.fallback(async || Problem::no_such_page());
    router.layer(middleware::from_fn(compress::layer)).with_state(api)
}
