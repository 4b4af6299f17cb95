//! The pages.

mod desk;

use jiff::Timestamp;
use jiff::tz::{TimeZone, offset};
use maud::{DOCTYPE, Markup, html};

pub(super) use self::desk::gateway;
use self::desk::{calls, chain, fault_of, on_it};
use super::At;
use super::words::{Lang, Sentence, say};
use crate::access::{Level, Link, LinkState, Scene, Spool, State, View};
use crate::consent::Role;
use crate::time::rfc3339;

/// How often the page fetches itself anew where scripts are off: a heartbeat.
const REFRESH_SECONDS: u32 = 10;
/// Korea's offset from UTC, without summer time.
const KOREA_HOURS: i8 = 9;

/// What a page is made of.
struct Frame<'a> {
    complex: &'a str,
    lang: Lang,
    title: String,
    /// Who is signed in.
    at: Option<&'a At>,
    /// Whether it renews itself.
    live: bool,
    /// What to ask for, beside the language, to see it in the other one.
    query: String,
    body: Markup,
}

impl Frame<'_> {
    fn markup(self) -> Markup {
        let (lang, other) = (self.lang, self.lang.other());
        html! {
            (DOCTYPE)
            html lang=(lang.code()) {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    @if self.live { noscript { meta http-equiv="refresh" content=(REFRESH_SECONDS); } }
                    title { (self.title) " · " (self.complex) }
                    link rel="stylesheet" href="/console.css";
                    link rel="icon" href="/icon.svg" type="image/svg+xml";
                    link rel="manifest" href="/manifest.webmanifest";
                    @if self.live { script src="/console.js" defer {} }
                }
                body {
                    header {
                        a.home href="/" { span.complex { (self.complex) } " " (say(lang, &Sentence::Title)) }
                        nav aria-label=(lang.say("메뉴", "Menu")) {
                            @if let Some(at) = self.at {
                                @if !matches!(at.who.role(), Role::Auditor | Role::AllianceAdministrator) {
                                    a href="/" { (lang.say("현재", "Now")) }
                                }
                                a href="/account" { (lang.say("내 계정", "Account")) }
                            }
                            a href={ "?" (self.query) "lang=" (other.code()) } hreflang=(other.code()) lang=(other.code()) {
                                (say(lang, &Sentence::OtherLanguage))
                            }
                        }
                    }
                    main data-live[self.live] { (self.body) }
                }
            }
        }
    }
}

/// A page outside of any session.
fn outside(complex: &str, lang: Lang, query: String, body: Markup) -> Markup {
    let title = say(lang, &Sentence::SignIn);
    Frame { complex, lang, title, at: None, live: false, query, body }.markup()
}

/// The token of each form of a browser.
fn token(at: &At) -> Markup {
    html! { input type="hidden" name="csrf" value=(at.who.form_token()); }
}

fn alert(lang: Lang, why: Option<&Sentence<'_>>) -> Markup {
    html! { @if let Some(why) = why { p.refused role="alert" { span aria-hidden="true" { "✕ " } (say(lang, why)) } } }
}

/// One sentence, and the way back.
pub(super) fn message(complex: &str, lang: Lang, [ko, en]: [&str; 2]) -> Markup {
    let body = html! {
        div.card.narrow {
            h1 { (lang.say(ko, en)) }
            p { a.button href="/" { (lang.say("처음으로", "To the first page")) } }
        }
    };
    outside(complex, lang, String::new(), body)
}

