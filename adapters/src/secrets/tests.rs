use std::fs;

use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn secrets_are_made_once_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secrets.toml");
    let made = Secrets::load_or_create(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "a draft was left behind");

    let loaded = Secrets::load_or_create(&path).unwrap();
    assert_eq!(loaded.wrapping_key().as_bytes(), made.wrapping_key().as_bytes());
    assert_eq!(loaded.digest("a", &[]), made.digest("a", &[]));
    let (loaded, made_first) = (loaded.signing_keys().first().clone(), made.signing_keys().first());
    assert_eq!((&loaded.id, loaded.key.as_bytes()), (&made_first.id, made_first.key.as_bytes()));

    let other = Secrets::load_or_create(&directory.path().join("others.toml")).unwrap();
    let keys = |secrets: &Secrets| {
        let signing = &secrets.signing_keys.first().key;
        [&secrets.wrapping_key, &secrets.digest_key, signing].map(|key| *key.as_bytes())
    };
    let all: std::collections::BTreeSet<_> = keys(&made).into_iter().chain(keys(&other)).collect();
    assert_eq!(all.len(), 6, "every secret is another");
}

#[test]
fn of_many_that_make_them_at_once_all_get_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secrets.toml");
    let together = std::sync::Barrier::new(8);
    let found = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    together.wait();
                    *Secrets::load_or_create(&path).unwrap().wrapping_key().as_bytes()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<std::collections::BTreeSet<_>>()
    });
    assert_eq!(found.len(), 1);
}

#[test]
fn a_file_that_others_may_read_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secrets.toml");
    Secrets::load_or_create(&path).unwrap();
    for exposed in [0o644, 0o640, 0o620, 0o601] {
        fs::set_permissions(&path, Permissions::from_mode(exposed)).unwrap();
        let error = Secrets::load_or_create(&path).unwrap_err();
        assert!(matches!(error, SecretsError::Exposed { mode, .. } if mode == exposed), "{error}");
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
    for fine in [0o600, 0o400] {
        fs::set_permissions(&path, Permissions::from_mode(fine)).unwrap();
        Secrets::load_or_create(&path).unwrap();
    }
}

#[test]
fn what_is_wrong_is_said_without_what_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secrets.toml");
    let (secret, good) = ("c2VjcmV0IHNlY3JldA==", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=");
    let signing = format!("[[signing_keys]]\nid = \"1\"\nkey = \"{good}\"\n");
    let both = format!("wrapping_key = \"{good}\"\ndigest_key = \"{good}\"\n");
    for wrong in [
        String::new(),
        both.clone(),
        format!("{both}signing_keys = []\n"),
        format!("{both}signing_keys = \"{secret}\"\n"),
        format!("wrapping_key = \"{secret}\"\ndigest_key = \"{good}\"\n{signing}"),
        format!("wrapping_key = [\"{secret}\"]\ndigest_key = \"{good}\"\n{signing}"),
        format!("wrapping_key = {secret}\n"),
        format!("unknown = \"{secret}\"\n{both}{signing}"),
    ] {
        write(&path, &wrong);
        let error = Secrets::load_or_create(&path).unwrap_err();
        assert!(matches!(error, SecretsError::Malformed { .. }), "{error}");
        for said in [error.to_string(), format!("{error:?}")] {
            assert!(!said.contains(secret) && !said.contains(good), "{said}");
        }
    }
    write(&path, &format!("{both}{signing}"));
    let secrets = Secrets::load_or_create(&path).unwrap();
    assert_eq!(secrets.wrapping_key().as_bytes(), b"01234567890123456789012345678901");
    let absent = directory.path().join("nowhere/secrets.toml");
    assert!(matches!(Secrets::load_or_create(&absent), Err(SecretsError::File { .. })));
}

#[test]
fn nothing_is_printed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secrets.toml");
    let secrets = Secrets::load_or_create(&path).unwrap();
    let shown = format!("{secrets:?} {secrets:#?} {:?}", secrets.signing_keys().first().key);
    for line in fs::read_to_string(&path).unwrap().lines().filter(|line| line.contains("key = ")) {
        let key = line.split('"').nth(1).unwrap();
        assert!(!shown.contains(key));
        for byte in [format!("{:?}", BASE64_STANDARD.decode(key).unwrap()), format!("{:02x?}", key.as_bytes())] {
            assert!(!shown.contains(byte.trim_matches(['[', ']'])));
        }
    }
}

#[test]
fn the_first_key_signs_and_every_key_is_found() {
    let key = |id: &str| SigningKey { id: id.to_owned(), key: SecretKey::random() };
    let keys = SigningKeys::new(key("new"), [key("old"), key("older")]);
    assert_eq!(keys.first().id, "new");
    for id in ["new", "old", "older"] {
        assert_eq!(keys.get(id).unwrap().id, id);
    }
    assert!(keys.get("oldest").is_none());
}

#[test]
fn digests_are_of_one_purpose_and_of_parts() {
    let secrets = |byte: char| {
        let key = BASE64_STANDARD.encode(byte.to_string().repeat(32));
        let text = format!(
            "wrapping_key = \"{key}\"\ndigest_key = \"{key}\"\n[[signing_keys]]\nid = \"1\"\nkey = \"{key}\"\n"
        );
        Secrets::parse(&text).unwrap()
    };
    let ours = secrets('a');
    let digests = [
        ours.digest("p", &[b"ab", b"c"]),
        ours.digest("q", &[b"ab", b"c"]),
        ours.digest("p", &[b"a", b"bc"]),
        ours.digest("p", &[b"abc"]),
        ours.digest("p", &[b"abc", b""]),
        ours.digest("", &[b"p", b"ab", b"c"]),
        secrets('b').digest("p", &[b"ab", b"c"]),
    ];
    let different: std::collections::BTreeSet<_> = digests.iter().collect();
    assert_eq!(different.len(), digests.len());
    assert_eq!(ours.digest("p", &[b"ab", b"c"]), digests[0]);
    // Stored in claims: another way of computing it would take every repeat for another command.
    let known = ours.digest("idempotency", &[b"POST", b"/v1/posts", b"{}"]);
    assert_eq!(BASE64_STANDARD.encode(known), "ICRoj7D+yWHr2sr7lzR+9/wAd2//aw9UyRQrWpEh/L4=");
}
