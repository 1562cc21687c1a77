//! The document as a whole: it is the one that is kept, and what holds for every call is said of every call.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;

/// Renewed by `hybrid-live openapi > schemas/openapi/hybrid-live.json`.
const KEPT: &str = include_str!("../../../schemas/openapi/hybrid-live.json");

/// Every call: its name and what is said of it.
fn operations(document: &Value) -> Vec<(String, Value)> {
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            operations.push((format!("{method} {path}"), operation.clone()));
        }
    }
    operations
}

fn whole() -> Value {
    serde_json::from_str(&text()).expect("JSON")
}

#[test]
fn the_kept_document_is_the_served_one() {
    let renew = "run `cargo run -- openapi > schemas/openapi/hybrid-live.json` and look at what has changed";
    let (kept, served) = (KEPT.lines(), text());
    let difference = kept.zip(served.lines()).find(|(kept, served)| kept != served);
    assert!(difference.is_none(), "{renew}: {difference:?}");
    assert_eq!(KEPT.len(), served.len(), "{renew}");
}

#[test]
fn parts_do_not_hide_each_other() {
    let whole = document();
    let schemas = whole.components.as_ref().map(|components| &components.schemas).expect("schemas");
    let mut calls = 0;
    for mut part in parts() {
        describe(&mut part);
        let text = serde_json::to_value(&part).expect("JSON");
        calls += operations(&text).len();
        for (name, schema) in part.components.map(|components| components.schemas).unwrap_or_default() {
            assert_eq!(
                serde_json::to_value(&schema).expect("JSON"),
                serde_json::to_value(&schemas[&name]).expect("JSON"),
                "two schemas are called {name}"
            );
        }
    }
    assert_eq!(calls, operations(&serde_json::to_value(&whole).expect("JSON")).len(), "two calls are one");
}

#[test]
fn every_call_has_a_name_of_its_own_a_tag_and_a_summary() {
    let document = whole();
    let known: BTreeSet<&str> = TAGS.iter().map(|(name, _)| *name).collect();
    let (mut names, mut used) = (BTreeSet::new(), BTreeSet::new());
    for (call, operation) in operations(&document) {
        let name = operation["operationId"].as_str().unwrap_or_else(|| panic!("{call} has no name")).to_owned();
        assert!(names.insert(name.clone()), "{call}: another is called {name}");
        assert!(operation["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{call} has no summary");
        let tags = operation["tags"].as_array().unwrap_or_else(|| panic!("{call} has no tag"));
        assert_eq!(tags.len(), 1, "{call}");
        let tag = tags[0].as_str().expect("a text").to_owned();
        assert!(known.contains(tag.as_str()), "{call}: {tag} is not described");
        used.insert(tag);
    }
    assert_eq!(used.iter().map(String::as_str).collect::<BTreeSet<_>>(), known, "every tag is used");
}

#[test]
fn what_a_call_takes_decides_what_it_refuses() {
    let document = whole();
    for (call, operation) in operations(&document).into_iter().filter(|(call, _)| call.contains("/v1/")) {
        let answers = &operation["responses"];
        let refuses = |status: &str| answers.get(status).is_some();
        for status in ["500", "503"] {
            assert!(refuses(status), "{call} says nothing of {status}");
        }
        let has_body = operation.get("requestBody").is_some();
        for status in ["400", "413", "415"] {
            assert!(!has_body || refuses(status), "{call} takes a body and says nothing of {status}");
        }
        let security = operation["security"].as_array().unwrap_or_else(|| panic!("{call} does not say who may"));
        let takes_tokens = security.iter().any(|scheme| scheme.get("bearer").is_some());
        assert!(!takes_tokens || refuses("401"), "{call} takes tokens and says nothing of 401");
        assert!(!call.contains('{') || refuses("404"), "{call} has an id and says nothing of 404");
        let changes = !call.starts_with("get ");
        assert!(!changes || refuses("422"), "{call} has no query parameters and says nothing of 422");
        assert!(!(changes && takes_tokens) || refuses("403"), "{call} takes cookies and says nothing of 403");
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let takes = |name: &str| parameters.iter().any(|parameter| parameter["name"] == name);
        for status in ["412", "428"] {
            assert_eq!(takes("If-Match"), refuses(status), "{call}: If-Match and {status} belong together");
        }
        assert!(!takes("before") || refuses("400"), "{call} takes cursors and says nothing of 400");
    }
}

#[test]
fn every_answer_and_every_header_is_described() {
    let document = whole();
    for (call, operation) in operations(&document) {
        for (status, answer) in operation["responses"].as_object().expect("answers") {
            let described = |value: &Value| value["description"].as_str().is_some_and(|text| !text.is_empty());
            assert!(described(answer), "{call} {status}");
            assert!(answer["headers"].get("X-Trace-Id").is_some(), "{call} {status}");
            for name in answer["headers"].as_object().expect("headers").keys() {
                assert!(described(&document["components"]["headers"][name]), "{call} {status}: {name}");
            }
        }
    }
}

#[test]
fn references_lead_somewhere() {
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(reference)) = fields.get("$ref") {
                    found.insert(reference.clone());
                }
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let document = whole();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.contains("#/components/schemas/Problem"));
    for reference in found {
        let pointer = reference.strip_prefix('#').expect("within the document");
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
}
