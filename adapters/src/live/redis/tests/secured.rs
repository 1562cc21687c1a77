//! TLS, a user with a password, and no more rights than are needed.

use super::*;
use crate::redis::testing::{PASSWORD, secured_server};

const RIGHTS: &str = "resetchannels &own:* -@all +publish +subscribe +unsubscribe +ping +info +hello +select";

#[tokio::test]
async fn both_ends_prove_who_they_are() {
    let server = secured_server(RIGHTS);
    let file = |name: &str| server.directory.path().join(name).display().to_string();
    std::fs::write(file("password"), format!("{PASSWORD}\n")).expect("written");
    let identity = format!("&tls_certificate_file={}&tls_key_file={}", file("client.pem"), file("client.key"));
    let authority = format!("tls=true&tls_ca_file={}", file("ca.pem"));
    let url = |user: &str, prefix: &str, options: &str| {
        format!("redis://{user}@localhost:{}/{prefix}?password_file={}&{options}", server.port, file("password"))
    };

    let good = url("ada", "own", &format!("{authority}{identity}"));
    until("a server that answers", || async {
        RedisLive::open(&StoreUrl::parse(&good).expect("good"), BUFFER).await.is_ok()
    })
    .await;
    let live = opened(&good).await;
    let mut subscription = live.subscribe(channel(1)).await.unwrap();
    live.publish(channel(1), vec![message(1)]).await.unwrap();
    expect(subscription.as_mut(), [1]).await;
    assert_eq!(format!("{live:?}"), format!("RedisLive(redis://ada@localhost:{}/own)", server.port));

    let bob_may_not_ask = refusal(&url("bob", "own", &format!("{authority}{identity}"))).await;
    assert!(bob_may_not_ask.contains("cluster=false"), "{bob_may_not_ask}");
    opened(&url("bob", "own", &format!("{authority}{identity}&cluster=false"))).await;

    for (why, url) in [
        ("another prefix", url("ada", "other", &format!("{authority}{identity}"))),
        ("no such user", url("eve", "own", &format!("{authority}{identity}"))),
        (
            "another password",
            good.replace(&format!("password_file={}&", file("password")), "").replace("ada@", "ada:secret@"),
        ),
        ("no certificate of ours", url("ada", "own", &authority)),
        ("an authority that is not ours", url("ada", "own", &format!("tls=true{identity}"))),
        ("another host's certificate", good.replace("localhost", "127.0.0.1")),
        ("no TLS", url("ada", "own", "")),
    ] {
        let parsed = StoreUrl::parse(&url).expect("a good URL");
        let error = RedisLive::open(&parsed, BUFFER).await.expect_err(why);
        let is_setting = ["another prefix", "no such user", "another password"].contains(&why);
        assert_eq!(matches!(error, StoreError::Unfit(_)), is_setting, "{why}: {error}");
        let said = format!("{error} {error:?}");
        assert!(!said.contains(PASSWORD) && !said.contains("secret"), "{why}: {said}");
    }
}

/// Servers quote commands that they do not know, and passwords are in commands.
#[tokio::test]
async fn a_password_in_an_error_is_not_passed_on() {
    let server = Server::from_url(&StoreUrl::parse("redis://ada:secret@one/x").unwrap()).unwrap();
    let quoted = "unknown command `HELLO`, with args beginning with: `3` `AUTH` `ada` `secret`".to_owned();
    let error = redis::RedisError::from((redis::ErrorKind::Io, "refused", quoted));
    let told = server.told(&error);
    assert!(told.contains("`ada` `…`") && !told.contains("secret"), "{told}");
}
