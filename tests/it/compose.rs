//! `docker/compose.yml` says what is: every role has its service, every service its bounds, and nothing secret is written
//! down. Whether containers come up takes a Docker engine; this holds the file against the binary and against itself.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

fn docker(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository's root").join("docker").join(file)
}

fn read(file: &str) -> String {
    let path = docker(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn compose() -> Value {
    serde_saphyr::from_str(&read("compose.yml")).expect("YAML")
}

fn services(compose: &Value) -> &Map<String, Value> {
    compose["services"].as_object().expect("services")
}

/// Names of variables that `text` takes and does not do without.
fn required(text: &str) -> BTreeSet<&str> {
    text.split("${").skip(1).filter_map(|rest| rest.split_once(":?")).map(|(name, _)| name).collect()
}

fn texts<'a>(value: &'a Value, place: &str, found: &mut Vec<(String, &'a str)>) {
    match value {
        Value::String(text) => found.push((place.to_owned(), text)),
        Value::Array(values) => values.iter().for_each(|value| texts(value, place, found)),
        Value::Object(values) => values.iter().for_each(|(key, value)| texts(value, &format!("{place}.{key}"), found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[tokio::test]
async fn every_role_of_the_binary_is_a_service() {
    let directory = tempfile::tempdir().expect("a directory");
    let refusal = harness::run(directory.path(), &["serve", "--role", "nobody"]).await.expect(2).text;
    let roles = refusal.split("[possible values: ").nth(1).and_then(|rest| rest.split(']').next());
    let roles: BTreeSet<&str> = roles.expect("the roles that there are").split(", ").collect();
    assert!(roles.len() > 4, "{roles:?}");

    let compose = compose();
    let served: BTreeSet<&str> = services(&compose)
        .values()
        .filter(|service| service["command"][0] == "serve")
        .map(|service| {
            assert_eq!(service["command"][1], "--role");
            service["command"][2].as_str().expect("a role")
        })
        .collect();
    assert_eq!(served, roles);
    for role in roles {
        let service = &compose["services"][role];
        assert_eq!(service["command"][2], role, "the service has the role's name");
        let waits_for = &service["depends_on"]["migrate"]["condition"];
        assert_eq!(waits_for, "service_completed_successfully", "{role} waits for the schemas");
    }
    assert!(compose["services"]["projectors"]["deploy"]["replicas"].as_u64() >= Some(2));
    assert_eq!(compose["services"]["migrate"]["command"][0], "migrate");
}

#[test]
fn every_service_is_bounded_watched_and_pinned() {
    let compose = compose();
    for (name, service) in services(&compose) {
        let limits = &service["deploy"]["resources"]["limits"];
        assert!(limits["cpus"].is_string() && limits["memory"].is_string(), "{name} has limits");
        let restart = service["restart"].as_str().unwrap_or_default();
        assert!(restart == "unless-stopped" || name == "migrate" && restart.starts_with("on-failure:"), "{name}");
        let healthcheck = &service["healthcheck"];
        assert!(healthcheck["test"].is_array() || name == "migrate" && healthcheck["disable"] == true, "{name}");
        let (image, tag) = service["image"].as_str().and_then(|image| image.split_once(':')).expect("an image's tag");
        let is_version = tag.split(['.', '-']).take(3).filter(|part| part.parse::<u32>().is_ok()).count() == 3;
        assert!(is_version, "{name}: {image}:{tag} names no exact version");
        for port in service["ports"].as_array().into_iter().flatten() {
            assert!(port.as_str().is_some_and(|port| port.starts_with("127.0.0.1:")), "{name} publishes {port}");
        }
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let source = volume.as_str().and_then(|volume| volume.split(':').next()).expect("a volume");
            let is_there = match source.strip_prefix("./") {
                Some(file) => docker(file).is_file(),
                None => compose["volumes"].get(source).is_some(),
            };
            assert!(is_there, "{name}: {source}");
        }
        for secret in service["secrets"].as_array().into_iter().flatten() {
            assert!(compose["secrets"].get(secret.as_str().expect("a name")).is_some(), "{name}: {secret}");
        }
    }
}

#[test]
fn nothing_secret_is_written_down_or_has_a_default() {
    let (compose, text) = (compose(), read("compose.yml"));
    let mut found = Vec::new();
    texts(&compose, "", &mut found);
    for (place, text) in found {
        let key = place.rsplit('.').next().unwrap_or_default().to_lowercase();
        let names_secret = ["password", "secret", "keyfile"].iter().any(|word| key.contains(word));
        let is_elsewhere = text.starts_with("/run/secrets/") || text.starts_with("/keys/");
        // Names of secrets, and of the variables that hold them.
        let is_name = compose["secrets"].get(text).is_some() || place.starts_with(".secrets.");
        assert!(!names_secret || is_elsewhere || is_name, "{place}: {text}");
        // user:password@host
        if let Some((_, rest)) = text.split_once("://") {
            let credentials = rest.split_once('@').map_or("", |(who, _)| who);
            assert!(!credentials.contains(':'), "{place} has a password in its URL");
        }
    }

    let secrets = compose["secrets"].as_object().expect("secrets");
    let variables: BTreeSet<&str> = secrets.values().filter_map(|secret| secret["environment"].as_str()).collect();
    assert_eq!(variables.len(), secrets.len(), "each comes from a variable of its own");
    let example = read(".env.example");
    let lines = example.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
    let offered: BTreeSet<&str> = lines
        .map(|(name, value)| {
            assert!(value.is_empty(), "{name} has a value that somebody could leave as it is");
            name
        })
        .collect();
    assert_eq!(offered, variables, "the example names each");
    let used = |service: &&Value| service.get("profiles").is_none();
    let needed = services(&compose).values().filter(used).flat_map(|service| service["secrets"].as_array());
    let needed: BTreeSet<&str> =
        needed.flatten().filter_map(|secret| compose["secrets"][secret.as_str()?]["environment"].as_str()).collect();
    assert_eq!(required(&text), needed, "what is needed is asked for before anything starts");
    for name in variables {
        assert!(!text.contains(&format!("{name}:-")), "{name} has a default");
    }
}

/// What is wrong with a URL shows when its store is opened: here, because nobody is there, and for no other reason.
#[cfg(feature = "cluster")]
#[tokio::test]
async fn every_store_is_where_its_adapter_can_look() {
    use adapters::StoreError;
    use adapters::sqlite::Sharing;
    use adapters::stores::{OpenStoresError, StoreUrls};

    let (compose, directory) = (compose(), tempfile::tempdir().expect("a directory"));
    let inside = directory.path().display();
    for secret in compose["secrets"].as_object().expect("secrets").keys() {
        std::fs::write(directory.path().join(secret), "a secret").expect("written");
    }
    let url = |store: &str| {
        let mut found = Vec::new();
        texts(&compose, "", &mut found);
        let place = format!(".HYBRID_LIVE_STORES__{store}");
        let (_, url) = found.into_iter().find(|(found, _)| found.ends_with(&place)).expect(store);
        let (user, rest) = url.split_once('@').expect("a user");
        let (_, name) = rest.split_at(rest.find(['/', '?']).expect("a name or options"));
        format!("{user}@127.0.0.1:1{name}").replace("/run/secrets/", &format!("{inside}/"))
    };
    let file = |name: &str| format!("sqlite:{inside}/{name}.db");
    let embedded = StoreUrls {
        content: file("truth"),
        event_log: file("truth"),
        views: file("read_models"),
        timelines: file("read_models"),
        checkpoints: file("read_models"),
        cache: "none:".to_owned(),
        cached: adapters::cache::Limits::default(),
        cache_bytes: 0,
        live: "memory:".to_owned(),
    };
    for urls in [
        StoreUrls { content: url("CONTENT"), ..embedded.clone() },
        StoreUrls { event_log: url("EVENT_LOG"), ..embedded.clone() },
        StoreUrls { timelines: url("TIMELINES"), ..embedded.clone() },
        StoreUrls { live: url("LIVE"), ..embedded.clone() },
    ] {
        let refused = adapters::stores::open(&urls, 4, Sharing::Alone).await.err().expect("nobody is there");
        let is_so = matches!(refused, OpenStoresError::Store { source: StoreError::Unavailable(_), .. });
        assert!(is_so, "{refused}");
    }
    let cached = StoreUrls { cache: url("CACHE"), ..embedded };
    let opened = adapters::stores::open(&cached, 4, Sharing::Alone).await;
    assert!(opened.is_ok(), "nobody waits for a cache: {:?}", opened.err());
}

#[test]
fn images_are_pinned_and_nobody_is_root() {
    let dockerfile = read("Dockerfile");
    let bases: Vec<&str> = dockerfile.lines().filter_map(|line| line.strip_prefix("FROM ")).collect();
    assert_eq!(bases.len(), 2, "one to build, one to run");
    for base in bases {
        let tag = base.split(' ').next().and_then(|image| image.split_once(':')).map_or("", |(_, tag)| tag);
        assert!(tag.starts_with(|digit: char| digit.is_ascii_digit()) && tag.contains('.'), "{base}");
    }
    let toolchain = std::fs::read_to_string(docker("../rust-toolchain.toml")).expect("the toolchain");
    let version = toolchain.split("channel = \"").nth(1).and_then(|rest| rest.split('"').next()).expect("a version");
    assert!(dockerfile.contains(&format!("FROM rust:{version}-")), "the toolchain is {version}");
    let last = dockerfile.rsplit("\nFROM ").next().unwrap_or_default();
    assert!(
        last.contains("\nUSER 10001:10001\n") && last.contains("\nHEALTHCHECK ") && last.contains("CMD [\"serve\"]")
    );
    // Each crate has its line in the layer of the dependencies.
    let workspace = std::fs::read_to_string(docker("../Cargo.toml")).expect("the workspace");
    let members = workspace.split("members = [").nth(1).and_then(|rest| rest.split(']').next()).expect("members");
    for member in members.split('"').skip(1).step_by(2) {
        assert!(dockerfile.contains(&format!("COPY {member}/Cargo.toml {member}/\n")), "{member}");
    }
}
