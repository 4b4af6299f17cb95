//! Drafts for a request under a subcontract: the written request for technical data, and the
//! terms of confidentiality, as article 12-3 of the Fair Transactions in Subcontracting Act
//! asks for them where what is shared is technical data.
//!
//! They say what the record says and nothing else. What no record knows (the price, who owns
//! what comes of it, damages, the signatures) is left blank for the two firms to fill in.

use std::fmt::Write;

use super::acts::SUBCONTRACT;
use super::text::{PageOf, form, grantor, machines, metrics, seoul, times};
use super::{Name, Page, page};
use crate::consent::signs::plain;
use crate::consent::terms::{Agreed, Relation};

/// What people fill in.
const BLANK: Line = ("[두 업체가 협의하여 적습니다]", "[for the two firms to agree on]");
/// One line in Korean and English.
type Line = (&'static str, &'static str);

/// The drafts, in Korean, each with an English reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Papers {
    /// 기술자료 제공 요구서.
    pub request: Name,
    /// 비밀유지계약서.
    pub confidentiality: Name,
}

/// A paper while it is written.
struct Draft(Name);

impl Draft {
    fn new((ko, en): Line, of: &Page) -> Self {
        let note_ko = "초안입니다. 법률 자문이 아니며, 두 업체가 확인하고 고쳐 씁니다.";
        let note_en = "A draft: not legal advice. The two firms check it and change it.";
        Self(Name {
            ko: format!("{ko} (초안)\n\n{note_ko}\n근거: {}\n동의서 해시: {}\n\n", SUBCONTRACT.0, of.hash),
            en: format!(
                "{en} (draft, English reading)\n\n{note_en}\nUnder: {}\nHash of the page: {}\n\n",
                SUBCONTRACT.1, of.hash
            ),
        })
    }

    fn line(&mut self, (head_ko, head_en): Line, (ko, en): (impl AsRef<str>, impl AsRef<str>)) {
        let _ = writeln!(self.0.ko, "{head_ko}: {}", ko.as_ref());
        let _ = writeln!(self.0.en, "{head_en}: {}", en.as_ref());
    }

    /// The lines that both papers share: who, and what.
    fn matter(&mut self, of: &PageOf<'_>) {
        self.line(("원사업자(받는 쪽)", "Customer (receives)"), (plain(&of.grantee.ko), plain(&of.grantee.en)));
        self.line(("수급사업자(제공하는 쪽)", "Subcontractor (provides)"), grantor(of));
        self.line(("동의 번호", "Consent"), (of.id.to_string(), of.id.to_string()));
        let ((assets_ko, assets_en), (metrics_ko, metrics_en)) = (machines(of), metrics(of.terms));
        let (form_ko, form_en) = form(&of.terms.form);
        self.line(
            ("자료의 명칭과 범위", "Name and extent of the data"),
            (
                format!("설비 {assets_ko}; 항목 {metrics_ko}; 형태 {form_ko}"),
                format!("machines {assets_en}; metrics {metrics_en}; form {form_en}"),
            ),
        );
        self.line(("측정 시간", "Measured"), times(of.terms));
    }

    fn blank(&mut self, head: Line) {
        self.line(head, BLANK);
    }

    fn signed(mut self) -> Name {
        self.0.ko.push_str("\n날짜와 서명\n  원사업자: ____________________\n  수급사업자: ____________________\n");
        self.0.en.push_str(
            "\nDate and signatures\n  Customer: ____________________\n  Subcontractor: ____________________\n",
        );
        self.0
    }
}

/// The drafts of a request by the customer of a subcontract; none in any other relation, or
/// where terms do not state it.
pub fn papers(of: &PageOf<'_>) -> Option<Papers> {
    let agreed = of.terms.agreed.as_deref().filter(|agreed| agreed.relation == Relation::Customer)?;
    let page = page(of);
    Some(Papers { request: request(of, agreed, &page), confidentiality: confidentiality(of, agreed, &page) })
}

fn request(of: &PageOf<'_>, agreed: &Agreed, page: &Page) -> Name {
    let mut draft = Draft::new(("기술자료 제공 요구서", "Request for technical data"), page);
    draft.matter(of);
    let purposes = purposes(agreed);
    draft.line(("요구 목적", "Purpose of the request"), purposes);
    let reason = plain(&agreed.reason);
    draft.line(("요구하는 이유", "Why it is asked for"), (&reason, &reason));
    draft.blank(("요구가 정당함을 보여 주는 사항", "What shows that the request is justified"));
    draft.blank(("요구일", "Date of the request"));
    let access = of.terms.access;
    let (from, until) = (seoul(access.not_before_us), seoul(access.until_us));
    draft.line(
        ("제공일과 제공 방법", "When and how it is provided"),
        (
            format!("{from} 부터 {until} 전까지 이 서비스로 열람"),
            format!("read through this service from {from}, before {until}"),
        ),
    );
    draft.blank(("권리귀속 관계", "Who owns the data and what comes of it"));
    draft.blank(("대가와 지급 방법", "Price and how it is paid"));
    returned(&mut draft, agreed);
    draft.signed()
}

fn confidentiality(of: &PageOf<'_>, agreed: &Agreed, page: &Page) -> Name {
    let mut draft = Draft::new(("비밀유지계약서", "Terms of confidentiality"), page);
    draft.matter(of);
    let access = of.terms.access;
    let (from, until, by) = (seoul(access.not_before_us), seoul(access.until_us), seoul(agreed.return_by_us));
    draft.line(
        ("사용 기간", "Period of use"),
        (
            format!("{from} 부터 {until} 전까지 열람하고, {by} 까지 씁니다"),
            format!("read from {from}, before {until}; used until {by}"),
        ),
    );
    let holders = agreed.holders.iter().map(|it| plain(it)).collect::<Vec<_>>().join(", ");
    draft.line(("자료를 보유할 임직원", "Who will hold the data"), (&holders, &holders));
    draft.line(
        ("비밀유지 의무", "Duty of confidentiality"),
        (
            format!("원사업자는 자료를 비밀로 지킵니다. 활용 범위: {}", agreed.onward_use.korean()),
            format!("the customer keeps the data confidential. Onward use: {}", agreed.onward_use.english()),
        ),
    );
    let (purposes_ko, purposes_en) = purposes(agreed);
    draft.line(
        ("목적 외 사용 금지", "No other use"),
        (format!("다음 목적으로만 씁니다: {purposes_ko}"), format!("it is used for nothing but: {purposes_en}")),
    );
    draft.blank(("위반에 따른 배상", "Damages for a breach"));
    returned(&mut draft, agreed);
    draft.signed()
}

fn purposes(agreed: &Agreed) -> (String, String) {
    let list = |word: fn(crate::consent::Purpose) -> &'static str| {
        agreed.purposes.iter().map(|it| word(*it)).collect::<Vec<_>>().join(", ")
    };
    (list(crate::consent::Purpose::korean), list(crate::consent::Purpose::english))
}

fn returned(draft: &mut Draft, agreed: &Agreed) {
    let by = seoul(agreed.return_by_us);
    draft.line(
        ("반환·폐기일과 방법", "Return or destruction, when and how"),
        (
            format!("{by} 까지, 원사업자가 이 서비스에서 확인합니다. 방법: {}", BLANK.0),
            format!("by {by}, which the customer attests in this service. How: {}", BLANK.1),
        ),
    );
}
