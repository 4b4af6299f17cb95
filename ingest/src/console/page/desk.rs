//! One gateway: the chain, whom to call, who is on it, and what to tell whoever stands beside it.

use maud::{Markup, html};

use super::{Frame, icon, link, moment, spool, token, tone};
use crate::access::{Care, CareKind, ConditionId, Level, Part, Scene, State, View};
use crate::consent::Role;
use crate::console::At;
use crate::console::words::{Lang, Sentence, grouped, say, span};

/// From so many on a count is shown in thousands.
const THOUSANDS: u64 = 10_000;

/// The firm's name and the gateway's own.
pub(super) fn name(lang: Lang, scene: &Scene, view: &View) -> String {
    let own = view.id.as_str().split_once('/').map_or(view.id.as_str(), |(_, own)| own);
    match scene.firms.get(&view.id.firm()) {
        Some(firm) => format!("{} {own}", lang.say(&firm.name_ko, &firm.name_en)),
        None => view.id.to_string(),
    }
}

/// What is wrong, in one sentence.
pub(super) fn fault_of(lang: Lang, view: &View, now_us: i64) -> Markup {
    html! {
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
    }
}

/// How one part of the way is: icon, colour and word.
fn mark(lang: Lang, level: Level) -> (&'static str, &'static str, &'static str) {
    match level {
        Level::Well => ("✓", "good", lang.say("정상", "well")),
        Level::Warn => ("▲", "warn", lang.say("주의", "to watch")),
        Level::Critical => ("✗", "bad", lang.say("끊김", "broken")),
        Level::Unknown => ("?", "quiet", lang.say("모름", "not known")),
    }
}

fn count(readings: u64) -> String {
    if readings >= THOUSANDS { format!("{}k", grouped(readings / 1_000)) } else { grouped(readings) }
}

/// The way from the machines to the store; the part that is broken stands out.
pub(super) fn chain(lang: Lang, view: &View) -> Markup {
    let way = &view.chain;
    let devices = match &way.worst_device {
        Some(worst) if way.other_devices > 0 => format!("{worst} +{}", way.other_devices),
        Some(worst) => worst.clone(),
        None => lang.say(format!("장치 {}대", view.links.len()), format!("{} devices", view.links.len())),
    };
    let kept = count(view.spool.map_or(0, |it| it.readings));
    let mut buffer = lang.say(format!("보관 {kept}"), format!("spool {kept}"));
    if let Some(ms) = view.spool.and_then(|it| it.drains_in_ms) {
        let us = i64::try_from(ms.saturating_mul(1_000)).unwrap_or(i64::MAX);
        buffer = lang
            .say(format!("{buffer}, {} 뒤 다 보냄", span(us, lang)), format!("{buffer}, drains in {}", span(us, lang)));
    }
    let parts = [
        (devices, way.device),
        (lang.say("게이트웨이", "gateway").to_owned(), way.gateway),
        (buffer, way.spool),
        (lang.say("서버", "ingest").to_owned(), way.ingest),
    ];
    html! {
        ol.chain aria-label=(lang.say("데이터가 오는 길", "The way of the data")) {
            @for (name, level) in parts {
                @let (icon, tone, word) = mark(lang, level);
                li.(tone) { (name) " " span aria-hidden="true" { (icon) } span.hidden { (word) } }
            }
        }
    }
}

fn care<'a>(scene: &'a Scene, view: &View, kind: CareKind) -> Option<&'a Care> {
    scene.cares.get(&(view.id.clone(), kind))
}

/// Who is on it, and since when.
pub(super) fn on_it(lang: Lang, scene: &Scene, view: &View) -> Markup {
    html! {
        @if let Some(it) = care(scene, view, CareKind::OnIt) {
            p.on-it {
                span aria-hidden="true" { "◆ " }
                b { @if it.name.is_empty() { (lang.say("관제 담당자", "An operator")) } @else { (it.name) } }
                (lang.say(" 님이 처리 중 · ", " is on it · "))
                (moment(lang, Some(it.at_us), scene.now_us))
            }
        }
    }
}

