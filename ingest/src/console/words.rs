//! Every sentence of the console, in Korean and English side by side: one match arm
//! holds both, so that neither language can lack what the other says.

use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::ACCEPT_LANGUAGE;

use sandan_proto::v1::DeadLetterReason;

use crate::access::{Condition, ConditionId, LinkState, State, View};
use crate::time::{DAY_US, HOUR_US, MINUTE_US, SECOND_US};

/// A language of the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lang {
    Ko,
    En,
}

impl Lang {
    /// From a tag of a browser.
    pub(super) fn parse(tag: &str) -> Option<Self> {
        match tag.trim().split('-').next() {
            Some("ko") => Some(Lang::Ko),
            Some("en") => Some(Lang::En),
            _ => None,
        }
    }

    /// One of two texts that say the same.
    pub(super) fn say<T>(self, ko: T, en: T) -> T {
        match self {
            Lang::Ko => ko,
            Lang::En => en,
        }
    }

    /// As asked for, else as the browser prefers, else Korean.
    pub(super) fn of(asked: Option<&str>, headers: &HeaderMap) -> Self {
        if let Some(lang) = asked.and_then(Self::parse) {
            return lang;
        }
        let accepted = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or("");
        let mut best = (0.0, Lang::Ko);
        for part in accepted.split(',') {
            let (tag, weight) =
                part.split_once(";q=").map_or((part, 1.0), |(tag, q)| (tag, q.trim().parse().unwrap_or(0.0)));
            if let Some(lang) = Self::parse(tag)
                && weight > best.0
            {
                best = (weight, lang);
            }
        }
        best.1
    }

    pub(super) fn code(self) -> &'static str {
        match self {
            Lang::Ko => "ko",
            Lang::En => "en",
        }
    }

    pub(super) fn other(self) -> Self {
        match self {
            Lang::Ko => Lang::En,
            Lang::En => Lang::Ko,
        }
    }
}

/// Everything that the console can say.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Sentence<'a> {
    Title,
    SignIn,
    SignOut,
    Token,
    TokenHelp,
    TokenUnknown,
    PasswordWrong,
    TooOften,
    NameNeeded,
    LinkUsed,
    LinkOpen,
    /// Nothing more is stored.
    DiskShort,
    OtherLanguage,
    NoGateways,
    AsOf(String),
    State(State),
    Link(LinkState),
    LastData,
    LastContact,
    Spool,
    /// What a gateway that is not in contact kept.
    SpoolThen,
    Links,
    /// Devices of a gateway that is not in contact.
    LinksThen,
    Never,
    Unknown,
    NoLinks,
    SpoolHolds {
        readings: u64,
        percent: u64,
        oldest_ms: u64,
    },
    SpoolEmpty {
        percent: u64,
    },
    /// How long ago, µs.
    Ago(i64),
    AllWell,
    /// Gateways at which something is wrong, whatever their state.
    NeedsAttention,
    /// What is put aside of a gateway.
    DeadLetters,
    /// Readings of one reason, and how many of them were discarded.
    Dead(DeadLetterReason, u64, u64),
    /// What is wrong with a gateway, seen at a time.
    Trouble(&'a Condition, &'a View, i64),
    /// Nothing came yet.
    NeverSeen,
    /// It said goodbye a moment ago.
    Left,
    /// Its backlog drains; age of the oldest, ms.
    Draining(u64),
}

/// A length of time in its largest unit that is at least 1.
pub(super) fn span(us: i64, lang: Lang) -> String {
    let us = us.max(0);
    let (count, ko, en) = match us {
        0..MINUTE_US => (us / SECOND_US, "초", "s"),
        MINUTE_US..HOUR_US => (us / MINUTE_US, "분", "min"),
        HOUR_US..DAY_US => (us / HOUR_US, "시간", "h"),
        _ => (us / DAY_US, "일", if us < 2 * DAY_US { "day" } else { "days" }),
    };
    match lang {
        Lang::Ko => format!("{count}{ko}"),
        // A number keeps its unit on its line.
        Lang::En => format!("{count}\u{a0}{en}"),
    }
}

/// 1,234,567
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

fn whole_ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn ms(ms: u64) -> i64 {
    i64::try_from(ms.saturating_mul(1_000)).unwrap_or(i64::MAX)
}