pub(super) fn sign_in(complex: &str, lang: Lang, why: Option<&Sentence<'_>>) -> Markup {
    let body = html! {
        div.card.narrow {
            h1 { (say(lang, &Sentence::SignIn)) }
            (alert(lang, why))
            form method="post" action="/sign-in" {
                label for="login" { (lang.say("로그인 이름", "Sign-in name")) }
                input id="login" name="login" autocomplete="username" autocapitalize="none" required;
                label for="password" { (lang.say("비밀번호", "Password")) }
                input id="password" name="password" type="password" autocomplete="current-password" required;
                button { (say(lang, &Sentence::SignIn)) }
            }
            details {
                summary { (lang.say("토큰으로 로그인", "Sign in with a token")) }
                form method="post" action="/sign-in" {
                    label for="token" { (say(lang, &Sentence::Token)) }
                    input id="token" name="token" type="password" autocomplete="off" required;
                    button.second { (say(lang, &Sentence::SignIn)) }
                    p.help { (say(lang, &Sentence::TokenHelp)) }
                }
            }
            p.help { a href="/officer" { (lang.say("데이터 책임자 링크를 받았습니다", "I was given a data officer's link")) } }
        }
    };
    outside(complex, lang, String::new(), body)
}

/// One button: what opens addresses by itself presses none.
pub(super) fn link_sign_in(complex: &str, lang: Lang, link: &str) -> Markup {
    let body = html! {
        div.card.narrow {
            h1 { (say(lang, &Sentence::SignIn)) }
            p { (say(lang, &Sentence::LinkOpen)) }
            form method="post" action="/sign-in/link" {
                input type="hidden" name="link" value=(link);
                button { (say(lang, &Sentence::SignIn)) }
            }
        }
    };
    outside(complex, lang, format!("link={link}&"), body)
}

pub(super) fn officer(complex: &str, lang: Lang, why: Option<&Sentence<'_>>) -> Markup {
    let body = html! {
        div.card.narrow {
            h1 { (lang.say("데이터 책임자로 시작하기", "Begin as data officer")) }
            (alert(lang, why))
            p {
                (lang.say(
                    "링크를 가진 사람이 기업의 첫 데이터 책임자가 됩니다. 기업의 데이터를 누가 볼지 정하는 사람입니다.",
                    "Whoever holds the link becomes the firm's first data officer: the person who decides who sees its data.",
                ))
            }
            form method="post" action="/officer" {
                label for="name" { (lang.say("이름", "Your name")) }
                input id="name" name="name" autocomplete="name" maxlength="100" required;
                label for="link" { (lang.say("링크 (sol_…)", "The link (sol_…)")) }
                input id="link" name="link" autocomplete="off" autocapitalize="none" required;
                button { (lang.say("시작", "Begin")) }
            }
        }
    };
    outside(complex, lang, String::new(), body)
}

/// What a role is called.
fn role(lang: Lang, role: Role) -> &'static str {
    match role {
        Role::DataOfficer => lang.say("데이터 책임자", "data officer"),
        Role::FirmStaff => lang.say("기업 직원", "firm staff"),
        Role::Installer => lang.say("설치 업체", "installer"),
        Role::Member => lang.say("회원", "member"),
        Role::Operator => lang.say("관제 담당자", "operator"),
        Role::Auditor => lang.say("감사인", "auditor"),
        Role::AllianceAdministrator => lang.say("연합 관리자", "alliance administrator"),
        Role::Gateway => lang.say("게이트웨이", "gateway"),
    }
}