/// Whom to call, one tap each.
pub(super) fn calls(lang: Lang, scene: &Scene, view: &View) -> Markup {
    let firm = view.id.firm();
    html! {
        p.calls {
            @for it in scene.contacts.iter().filter(|it| it.firm == firm) {
                a.button.call href={ "tel:" (dialled(&it.phone)) } {
                    span aria-hidden="true" { "☎ " }
                    (match it.part { Part::Firm => lang.say("업체", "Firm"), Part::Installer => lang.say("설치", "Installer") })
                    " " (it.name) " " span.number { (it.phone) }
                }
            }
        }
    }
}

fn dialled(phone: &str) -> String {
    phone.chars().filter(|c| c.is_ascii_digit() || *c == '+').collect()
}

/// What to ask of whoever stands beside it; always also in Korean, since it is said in Korean.
fn on_site(view: &View) -> Option<(String, String)> {
    let condition = view.worst()?;
    let device = condition.device.as_deref().unwrap_or_default();
    let said = match condition.id {
        ConditionId::LastContact => (
            "게이트웨이 상자의 전원 표시등과 인터넷(LTE) 표시등이 켜져 있는지 보고, 꺼져 있으면 전원을 껐다 켜 주세요."
                .to_owned(),
            "See whether the gateway box's power and network lights are on; if not, switch it off and on.".to_owned(),
        ),
        ConditionId::LinkDown | ConditionId::Freshness => (
            format!(
                "‘{device}’ 장치의 전원이 켜져 있는지, 통신선이 양쪽에 꽂혀 있는지 봐 주세요. 기계는 멈추지 않아도 됩니다."
            ),
            format!(
                "See that ‘{device}’ has power and that its cable is plugged in at both ends. The machine may go on running."
            ),
        ),
        ConditionId::LinkFlaky | ConditionId::PollSuccess | ConditionId::PollTime => (
            format!("‘{device}’ 장치의 통신선을 뽑았다가 다시 꽂아 주세요."),
            format!("Unplug the cable of ‘{device}’ and plug it in again."),
        ),
        ConditionId::Fenced | ConditionId::Forked => (
            "게이트웨이 상자가 두 대 켜져 있으면, 한 대만 남기고 꺼 주세요.".to_owned(),
            "If two boxes of this gateway run, switch one of them off.".to_owned(),
        ),
        ConditionId::SpoolFullIn | ConditionId::SpoolOldest | ConditionId::ReadingsDropped => (
            "게이트웨이의 인터넷(LTE) 안테나와 선이 제대로 꽂혀 있는지 봐 주세요.".to_owned(),
            "See that the gateway's network cable or antenna is plugged in.".to_owned(),
        ),
        // Nobody on site can do anything about the rest.
        _ => return None,
    };
    Some(said)
}

