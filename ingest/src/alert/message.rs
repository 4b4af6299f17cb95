//! One message to one receiver: whole before it is queued, so that it goes out as it was meant.

use std::collections::BTreeMap;
use std::fmt::Write;

use sandan_proto::id::{FirmId, GatewayId};
use serde::{Deserialize, Serialize};

use super::engine::{Event, Notice};
use super::kind::{Kind, Level, Subject};
use super::receiver::{Lang, Receiver, Settings};
use super::words;
use crate::time::rfc3339;

/// The form of the document, which `docs/alerts.md` describes.
pub(super) const VERSION: u32 = 1;
/// Alerts that one message lists: what fits on some pages of a phone. How many more there are is said.
const LISTED: usize = 50;

/// A message, as a webhook gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Of the form; 1.
    pub version: u32,
    /// The same each time that it is tried.
    pub id: String,
    /// Name of the installation.
    pub complex: String,
    /// The receiver's name.
    pub receiver: String,
    /// Of the texts.
    pub language: Lang,
    /// When it was made, RFC 3339.
    pub made: String,
    /// One line.
    pub subject: String,
    /// All of it, for a phone.
    pub text: String,
    /// What it is about, the worst first.
    pub alerts: Vec<Item>,
    /// How many more there are that are not listed.
    pub more: usize,
}

/// One alert in a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The same from its beginning until its end.
    pub id: String,
    /// What happened.
    pub event: Event,
    /// What is wrong.
    pub kind: Kind,
    /// How bad it is.
    pub level: Level,
    /// Whose; none of the service itself.
    pub firm: Option<FirmId>,
    /// Where.
    pub gateway: Option<GatewayId>,
    /// At which of its devices.
    pub device: Option<String>,
    /// Since when, RFC 3339.
    pub since: String,
    /// Until when, RFC 3339; none while it lasts.
    pub ended: Option<String>,
    /// The kind in a few words.
    pub title: String,
    /// One sentence.
    pub what: String,
    /// What to tell whoever is on site.
    pub on_site: String,
    /// Whom to call.
    pub call: Option<Call>,
    /// Its page at the console.
    pub console: Option<String>,
    /// The page of its kind.
    pub page: Option<String>,
}

/// Somebody to call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// For people; empty where it is not known.
    pub name: String,
    /// As it is written.
    pub phone: String,
}

impl Call {
    /// What a phone dials when it is touched.
    pub fn link(&self) -> String {
        let dialled = self.phone.chars().filter(|sign| sign.is_ascii_digit() || *sign == '+');
        format!("tel:{}", dialled.collect::<String>())
    }
}

/// What is known of firms: their names in Korean and English, and whom to call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// By firm.
    pub names: BTreeMap<FirmId, (String, String)>,
    /// By firm.
    pub calls: BTreeMap<FirmId, Call>,
}

/// What makes messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Writer<'a> {
    /// Name of the installation.
    pub(super) complex: &'a str,
    /// Where the console is, and whom to call about the service.
    pub(super) settings: &'a Settings,
    /// Names and numbers.
    pub(super) known: &'a Known,
    /// µs since 1970.
    pub(super) now_us: i64,
}

