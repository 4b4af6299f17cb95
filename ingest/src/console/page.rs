//! The pages.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::{TimeZone, offset};
use maud::{DOCTYPE, Markup, html};
use sandan_proto::id::{FirmId, GatewayId};

use super::words::{Lang, Sentence, say};
use crate::access::{DeadLetterCount, Firm, Level, Link, LinkState, Spool, State, View};
use crate::time::rfc3339;

/// How often the page fetches itself anew: a heartbeat.
const REFRESH_SECONDS: u32 = 10;
/// Korea's offset from UTC, without summer time.
const KOREA_HOURS: i8 = 9;

fn frame(complex: &str, lang: Lang, refresh: Option<&str>, tools: &Markup, body: &Markup) -> Markup {
    let other = format!("?lang={}", lang.other().code());
    framed(complex, lang, refresh, &other, tools, body)
}

/// `other` is the same page in the other language.
fn framed(complex: &str, lang: Lang, refresh: Option<&str>, other: &str, tools: &Markup, body: &Markup) -> Markup {
    let title = say(lang, &Sentence::Title);
    html! {
        (DOCTYPE)
        html lang=(lang.code()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                @if let Some(refresh) = refresh { meta http-equiv="refresh" content=(refresh); }
                title { (title) " · " (complex) }
                link rel="stylesheet" href="/console.css";
            }
            body {
                header {
                    h1 { span.complex { (complex) } " " (title) }
                    nav {
                        a href=(other) hreflang=(lang.other().code()) lang=(lang.other().code()) {
                            (say(lang, &Sentence::OtherLanguage))
                        }
                        (tools)
                    }
                }
                main { (body) }
            }
        }
    }
}

pub(super) fn sign_in(complex: &str, lang: Lang, why: Option<&Sentence<'_>>) -> Markup {
    let body = html! {
        form.sign-in method="post" action={ "/sign-in?lang=" (lang.code()) } {
            @if let Some(why) = why { p.refused role="alert" { span aria-hidden="true" { "✕ " } (say(lang, why)) } }
            label for="token" { (say(lang, &Sentence::Token)) }
            input id="token" name="token" type="password" autocomplete="current-password" required autofocus;
            button { (say(lang, &Sentence::SignIn)) }
            p.help { (say(lang, &Sentence::TokenHelp)) }
        }
    };
    // An address that can be fetched, also below the answer to a form.
    let other = format!("/sign-in?lang={}", lang.other().code());
    framed(complex, lang, None, &other, &html! {}, &body)
}

/// One button: what opens addresses by itself presses none.
pub(super) fn link_sign_in(complex: &str, lang: Lang, link: &str) -> Markup {
    let body = html! {
        form.sign-in method="post" action={ "/sign-in/link?lang=" (lang.code()) } {
            p { (say(lang, &Sentence::LinkOpen)) }
            input type="hidden" name="link" value=(link);
            button autofocus { (say(lang, &Sentence::SignIn)) }
        }
    };
    let other = format!("?link={link}&lang={}", lang.other().code());
    framed(complex, lang, None, &other, &html! {}, &body)
}

pub(super) fn broken(complex: &str, lang: Lang) -> Markup {
    let refresh = REFRESH_SECONDS.to_string();
    let body = html! { p.refused role="alert" { (say(lang, &Sentence::Broken)) } };
    frame(complex, lang, Some(&refresh), &html! {}, &body)
}

pub(super) fn overview(
    complex: &str,
    lang: Lang,
    views: &[View],
    firms: &BTreeMap<FirmId, Firm>,
    dead: &BTreeMap<GatewayId, Vec<DeadLetterCount>>,
    is_disk_short: bool,
    now_us: i64,
) -> Markup {
    let tools = html! {
        form method="post" action={ "/sign-out?lang=" (lang.code()) } {
            button.plain { (say(lang, &Sentence::SignOut)) }
        }
    };
    let body = html! {
        @if is_disk_short {
            p.refused role="alert" { span aria-hidden="true" { "✕ " } (say(lang, &Sentence::DiskShort)) }
        }
        (summary(lang, views, now_us))
        @if views.is_empty() { p { (say(lang, &Sentence::NoGateways)) } }
        div.gateways {
            @for view in views {
                @let dead = dead.get(&view.id).map_or(&[][..], Vec::as_slice);
                (gateway(lang, view, firms.get(&view.id.firm()), dead, now_us))
            }
        }
    };
    frame(complex, lang, Some(&REFRESH_SECONDS.to_string()), &tools, &body)
}

fn summary(lang: Lang, views: &[View], now_us: i64) -> Markup {
    let count = |wanted: State| views.iter().filter(|view| view.state == wanted).count();
    html! {
        div.summary {
            @let wrong = views.iter().filter(|view| view.needs_attention()).count();
            @if wrong > 0 {
                span.state.bad {
                    span aria-hidden="true" { "!" } " " (say(lang, &Sentence::NeedsAttention)) " " b { (wrong) }
                }
            }
            @for state in State::ALL {
                @let number = count(state);
                @if number > 0 {
                    span.state.(tone(state)) {
                        span aria-hidden="true" { (icon(state)) } " " (say(lang, &Sentence::State(state))) " " b { (number) }
                    }
                }
            }
            span.as-of { (say(lang, &Sentence::AsOf(korean_time(now_us, now_us)))) }
        }
    }
}