/// `sentence` in `lang`.
pub(super) fn say(lang: Lang, sentence: &Sentence<'_>) -> String {
    let (ko, en): (String, String) = match sentence {
        Sentence::Title => ("연결 상태".into(), "Connections".into()),
        Sentence::SignIn => ("로그인".into(), "Sign in".into()),
        Sentence::SignOut => ("로그아웃".into(), "Sign out".into()),
        Sentence::Token => ("운영자 토큰".into(), "Operator token".into()),
        Sentence::TokenHelp => (
            "서버에서 `sandan-ingest operator add` 또는 `operator link` 명령으로 받을 수 있습니다.".into(),
            "`sandan-ingest operator add` or `operator link` on the server gives you one.".into(),
        ),
        Sentence::TokenUnknown => {
            ("등록되지 않았거나 폐기된 토큰입니다.".into(), "This token is unknown or revoked.".into())
        }
        Sentence::LinkUsed => (
            "이미 사용했거나 기한이 지난 링크입니다. 새 링크를 받으세요.".into(),
            "This link was used or has run out. Ask for a new one.".into(),
        ),
        Sentence::LinkOpen => (
            "이 링크로 이 브라우저에서 한 번 로그인합니다. 12시간 동안 쓰지 않으면 로그아웃됩니다.".into(),
            "This link signs one browser in, once. Unused for 12 hours it is signed out.".into(),
        ),
        Sentence::PasswordWrong => (
            "로그인 이름이나 비밀번호가 맞지 않습니다.".into(),
            "The sign-in name or the password is wrong.".into(),
        ),
        Sentence::TooOften => (
            "틀린 비밀번호가 여러 번 입력되었습니다. 15분 뒤에 다시 해 주세요.".into(),
            "Too many wrong passwords. Try again in 15 minutes.".into(),
        ),
        Sentence::NameNeeded => ("이름을 100자 이내로 적어 주세요.".into(), "Give your name, of at most 100 characters.".into()),
        Sentence::OtherLanguage => ("English".into(), "한국어".into()),
        Sentence::DiskShort => (
            "서버 디스크의 남은 공간이 예비 공간보다 적습니다. 새 측정값을 저장하지 않으며, 게이트웨이가 보관하고 있다가 \
             공간이 생기면 보냅니다."
                .into(),
            "The server's disk has less room than its reserve. Nothing new is stored: gateways keep what they read, \
             and send it once there is room."
                .into(),
        ),
        Sentence::NoGateways => ("등록된 게이트웨이가 없습니다.".into(), "No gateway was added yet.".into()),
        Sentence::AsOf(time) => (format!("{time} 기준"), format!("as of {time}")),
        Sentence::State(state) => {
            let (ko, en) = match state {
                State::Fenced => ("거절됨", "refused"),
                State::Offline => ("끊김", "offline"),
                State::Silent => ("무응답", "silent"),
                State::Degraded => ("일부 이상", "degraded"),
                State::Maintenance => ("작업 중", "under maintenance"),
                State::CatchingUp => ("밀린 데이터 전송 중", "catching up"),
                State::Online => ("연결됨", "online"),
                State::Enrolled => ("연결 전", "never seen"),
            };
            (ko.into(), en.into())
        }
        Sentence::Link(state) => {
            let (ko, en) = match state {
                LinkState::Down => ("응답 없음", "down"),
                LinkState::Flaky => ("불안정", "flaky"),
                LinkState::Unknown => ("확인 중", "not known yet"),
                LinkState::Up => ("정상", "up"),
                LinkState::Disabled => ("사용 안 함", "disabled"),
            };
            (ko.into(), en.into())
        }
        Sentence::LastData => ("마지막 데이터".into(), "Last data".into()),
        Sentence::LastContact => ("마지막 통신".into(), "Last contact".into()),
        Sentence::Spool => ("전송 대기".into(), "Waiting to be sent".into()),
        Sentence::SpoolThen => ("전송 대기 (마지막 보고)".into(), "Waiting to be sent (as last reported)".into()),
        Sentence::Links => ("장치".into(), "Devices".into()),
        Sentence::LinksThen => ("장치 (마지막 보고)".into(), "Devices (as last reported)".into()),
        Sentence::Never => ("없음".into(), "never".into()),
        Sentence::Unknown => ("알 수 없음".into(), "not known".into()),
        Sentence::NoLinks => ("보고된 장치가 없습니다.".into(), "No device was reported.".into()),
        Sentence::SpoolHolds { readings, percent, oldest_ms } => {
            let (count, oldest) = (grouped(*readings), ms(*oldest_ms));
            (
                format!("{count}건, 가장 오래된 것 {} 전 (저장 공간 {percent}% 사용)", span(oldest, Lang::Ko)),
                format!("{count} readings, the oldest {} old (spool {percent} % full)", span(oldest, Lang::En)),
            )
        }
        Sentence::SpoolEmpty { percent } => {
            (format!("없음 (저장 공간 {percent}% 사용)"), format!("nothing (spool {percent} % full)"))
        }
        Sentence::Ago(us) => (format!("{} 전", span(*us, Lang::Ko)), format!("{} ago", span(*us, Lang::En))),
        Sentence::AllWell => ("이상 없음".into(), "All is well".into()),
        Sentence::NeedsAttention => ("문제 있음".into(), "needs attention".into()),
        Sentence::DeadLetters => ("저장하지 못한 측정값".into(), "Not stored".into()),
        Sentence::Dead(reason, readings, discarded) => {
            let (ko, en) = why(*reason);
            let (all, gone) = (grouped(*readings), grouped(*discarded));
            if *discarded > 0 {
                (format!("{ko}: {all}건 (그중 {gone}건 폐기)"), format!("{en}: {all} ({gone} of them discarded)"))
            } else {
                (format!("{ko}: {all}건"), format!("{en}: {all}"))
            }
        }
        Sentence::Trouble(condition, view, now_us) => wrong(condition, view, *now_us),
        Sentence::NeverSeen => ("아직 한 번도 연결하지 않았습니다".into(), "It has never connected".into()),
        Sentence::Left => (
            "게이트웨이가 스스로 연결을 끝냈습니다".into(),
            "The gateway said goodbye: somebody stopped it, or it restarts".into(),
        ),
        Sentence::Draining(oldest_ms) => {
            let oldest = ms(*oldest_ms);
            (
                format!("밀린 데이터를 보내고 있습니다 (가장 오래된 것 {} 전)", span(oldest, Lang::Ko)),
                format!("It is sending what it kept, the oldest {} old", span(oldest, Lang::En)),
            )
        }
    };
    match lang {
        Lang::Ko => ko,
        Lang::En => en,
    }
}

