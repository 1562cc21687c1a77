//! Where settings come from, which wins, and what is refused.

use std::path::PathBuf;

use super::*;
use crate::failure::{Exit, Failure};

const EXAMPLE: &str = include_str!("../../../hybrid-live.example.toml");

/// A file with this text, for as long as the directory lives.
fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("settings.toml");
    std::fs::write(&path, text).expect("writes");
    (directory, path)
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn from_file(text: &str) -> Result<Config, Failure> {
    let (_directory, path) = file(text);
    load(Some(&path), [], &Flags::default())
}

fn from_environment(pairs: &[(&str, &str)]) -> Result<Config, Failure> {
    let (_directory, path) = file("");
    load(Some(&path), variables(pairs), &Flags::default())
}

fn refusal(outcome: Result<Config, Failure>) -> String {
    let failure = outcome.expect_err("refused");
    assert_eq!(failure.exit, Exit::CannotRun);
    failure.to_string()
}

#[test]
fn nothing_given_gives_the_defaults() {
    assert_eq!(from_file("").expect("reads"), Config::default());
}

#[test]
fn the_example_equals_the_defaults_and_names_every_setting() {
    assert_eq!(from_file(EXAMPLE).expect("reads"), Config::default());
    let named: Config = toml_of(EXAMPLE).extract().expect("every setting is there");
    assert_eq!(named, Config::default());
}

/// The example alone, without defaults beneath: a setting that it leaves out is missed.
fn toml_of(text: &str) -> figment::Figment {
    use figment::providers::{Format as _, Toml};
    figment::Figment::from(Toml::string(text))
}

#[test]
fn flags_win_over_variables_and_variables_over_the_file() {
    let (_directory, path) = file("data_dir = 'file'\npartitions = 7\n[log]\nfilter = 'file'\nformat = 'json'\n");
    let environment = variables(&[("HYBRID_LIVE_DATA_DIR", "variable"), ("HYBRID_LIVE_LOG__FILTER", "variable")]);
    let flags = Flags { data_dir: Some("flag".to_owned()), ..Flags::default() };
    let config = load(Some(&path), environment, &flags).expect("reads");
    assert_eq!(config.data_dir, "flag");
    assert_eq!(config.log, Log { filter: "variable".to_owned(), format: LogFormat::Json });
    assert_eq!(config.partitions, 7);
    assert_eq!(config.limits, Config::default().limits);
}

#[test]
fn variables_are_read_as_what_the_setting_is() {
    let config = from_environment(&[
        ("HYBRID_LIVE_DATA_DIR", "42"),
        ("HYBRID_LIVE_LIMITS__BODY_BYTES", "42"),
        ("HYBRID_LIVE_PUBLIC_ORIGINS", "https://a.example, https://b.example"),
        ("HYBRID_LIVE_LISTEN", "[::1]:9000"),
        ("PATH", "/bin"),
        ("HYBRID_LIVE_ROLES", "relay,query-api"),
        ("HYBRID_LIVE_TEST_SEED", "of a test that has started this"),
        ("HYBRID_LIVE_CONFIG", "read by the command line"),
    ]);
    let config = config.expect("reads");
    assert_eq!(config.data_dir, "42");
    assert_eq!(config.limits.body_bytes, 42);
    assert_eq!(config.public_origins, ["https://a.example", "https://b.example"]);
    assert_eq!(config.listen.to_string(), "[::1]:9000");
    assert_eq!(config.roles, [ServerRole::Relay, ServerRole::QueryApi]);
}

#[test]
fn an_unknown_key_in_the_file_is_named_with_its_place() {
    let refusal = refusal(from_file("[limits]\nbody_byte = 1\n"));
    assert!(refusal.contains("settings.toml") && refusal.contains("`limits.body_byte`"), "{refusal}");
    assert!(refusal.contains("body_bytes"), "it says what there is: {refusal}");
}

#[test]
fn every_unknown_key_is_named_at_once() {
    let refusal = refusal(from_file("prot = 1\n[argon]\nmemory = 1\n"));
    assert!(refusal.contains("`prot`") && refusal.contains("`argon`"), "{refusal}");
}