pub(super) fn account(complex: &str, at: &At, login: Option<&str>) -> Markup {
    let lang = at.lang;
    let body = html! {
        div.card.narrow {
            h1 { @if at.who.name().is_empty() { (lang.say("한 번 쓰는 링크로 로그인함", "Signed in by a one-time link")) } @else { (at.who.name()) } }
            p { (role(lang, at.who.role())) @if let Some(firm) = at.who.firm() { " · " (firm) } }
            @match at.who.role() {
                Role::Auditor => p.help { (lang.say(
                    "감사 기록은 API와 `audit verify`로 확인합니다. 이 콘솔은 값을 보여 주지 않습니다.",
                    "Logs are read over the API and checked with `audit verify`. This console shows no value.")) },
                Role::AllianceAdministrator => p.help { (lang.say(
                    "모임과 동의는 API와 `share` 명령으로 관리합니다.",
                    "Groups and consents are dealt with over the API and the `share` commands.")) },
                _ => {}
            }
            @if at.who.person.is_some() {
                h2 { (lang.say("비밀번호 정하기", "Set a password")) }
                @if login.is_none() { p { (lang.say("다음부터 이름과 비밀번호로 로그인하려면 정해 주세요.", "Set one to sign in with a name and a password from now on.")) } }
                form method="post" action="/account/password" {
                    (token(at))
                    label for="login" { (lang.say("로그인 이름", "Sign-in name")) }
                    input id="login" name="login" value=[login] autocomplete="username" autocapitalize="none" minlength="3" maxlength="40" required;
                    label for="password" { (lang.say("새 비밀번호 (12자 이상)", "New password (12 characters or more)")) }
                    input id="password" name="password" type="password" autocomplete="new-password" minlength="12" maxlength="200" required;
                    label for="again" { (lang.say("한 번 더", "Once more")) }
                    input id="again" name="again" type="password" autocomplete="new-password" required;
                    button { (lang.say("저장", "Save")) }
                    p.help { (lang.say("저장하면 다른 브라우저에서는 로그아웃됩니다.", "Other browsers are signed out by it.")) }
                }
            }
            h2 { (say(lang, &Sentence::SignOut)) }
            form method="post" action="/sign-out" { (token(at)) button.second { (lang.say("이 브라우저", "This browser")) } }
            form method="post" action="/sign-out/everywhere" { (token(at)) button.second { (lang.say("모든 브라우저", "Every browser")) } }
        }
    };
    Frame {
        complex,
        lang,
        title: lang.say("내 계정", "Account").into(),
        at: Some(at),
        live: false,
        query: String::new(),
        body,
    }
    .markup()
}

/// How all of it stands, in one sentence, and whom to look at first.
fn headline(lang: Lang, scene: &Scene) -> String {
    let all = scene.views.len();
    let well = scene.views.iter().filter(|view| !view.needs_attention()).count();
    let worst = scene.views.iter().find(|view| view.needs_attention());
    match worst {
        None if all == 0 => say(lang, &Sentence::NoGateways),
        None => lang.say(format!("{all}대 모두 정상입니다."), format!("All {all} are current.")),
        Some(worst) => {
            let name = desk::name(lang, scene, worst);
            lang.say(
                format!("{all}대 중 {well}대 정상. {name} 쪽을 봐 주세요."),
                format!("{well} of {all} current. {name} needs you."),
            )
        }
    }
}

pub(super) fn now(complex: &str, at: &At, scene: &Scene) -> Markup {
    let lang = at.lang;
    let body = html! {
        @if scene.is_disk_short {
            p.refused role="alert" { span aria-hidden="true" { "✕ " } (say(lang, &Sentence::DiskShort)) }
        }
        h1.headline { (headline(lang, scene)) }
        (summary(lang, &scene.views, scene.now_us))
        div.gateways {
            @for view in &scene.views { (card(at, scene, view)) }
        }
    };
    Frame {
        complex, lang, title: lang.say("현재", "Now").into(), at: Some(at), live: true, query: String::new(), body
    }
    .markup()
}

/// One gateway of the page of all.
fn card(at: &At, scene: &Scene, view: &View) -> Markup {
    let lang = at.lang;
    html! {
        article.(tone_of(view)) {
            h2 { a href={ "/gateways/" (view.id) } { (desk::name(lang, scene, view)) } }
            p.state.(tone(view.state)) {
                span aria-hidden="true" { (icon(view.state)) } " " (say(lang, &Sentence::State(view.state)))
            }
            (fault_of(lang, view, scene.now_us))
            (chain(lang, view))
            (on_it(lang, scene, view))
            @if view.needs_attention() { (calls(lang, scene, view)) }
        }
    }
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
