//! Each code of a problem has a page in both languages, to which its `type` leads.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;

const SECTIONS: [[&str; 4]; 2] = [["What it means", "Why", "What to do", "Example"], ["뜻", "까닭", "할 일", "예"]];

fn sections(page: &str) -> Vec<&str> {
    page.lines().filter_map(|line| line.strip_prefix("## ")).collect()
}

#[test]
fn the_pages_are_those_of_the_codes() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/error-codes");
    let files = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let wanted = Code::ALL.into_iter().flat_map(|code| [".md", ".ko.md"].map(|end| format!("{}{end}", code.as_str())));
    assert_eq!(files.collect::<BTreeSet<_>>(), wanted.collect::<BTreeSet<_>>());
    assert!(Code::ALL.is_sorted_by(|one, other| one.as_str() < other.as_str()));
}

#[test]
fn a_page_says_what_it_means_why_what_to_do_and_shows_it() {
    for code in Code::ALL {
        for (page, wanted) in code.pages().into_iter().zip(SECTIONS) {
            let name = code.as_str();
            assert_eq!(sections(page), wanted, "{name}");
            assert!(page.starts_with(&format!("# `{name}`: ")), "{name}");
            let example = page.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
            let example: Value = serde_json::from_str(example).unwrap();
            let fixed = [&example["type"], &example["title"], &example["status"], &example["code"]];
            let status = code.status().as_u16();
            assert_eq!(fixed, [&json!(format!("/errors/{name}")), &json!(code.title()), &json!(status), &json!(name)]);
            assert!(example["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{name}");
            assert!(example["reasons"].is_array(), "{name}");
        }
        let [english, korean] = code.pages();
        assert!(english.lines().next().unwrap().ends_with(code.title()), "{english}");
        assert!(korean.chars().any(|c| ('가'..='힣').contains(&c)), "{korean}");
    }
}

/// `reasons` has codes of its own, which the page of `not_covered` lists.
#[test]
fn the_reasons_of_a_refusal_are_listed() {
    let words = include_str!("../../consent/decide/why.rs").lines().filter(|line| line.contains(" => \""));
    let words: BTreeSet<&str> =
        words.filter(|line| line.contains("Why::")).filter_map(|line| line.split('"').nth(1)).collect();
    assert!(words.contains("raw_not_shared"), "the codes are not where they were");
    for page in Code::NotCovered.pages() {
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        assert_eq!(rows.collect::<BTreeSet<_>>(), words);
    }
}

#[tokio::test]
async fn the_type_of_a_problem_leads_to_its_page() {
    let complex = Complex::new().await;
    let pages = pages(&complex);
    let (_, problem) = json_of(&pages, "/v1/series", "").await;
    assert_eq!(problem["type"], "/errors/unauthenticated");
    for (language, part) in [("", "## What to do"), ("ko-KR,en;q=0.5", "## 할 일"), ("fr", "## What to do")] {
        let request = Request::get(problem["type"].as_str().unwrap()).header(header::ACCEPT_LANGUAGE, language);
        let response = pages.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()[header::VARY]),
            (200, &"Accept-Language".parse().unwrap())
        );
        assert!(text(response).await.contains(part), "{language}");
    }
    let (status, problem) = json_of(&pages, "/errors/nothing", "").await;
    assert_eq!((status.as_u16(), &problem["code"]), (404, &json!("no_such_page")));
}
