//! E1: every event follows its schema, and every golden example ever written reads.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::LazyLock;

use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::strategies::{envelope, open_event};
use crate::event::{Envelope, Event, Schema};
use crate::sealed::SealedBox;
use crate::upcast;

/// What `schemas/events/` holds, by file name.
static FILES: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../schemas/events");
    let entries = std::fs::read_dir(folder).expect("schemas/events");
    entries
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
            (name, std::fs::read_to_string(path).expect("a text"))
        })
        .collect()
});

static ENVELOPE: LazyLock<Validator> = LazyLock::new(|| validator(&file("envelope.schema.json")));

/// The validator of each type in its newest version.
static NEWEST: LazyLock<BTreeMap<&str, Validator>> = LazyLock::new(|| {
    let newest = |kind: &&'static str| {
        (*kind, validator(&schema(&Schema { kind: (*kind).to_owned(), version: upcast::newest(kind) })))
    };
    Event::TYPES.iter().map(newest).collect()
});

/// The validator of what is in the boxes of each type, in its newest version.
static OPENED: LazyLock<BTreeMap<&str, Validator>> = LazyLock::new(|| {
    let newest = |kind: &&'static str| {
        let schema = schema(&Schema { kind: (*kind).to_owned(), version: upcast::newest(kind) });
        schema["$defs"].get("opened").map(|opened| (*kind, validator(opened)))
    };
    Event::TYPES.iter().filter_map(newest).collect()
});

fn file(name: &str) -> Value {
    let text = FILES.get(name).unwrap_or_else(|| panic!("schemas/events/{name} is missing"));
    serde_json::from_str(text).unwrap_or_else(|error| panic!("schemas/events/{name}: {error}"))
}

fn schema(schema: &Schema) -> Value {
    file(&format!("{}.{}.schema.json", schema.kind, schema.version))
}

fn example(schema: &Schema) -> Value {
    file(&format!("{}.{}.example.json", schema.kind, schema.version))
}

fn validator(schema: &Value) -> Validator {
    jsonschema::draft202012::new(schema).expect("a schema")
}

/// Every type and version that was ever written.
fn versions() -> impl Iterator<Item = Schema> {
    Event::TYPES
        .iter()
        .flat_map(|kind| (1..=upcast::newest(kind)).map(|version| Schema { kind: (*kind).to_owned(), version }))
}

#[track_caller]
fn assert_valid(validator: &Validator, instance: &Value, what: impl std::fmt::Display) {
    let errors: Vec<String> =
        validator.iter_errors(instance).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{what}: {errors:#?}\n{instance:#}");
}

#[test]
fn every_version_of_every_type_has_a_schema_and_an_example_and_nothing_else_lies_there() {
    let mut expected: BTreeSet<String> = ["README.md", "envelope.schema.json"].map(str::to_owned).into();
    for Schema { kind, version } in versions() {
        expected.insert(format!("{kind}.{version}.schema.json"));
        expected.insert(format!("{kind}.{version}.example.json"));
    }
    let found: BTreeSet<String> = FILES.keys().cloned().collect();
    let missing: Vec<_> = expected.difference(&found).collect();
    let unknown: Vec<_> = found.difference(&expected).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "missing: {missing:?}, of no type: {unknown:?}");
}

