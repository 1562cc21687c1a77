//! TLS, certificates of both ends, users and passwords, and no more rights than are needed.

use domain::Timestamp;

use super::*;
use crate::secured::{Refusal, Secured, Visit};
use crate::timelines::Order;

const OPTIONS: &str = "replication=SimpleStrategy:1";
const KEYSPACE: &str = "own";

/// A session as the one user that there is from the beginning.
async fn administrator(server: &Secured) -> Session {
    let visit = Visit { user: "cassandra", password: Some("cassandra".to_owned()), ..server.visit() };
    let url = server.url(&visit, KEYSPACE, "");
    let options = Options::of(&url).unwrap();
    // The server makes that user a moment after it listens.
    let connected = async {
        loop {
            match options.connect(&url, None).await {
                Ok(connection) => return connection.session,
                Err(error) => println!("not yet: {error}"),
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), connected).await.expect("the user cassandra")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_ends_prove_who_they_are() {
    let server = Secured::start("cassandra").await;
    let administrator = administrator(&server).await;
    let ask = async |statements: &[&str]| {
        for statement in statements {
            administrator.query_unpaged(*statement, ()).await.unwrap();
        }
    };
    for user in ["ada", "bob", "migrator"] {
        ask(&[&format!("CREATE ROLE {user} WITH PASSWORD = '{}' AND LOGIN = true", server.password)]).await;
    }
    // The driver logs statements, and those were ours.
    server.listen();
    ask(&["GRANT CREATE ON ALL KEYSPACES TO migrator"]).await;
    let migrator = Visit { user: "migrator", ..server.visit() };
    server.lets_in(&server.url(&migrator, KEYSPACE, OPTIONS), CassandraTimelines::migrate).await;
    ask(&["GRANT SELECT ON KEYSPACE own TO ada", "GRANT MODIFY ON KEYSPACE own TO ada"]).await;

    let good = server.visit();
    let spelled_out = Visit { password: Some(server.password.clone()), ..good.clone() };
    for (number, visit) in [(1, &good), (2, &spelled_out)] {
        let timelines = server.lets_in(&server.url(visit, KEYSPACE, ""), CassandraTimelines::open).await;
        let owner = UserId::from_parts(Timestamp::from_millis(number), [0; 10]);
        let post = PostId::from_parts(Timestamp::from_millis(number), [0; 10]);
        let entry = Entry { post, author: owner, partition: 0, offset: 1 };
        timelines.write_homes(Generation(1), &[owner], entry).await.unwrap();
        let all = Span { above: PostId::MIN, below: PostId::MAX, order: Order::NewestFirst };
        assert_eq!(timelines.home(Generation(1), owner, all, 10).await.unwrap().entries, [entry]);
        server.is_kept_from(&format!("{timelines:?}"));
    }

    let good = || good.clone();
    let password = Some(format!("{}!", server.password));
    let refusals = vec![
        Refusal::unfit("another password", Visit { password, ..good() }, "does not let us in"),
        Refusal::unfit("nobody's name", Visit { user: "eve", ..good() }, "does not let us in"),
        Refusal::unfit("no name", Visit { user: "", ..good() }, "wants a user"),
        Refusal::unfit("a user without rights", Visit { user: "bob", ..good() }, "no SELECT permission"),
        Refusal::unavailable("another authority", Visit { authority: "nobody.pem", ..good() }, "tls_ca_file"),
        Refusal::unavailable("one of the system's authorities", Visit { authority: "", ..good() }, "tls_ca_file"),
        Refusal::unfit("no file", Visit { authority: "missing.pem", ..good() }, "missing.pem"),
        Refusal::unavailable(
            "another host",
            Visit { address: server.elsewhere().await, ..good() },
            "the node's IP address",
        ),
        Refusal::unavailable("no TLS", Visit { tls: false, ..good() }, "without TLS"),
        Refusal::unavailable("no certificate", Visit { identity: "", ..good() }, "without a certificate"),
        Refusal::unavailable(
            "a stranger's certificate",
            Visit { identity: "stranger", ..good() },
            "a certificate of ours",
        ),
    ];
    server.refuses(KEYSPACE, "", refusals, CassandraTimelines::open).await;
    server.is_kept_from_logs();
}
