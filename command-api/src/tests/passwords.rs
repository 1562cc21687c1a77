//! Hashing is bounded, and who waits too long is asked to come again.

use std::time::Duration;

use serde_json::json;

use super::world::{CHEAP, PASSWORD, World};
use crate::auth::passwords::{NewPassword, PasswordError, PasswordSettings, Passwords};

fn password(text: &str) -> NewPassword {
    NewPassword::try_from(text.to_owned()).unwrap()
}

#[tokio::test]
async fn a_hash_is_argon2id_with_the_cost_that_was_set() {
    let passwords = Passwords::new(CHEAP).unwrap();
    let hash = passwords.hash(&password(PASSWORD)).await.unwrap();
    assert!(hash.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{hash}");
    assert_ne!(hash, passwords.hash(&password(PASSWORD)).await.unwrap(), "salted");
    assert!(passwords.verify(PASSWORD, Some(&hash)).await.unwrap());
    assert!(!passwords.verify("correct horse battery stapl", Some(&hash)).await.unwrap());
    assert!(!passwords.verify("", Some(&hash)).await.unwrap());
    assert!(!passwords.verify(PASSWORD, None).await.unwrap(), "nobody has a password");
    assert!(matches!(passwords.verify(PASSWORD, Some("damaged")).await, Err(PasswordError::Failed(_))));
    let default = PasswordSettings::default();
    assert_eq!((default.memory_kib, default.passes), (19 * 1024, 2));
    assert!(!format!("{:?}", password(PASSWORD)).contains(PASSWORD));
}

#[tokio::test]
async fn who_finds_no_turn_is_asked_to_come_again() {
    let world = World::together().await;
    world.register("ada").await.expect(201);
    // One turn, nobody waits, and each turn is long.
    let slow = PasswordSettings { memory_kib: 64 * 1024, passes: 8, at_once: 1, patience: Duration::ZERO };
    let busy = world.with_passwords(slow);
    let before = world.everything().await;
    let register = async |name: &str| {
        let body = json!({ "username": name, "password": PASSWORD });
        busy.post("/v1/accounts", &[], body).await
    };
    let (one, two, three) = tokio::join!(register("one"), register("two"), busy.log_in("ada", PASSWORD));
    let mut statuses = [one.status, two.status, three.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 503, 503], "{one:?} {two:?} {three:?}");
    assert_ne!(world.everything().await, before);
    for refused in [one, two, three].into_iter().filter(|reply| reply.status == 503) {
        assert!(refused.header("retry-after").is_some());
        refused.refused(503, "overloaded");
    }
    // Those who were refused have claimed no name.
    for name in ["one", "two"] {
        world.register(name).await;
    }
    assert_eq!(world.events().await["user.registered"], 3);
}
