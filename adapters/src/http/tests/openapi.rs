//! Refusals as the document shows them.

use std::collections::BTreeSet;

use serde_json::Value;
use utoipa::IntoResponses as _;

use crate::http::openapi::{BODY, Codes, Refused, these};
use crate::http::problem::Code;

/// Which codes a status may carry.
fn codes(answers: &Value, status: u16) -> Vec<String> {
    let names = &answers[status.to_string()]["content"]["application/problem+json"]["schema"]["allOf"][1]["properties"];
    let names = names["code"]["enum"].as_array().cloned().unwrap_or_default();
    names.iter().map(|name| name.as_str().expect("a text").to_owned()).collect()
}

fn shown<const CODES: Codes>() -> Value {
    serde_json::to_value(Refused::<CODES>::responses()).expect("JSON")
}

#[test]
fn codes_of_one_status_are_one_answer() {
    let answers = shown::<{ BODY | these(&[Code::Oneself, Code::NotFound]) }>();
    assert_eq!(codes(&answers, 404), ["not_found"]);
    assert_eq!(codes(&answers, 422), ["invalid_field", "oneself"]);
    let statuses: Vec<&str> = answers.as_object().expect("answers").keys().map(String::as_str).collect();
    assert_eq!(statuses, ["400", "404", "413", "415", "422", "500", "503"], "and what anything may meet");
}

#[test]
fn every_code_has_a_place_of_its_own_in_a_set() {
    let sets: BTreeSet<Codes> = Code::ALL.iter().map(|code| these(&[*code])).collect();
    assert_eq!(sets.len(), Code::ALL.len());
    assert!(sets.iter().all(|set| set.count_ones() == 1));
}