/// Why readings were not stored.
fn why(reason: DeadLetterReason) -> (&'static str, &'static str) {
    match reason {
        DeadLetterReason::Unspecified => ("알 수 없는 이유", "an unknown reason"),
        DeadLetterReason::Undecodable => ("읽을 수 없는 기록", "cannot be decoded"),
        DeadLetterReason::UnknownSeries => ("등록되지 않은 시계열", "unknown series"),
        DeadLetterReason::WrongType => ("선언과 다른 형식", "another type than declared"),
        DeadLetterReason::LimitExceeded => ("한도 초과", "beyond a limit"),
        DeadLetterReason::TextRefused => ("저장할 수 없는 문자열", "text that cannot be stored"),
        DeadLetterReason::TimeTooOld => ("보존 기간보다 오래됨", "older than the retention"),
        DeadLetterReason::TimeAhead => ("미래의 시각", "ahead of the time"),
        DeadLetterReason::OtherOwner => ("다른 게이트웨이의 시계열", "another gateway's series"),
        DeadLetterReason::OverQuota => ("시계열 수 초과", "more series than allowed"),
        DeadLetterReason::Forked => ("번호가 겹친 기록", "number used twice"),
        DeadLetterReason::ClockUnknown => ("시각을 알 수 없음", "clock unknown"),
        DeadLetterReason::BadChecksum => ("검사합 불일치", "wrong checksum"),
    }
}