pub(in crate::console) fn gateway(complex: &str, at: &At, scene: &Scene, view: &View) -> Markup {
    let lang = at.lang;
    let title = name(lang, scene, view);
    let body = html! {
        h1.headline { (title) }
        p { span.state.(tone(view.state)) { span aria-hidden="true" { (icon(view.state)) } " " (say(lang, &Sentence::State(view.state))) } " " span.dim { (view.id) } }
        (fault_of(lang, view, scene.now_us))
        (chain(lang, view))
        div.columns {
            section.card {
                h2 { (lang.say("현장에 할 말과 연락처", "What to say on site, and to whom")) }
                @if let Some((ko, en)) = on_site(view) {
                    blockquote lang="ko" { (ko) }
                    @if lang == Lang::En { p.help { (en) } }
                }
                (calls(lang, scene, view))
                @if !scene.contacts.iter().any(|it| it.firm == view.id.firm()) {
                    p.help { (lang.say("연락처가 아직 없습니다.", "Nobody to call was written down yet.")) }
                }
                @if matches!(at.who.role(), Role::Operator | Role::DataOfficer | Role::FirmStaff) { (contacts(at, scene, view)) }
            }
            section.card {
                h2 { (lang.say("처리", "Who is on it")) }
                (on_it(lang, scene, view))
                form method="post" action={ "/gateways/" (view.id) "/care" } {
                    (token(at)) input type="hidden" name="kind" value="on_it";
                    @if care(scene, view, CareKind::OnIt).is_some() {
                        input type="hidden" name="end" value="yes";
                        button.second { (lang.say("처리 끝", "Done with it")) }
                    } @else {
                        button { (lang.say("제가 처리합니다", "I am on it")) }
                    }
                }
                h2 { (lang.say("지난 방문", "The last visit")) }
                @if let Some(it) = care(scene, view, CareKind::Visit) {
                    p.note { (it.words) }
                    p.help { (it.name) " " (moment(lang, Some(it.at_us), scene.now_us)) }
                }
                form method="post" action={ "/gateways/" (view.id) "/care" } {
                    (token(at)) input type="hidden" name="kind" value="visit";
                    label for="visit" { (lang.say("무엇을 보고 무엇을 했는지", "What was found, what was done")) }
                    textarea id="visit" name="words" rows="3" maxlength="500" {}
                    button.second { (lang.say("적어 두기", "Write it down")) }
                }
            }
            section.card {
                h2 { (lang.say("데이터", "Data")) }
                dl {
                    dt { (say(lang, &Sentence::LastData)) } dd { (moment(lang, view.newest_us, scene.now_us)) }
                    dt { (say(lang, &Sentence::LastContact)) } dd { (moment(lang, view.contact_us, scene.now_us)) }
                    dt { (say(lang, &if view.heard { Sentence::Spool } else { Sentence::SpoolThen })) } dd { (spool(lang, view.spool)) }
                }
                @let lost = scene.dead.get(&view.id).into_iter().flatten().filter(|it| it.readings > 0).collect::<Vec<_>>();
                @if !lost.is_empty() {
                    h2 { (say(lang, &Sentence::DeadLetters)) }
                    ul { @for it in lost { li { (say(lang, &Sentence::Dead(it.reason, it.readings, it.discarded))) } } }
                }
            }
            section.card {
                h2 { (say(lang, &if view.heard { Sentence::Links } else { Sentence::LinksThen })) }
                @if view.links.is_empty() { p.none { (say(lang, &Sentence::NoLinks)) } }
                ul.links { @for it in &view.links {
                    (link(lang, it, scene.now_us))
                    li.figures {
                        @if let Some(permille) = it.success_permille { (bar(lang, permille)) }
                        @if let Some(good_us) = it.last_good_us { span.dim { (lang.say("최근 값 ", "newest ")) (say(lang, &Sentence::Ago(scene.now_us - good_us))) } }
                    }
                } }
            }
        }
    };
    Frame { complex, lang, title, at: Some(at), live: true, query: String::new(), body }.markup()
}

/// Success of the last five minutes as a bar, with its figure.
fn bar(lang: Lang, permille: u32) -> Markup {
    let percent = format!("{}.{}", permille / 10, permille % 10);
    let told = lang.say(format!("5분간 응답 {percent}%"), format!("{percent} % answered in 5 min"));
    html! {
        svg.bar viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" {
            rect.empty width="100" height="8" rx="2" {}
            rect.full width=(permille / 10) height="8" rx="2" {}
        }
        span { (told) }
    }
}

fn contacts(at: &At, scene: &Scene, view: &View) -> Markup {
    let lang = at.lang;
    let firm = view.id.firm();
    html! {
        details {
            summary { (lang.say("연락처 고치기", "Change whom to call")) }
            @for (part, ko, en) in [(Part::Firm, "업체 담당자", "At the firm"), (Part::Installer, "설치 업체", "The installer")] {
                @let known = scene.contacts.iter().find(|it| it.firm == firm && it.part == part);
                form method="post" action={ "/gateways/" (view.id) "/contact" } {
                    (token(at)) input type="hidden" name="part" value=(part.as_str());
                    h3 { (lang.say(ko, en)) }
                    label for={ "name-" (part.as_str()) } { (lang.say("이름", "Name")) }
                    input id={ "name-" (part.as_str()) } name="name" maxlength="100" value=[known.map(|it| &it.name)];
                    label for={ "phone-" (part.as_str()) } { (lang.say("전화", "Phone")) }
                    input id={ "phone-" (part.as_str()) } name="phone" type="tel" maxlength="24" value=[known.map(|it| &it.phone)];
                    button.second { (lang.say("저장", "Save")) }
                }
            }
        }
    }
}
