//! Where settings come from: the defaults, then a file, then the environment, then flags; the later wins.
//!
//! A key that nobody knows is an error that names it and where it stands: a setting with a slip of the pen must not
//! look as if it were in force.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use figment::providers::{Format, Serialized, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use serde::Serialize;

use super::{Config, LogFormat, ServerRole};
use crate::failure::Failure;

/// The file that is read if it is there and no other is named.
const FILE: &str = "hybrid-live.toml";
/// How the names of variables begin.
const PREFIX: &str = "HYBRID_LIVE_";
/// Variables that the command line reads itself.
const NOT_SETTINGS: [&str; 1] = ["HYBRID_LIVE_CONFIG"];
/// How the names of variables begin that are for tests: a server that a test starts finds them in its environment.
const FOR_TESTS: &str = "HYBRID_LIVE_TEST_";

/// Settings given on the command line.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Flags {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) listen: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) roles: Vec<ServerRole>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data_dir: Option<String>,
    #[serde(skip_serializing_if = "ProjectionFlags::is_empty")]
    pub(crate) projections: ProjectionFlags,
    #[serde(skip_serializing_if = "LogFlags::is_empty")]
    pub(crate) log: LogFlags,
}

/// Which projections are run, as given on the command line.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct ProjectionFlags {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) only: Vec<String>,
}

impl ProjectionFlags {
    fn is_empty(&self) -> bool {
        self.only.is_empty()
    }
}

/// What is logged, as given on the command line.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct LogFlags {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) format: Option<LogFormat>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) filter: Option<String>,
}

impl LogFlags {
    fn is_empty(&self) -> bool {
        self.format.is_none() && self.filter.is_none()
    }
}

/// Reads all sources. `file` must exist if it is named; `variables` is the whole environment.
///
/// # Errors
/// Names the key, its source and what is wrong.
pub(crate) fn load(
    file: Option<&Path>,
    variables: impl IntoIterator<Item = (String, String)>,
    flags: &Flags,
) -> Result<Config, Failure> {
    let defaults = Value::serialize(Config::default())
        .map_err(|error| Failure::cannot_run(format!("the defaults cannot be read: {error}")))?;
    let mut figment = Figment::from(Serialized::defaults(Config::default()));
    let mut unknown = Vec::new();

    if let Some(path) = settings_file(file)? {
        let toml = Toml::file_exact(&path);
        // A syntax error would otherwise be told once more, with less to go by.
        let data = toml.data().map_err(|error| {
            Failure::cannot_run(format!("{} cannot be read: {}", path.display(), error.to_string().trim_end()))
        })?;
        for dict in data.values() {
            collect_unknown(dict, &defaults, "", &path.display().to_string(), &mut unknown);
        }
        figment = figment.merge(toml);
    }

    let environment = Environment::of(variables, &defaults);
    for (variable, key) in &environment.unknown {
        unknown.push(format!("the environment variable {variable} names the unknown setting `{key}`"));
    }
    figment = figment.merge(environment).merge(Serialized::defaults(flags));

    if !unknown.is_empty() {
        return Err(Failure::cannot_run(unknown.join("\n       ")));
    }
    let config: Config = figment.extract().map_err(|error| Failure::cannot_run(explain(&error)))?;
    config.check().map_err(|(key, what)| {
        let source = figment.find_metadata(key).map_or_else(String::new, |metadata| place(metadata, key));
        Failure::cannot_run(format!("the setting `{key}`{source} {what}"))
    })?;
    Ok(config)
}

fn settings_file(named: Option<&Path>) -> Result<Option<PathBuf>, Failure> {
    match named {
        Some(path) if path.is_file() => Ok(Some(path.to_owned())),
        Some(path) => Err(Failure::cannot_run(format!("there is no configuration file {}", path.display()))),
        None => Ok(Some(PathBuf::from(FILE)).filter(|path| path.is_file())),
    }
}

fn collect_unknown(given: &Dict, known: &Value, above: &str, source: &str, unknown: &mut Vec<String>) {
    for (name, value) in given {
        let key = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        let Some(found) = known.as_dict().and_then(|known| known.get(name)) else {
            unknown.push(format!("{source}: unknown setting `{key}`{}", neighbours(known, above)));
            continue;
        };
        // A table where a plain value belongs is left to the extraction, which says what belongs there.
        if let (Value::Dict(_, inner), Value::Dict(..)) = (value, found) {
            collect_unknown(inner, found, &key, source, unknown);
        }
    }
}

fn neighbours(known: &Value, above: &str) -> String {
    let Some(known) = known.as_dict() else { return String::new() };
    let names: Vec<&str> = known.keys().map(String::as_str).collect();
    let place = if above.is_empty() { String::new() } else { format!(" in [{above}]") };
    format!("; there are{place}: {}", names.join(", "))
}

/// What figment says of a value that does not fit, in one line.
fn explain(errors: &figment::Error) -> String {
    let mut text = String::new();
    for error in errors.clone() {
        let key = error.path.join(".");
        let source = error.metadata.as_ref().map_or_else(String::new, |metadata| place(metadata, &key));
        let separator = if text.is_empty() { "" } else { "\n       " };
        // Writing to a string does not fail.
        let _ = write!(text, "{separator}the setting `{key}`{source}: {}", error.kind);
    }
    text
}

/// Where a value stands.
fn place(metadata: &Metadata, key: &str) -> String {
    match &metadata.source {
        Some(figment::Source::File(path)) => format!(" in {}", path.display()),
        _ if metadata.name == Environment::NAME => format!(" from {}", variable(key)),
        _ => String::new(),
    }
}

fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_ascii_uppercase())
}

/// Settings in environment variables.
struct Environment {
    settings: Dict,
    /// Variables that name no setting.
    unknown: Vec<(String, String)>,
}

impl Environment {
    const NAME: &str = "environment";

    fn of(variables: impl IntoIterator<Item = (String, String)>, defaults: &Value) -> Self {
        let mut settings = Dict::new();
        let mut unknown = Vec::new();
        for (variable, text) in variables {
            let Some(name) = variable.strip_prefix(PREFIX) else { continue };
            if NOT_SETTINGS.contains(&variable.as_str()) || variable.starts_with(FOR_TESTS) {
                continue;
            }
            let key = name.to_ascii_lowercase().replace("__", ".");
            match defaults.find_ref(&key) {
                Some(Value::Dict(..)) | None => unknown.push((variable, key)),
                Some(like) => insert(&mut settings, &key, value_of(&text, like)),
            }
        }
        unknown.sort();
        Self { settings, unknown }
    }
}

/// The text as the kind of value that stands there by default: a directory may be called `42`.
fn value_of(text: &str, like: &Value) -> Value {
    match like {
        Value::String(..) => Value::from(text),
        Value::Array(..) => {
            let items = text.trim().trim_start_matches('[').trim_end_matches(']').split(',');
            let items = items.map(|item| item.trim().trim_matches('"')).filter(|item| !item.is_empty());
            Value::from(items.map(Value::from).collect::<Vec<Value>>())
        }
        // Parsing never fails: what is no number is a string, which the extraction refuses by name.
        _ => text.parse().unwrap_or_else(|_| Value::from(text)),
    }
}

fn insert(settings: &mut Dict, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            settings.insert(key.to_owned(), value);
        }
        Some((table, rest)) => {
            let inner = settings.entry(table.to_owned()).or_insert_with(|| Value::from(Dict::new()));
            if let Value::Dict(_, inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

impl Provider for Environment {
    fn metadata(&self) -> Metadata {
        Metadata::named(Self::NAME)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Map::from([(Profile::Default, self.settings.clone())]))
    }
}