fn gateway(lang: Lang, view: &View, firm: Option<&Firm>, dead: &[DeadLetterCount], now_us: i64) -> Markup {
    let name = firm.map(|firm| match lang {
        Lang::Ko => firm.name_ko.as_str(),
        Lang::En => firm.name_en.as_str(),
    });
    let in_contact = view.heard;
    html! {
        article.(tone_of(view)) {
            h2 {
                @if let Some(name) = name { (name) " " }
                span.id { (view.id) }
            }
            p.state.(tone(view.state)) {
                span aria-hidden="true" { (icon(view.state)) } " " (say(lang, &Sentence::State(view.state)))
            }
            p.fault {
                @match (view.worst(), view.state, view.spool) {
                    (Some(condition), ..) => {
                        span aria-hidden="true" { "! " }
                        (say(lang, &Sentence::Trouble(condition, view, now_us)))
                    }
                    (None, State::Enrolled, _) => (say(lang, &Sentence::NeverSeen)),
                    (None, State::Offline, _) => (say(lang, &Sentence::Left)),
                    (None, State::CatchingUp, Some(spool)) => (say(lang, &Sentence::Draining(spool.oldest_ms))),
                    (None, ..) => (say(lang, &Sentence::AllWell)),
                }
            }
            dl {
                dt { (say(lang, &Sentence::LastData)) }
                dd { (moment(lang, view.newest_us, now_us)) }
                dt { (say(lang, &Sentence::LastContact)) }
                dd { (moment(lang, view.contact_us, now_us)) }
                @let then = view.spool.is_some() && !in_contact;
                dt { (say(lang, &if then { Sentence::SpoolThen } else { Sentence::Spool })) }
                dd { (spool(lang, view.spool)) }
            }
            @let lost: Vec<_> = dead.iter().filter(|it| it.readings > 0).collect();
            @if !lost.is_empty() {
                h3 { (say(lang, &Sentence::DeadLetters)) }
                ul { @for it in lost {
                    li { (say(lang, &Sentence::Dead(it.reason, it.readings, it.discarded))) }
                } }
            }
            @if view.contact_us.is_some() {
                h3 { (say(lang, &if in_contact { Sentence::Links } else { Sentence::LinksThen })) }
                @if view.links.is_empty() {
                    p.none { (say(lang, &Sentence::NoLinks)) }
                } @else {
                    ul { @for it in &view.links { (link(lang, it, now_us)) } }
                }
            }
        }
    }
}

fn link(lang: Lang, link: &Link, now_us: i64) -> Markup {
    let (icon, tone) = match link.state {
        LinkState::Down => ("✕", "bad"),
        LinkState::Flaky => ("▲", "warn"),
        LinkState::Unknown => ("?", "quiet"),
        LinkState::Up => ("●", "good"),
        LinkState::Disabled => ("–", "quiet"),
    };
    html! {
        li {
            span.state.(tone) { span aria-hidden="true" { (icon) } " " (say(lang, &Sentence::Link(link.state))) }
            " " span.device { (link.device) }
            " " span.when { (moment(lang, link.last_good_us, now_us)) }
            span.endpoint { (link.endpoint) }
            @if !link.words.is_empty() { span.words lang="en" { (link.words) } }
        }
    }
}

fn spool(lang: Lang, spool: Option<Spool>) -> String {
    let sentence = match spool {
        None => Sentence::Unknown,
        Some(Spool { readings: 0, percent, .. }) => Sentence::SpoolEmpty { percent },
        Some(Spool { readings, percent, oldest_ms, .. }) => Sentence::SpoolHolds { readings, percent, oldest_ms },
    };
    say(lang, &sentence)
}

fn moment(lang: Lang, us: Option<i64>, now_us: i64) -> Markup {
    match us {
        None => html! { (say(lang, &Sentence::Never)) },
        Some(us) => html! {
            time datetime=(rfc3339(us)) { (korean_time(us, now_us)) }
            " " span.ago { "(" (say(lang, &Sentence::Ago(now_us - us))) ")" }
        },
    }
}

/// 14:03:07 KST, with the date in front when it is not today's.
fn korean_time(us: i64, now_us: i64) -> String {
    let korea = TimeZone::fixed(offset(KOREA_HOURS));
    let local = |us: i64| Timestamp::from_microsecond(us).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(korea.clone());
    let (then, now) = (local(us), local(now_us));
    let date = if then.date() == now.date() { String::new() } else { format!("{} ", then.date()) };
    format!("{date}{} KST", then.strftime("%H:%M:%S"))
}

fn icon(state: State) -> &'static str {
    match state {
        State::Fenced => "⊘",
        State::Offline => "✕",
        State::Silent | State::Degraded => "▲",
        State::Maintenance => "⚒",
        State::CatchingUp => "↻",
        State::Online => "●",
        State::Enrolled => "○",
    }
}

fn tone(state: State) -> &'static str {
    match state {
        State::Fenced | State::Offline => "bad",
        State::Silent | State::Degraded | State::CatchingUp => "warn",
        State::Online => "good",
        State::Maintenance | State::Enrolled => "quiet",
    }
}

/// Of the whole card: a device that is down is as bad as a gateway that is.
fn tone_of(view: &View) -> &'static str {
    match view.worst().map(|condition| condition.level) {
        Some(Level::Critical) => "bad",
        Some(_) => "warn",
        None => tone(view.state),
    }
}
