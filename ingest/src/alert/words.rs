//! What people read: what is wrong, and what to tell whoever stands beside the machine, in Korean and English
//! side by side, so that neither language can lack what the other says.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::engine::Event;
use super::kind::{Condition, Kind, Level, Subject};
use super::receiver::Lang;

/// The clock on the wall of whoever reads it.
const ZONE: &str = "Asia/Seoul";

/// In Korean and in English.
pub(super) struct Both(pub(super) String, pub(super) String);

impl Both {
    fn of(ko: &str, en: &str) -> Self {
        Self(ko.to_owned(), en.to_owned())
    }

    pub(super) fn take(self, lang: Lang) -> String {
        match lang {
            Lang::Ko => self.0,
            Lang::En => self.1,
        }
    }
}

/// `11-23 14:02` on the wall in Seoul.
pub(super) fn wall(us: i64) -> String {
    let zone = TimeZone::get(ZONE).unwrap_or(TimeZone::UTC);
    let at = Timestamp::from_microsecond(us).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(zone);
    at.strftime("%m-%d %H:%M").to_string()
}

/// What happened, for the head of a line.
pub(super) fn event(event: Event, level: Level) -> Both {
    match (event, level) {
        (Event::Firing, Level::Critical) => Both::of("긴급", "CRITICAL"),
        (Event::Firing, Level::Warn) => Both::of("주의", "Warning"),
        (Event::Worse, _) => Both::of("악화", "WORSE"),
        (Event::Still, _) => Both::of("계속", "Still"),
        (Event::Resolved, _) => Both::of("해결", "Resolved"),
    }
}

/// A kind in a few words.
pub(super) fn title(kind: Kind) -> Both {
    match kind {
        Kind::NotStoring => Both::of("저장 중단", "Nothing is stored"),
        Kind::WitnessBehind => Both::of("증인 파일 지연", "Witness is behind"),
        Kind::Fenced => Both::of("복사된 스풀 거절", "Copied spool refused"),
        Kind::LastContact => Both::of("게이트웨이 연락 끊김", "Gateway not heard"),
        Kind::LinkDown => Both::of("장치 응답 없음", "Device does not answer"),
        Kind::Forked => Both::of("번호가 겹친 기록", "Numbers used twice"),
        Kind::ReadingsDropped => Both::of("측정값 버려짐", "Readings dropped"),
        Kind::UndeclaredGaps => Both::of("설명 없는 빈 구간", "Undeclared gaps"),
        Kind::DeadLetters => Both::of("저장하지 못한 측정값", "Readings not stored"),
        Kind::SpoolFullIn => Both::of("게이트웨이 저장 공간 부족", "Spool fills up"),
        Kind::SpoolOldest => Both::of("밀린 데이터가 줄지 않음", "Backlog does not drain"),
        Kind::Certificate => Both::of("인증서 만료 임박", "Certificate runs out"),
        Kind::PollSuccess => Both::of("장치 읽기 실패 많음", "Polls fail"),
        Kind::LinkFlaky => Both::of("장치 응답 불안정", "Device answers now and then"),
        Kind::Freshness => Both::of("값이 드물게 옴", "Values come too rarely"),
        Kind::PollTime => Both::of("장치 응답 느림", "Device answers slowly"),
        Kind::ClockOffset => Both::of("게이트웨이 시계 오차", "Gateway's clock is off"),
        Kind::ConfigHash => Both::of("승인되지 않은 설정", "Other configuration"),
        Kind::UnusableMessages => Both::of("쓸 수 없는 메시지", "Unusable messages"),
        Kind::HeldBack => Both::of("전송 한도 초과", "Held back"),
    }
}

/// What is wrong, in one sentence, without a value of a machine.
pub(super) fn what(it: &Condition) -> Both {
    let device = match &it.subject {
        Subject::Device { device, .. } => device.as_str(),
        _ => "",
    };
    let count = it.number.unwrap_or(0);
    match it.kind {
        Kind::NotStoring => Both::of("서버가 새 측정값을 저장하지 못합니다", "The service stores nothing new"),
        Kind::WitnessBehind => {
            Both::of("다른 디스크의 증인 파일을 쓸 수 없습니다", "The witness file on the other disk cannot be written")
        }
        Kind::Fenced => Both::of(
            "복사되었거나 이전 상태로 되돌린 스풀이 거절되고 있습니다",
            "A spool that is a copy, or was put back to an older state, is refused",
        ),
        Kind::LastContact => Both::of("게이트웨이에서 소식이 없습니다", "Nothing is heard of the gateway"),
        Kind::LinkDown => Both(format!("{device} 장치가 응답하지 않습니다"), format!("{device} does not answer")),
        Kind::Forked => Both::of(
            "이미 저장된 번호로 다른 기록이 왔습니다. 스풀 사본이 함께 돌고 있을 수 있습니다",
            "Other records came under numbers that are stored: a copy of the spool may be running",
        ),
        Kind::ReadingsDropped => Both(
            format!("게이트웨이에서 측정값 {count}건이 버려졌습니다"),
            format!("{count} readings were dropped at the gateway"),
        ),
        Kind::UndeclaredGaps => Both(
            format!("측정값 {count}건이 까닭 없이 빠졌습니다"),
            format!("{count} readings are missing, and no gap declares them"),
        ),
        Kind::DeadLetters => {
            Both(format!("측정값 {count}건을 저장하지 못했습니다"), format!("{count} readings could not be stored"))
        }
        Kind::SpoolFullIn => {
            let Both(ko, en) = span(count);
            Both(format!("게이트웨이 저장 공간이 {ko} 뒤에 찹니다"), format!("The gateway's spool is full in {en}"))
        }
        Kind::SpoolOldest => {
            let Both(ko, en) = span(count);
            Both(
                format!("{ko} 된 데이터가 게이트웨이에 남아 있고 줄지 않습니다"),
                format!("Data that is {en} old waits at the gateway, and does not get less"),
            )
        }
        Kind::Certificate => {
            let Both(ko, en) = span(count);
            Both(format!("게이트웨이 인증서가 {ko} 뒤에 끝납니다"), format!("The gateway's certificate ends in {en}"))
        }
        Kind::PollSuccess => Both(
            format!("{device} 장치를 읽는 데 자주 실패합니다 (성공률 {count}%)"),
            format!("{device} is often not read ({count} % succeed)"),
        ),
        Kind::LinkFlaky => {
            Both(format!("{device} 장치의 응답이 불안정합니다"), format!("{device} answers now and then"))
        }
        Kind::Freshness => Both(
            format!("{device} 장치의 값이 예정보다 드물게 옵니다"),
            format!("Values of {device} come more rarely than they should"),
        ),
        Kind::PollTime => Both(format!("{device} 장치의 응답이 느립니다"), format!("{device} answers slowly")),
        Kind::ClockOffset => Both(
            format!("게이트웨이 시계가 {count}초 어긋나 있습니다"),
            format!("The gateway's clock is off by {count} s"),
        ),
        Kind::ConfigHash => Both::of(
            "게이트웨이가 승인된 것과 다른 설정으로 돌고 있습니다",
            "The gateway runs another configuration than the approved one",
        ),
        Kind::UnusableMessages => Both(
            format!("브로커 메시지 {count}건을 쓸 수 없었습니다"),
            format!("{count} messages of its brokers could not be used"),
        ),
        Kind::HeldBack => Both::of(
            "기업의 전송 한도를 넘어 전송이 미뤄지고 있습니다",
            "Its firm sends more than it may, and is told to send later",
        ),
    }
}

