//! TLS, certificates of both ends, users and passwords.

use super::*;
use crate::secured::{Refusal, Secured, Visit};

const OPTIONS: &str = "replication_factor=1&min_insync_replicas=1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_ends_prove_who_they_are() {
    let server = Secured::start("kafka").await;
    server.listen();
    let good = server.visit();
    for (prefix, mechanism) in [("default", ""), ("scram", "&sasl=SCRAM-SHA-256"), ("plain", "&sasl=PLAIN")] {
        let url = server.url(&good, prefix, &format!("{OPTIONS}&timeout_ms=60000{mechanism}"));
        server.lets_in(&url, async |url| KafkaEventLog::migrate(url, 1).await).await;
        let log = server.lets_in(&url, KafkaEventLog::open).await;
        let appended = record(Topic::Posts, "lane");
        log.append(vec![appended.clone()]).await.unwrap();
        let read = all_of(&log, Topic::Posts, 0, 10).await;
        assert_eq!(read[0].record.as_ref(), Ok(&appended));
        server.is_kept_from(&format!("{log:?}"));
    }
    let spelled_out = Visit { password: Some(server.password.clone()), ..good.clone() };
    server.lets_in(&server.url(&spelled_out, "default", OPTIONS), KafkaEventLog::open).await;

    let good = || good.clone();
    let password = Some(format!("{}!", server.password));
    let refusals = vec![
        Refusal::unfit("another password", Visit { password, ..good() }, "does not let us in"),
        Refusal::unfit("nobody's name", Visit { user: "eve", ..good() }, "does not let us in"),
        Refusal::unavailable("no name", Visit { user: "", ..good() }, "without a user"),
        Refusal::unfit("a user without rights", Visit { user: "bob", ..good() }, "TopicAuthorizationFailed"),
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
        Refusal::unavailable("no certificate", Visit { identity: "", ..good() }, "without a certificate"),
        Refusal::unavailable(
            "a stranger's certificate",
            Visit { identity: "stranger", ..good() },
            "a certificate of ours",
        ),
    ];
    server.refuses("default", OPTIONS, refusals, KafkaEventLog::open).await;
    server.is_kept_from_logs();
}
