//! The table in docs/reliability.md, written by the suite itself.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, bail};

use super::Table;

/// Where the table begins and ends in the page.
const BEGIN: &str = "<!-- faults: begin; written by tests/soak.sh faults -->";
const END: &str = "<!-- faults: end -->";

/// A language of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// docs/reliability.md
    English,
    /// docs/reliability.ko.md
    Korean,
}

impl Table {
    /// As Markdown.
    pub fn to_markdown(&self, language: Language, first_seed: u64) -> String {
        let is_korean = language == Language::Korean;
        let mut text = String::new();
        let (runs, generated) = (self.runs, self.all.generated);
        let _ = if is_korean {
            writeln!(text, "{runs}회 실행(시드 {first_seed}부터), 생성된 값 {generated}개.\n")
        } else {
            writeln!(text, "{runs} runs (seeds from {first_seed} on), {generated} readings generated.\n")
        };
        text.push_str(if is_korean {
            "| 장애 | 실행 | 생성 | 저장 | 선언된 공백 | 격리 | 거부된 스풀과 함께 | 유실 | 중복 |\n"
        } else {
            "| fault | runs | generated | stored | in gaps | dead-lettered | gone with a refused spool | lost | doubled |\n"
        });
        text.push_str("| --- | --: | --: | --: | --: | --: | --: | --: | --: |\n");
        let all = if is_korean { "**전체**" } else { "**all runs**" };
        let rows = self.faults.iter().map(|(fault, (runs, sum))| {
            let (en, ko) = fault.words();
            (if is_korean { ko } else { en }, *runs, sum)
        });
        for (name, runs, sum) in rows.chain([(all.to_owned(), self.runs, &self.all)]) {
            let _ = writeln!(
                text,
                "| {name} | {runs} | {} | {} | {} | {} | {} | {} | {} |",
                sum.generated, sum.stored, sum.in_gaps, sum.dead, sum.gone, sum.lost, sum.doubled
            );
        }
        text
    }

    /// Puts the table into both pages below a root.
    pub fn write(&self, root: &Path, first_seed: u64) -> anyhow::Result<()> {
        for (page, language) in [("reliability.md", Language::English), ("reliability.ko.md", Language::Korean)] {
            let path = root.join("docs").join(page);
            let text = std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
            std::fs::write(&path, replaced(&text, &self.to_markdown(language, first_seed))?)?;
        }
        Ok(())
    }
}

fn replaced(page: &str, table: &str) -> anyhow::Result<String> {
    let (Some(begin), Some(end)) = (page.find(BEGIN), page.find(END)) else {
        bail!("the page has no marks for the table");
    };
    Ok(format!("{}{BEGIN}\n{table}{}", &page[..begin], &page[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::{Ended, Fault};
    use crate::oracle::Sum;

    #[test]
    fn the_table_goes_between_its_marks_and_counts_a_run_once_for_each_fault() {
        let mut table = Table::default();
        let sum = Sum { generated: 10, stored: 8, in_gaps: 2, ..Sum::default() };
        let faults = vec![Fault::Cut, Fault::SpoolWiped];
        let took = std::time::Duration::ZERO;
        table.add(&Ended { seed: 3, faults, notes: String::new(), sum: Some(sum), trouble: None, took });
        assert!(table.bad.is_empty() && table.runs == 1);
        let text = table.to_markdown(Language::English, 3);
        assert!(text.contains("| connection cut | 1 | 10 | 8 | 2 | 0 | 0 | 0 | 0 |"), "{text}");
        assert!(text.contains("| **all runs** | 1 | 10 |"), "{text}");
        let page = format!("a\n{BEGIN}\nold\n{END}\nb\n");
        let new = replaced(&page, &text).unwrap();
        assert!(new.starts_with("a\n") && new.ends_with(&format!("{END}\nb\n")) && !new.contains("old"));
        assert_eq!(replaced(&new, &text).unwrap(), new);
        assert!(replaced("none", "").is_err());
    }
}
