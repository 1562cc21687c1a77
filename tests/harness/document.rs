//! The OpenAPI document as a judge: whether an answer is one that it promises.
//!
//! [`Client`](crate::Client) asks it about every answer, so that every scenario is also a test of the document.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use http::Method;
use jsonschema::Validator;
use serde_json::{Map, Value, json};

use crate::client::Answer;

/// The document that is kept; that it is the served one is tested beside the binary.
const KEPT: &str = include_str!("../../schemas/openapi/hybrid-live.json");

/// Declared headers that an answer may lack: they answer something in the request, or a setting.
const OPTIONAL: [&str; 5] = ["Consistency", "Set-Cookie", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"];

/// Headers that mean something to clients: none comes that is not declared.
const MEANINGFUL: [&str; 7] =
    ["Consistency", "Consistency-Token", "ETag", "Location", "Retry-After", "Set-Cookie", "Stream-Position"];

/// What has been answered, by server.
static SEEN: Mutex<BTreeMap<String, BTreeSet<Seen>>> = Mutex::new(BTreeMap::new());

/// The document, ready to judge by.
#[derive(Debug)]
pub struct Document {
    text: Value,
    operations: Vec<Operation>,
    /// By operation and status, made when first needed.
    schemas: Mutex<HashMap<(String, u16), Arc<Validator>>>,
}

/// What can be called.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Its name.
    pub id: String,
    /// How it is called.
    pub method: Method,
    /// Where, with `{…}` for what varies.
    pub path: String,
    /// What is said of it.
    pub facts: Value,
}

/// What an answer was: of which call, with which status, and the code of a refusal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    /// The call's name.
    pub operation: String,
    /// The status.
    pub status: u16,
    /// The problem's code; empty for what is no problem.
    pub code: String,
}

impl Document {
    /// The one that is kept.
    pub fn kept() -> &'static Self {
        static DOCUMENT: LazyLock<Document> = LazyLock::new(|| Document::read(KEPT));
        &DOCUMENT
    }

    fn read(text: &str) -> Self {
        let text: Value = serde_json::from_str(text).expect("the kept document is JSON");
        let mut operations = Vec::new();
        for (path, item) in text["paths"].as_object().expect("paths") {
            for (method, facts) in item.as_object().expect("operations") {
                operations.push(Operation {
                    id: facts["operationId"].as_str().expect("a name").to_owned(),
                    method: method.to_ascii_uppercase().parse().expect("a method"),
                    path: path.clone(),
                    facts: facts.clone(),
                });
            }
        }
        Self { text, operations, schemas: Mutex::default() }
    }

    /// Everything that can be called.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// Everything that the document says may be answered.
    pub fn promised(&self) -> BTreeSet<Seen> {
        let mut promised = BTreeSet::new();
        for operation in &self.operations {
            for (status, answer) in operation.facts["responses"].as_object().expect("answers") {
                let status = status.parse().expect("a status");
                let seen = |code: &str| Seen { operation: operation.id.clone(), status, code: code.to_owned() };
                match codes(answer) {
                    Some(codes) => promised.extend(codes.iter().filter_map(Value::as_str).map(seen)),
                    None => drop(promised.insert(seen(""))),
                }
            }
        }
        promised
    }

    /// What has been answered so far by the server at `base`.
    pub fn seen_at(base: &str) -> BTreeSet<Seen> {
        SEEN.lock().unwrap_or_else(PoisonError::into_inner).get(base).cloned().unwrap_or_default()
    }

    /// Judges an answer of the server at `url`, and remembers what it was.
    ///
    /// # Panics
    /// With the answer, when the document does not promise it.
    pub fn check(method: &Method, url: &reqwest::Url, answer: &Answer) {
        match Self::kept().judge(method, url.path(), answer) {
            Ok(None) => {}
            Ok(Some(seen)) => {
                let base = url.origin().ascii_serialization();
                SEEN.lock().unwrap_or_else(PoisonError::into_inner).entry(base).or_default().insert(seen);
            }
            Err(why) => panic!("{method} {} is not as the document says: {why}\n{}", url.path(), answer.shown()),
        }
    }

    /// Judges an answer.
    ///
    /// # Errors
    /// What the document does not promise of it. What is no call at all must have been refused as such.
    pub fn judge(&self, method: &Method, path: &str, answer: &Answer) -> Result<Option<Seen>, String> {
        // Refused before it was a request.
        let protocol = matches!(answer.status, 400 | 414 | 431) && answer.header("x-trace-id").is_none();
        if protocol && answer.body.is_empty() {
            return Ok(None);
        }
        let there: Vec<&Operation> = self.operations.iter().filter(|operation| operation.is_at(path)).collect();
        let wanted = if *method == Method::HEAD { &Method::GET } else { method };
        let Some(operation) = there.iter().find(|operation| operation.method == *wanted) else {
            // The page and its files are for people.
            if path == "/docs" || path.starts_with("/docs/") {
                return Ok(None);
            }
            let (status, code) = if there.is_empty() { (404, "not_found") } else { (405, "method_not_allowed") };
            let is_refused = answer.status == status && (*method == Method::HEAD || code_of(answer) == code);
            return if is_refused { Ok(None) } else { Err(format!("it is no call, and not refused by {code}")) };
        };
        let declared = &operation.facts["responses"][answer.status.to_string()];
        if declared.is_null() {
            return Err(format!("{} does not say that it answers {}", operation.id, answer.status));
        }
        check_headers(&declared["headers"], answer)?;
        if *method == Method::HEAD {
            return Ok(None);
        }
        self.check_body(operation, declared, answer)?;
        let code = if codes(declared).is_some() { code_of(answer) } else { String::new() };
        Ok(Some(Seen { operation: operation.id.clone(), status: answer.status, code }))
    }

    fn check_body(&self, operation: &Operation, declared: &Value, answer: &Answer) -> Result<(), String> {
        let Some(content) = declared["content"].as_object() else {
            return if answer.body.is_empty() { Ok(()) } else { Err("it has a body that is not declared".to_owned()) };
        };
        let kind = answer.header("content-type").unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let Some(media) = content.get(kind) else { return Err(format!("its content type {kind:?} is not declared")) };
        if !kind.ends_with("json") {
            return Ok(());
        }
        let body: Value = serde_json::from_slice(&answer.body).map_err(|error| format!("no JSON: {error}"))?;
        let schema = self.schema(operation, answer.status, &media["schema"]);
        let faults: Vec<String> =
            schema.iter_errors(&body).map(|fault| format!("{}: {fault}", fault.instance_path())).collect();
        if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) }
    }

    fn schema(&self, operation: &Operation, status: u16, schema: &Value) -> Arc<Validator> {
        let key = (operation.id.clone(), status);
        let mut schemas = self.schemas.lock().unwrap_or_else(PoisonError::into_inner);
        let made = schemas.entry(key).or_insert_with(|| {
            let (mut schema, mut schemas) = (schema.clone(), self.text["components"]["schemas"].clone());
            close(&mut schema, false);
            // These are closed where they are referred to.
            schemas.as_object_mut().into_iter().flatten().for_each(|(_, schema)| close(schema, true));
            let whole = json!({ "allOf": [schema], "components": { "schemas": schemas } });
            let validator = jsonschema::options().should_validate_formats(true).build(&whole);
            Arc::new(validator.unwrap_or_else(|error| panic!("{} {status}: no schema: {error}", operation.id)))
        });
        Arc::clone(made)
    }
}

