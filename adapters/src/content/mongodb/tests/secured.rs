//! TLS, users and passwords. The server for tests asks nobody for a certificate.

use domain::{StreamId, Timestamp};

use super::*;
use crate::secured::{Refusal, Secured, Visit};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_ends_prove_who_they_are() {
    let server = Secured::start("mongodb").await;
    server.listen();
    let good = server.visit();
    let spelled_out = Visit { password: Some(server.password.clone()), ..good.clone() };
    for (number, visit) in [(1, &good), (2, &spelled_out)] {
        let url = server.url(visit, "own", "");
        server.lets_in(&url, MongoContent::migrate).await;
        let content = server.lets_in(&url, MongoContent::open).await;
        let stream = StreamId::Post(domain::PostId::from_parts(Timestamp::from_millis(number), [0; 10]));
        let commit = Commit {
            stream,
            expected_revision: 0,
            state: "{}".to_owned(),
            private: None,
            rendered: None,
            records: Vec::new(),
            recent_commands: None,
            at: Timestamp::from_millis(number),
        };
        content.commit(commit).await.unwrap();
        assert_eq!(content.load(stream).await.unwrap().unwrap().state, "{}");
        server.is_kept_from(&format!("{content:?}"));
    }

    let good = || good.clone();
    let password = Some(format!("{}!", server.password));
    let refusals = vec![
        Refusal::unfit("another password", Visit { password, ..good() }, "Authentication failed"),
        Refusal::unfit("nobody's name", Visit { user: "eve", ..good() }, "Authentication failed"),
        Refusal::unfit("no name", Visit { user: "", ..good() }, "requires authentication"),
        Refusal::unfit("a user without rights", Visit { user: "bob", ..good() }, "not authorized"),
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
        Refusal::unavailable(
            "another host",
            Visit { address: server.elsewhere().await, ..good() },
            "certificate verify failed",
        ),
        Refusal::unavailable("no TLS", Visit { tls: false, ..good() }, "without TLS"),
    ];
    server.refuses("own", "", refusals, MongoContent::open).await;
    server.is_kept_from_logs();
}