#[test]
fn schemas_are_schemas_of_2020_12_named_as_the_events_name_them() {
    for name in FILES.keys().filter(|name| name.ends_with(".schema.json")) {
        let schema = file(name);
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{name}");
        jsonschema::draft202012::meta::validate(&schema).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    for version in versions() {
        assert_eq!(schema(&version)["$id"], version.to_string());
        assert_eq!(schema(&version)["title"], version.kind);
    }
}

#[test]
fn schemas_describe_every_property_and_forbid_all_others() {
    for name in FILES.keys().filter(|name| name.ends_with(".schema.json")) {
        let schema = file(name);
        let mut objects = 0;
        visit(&schema, &mut |part| {
            let Some(properties) = part.get("properties").and_then(Value::as_object) else { return };
            objects += 1;
            // What the envelope carries as data is the business of the type's own schema.
            assert_eq!(part["additionalProperties"], json!(false), "{name}: {part:#}");
            for (property, described) in properties {
                assert!(described["description"].is_string(), "{name}: {property} is not described");
            }
            if name != "envelope.schema.json" {
                let required = part["required"].as_array().expect("required").iter().filter_map(Value::as_str);
                let required: BTreeSet<&str> = required.collect();
                assert_eq!(
                    required,
                    properties.keys().map(String::as_str).collect(),
                    "{name}: every property is always written"
                );
            }
        });
        assert!(objects > 0, "{name}");
        assert!(schema["description"].is_string(), "{name} is not described");
    }
}

fn visit(schema: &Value, look: &mut impl FnMut(&Value)) {
    look(schema);
    match schema {
        Value::Object(members) => members.values().for_each(|member| visit(member, look)),
        Value::Array(items) => items.iter().for_each(|item| visit(item, look)),
        _ => {}
    }
}

#[test]
fn every_golden_example_follows_the_schemas_and_reads() {
    for version in versions() {
        let golden = example(&version);
        assert_eq!(golden["type"], version.kind);
        assert_eq!(golden["dataschema"], version.to_string());
        assert_valid(&ENVELOPE, &golden, &version);
        assert_valid(&validator(&schema(&version)), &golden["data"], &version);

        let envelope: Envelope =
            serde_json::from_value(golden.clone()).unwrap_or_else(|error| panic!("{version}: {error}"));
        let written = serde_json::to_value(&envelope).expect("serialises");
        if version.version == upcast::newest(&version.kind) {
            assert_eq!(written, golden, "{version} is written as it was read");
        } else {
            assert_valid(&NEWEST[version.kind.as_str()], &written["data"], format!("{version} upcast"));
        }
    }
}

#[test]
fn golden_examples_are_each_of_another_event() {
    let ids: BTreeSet<String> = versions().map(|version| example(&version)["id"].to_string()).collect();
    assert_eq!(ids.len(), versions().count());
}

/// The plaintext has golden examples too, in the schema, since nobody can look into the boxes.
#[test]
fn what_is_sealed_is_described_and_its_examples_read() {
    for version in versions() {
        let mut event: Envelope = serde_json::from_value(example(&version)).expect("reads");
        let schema = schema(&version);
        let opened = schema["$defs"].get("opened");
        let Some((_, part)) = event.event.sealed_part() else {
            assert!(opened.is_none(), "{version} has nothing sealed");
            continue;
        };
        let opened = opened.unwrap_or_else(|| panic!("{version} does not say what is in its box"));
        let validator = validator(opened);
        let examples = opened["examples"].as_array().expect("examples");
        assert!(!examples.is_empty(), "{version}");
        for example in examples {
            assert_valid(&validator, example, format!("{version}, opened"));
            let plaintext = serde_json::to_vec(example).expect("JSON");
            part.unseal(&plaintext).unwrap_or_else(|error| panic!("{version}: {error}"));
            let written: Value = serde_json::from_slice(&part.plaintext().expect("open")).expect("JSON");
            assert_eq!(&written, example, "{version}: the opened text is written as it was read");
        }
    }
}

/// Every way of spoiling one place of a value.
fn spoilt(value: &Value) -> Vec<Value> {
    let mut all = Vec::new();
    let mut places = vec![String::new()];
    while let Some(place) = places.pop() {
        let Some(Value::Object(members)) = value.pointer(&place) else { continue };
        let mut change = |how: &dyn Fn(&mut serde_json::Map<String, Value>)| {
            let mut copy = value.clone();
            if let Some(Value::Object(members)) = copy.pointer_mut(&place) {
                how(members);
            }
            all.push(copy);
        };
        change(&|members| drop(members.insert("surprise".to_owned(), json!(1))));
        for key in members.keys() {
            change(&|members| drop(members.remove(key)));
            for wrong in [json!(null), json!(7), json!(true), json!("x"), json!(""), json!([]), json!({})] {
                change(&|members| drop(members.insert(key.clone(), wrong.clone())));
            }
            if let Value::String(text) = &members[key] {
                for wrong in [text.to_uppercase(), format!("{text} "), format!("{text}=")] {
                    change(&|members| drop(members.insert(key.clone(), json!(wrong))));
                }
            }
            places.push(format!("{place}/{key}"));
        }
    }
    all
}

/// A schema that allowed what no reader takes, or the other way round, would mislead.
#[test]
fn schemas_and_readers_refuse_the_same() {
    for version in versions().filter(|version| version.version == upcast::newest(&version.kind)) {
        let validator = &NEWEST[version.kind.as_str()];
        let mut refused = 0;
        for data in spoilt(&example(&version)["data"]) {
            let read = Event::parse(&version, &serde_json::to_vec(&data).expect("JSON"));
            assert_eq!(validator.is_valid(&data), read.is_ok(), "{version}: {read:?}\n{data:#}");
            refused += usize::from(read.is_err());
        }
        assert!(refused > 10, "{version}");
    }
}

#[test]
fn the_envelopes_schema_allows_nothing_that_readers_refuse_by_shape() {
    for version in versions().filter(|version| version.version == upcast::newest(&version.kind)) {
        let golden = example(&version);
        let with_data_untouched = |wire: &Value| wire.get("data") == Some(&golden["data"]);
        for wire in spoilt(&golden).into_iter().filter(with_data_untouched) {
            let read = serde_json::from_value::<Envelope>(wire.clone());
            // Readers also compare attributes with each other, and drop an absent `causationid` written as null.
            if ENVELOPE.is_valid(&wire) {
                assert!(read.is_ok(), "{version}: {read:?}\n{wire:#}");
            }
        }
    }
}

proptest! {
    #[test]
    fn e1_every_event_follows_its_schema(envelope in envelope()) {
        let wire = serde_json::to_value(&envelope).expect("serialises");
        assert_valid(&ENVELOPE, &wire, "envelope");
        assert_valid(&NEWEST[envelope.event.kind()], &wire["data"], envelope.event.kind());
    }

    #[test]
    fn e1_what_is_sealed_follows_its_schema(mut event in open_event()) {
        let kind = event.kind();
        if let Some((key, part)) = event.sealed_part() {
            let plaintext = serde_json::from_slice(&part.plaintext().expect("open")).expect("JSON");
            assert_valid(&OPENED[kind], &plaintext, kind);
            part.close(SealedBox { key, bytes: vec![7] });
        }
        let data = serde_json::from_slice(&event.data().expect("closed")).expect("JSON");
        assert_valid(&NEWEST[kind], &data, kind);
    }
}
