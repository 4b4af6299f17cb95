//! The document that is served is that of the routes, and its examples are what is answered.

use std::collections::BTreeSet;

use super::*;
use crate::api::openapi::{parts, whole};

/// Every object of the document, with where it stands.
fn walk<'v>(value: &'v Value, at: &str, see: &mut impl FnMut(&str, &'v Value)) {
    see(at, value);
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| walk(value, &format!("{at}/{key}"), see)),
        Value::Array(items) => items.iter().for_each(|value| walk(value, at, see)),
        _ => {}
    }
}

/// Method, path and operation.
fn operations(document: &Value) -> Vec<(String, &str, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let of_path = |(path, item): (&'_ String, &'_ Value)| {
        let item: Vec<_> = item.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect();
        (path.clone(), item)
    };
    let named: Vec<_> = paths.iter().map(of_path).collect();
    let operation = |path: &str, method: &str| &document["paths"][path][method.to_lowercase()];
    let mut all = Vec::new();
    for (path, methods) in named {
        let (path, _) = paths.get_key_value(&path).unwrap();
        all.extend(methods.into_iter().map(|method| {
            let operation = operation(path, &method);
            (method, path.as_str(), operation)
        }));
    }
    all
}

fn resolved<'d>(document: &'d Value, value: &'d Value) -> &'d Value {
    match value["$ref"].as_str() {
        Some(at) => document.pointer(at.trim_start_matches('#')).unwrap_or_else(|| panic!("{at} is not there")),
        None => value,
    }
}

#[test]
fn every_route_is_described_and_nothing_else() {
    for part in parts() {
        assert!(part.unwrap().is_object());
    }
    let document = whole();
    let described: BTreeSet<_> =
        operations(&document).iter().map(|(method, path, _)| format!("{method} {path}")).collect();
    let routed: BTreeSet<_> = routes().map(|route| format!("{} {}", route.method, route.path)).collect();
    assert_eq!(described, routed, "ingest/src/api/openapi/ describes each route");
    let ids: Vec<_> = operations(&document).iter().map(|(.., it)| it["operationId"].as_str().unwrap()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "operations have names of their own");
}

#[test]
fn what_is_referred_to_is_there_and_parameters_are_bounded() {
    let document = whole();
    let mut used = BTreeSet::new();
    walk(&document, "", &mut |_, value| {
        if let Some(at) = value["$ref"].as_str() {
            resolved(&document, value);
            used.insert(at.to_owned());
        }
    });
    for kind in ["schemas", "responses", "parameters", "headers"] {
        for name in document["components"][kind].as_object().unwrap().keys() {
            assert!(used.contains(&format!("#/components/{kind}/{name}")), "nothing refers to {kind}/{name}");
        }
    }
    for (method, path, operation) in operations(&document) {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let parameter = resolved(&document, parameter);
            // Headers of HTTP itself hold whatever others put into them.
            if parameter["in"] == "header" {
                continue;
            }
            let schema = &parameter["schema"];
            let is_bounded = match schema["type"].as_str() {
                Some("integer") => schema["minimum"].is_number() && schema["maximum"].is_number(),
                Some("string") => {
                    ["pattern", "format", "maxLength"].iter().any(|key| schema[key].is_string() || schema[key].is_u64())
                }
                _ => schema["enum"].is_array(),
            };
            assert!(is_bounded, "{method} {path}: {schema}");
        }
    }
}