/// What to tell whoever is on site, in one sentence or two.
pub(super) fn on_site(kind: Kind) -> Both {
    match kind {
        Kind::NotStoring => Both::of(
            "현장에서 할 일은 없습니다. 게이트웨이가 값을 보관하고 있으니 전원을 끄지 마세요.",
            "Nothing to do on site. Gateways keep what they read: leave them switched on.",
        ),
        Kind::WitnessBehind => Both::of("현장에서 할 일은 없습니다.", "Nothing to do on site."),
        Kind::Fenced | Kind::Forked => Both::of(
            "같은 이름의 게이트웨이 상자가 두 대 켜져 있는지 보고, 한 대면 그대로 두세요.",
            "See whether two gateway boxes of this name are switched on. If there is one, leave it as it is.",
        ),
        Kind::LastContact => Both::of(
            "게이트웨이 상자의 전원 표시등과 네트워크 선을 봐 주세요. 꺼져 있으면 전원을 다시 켜 주세요.",
            "Look at the power light and the network cable of the gateway box. If it is off, switch it on again.",
        ),
        Kind::LinkDown | Kind::LinkFlaky | Kind::PollSuccess | Kind::Freshness | Kind::PollTime => Both::of(
            "기계 제어반의 전원이 켜져 있는지, 통신선이 빠지거나 헐겁지 않은지 봐 주세요. 기계를 쉬는 중이면 알려 주세요.",
            "See whether the machine's cabinet has power and its communication cable sits tight. If the machine rests, say so.",
        ),
        Kind::ReadingsDropped | Kind::SpoolFullIn | Kind::SpoolOldest => Both::of(
            "사무실 인터넷이 되는지 봐 주세요. 게이트웨이 전원은 끄지 마세요.",
            "See whether the office's internet works. Leave the gateway switched on.",
        ),
        Kind::ClockOffset => Both::of(
            "게이트웨이 전원은 끄지 마세요. 네트워크가 최근에 바뀌었으면 알려 주세요.",
            "Leave the gateway switched on. If the network was changed lately, say so.",
        ),
        Kind::UndeclaredGaps
        | Kind::DeadLetters
        | Kind::Certificate
        | Kind::ConfigHash
        | Kind::UnusableMessages
        | Kind::HeldBack => Both::of(
            "현장에서 할 일은 없습니다. 최근에 설정이나 기계를 바꿨으면 알려 주세요.",
            "Nothing to do on site. If a configuration or a machine was changed lately, say so.",
        ),
    }
}

/// A length of time in its largest unit that is at least 1, of seconds.
fn span(seconds: u64) -> Both {
    let (count, ko, en) = match seconds {
        0..60 => (seconds, "초", "s"),
        60..3_600 => (seconds / 60, "분", "min"),
        3_600..172_800 => (seconds / 3_600, "시간", "h"),
        _ => (seconds / 86_400, "일", "days"),
    };
    Both(format!("{count}{ko}"), format!("{count} {en}"))
}

/// Words around it.
pub(super) fn since() -> Both {
    Both::of("부터", "since")
}

/// Before what is to be said on site.
pub(super) fn tell() -> Both {
    Both::of("현장에", "On site")
}

/// Before a number.
pub(super) fn call() -> Both {
    Both::of("전화", "Call")
}

/// Before the address of the console.
pub(super) fn console() -> Both {
    Both::of("화면", "Console")
}

/// Before the address of an alert's page.
pub(super) fn page() -> Both {
    Both::of("설명", "What to do")
}

/// What is not listed.
pub(super) fn more(count: usize) -> Both {
    Both(format!("그 밖에 {count}건"), format!("and {count} more"))
}

/// The service itself.
pub(super) fn service() -> Both {
    Both::of("서버", "Service")
}

/// Of a message that only tries the way.
pub(super) fn trial() -> Both {
    Both::of("알림 시험입니다. 이 글이 보이면 전달됩니다.", "A test of alerts. If you read this, they arrive.")
}