/// What is wrong, in one sentence.
fn wrong(condition: &Condition, view: &View, now_us: i64) -> (String, String) {
    let since = |us: i64| (span(now_us - us, Lang::Ko), span(now_us - us, Lang::En));
    let value = condition.value.unwrap_or(0.0);
    // Whole ones: a count is told as a figure.
    let whole = |value: f64| format!("{value:.0}");
    let count = || grouped(whole(value).parse().unwrap_or(0));
    let seconds = |seconds: f64| {
        let us = Duration::try_from_secs_f64(seconds.max(0.0)).map_or(i64::MAX, |it| ms(whole_ms(it)));
        (span(us, Lang::Ko), span(us, Lang::En))
    };
    let device = condition.device.as_deref().unwrap_or_default();
    match condition.id {
        ConditionId::Fenced if !view.connected => (
            format!(
                "복사되었거나 이전 상태의 스풀입니다. 다른 복사본이 꺼져 있으면: `sandan-ingest gateway release {}`",
                view.id
            ),
            format!(
                "Its spool is a copy or an old state. Once no other copy runs: `sandan-ingest gateway release {}`",
                view.id
            ),
        ),
        ConditionId::Fenced => (
            format!(
                "연결된 게이트웨이와 별도로, 복사되었거나 이전 상태의 스풀이 거절되었습니다. 둘 중 하나를 끄세요. 거절된 쪽을 쓰려면: `sandan-ingest gateway release {}`",
                view.id
            ),
            format!(
                "Beside the one that is connected, a copy or an old state of its spool is refused. Switch one of them off; to go on with the refused one: `sandan-ingest gateway release {}`",
                view.id
            ),
        ),
        ConditionId::LastContact => match view.contact_us {
            Some(us) => {
                let (ko, en) = since(us);
                (format!("게이트웨이에서 소식이 없습니다 ({ko}째)"), format!("Nothing has come from the gateway for {en}"))
            }
            None => (
                "서버가 시작된 뒤로 게이트웨이가 연결하지 않았습니다".into(),
                "The gateway has not connected since the service started".into(),
            ),
        },
        ConditionId::LinkDown => {
            let last_good_us = view.links.iter().find(|link| link.device == device).and_then(|link| link.last_good_us);
            let (mut ko, mut en) = match last_good_us {
                Some(us) => {
                    let (ko, en) = since(us);
                    (
                        format!("{device} 장치가 응답하지 않습니다 ({ko}째)"),
                        format!("{device} has not answered for {en}"),
                    )
                }
                None => (
                    format!("게이트웨이가 시작된 뒤로 {device} 장치가 응답하지 않았습니다"),
                    format!("{device} has not answered since the gateway started"),
                ),
            };
            let others = view.links.iter().filter(|it| it.state == LinkState::Down && it.device != device).count();
            if others > 0 {
                ko = format!("{ko}. 다른 장치 {others}대도 응답하지 않습니다");
                en = format!("{en}, nor do {others} more answer");
            }
            (ko, en)
        }
        ConditionId::PollSuccess => {
            let percent = whole(value * 100.0);
            (
                format!("{device} 장치의 응답이 불안정합니다 (최근 5분 성공률 {percent}%)"),
                format!("{device} answers only {percent} % of the time (last 5 min)"),
            )
        }
        ConditionId::LinkFlaky => (
            format!("{device} 장치가 일부 요청에 값을 주지 않습니다"),
            format!("{device} answers some requests without a value"),
        ),
        ConditionId::Freshness => (
            format!("{device} 장치의 값이 주기보다 {value:.0}배 늦습니다"),
            format!("The last good value of {device} is {value:.0} intervals old"),
        ),
        ConditionId::PollTime => (
            format!("{device} 장치의 응답이 느립니다 (주기의 {:.0}%)", value * 100.0),
            format!("{device} takes {:.0} % of its interval to answer", value * 100.0),
        ),
        ConditionId::Forked => (
            "같은 번호로 다른 기록이 왔습니다. 스풀 사본이 함께 돌고 있거나 옛 상태로 되돌려졌습니다. 따로 보관했습니다".into(),
            "Other records came under numbers that are stored: a copy of its spool runs, or it was put back to an old state. They are kept aside".into(),
        ),
        ConditionId::HeldBack => (
            "기업의 전송 한도를 넘어 나중에 보내도록 했습니다".into(),
            "Its firm sends more than it may, so it is told to send later".into(),
        ),
        ConditionId::ReadingsDropped => (
            format!("게이트웨이에서 읽은 값 {}건이 버려졌습니다", count()),
            format!("{} readings were dropped at the gateway", count()),
        ),
        ConditionId::DeadLetters => (
            format!("읽은 값 {}건을 저장하지 못해 따로 보관했습니다", count()),
            format!("{} readings could not be stored and are kept aside", count()),
        ),
        ConditionId::UndeclaredGaps => (
            format!("읽은 값 {}건이 이유 없이 빠졌습니다", count()),
            format!("{} readings are missing, and nothing says why", count()),
        ),
        ConditionId::SpoolFullIn => {
            let (ko, en) = seconds(value);
            (format!("게이트웨이 저장 공간이 {ko} 뒤에 가득 찹니다"), format!("The gateway's spool is full in {en}"))
        }
        ConditionId::SpoolOldest => {
            let (ko, en) = seconds(value);
            (
                format!("밀린 데이터가 줄지 않습니다 (가장 오래된 것 {ko} 전)"),
                format!("What it kept does not get less, the oldest {en} old"),
            )
        }
        ConditionId::ClockOffset => {
            let (ko, en) = seconds(value.abs());
            let (ko_way, en_way) = if value < 0.0 { ("늦습니다", "behind") } else { ("빠릅니다", "ahead") };
            (format!("게이트웨이 시계가 {ko} {ko_way}"), format!("The gateway's clock is {en} {en_way}"))
        }
        ConditionId::ConfigHash => (
            "승인된 것과 다른 설정으로 돌고 있습니다".into(),
            "It runs another configuration than the approved one".into(),
        ),
        ConditionId::Certificate => {
            let (ko, en) = seconds(value);
            (
                format!("인증서가 갱신되지 않았습니다 (남은 기간 {ko})"),
                format!("Its certificate was not renewed and ends in {en}"),
            )
        }
        ConditionId::UnusableMessages => (
            format!("브로커 메시지 {}건을 쓸 수 없었습니다. 원인은 게이트웨이의 status에서 볼 수 있습니다", count()),
            format!("{} messages of its brokers could not be used; its status says why", count()),
        ),
        ConditionId::NotStoring => (
            "서버가 새 측정값을 저장하지 못하고 있습니다".into(),
            "The service stores nothing new".into(),
        ),
    }
}

#[cfg(test)]
mod tests;
