//! What a caller would rather have: `Accept` and its kin, RFC 9110 section 12.

use axum::http::{HeaderMap, HeaderName, header};

/// One entry of such a header, its weight in thousandths.
struct Wish<'h> {
    what: &'h str,
    weight: u16,
}

/// The entries of all lines of the header; one whose weight cannot be read says nothing.
fn wishes(headers: &HeaderMap, name: HeaderName) -> Vec<Wish<'_>> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    let wish = |entry| {
        let mut parts = str::split(entry, ';').map(str::trim);
        let what = parts.next().filter(|what| !what.is_empty())?;
        let given = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        Some(Wish { what, weight: given.map_or(Some(1_000), weight)? })
    };
    lines.flat_map(|line| line.split(',')).filter_map(wish).collect()
}

/// `0.35` as 350: a 0 or a 1, and up to three digits behind the point.
fn weight(text: &str) -> Option<u16> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_short = part.len() <= 3 && part.bytes().all(|byte| byte.is_ascii_digit());
    let thousandths: u16 = format!("{part:0<3}").parse().ok().filter(|_| is_short)?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1_000),
        _ => None,
    }
}

/// The best of `offers` (the first of those that are liked as well), by what is said of each
/// most exactly; none when all are refused. Without the header the first.
fn best<T: Copy>(wishes: &[Wish<'_>], offers: &[T], fit: impl Fn(&str, T) -> Option<u8>) -> Option<T> {
    let Some(first) = offers.first().filter(|_| wishes.is_empty()) else {
        let liked = |offer: &T| {
            let said = wishes.iter().filter_map(|wish| Some((fit(wish.what, *offer)?, wish.weight)));
            // Of two that say as much of it, the kinder.
            said.max().map_or(0, |(_, weight)| weight)
        };
        // The last of the greatest is what `max_by_key` gives.
        let best = offers.iter().rev().max_by_key(|offer| liked(offer))?;
        return (liked(best) > 0).then_some(*best);
    };
    Some(*first)
}

/// The media type to answer with, by `Accept`; none: not acceptable.
pub(super) fn media<'o>(headers: &HeaderMap, offers: &[&'o str]) -> Option<&'o str> {
    best(&wishes(headers, header::ACCEPT), offers, |range, offer| {
        let of_kind = || range.strip_suffix("/*").zip(offer.split_once('/'));
        match range {
            "*/*" => Some(0),
            _ if range.eq_ignore_ascii_case(offer) => Some(2),
            _ => of_kind().filter(|(kind, (offered, _))| kind.eq_ignore_ascii_case(offered)).map(|_| 1),
        }
    })
}

/// The language to answer in, by `Accept-Language`: `en` where neither is wanted.
pub(super) fn language(headers: &HeaderMap) -> &'static str {
    let primary = |range: &str, offer: &str| match range.split('-').next() {
        Some("*") => Some(0),
        Some(primary) if primary.eq_ignore_ascii_case(offer) => Some(1),
        _ => None,
    };
    best(&wishes(headers, header::ACCEPT_LANGUAGE), &["en", "ko"], primary).unwrap_or("en")
}

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Zstd,
    Gzip,
}

impl Coding {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }
}

/// The coding to answer in, by `Accept-Encoding`; none: as it is, which is also answered
/// where that is refused and so is everything else.
pub(super) fn coding(headers: &HeaderMap) -> Option<Coding> {
    let wishes = wishes(headers, header::ACCEPT_ENCODING);
    if wishes.is_empty() {
        return None;
    }
    let offers = [Some(Coding::Zstd), Some(Coding::Gzip), None];
    best(&wishes, &offers, |wish, offer| {
        let name = offer.map_or("identity", Coding::as_str);
        match wish {
            "*" => Some(0),
            _ => wish.eq_ignore_ascii_case(name).then_some(1),
        }
    })?
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFERS: [&str; 3] = ["application/json", "application/x-ndjson", "text/csv"];

    fn headers(name: &HeaderName, lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (name.clone(), line.parse().unwrap())).collect()
    }

    #[test]
    fn the_media_type_is_the_one_that_is_liked_best() {
        for (accept, wanted) in [
            (&[][..], Some("application/json")),
            (&["*/*"], Some("application/json")),
            (&[""], Some("application/json")),
            (&["text/csv"], Some("text/csv")),
            (&["TEXT/CSV"], Some("text/csv")),
            (&["text/*"], Some("text/csv")),
            (&["text/csv;header=present;q=0.9, application/json;q=0.1"], Some("text/csv")),
            (&["application/json;q=0.5", "application/x-ndjson"], Some("application/x-ndjson")),
            (&["application/json;q=0, */*;q=0.1"], Some("application/x-ndjson")),
            (&["application/*;q=0, */*"], Some("text/csv")),
            (&["application/json;q=0"], None),
            (&["image/png"], None),
            (&["text/html,application/xhtml+xml,*/*;q=0.8"], Some("application/json")),
            // What cannot be read says nothing.
            (&["text/csv;q=x"], Some("application/json")),
            (&["text/csv;q=1.5, text/csv;q=0.2, application/json;q=0.1"], Some("text/csv")),
        ] {
            assert_eq!(media(&headers(&header::ACCEPT, accept), &OFFERS), wanted, "{accept:?}");
        }
    }

    #[test]
    fn the_coding_is_the_one_that_is_liked_best() {
        for (wish, wanted) in [
            ("gzip, deflate, br, zstd", Some(Coding::Zstd)),
            ("gzip, deflate", Some(Coding::Gzip)),
            ("zstd;q=0.1, gzip;q=0.5", Some(Coding::Gzip)),
            ("*", Some(Coding::Zstd)),
            ("zstd;q=0, *", Some(Coding::Gzip)),
            ("gzip;q=0.5, identity", None),
            ("gzip;q=0, zstd;q=0, identity;q=0", None),
            ("br", None),
            ("", None),
        ] {
            assert_eq!(coding(&headers(&header::ACCEPT_ENCODING, &[wish])), wanted, "{wish}");
        }
        assert_eq!(coding(&HeaderMap::new()), None);
    }

    #[test]
    fn weights_have_three_digits() {
        for (text, wanted) in
            [("0", 0), ("1", 1_000), ("1.000", 1_000), ("0.5", 500), ("0.", 0), ("0.001", 1), ("0.25", 250)]
        {
            assert_eq!(weight(text), Some(wanted), "{text}");
        }
        for text in ["", "2", "1.001", "0.0001", "-0.5", "0.x", "+1", " 1"] {
            assert_eq!(weight(text), None, "{text}");
        }
    }

    #[test]
    fn the_language_is_english_unless_korean_is_liked_better() {
        for (wish, wanted) in [
            ("ko", "ko"),
            ("ko-KR,ko;q=0.9,en-US;q=0.8", "ko"),
            ("en-GB, ko;q=0.7", "en"),
            ("de, ko;q=0.1", "ko"),
            ("de", "en"),
            ("*", "en"),
            ("en;q=0, *", "ko"),
        ] {
            assert_eq!(language(&headers(&header::ACCEPT_LANGUAGE, &[wish])), wanted, "{wish}");
        }
    }
}