impl Operation {
    /// An empty segment can be what varies, but not at the end: so it is with the server's router.
    fn is_at(&self, path: &str) -> bool {
        let (wanted, given): (Vec<&str>, Vec<&str>) = (self.path.split('/').collect(), path.split('/').collect());
        let varies = |wanted: &str| wanted.starts_with('{') && !path.ends_with('/');
        wanted.len() == given.len()
            && wanted.iter().zip(&given).all(|(wanted, given)| wanted == given || varies(wanted))
    }
}

/// The codes of a refusal; `None` of what is none.
fn codes(answer: &Value) -> Option<&Vec<Value>> {
    let schema = &answer["content"]["application/problem+json"]["schema"];
    schema["allOf"].as_array()?.iter().find_map(|part| part["properties"]["code"]["enum"].as_array())
}

fn code_of(answer: &Answer) -> String {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    body["code"].as_str().unwrap_or_default().to_owned()
}

fn check_headers(declared: &Value, answer: &Answer) -> Result<(), String> {
    let nothing = Map::new();
    let declared = declared.as_object().unwrap_or(&nothing);
    let headers = &answer.headers;
    // What does not exist is taken away without any event: there is nothing to name.
    let did_nothing = |name: &str| name == "Consistency-Token" && answer.status == 204;
    for name in declared.keys().filter(|name| !OPTIONAL.contains(&name.as_str()) && !did_nothing(name)) {
        if !headers.contains_key(name.as_str()) {
            return Err(format!("it lacks the header {name}"));
        }
    }
    match MEANINGFUL.iter().find(|name| headers.contains_key(**name) && !declared.contains_key(**name)) {
        Some(name) => Err(format!("its header {name} is not declared")),
        None => Ok(()),
    }
}

/// Allows no field that is not declared. Where schemas are combined (`within`), their combination decides.
fn close(schema: &mut Value, within: bool) {
    match schema {
        Value::Object(fields) => {
            let combined = ["allOf", "$ref", "properties"].iter().any(|key| fields.contains_key(*key));
            for (key, value) in fields.iter_mut() {
                match (key.as_str(), value) {
                    ("allOf", Value::Array(parts)) => parts.iter_mut().for_each(|part| close(part, true)),
                    (_, value) => close(value, false),
                }
            }
            if combined && !within {
                fields.insert("unevaluatedProperties".to_owned(), Value::Bool(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| close(item, within)),
        _ => {}
    }
}
