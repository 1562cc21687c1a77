//! TLS, a user with a password, and no more rights than are needed.

use super::*;
use crate::redis::testing::{PASSWORD, secured_server};

/// As `docs/deploying/redis.md` says.
const RIGHTS: &str = "~own:* -@all +get +set +del +pttl +pexpire +lrange +lindex +llen +linsert +lpushx +rpush +lset \
                      +lrem +evalsha +script|load +ping +info +hello +select";

#[tokio::test]
async fn a_user_with_these_rights_will_do() {
    let server = secured_server(RIGHTS);
    let file = |name: &str| server.directory.path().join(name).display().to_string();
    std::fs::write(file("password"), format!("{PASSWORD}\n")).expect("written");
    let options = format!(
        "password_file={}&tls=true&tls_ca_file={}&tls_certificate_file={}&tls_key_file={}",
        file("password"),
        file("ca.pem"),
        file("client.pem"),
        file("client.key")
    );
    let url = |user: &str, prefix: &str| format!("redis://{user}@localhost:{}/{prefix}?{options}", server.port);
    let good = url("ada", "own");
    // It may not listen yet, and is not waited for.
    let cache = opened(&good).await;
    let space = contract::space();
    let answers = || async { cache.values(space, &[contract::preview(1)]).await.is_ok() };
    until("a server that answers", answers).await;
    contract::filled(&cache, space, contract::preview(1), contract::value(1, "one")).await;
    contract::list_filled(&cache, space, contract::list(1), contract::comments(1, [(1, 1)])).await;
    for number in 2..9 {
        let items = vec![contract::item(number, number.into()), contract::item(10 - number, number.into())];
        cache.add_comments(space, vec![(contract::list(1), items)]).await.unwrap();
    }
    assert_eq!(format!("{cache:?}"), format!("RedisCache(redis://ada@localhost:{}/own)", server.port));

    // Its life is not told to bob, without which nothing can be believed.
    for (why, url) in [
        ("another prefix", url("ada", "other")),
        ("no INFO", format!("{}&cluster=false", url("bob", "own"))),
        ("no such user", url("eve", "own")),
    ] {
        let error = refusal(&url).await;
        assert!(matches!(error, StoreError::Unfit(_)), "{why}: {error}");
        assert!(!format!("{error} {error:?}").contains(PASSWORD), "{why}: {error}");
    }
    let bare = format!("redis://ada@localhost:{}/own?password_file={}", server.port, file("password"));
    let cache = opened(&bare).await;
    let error = cache.values(space, &[contract::preview(1)]).await.expect_err("no TLS");
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    assert!(!format!("{error} {error:?}").contains(PASSWORD), "{error}");
}