#[test]
fn an_unknown_variable_is_named() {
    for unknown in
        ["HYBRID_LIVE_LISTNE", "HYBRID_LIVE_LIMITS", "HYBRID_LIVE_LIMITS__BODY", "HYBRID_LIVE_LIMITS_BODY_BYTES"]
    {
        let refusal = refusal(from_environment(&[(unknown, "1")]));
        assert!(refusal.contains(unknown), "{refusal}");
    }
}

#[test]
fn a_value_of_the_wrong_kind_is_named_with_its_source() {
    let in_file = refusal(from_file("partitions = 'four'\n"));
    assert!(in_file.contains("`partitions`") && in_file.contains("settings.toml"), "{in_file}");
    let variable = refusal(from_environment(&[("HYBRID_LIVE_ARGON2__MEMORY_KIB", "much")]));
    assert!(variable.contains("HYBRID_LIVE_ARGON2__MEMORY_KIB"), "{variable}");
    let table = refusal(from_file("log = 'info'\n"));
    assert!(table.contains("`log`"), "{table}");
    let format = refusal(from_file("[log]\nformat = 'xml'\n"));
    assert!(format.contains("`log.format`") && format.contains("xml"), "{format}");
}

#[test]
fn values_that_cannot_be_are_named() {
    let cases = [
        ("partitions = 0", "partitions"),
        ("[projections]\ntrim_to = 1000", "projections.trim_to"),
        ("[limits]\nconnections = 0", "limits.connections"),
        ("[argon2]\nmemory_kib = 7", "argon2.memory_kib"),
        ("data_dir = ''", "data_dir"),
        ("public_origins = ['example.org']", "public_origins"),
        ("public_origins = ['https://example.org/path']", "public_origins"),
        ("public_origins = ['*']", "public_origins"),
        ("cors_origins = ['*', 'example.org']", "cors_origins"),
        ("[projections]\nonly = ['homes']", "projections.only"),
        ("roles = ['relay']\n[projections]\nonly = ['timelines']", "projections.only"),
    ];
    for (text, key) in cases {
        let refusal = refusal(from_file(text));
        assert!(refusal.contains(&format!("`{key}`")) && refusal.contains("settings.toml"), "{text}: {refusal}");
    }
}

#[test]
fn a_process_has_the_roles_that_it_is_given_and_all_without_any() {
    let all = from_file("").expect("reads").roles();
    assert!(all.are_all() && all.has(ServerRole::Streamer) && all.run("timelines"));
    let some = from_file("roles = ['relay', 'projectors']\n[projections]\nonly = ['profiles']").expect("reads").roles();
    assert!(!some.are_all() && some.has(ServerRole::Relay) && !some.has(ServerRole::QueryApi));
    assert!(some.run("profiles") && !some.run("timelines"));
    assert_eq!(some.to_string(), "relay, projectors (profiles)");
    let every = "roles = ['command-api', 'query-api', 'streamer', 'relay', 'projectors']\n";
    assert!(from_file(every).expect("reads").roles().are_all());
    let part = from_file(&format!("{every}[projections]\nonly = ['profiles']")).expect("reads").roles();
    assert!(!part.are_all(), "somebody else must run the rest");
    let refusal = refusal(from_file("roles = ['baker']"));
    assert!(refusal.contains("`roles") && refusal.contains("baker") && refusal.contains("query-api"), "{refusal}");
}

#[test]
fn a_file_that_is_no_toml_is_named_with_the_line() {
    let refusal = refusal(from_file("listen = \"127.0.0.1:8080\"\npartitions = = 3\n"));
    assert!(refusal.contains("settings.toml") && refusal.contains("line 2"), "{refusal}");
}

#[test]
fn a_named_file_must_be_there() {
    let missing = load(Some(Path::new("/nowhere/settings.toml")), [], &Flags::default());
    assert!(refusal(missing).contains("/nowhere/settings.toml"));
}

#[test]
fn the_data_directory_stands_in_paths_and_urls() {
    let config = Config { data_dir: "/var/lib/x".to_owned(), ..Config::default() };
    assert_eq!(config.secrets_file(), Path::new("/var/lib/x/secrets.toml"));
    assert_eq!(config.store_urls().content, "sqlite:/var/lib/x/truth.db");
    assert_eq!(config.store_urls().live, "memory:");
}
