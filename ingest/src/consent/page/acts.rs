//! Korean acts that may apply, by what is shared with whom. Information, not advice: which of
//! them do apply is for people to say.

use crate::consent::terms::{Identity, Relation, Terms};

/// An act and what it is about, in Korean and English.
type Act = (&'static str, &'static str);

/// Industrial data: who may use it and profit by it.
const INDUSTRIAL_DATA: Act = (
    "산업 디지털 전환 촉진법 (산업데이터를 쓰고 이익을 얻을 권리)",
    "Industrial Digital Transformation Promotion Act (who may use industrial data and profit by it)",
);
const DATA: Act = (
    "데이터 산업진흥 및 이용촉진에 관한 기본법 (데이터의 거래와 보호)",
    "Framework Act on Promotion of Data Industry and Data Utilization (trade in data and its protection)",
);
const TRADE_SECRETS: Act = (
    "부정경쟁방지 및 영업비밀보호에 관한 법률 (영업비밀)",
    "Unfair Competition Prevention and Trade Secret Protection Act (trade secrets)",
);
const INDUSTRIAL_TECHNOLOGY: Act = (
    "산업기술의 유출방지 및 보호에 관한 법률 (산업기술로 지정된 것)",
    "Act on Prevention of Divulgence and Protection of Industrial Technology (technology designated under it)",
);
pub(super) const SUBCONTRACT: Act = (
    "하도급거래 공정화에 관한 법률 제12조의3 (기술자료 제공 요구)",
    "Fair Transactions in Subcontracting Act, article 12-3 (requests for technical data)",
);
const COMPETITION: Act = (
    "독점규제 및 공정거래에 관한 법률 제40조 (정보 교환)",
    "Monopoly Regulation and Fair Trade Act, article 40 (exchange of information)",
);
const PERSONS: Act = (
    "개인정보 보호법 (작업자를 알아볼 수 있는 데이터)",
    "Personal Information Protection Act (data from which a worker can be told)",
);

/// Those that may apply, in Korean and English.
pub(super) fn acts(terms: &Terms) -> (String, String) {
    let relation = terms.agreed.as_ref().map(|agreed| agreed.relation);
    let mut acts = vec![INDUSTRIAL_DATA, DATA, TRADE_SECRETS, INDUSTRIAL_TECHNOLOGY];
    if relation == Some(Relation::Customer) {
        acts.push(SUBCONTRACT);
    }
    if !matches!(relation, Some(Relation::Customer | Relation::Research)) {
        acts.push(COMPETITION);
    }
    if terms.identity() == Identity::Named && terms.agreed.is_some() {
        acts.push(PERSONS);
    }
    let join = |word: fn(&Act) -> &'static str| acts.iter().map(word).collect::<Vec<_>>().join("; ");
    (join(|it| it.0), join(|it| it.1))
}