impl Writer<'_> {
    /// The message about what concerns a receiver; none where nothing does. `id` is that of what is told.
    pub(super) fn message(&self, id: &str, notices: &[Notice], to: &Receiver) -> Option<Message> {
        let mut wanted: Vec<_> = notices.iter().filter(|notice| to.wants(notice)).collect();
        if wanted.is_empty() {
            return None;
        }
        let more = wanted.len().saturating_sub(LISTED);
        wanted.truncate(LISTED);
        let alerts: Vec<_> = wanted.into_iter().map(|notice| self.item(notice, to.language)).collect();
        let mut subject = alerts.first().map(|first| self.head(first, to.language)).unwrap_or_default();
        if alerts.len() + more > 1 {
            let _ = write!(subject, " ({})", words::more(alerts.len() + more - 1).take(to.language));
        }
        let mut text = String::new();
        for item in &alerts {
            self.write(&mut text, item, to.language);
        }
        if more > 0 {
            let _ = writeln!(text, "{}", words::more(more).take(to.language));
        }
        Some(self.whole(id, to, (subject, text), alerts, more))
    }

    /// A message that only tries the way.
    pub(super) fn trial(&self, id: &str, to: &Receiver) -> Message {
        let text = words::trial().take(to.language);
        self.whole(id, to, (format!("[{}] {text}", self.complex), text), Vec::new(), 0)
    }

    fn whole(
        &self,
        id: &str,
        to: &Receiver,
        (subject, text): (String, String),
        alerts: Vec<Item>,
        more: usize,
    ) -> Message {
        Message {
            version: VERSION,
            id: format!("{id}/{}", to.name),
            complex: self.complex.to_owned(),
            receiver: to.name.clone(),
            language: to.language,
            made: rfc3339(self.now_us),
            subject,
            text,
            alerts,
            more,
        }
    }

    fn item(&self, notice: &Notice, lang: Lang) -> Item {
        let it = &notice.condition;
        let firm = it.subject.firm();
        let device = match &it.subject {
            Subject::Device { device, .. } => Some(device.clone()),
            _ => None,
        };
        let of_service = || self.settings.phone.clone().map(|phone| Call { name: String::new(), phone });
        let call = match &firm {
            Some(firm) => self.known.calls.get(firm).cloned(),
            None => of_service(),
        };
        let url = self.settings.console_url.as_ref();
        let code = match lang {
            Lang::Ko => "ko",
            Lang::En => "en",
        };
        Item {
            id: notice.id.clone(),
            event: notice.event,
            kind: it.kind,
            level: it.level,
            gateway: it.subject.gateway().cloned(),
            device,
            since: rfc3339(it.since_us),
            ended: notice.ended_us.map(rfc3339),
            title: words::title(it.kind).take(lang),
            what: what(notice, lang),
            on_site: words::on_site(it.kind).take(lang),
            call,
            console: url.map(|url| match it.subject.gateway() {
                Some(gateway) => format!("{url}/?lang={code}#{gateway}"),
                None => format!("{url}/?lang={code}"),
            }),
            page: url.map(|url| format!("{url}/alerts/{}", it.kind)),
            firm,
        }
    }

    /// Where, for people: the firm's name, the gateway, the device.
    fn place(&self, item: &Item, lang: Lang) -> String {
        let Some(gateway) = &item.gateway else { return words::service().take(lang) };
        let firm = gateway.firm();
        let name = self.known.names.get(&firm).map(|(ko, en)| match lang {
            Lang::Ko => ko.as_str(),
            Lang::En => en.as_str(),
        });
        let name = name.filter(|name| !name.is_empty()).unwrap_or(firm.as_str());
        let device = item.device.as_ref().map(|device| format!(" / {device}")).unwrap_or_default();
        format!("{name} {}{device}", gateway.name())
    }

    fn head(&self, item: &Item, lang: Lang) -> String {
        let event = words::event(item.event, item.level).take(lang);
        format!("[{event}] {}: {}", self.place(item, lang), item.title)
    }

    fn write(&self, text: &mut String, item: &Item, lang: Lang) {
        let _ = writeln!(text, "{}\n{}", self.head(item, lang), item.what);
        if item.event != Event::Resolved {
            let _ = writeln!(text, "{}: {}", words::tell().take(lang), item.on_site);
            if let Some(call) = &item.call {
                let named = if call.name.is_empty() { String::new() } else { format!("{} ", call.name) };
                let _ = writeln!(text, "{}: {named}{} ({})", words::call().take(lang), call.phone, call.link());
            }
            if let Some(page) = &item.page {
                let _ = writeln!(text, "{}: {page}", words::page().take(lang));
            }
        }
        if let Some(console) = &item.console {
            let _ = writeln!(text, "{}: {console}", words::console().take(lang));
        }
        text.push('\n');
    }
}

/// The sentence with its time on the wall.
fn what(notice: &Notice, lang: Lang) -> String {
    let it = &notice.condition;
    let (sentence, from) = (words::what(it).take(lang), words::wall(it.since_us));
    match (lang, notice.ended_us) {
        (Lang::Ko, None) => format!("{from}{} {sentence}.", words::since().take(lang)),
        (Lang::En, None) => format!("{sentence}, {} {from}.", words::since().take(lang)),
        (Lang::Ko, Some(to_us)) => format!("{sentence}: {from} – {}, 이제 끝났습니다.", words::wall(to_us)),
        (Lang::En, Some(to_us)) => format!("{sentence}: {from} – {}, and it is over.", words::wall(to_us)),
    }
}

impl Message {
    /// The same as a page for a mail reader: numbers to touch, and nothing that is loaded from anywhere.
    pub fn html(&self) -> String {
        let mut page = String::from("<!doctype html><meta charset=\"utf-8\"><body style=\"font-family:sans-serif\">");
        for line in self.text.lines() {
            let shown = escaped(line);
            let linked = match line.rsplit_once(" (tel:") {
                Some((before, number)) => {
                    let number = number.trim_end_matches(')');
                    format!("<a href=\"tel:{}\">{}</a>", escaped(number), escaped(before))
                }
                None => match line.split_once(": http") {
                    Some((before, rest)) => {
                        let url = escaped(&format!("http{rest}"));
                        format!("<a href=\"{url}\">{}</a>", escaped(before))
                    }
                    None => shown,
                },
            };
            let _ = write!(page, "{linked}<br>");
        }
        page
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for sign in text.chars() {
        match sign {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            _ => out.push(sign),
        }
    }
    out
}

#[cfg(test)]
mod tests;
