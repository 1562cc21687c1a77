//! Keyspaces, versions and URLs.

use std::time::Duration;

use super::*;

async fn session(keyspace: &str) -> Session {
    let url = url_of(keyspace);
    Options::of(&url).unwrap().connect(&url, Some(Duration::from_secs(60))).await.unwrap().session
}

fn unfit<T>(outcome: Result<T, StoreError>) -> String {
    match outcome.err() {
        Some(StoreError::Unfit(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_migrations_at_once_make_one_schema_and_a_newer_one_is_refused() {
    let keyspace = new_keyspace();
    let url = url_of(&keyspace);
    let missing = unfit(CassandraTimelines::open(&url).await);
    assert!(missing.contains(&keyspace) && missing.contains("hybrid-live migrate"), "{missing}");

    let (one, other) = tokio::join!(CassandraTimelines::migrate(&url), CassandraTimelines::migrate(&url));
    let mut from = [one.unwrap(), other.unwrap()].map(|migration| (migration.from, migration.to));
    from.sort_unstable();
    assert_eq!(from, [(0, 1), (1, 1)]);
    assert_eq!(CassandraTimelines::migrate(&url).await.unwrap(), Migration { from: 1, to: 1 });
    CassandraTimelines::open(&url).await.unwrap();

    let session = session(&keyspace).await;
    session.use_keyspace(&keyspace, false).await.unwrap();
    let set = "UPDATE schema_version SET version = ? WHERE part = 'timelines' IF EXISTS";
    for (version, says) in [(0, "hybrid-live migrate"), (9, "up to 1")] {
        session.query_unpaged(set, (version,)).await.unwrap();
        let refused = unfit(CassandraTimelines::open(&url).await);
        assert!(refused.contains(&format!("version {version}")) && refused.contains(says), "{refused}");
    }
    assert!(unfit(CassandraTimelines::migrate(&url).await).contains("version 9"));
    // A refused migration leaves its turn to the next.
    session.query_unpaged(set, (1,)).await.unwrap();
    assert_eq!(CassandraTimelines::migrate(&url).await.unwrap(), Migration { from: 1, to: 1 });
    drop_keyspace(&session, &keyspace).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_copies_than_nodes_are_refused() {
    for options in ["", "?replication=SimpleStrategy:4", "?replication=NetworkTopologyStrategy:elsewhere=1"] {
        let url = StoreUrl::parse(&format!("{}/{}{options}", server(), new_keyspace())).unwrap();
        let refused = unfit(CassandraTimelines::migrate(&url).await);
        assert!(refused.contains("the option `replication`"), "{options}: {refused}");
        assert!(unfit(CassandraTimelines::open(&url).await).contains("not there"), "nothing was made");
    }
    let url = StoreUrl::parse(&format!("{}/x?datacenter=elsewhere", server())).unwrap();
    let refused = unfit(CassandraTimelines::open(&url).await);
    assert!(refused.contains("no datacenter `elsewhere`") && refused.contains("datacenter1"), "{refused}");
}

#[tokio::test]
async fn a_url_says_what_it_means() {
    for (rest, says) in [
        ("/Upper", "keyspace's name"),
        ("/9nine", "keyspace's name"),
        ("/x%3B%20DROP", "keyspace's name"),
        ("/x?replication=SimpleStrategy:0", "`replication`"),
        ("/x?replication=Other:1", "`replication`"),
        ("/x?replication=NetworkTopologyStrategy:a'b=1", "`replication`"),
        ("/x?tls_ca_file=ca.pem", "`tls=true`"),
        ("/x?consistency=one", "no option `consistency`"),
    ] {
        let url = StoreUrl::parse(&format!("cassandra://ada:secret@localhost:1{rest}")).unwrap();
        for refused in [unfit(CassandraTimelines::open(&url).await), unfit(CassandraTimelines::migrate(&url).await)] {
            assert!(refused.contains(says) && !refused.contains("secret"), "{rest}: {refused}");
        }
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    // A port that nothing listens on any more.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = StoreUrl::parse(&format!("cassandra://ada:secret@127.0.0.1:{port}/x")).unwrap();
    let failed = CassandraTimelines::open(&url).await.expect_err("nobody is there");
    assert!(matches!(&failed, StoreError::Unavailable(text) if !text.contains("secret")), "{failed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_shown_of_an_adapter_is_not_secret() {
    let url = url_of(shared_keyspace().await);
    let with_password = url.for_driver().replace("://", "://ada:secret@");
    let timelines = CassandraTimelines::open(&StoreUrl::parse(&with_password).unwrap()).await.unwrap();
    let shown = format!("{timelines:?}");
    assert!(shown.contains(PREFIX) && !shown.contains("secret"), "{shown}");
}
