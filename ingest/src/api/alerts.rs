//! `GET /alerts/{kind}`: the page of a kind of alert, to which messages lead.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::routes::Endpoint;
use super::{Problem, negotiate};
use crate::auth::route::Guard;

pub(super) const ROUTES: &[Endpoint] = &[Endpoint::get("/alerts/{kind}", Guard::Public, || get(page))];

/// Both languages of the document, each kind a section.
const PAGES: [(&str, &str); 2] =
    [("ko", include_str!("../../../docs/alerts.ko.md")), ("en", include_str!("../../../docs/alerts.md"))];

async fn page(kind: Result<Path<String>, PathRejection>, headers: HeaderMap) -> Result<Response, Problem> {
    let Ok(Path(kind)) = kind else { return Err(Problem::no_such_page()) };
    let language = negotiate::language(&headers);
    let (_, text) = PAGES.iter().find(|(code, _)| *code == language).ok_or_else(Problem::no_such_page)?;
    let text = section(text, &kind).ok_or_else(Problem::no_such_page)?;
    let headers = [
        // As it is written: browsers show it, and Markdown they would only save.
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CONTENT_LANGUAGE, language),
        (header::VARY, "Accept-Language"),
        (header::CACHE_CONTROL, "public, max-age=3600"),
    ];
    Ok((headers, text).into_response())
}

/// What stands below `` ## `kind` ``, with its heading.
fn section<'a>(text: &'a str, kind: &str) -> Option<&'a str> {
    let (at, _) = text
        .match_indices("\n## `")
        .find(|(at, head)| text[at + head.len()..].strip_prefix(kind).is_some_and(|rest| rest.starts_with("`\n")))?;
    let rest = &text[at + 1..];
    Some(rest[1..].find("\n## ").map_or(rest, |end| &rest[..end + 2]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Kind;

    #[test]
    fn every_kind_of_alert_has_its_page_in_both_languages_and_no_other_has_one() {
        for (code, text) in PAGES {
            let heads: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("## `")?.strip_suffix('`')).collect();
            assert_eq!(heads, Kind::ALL.map(Kind::as_str), "{code}");
            for kind in Kind::ALL {
                let page = section(text, kind.as_str()).unwrap();
                assert!(page.starts_with(&format!("## `{kind}`\n")), "{page}");
                let (first, call) =
                    if code == "ko" { ("- **먼저**: ", "- **전화**: ") } else { ("- **First**: ", "- **Call**: ") };
                assert!(page.contains(first) && page.contains(call) && page.matches("\n## ").count() == 0, "{page}");
            }
            assert!(section(text, "").is_none() && section(text, "link").is_none());
        }
    }
}
