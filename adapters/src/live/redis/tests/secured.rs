//! TLS, certificates of both ends, users and passwords, and no more rights than are needed.

use super::*;
use crate::secured::{Refusal, Secured, Visit};

#[tokio::test]
async fn both_ends_prove_who_they_are() {
    let server = Secured::start("redis").await;
    server.listen();
    let good = server.visit();
    let open = async |url: &StoreUrl| RedisLive::open(url, BUFFER).await;
    let spelled_out = Visit { password: Some(server.password.clone()), ..good.clone() };
    for visit in [&good, &spelled_out] {
        let live = server.lets_in(&server.url(visit, "own", ""), open).await;
        let mut subscription = live.subscribe(channel(1)).await.unwrap();
        live.publish(channel(1), vec![message(1)]).await.unwrap();
        expect(subscription.as_mut(), [1]).await;
        assert_eq!(format!("{live:?}"), format!("RedisLive(redis://ada@{}/own)", good.address));
    }
    // Who may not ask whether it is a cluster, must be told.
    let bob = Visit { user: "bob", ..good.clone() };
    server.lets_in(&server.url(&bob, "own", "cluster=false"), open).await;

    let good = || good.clone();
    let another_prefix = Refusal::unfit("another prefix", good(), "permission");
    server.refuses("other", "", vec![another_prefix], open).await;
    let password = Some(format!("{}!", server.password));
    let refusals = vec![
        Refusal::unfit("another password", Visit { password, ..good() }, "refuses"),
        Refusal::unfit("nobody's name", Visit { user: "eve", ..good() }, "refuses"),
        Refusal::unfit("no name", Visit { user: "", ..good() }, "refuses"),
        Refusal::unfit("a user who may not ask", bob, "cluster=false"),
        Refusal::unavailable(
            "another authority",
            Visit { authority: "nobody.pem", ..good() },
            "certificate verify failed",
        ),
        Refusal::unavailable(
            "one of the system's authorities",
            Visit { authority: "", ..good() },
            "certificate verify failed",
        ),
        Refusal::unfit("no file", Visit { authority: "missing.pem", ..good() }, "missing.pem"),
        Refusal::unavailable("another host", Visit { address: server.elsewhere().await, ..good() }, "mismatch"),
        Refusal::unavailable("no TLS", Visit { tls: false, ..good() }, "without TLS"),
        Refusal::unavailable("no certificate", Visit { identity: "", ..good() }, "without a certificate"),
        Refusal::unavailable(
            "a stranger's certificate",
            Visit { identity: "stranger", ..good() },
            "a certificate of ours",
        ),
    ];
    server.refuses("own", "", refusals, open).await;
    server.is_kept_from_logs();
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
