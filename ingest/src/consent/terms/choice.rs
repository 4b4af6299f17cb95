//! Terms that are chosen from a fixed list: a machine id each, and the words for people in
//! Korean and English. What is not on a list cannot be agreed to.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! choice {
    ($(#[$doc:meta])* $name:ident, $kind:literal, { $($(#[$of:meta])* $variant:ident = $id:literal, $ko:literal, $en:literal;)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$of])* $variant,)+ }

        impl $name {
            /// All of them, in order.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// Its id in records, queries and commands.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $id,)+ }
            }
            /// For people, in Korean.
            pub fn korean(self) -> &'static str {
                match self { $($name::$variant => $ko,)+ }
            }
            /// For people, in English.
            pub fn english(self) -> &'static str {
                match self { $($name::$variant => $en,)+ }
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                Self::ALL.iter().copied().find(|it| it.as_str() == text).ok_or_else(|| {
                    let given: String = text.chars().take(40).flat_map(char::escape_debug).collect();
                    let all: Vec<_> = Self::ALL.iter().map(|it| it.as_str()).collect();
                    format!("`{given}` is not a {}: one of {}", $kind, all.join(", "))
                })
            }
        }
    };
}

choice!(
    /// Whether the grantee learns whose readings they are.
    Identity, "way to be named", {
        /// Firm, asset and gateway are named.
        Named = "named", "업체와 설비의 이름을 밝힙니다", "firm and machines are named";
        /// Stable within one consent; firm, asset and gateway names and clock offsets are withheld.
        Pseudonym = "pseudonym", "업체와 설비의 이름을 밝히지 않고 가명을 씁니다", "firm and machines go by pseudonyms";
    }
);

choice!(
    /// What the grantee is to the grantor.
    Relation, "relation", {
        /// It makes or sells what the grantor does.
        Competitor = "competitor", "경쟁 관계에 있는 업체", "a competitor";
        /// It has ordered from the grantor under a subcontract.
        Customer = "customer", "하도급을 맡긴 원사업자", "the customer of a subcontract";
        /// A university or an institute.
        Research = "research", "연구기관", "a research institution";
        /// A public body; what it gets may reach anyone.
        Public = "public", "공공기관", "a public body";
    }
);

choice!(
    /// What the readings are read for.
    Purpose, "purpose", {
        /// Quality of the product.
        Quality = "quality", "품질 개선", "quality of the product";
        /// Upkeep of the machines.
        Maintenance = "maintenance", "설비 보전", "upkeep of the machines";
        /// Use of energy.
        Energy = "energy", "에너지 절감", "use of energy";
        /// Proof of how a lot was made.
        Traceability = "traceability", "이력 추적", "proof of how a lot was made";
        /// Progress of an order and idle capacity.
        Scheduling = "scheduling", "공정 진도와 유휴 설비 확인", "progress of an order and idle capacity";
        /// Emissions and what has to be reported of them.
        Emissions = "emissions", "탄소 배출량 산정", "emissions and their reporting";
        /// Research.
        Research = "research", "연구", "research";
        /// Comparison across firms.
        Benchmarking = "benchmarking", "업체 간 비교", "comparison across firms";
    }
);

choice!(
    /// What the grantee may do with what it read, from the least on.
    OnwardUse, "onward use", {
        /// Looked at by the holders and passed on to nobody, in no form.
        Holders = "holders", "적힌 보유자만 보고, 어떤 형태로도 넘기지 않습니다", "the named holders alone look at it and pass nothing on";
        /// Used within the grantee's firm.
        Internal = "internal", "받는 업체 안에서만 씁니다", "it is used within the grantee alone";
        /// What was concluded from it may be passed on; no value, and no name.
        Conclusions = "conclusions", "값과 이름을 뺀 결론만 밖에 알릴 수 있습니다", "conclusions may be passed on, without a value or a name";
        /// Figures from which no single machine can be told may be published.
        Publication = "publication", "설비를 알아볼 수 없는 통계만 공표할 수 있습니다", "statistics that tell no single machine may be published";
    }
);