/// A guard, and the statuses that it and the bounds around every request answer with.
#[test]
fn an_operation_names_what_its_guard_answers() {
    let document = whole();
    let guards: std::collections::BTreeMap<_, _> =
        routes().map(|route| (format!("{} {}", route.method, route.path), route.guard)).collect();
    for (method, path, operation) in operations(&document) {
        let statuses: BTreeSet<_> = operation["responses"].as_object().unwrap().keys().map(String::as_str).collect();
        let is_public = operation["security"] == json!([]);
        assert_eq!(is_public, guards[&format!("{method} {path}")] == Guard::Public, "{method} {path}");
        assert!(statuses.contains("200") || statuses.contains("201"), "{method} {path}");
        let mut wanted = BTreeSet::from(["414", "504"]);
        if !is_public {
            wanted.extend(["400", "401", "429", "500", "503"]);
        }
        assert!(statuses.is_superset(&wanted), "{method} {path} lacks some of {wanted:?}");
        // A problem is described as one, with the codes that have this status.
        for (status, response) in operation["responses"].as_object().unwrap() {
            let response = resolved(&document, response);
            if response["content"]["application/problem+json"].is_object() {
                let text = response["description"].as_str().unwrap();
                let named: Vec<_> = text.split('`').skip(1).step_by(2).filter(|it| !it.contains(' ')).collect();
                let codes = Code::ALL.into_iter().filter(|code| named.contains(&code.as_str()));
                let codes: Vec<_> = codes.map(|code| code.status().as_u16().to_string()).collect();
                assert!(!codes.is_empty() && codes.iter().all(|code| code == status), "{path}: {status}: {text}");
            }
        }
    }
    // Each code is named once.
    let responses = document["components"]["responses"].to_string();
    for code in Code::ALL.into_iter().filter(|code| *code != Code::MethodNotAllowed) {
        assert_eq!(responses.matches(&format!("`{}`", code.as_str())).count(), 1, "{}", code.as_str());
    }
}

/// The parameters of an operation that have an example, as a query; none for what is done to
/// something that a test has to make first.
fn example_of(document: &Value, path: &str, operation: &Value) -> Option<String> {
    let mut target = path.to_owned();
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let parameter = resolved(document, parameter);
        let (name, example) = (parameter["name"].as_str().unwrap(), &parameter["example"]);
        let example = example.as_str().map_or_else(|| example.to_string(), str::to_owned);
        match parameter["in"].as_str().unwrap() {
            "path" if parameter["example"].is_null() => return None,
            "path" => target = target.replace(&format!("{{{name}}}"), &example),
            "query" if !parameter["example"].is_null() => {
                let mark = if target.contains('?') { '&' } else { '?' };
                target = format!("{target}{mark}{name}={example}");
            }
            _ => assert!(!parameter["required"].as_bool().unwrap_or(false), "{path}: {name} has an example"),
        }
    }
    operation["requestBody"].is_null().then_some(target)
}

/// The firm of the fixture is called otherwise.
fn as_here(text: &str) -> String {
    text.replace("hanbit-mould", "hanbit")
}

#[tokio::test]
async fn the_examples_are_what_is_answered() {
    let complex = Complex::new().await;
    let pages = pages(&complex);
    let document = whole();
    // Who may ask everything that is the firm's.
    let officer = super::runs::token(&complex, crate::consent::Role::DataOfficer).await;
    let mut compared = 0;
    for (method, path, operation) in operations(&document) {
        let Some(target) = example_of(&document, path, operation) else { continue };
        let target = as_here(&target);
        let request = Request::builder().method(&*method).uri(&target);
        let request = request.header(header::AUTHORIZATION, format!("Bearer {officer}"));
        let response = pages.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200, "{method} {target}");
        let described = operation["responses"]["200"]["content"].as_object().unwrap();
        let kind = response.headers()[header::CONTENT_TYPE].to_str().unwrap().split(';').next().unwrap().to_owned();
        assert!(described.contains_key(&kind), "{method} {target} gives {kind}");
        let example = &described[&kind]["example"];
        if !example.is_null() {
            let answer: Value = serde_json::from_str(&text(response).await).unwrap();
            let example: Value = serde_json::from_str(&as_here(&example.to_string())).unwrap();
            assert_eq!(answer, example, "{target}");
            compared += 1;
        }
    }
    assert!(compared >= 2, "the examples were not found");
    let (_, problem) = json_of(&pages, "/v1/series", "").await;
    let example = "/components/responses/Unauthenticated/content/application~1problem+json/example";
    assert_eq!(document.pointer(example), Some(&problem));
    let (status, served) = json_of(&pages, "/v1/openapi.json", "").await;
    assert_eq!((status.as_u16(), served), (200, document));
}
