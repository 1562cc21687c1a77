//! The contract on a real server, and what is true of this adapter beyond it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::OnceCell;

use super::*;
use crate::timelines::contract;

mod guards_hold;
mod own_schema;
mod restart;
mod secured;
mod throughput;

/// The server's URL without a keyspace.
fn server() -> String {
    std::env::var("HYBRID_LIVE_TEST_CASSANDRA")
        .expect("HYBRID_LIVE_TEST_CASSANDRA names the server for tests; run `eval \"$(tests/services/up)\"` first")
}

/// What tests name their keyspaces; the seconds since 1970 and something random follow.
const PREFIX: &str = "hl_test_";
/// After so long nobody uses a keyspace any more.
const OLD_SECONDS: u64 = 3_600;

fn new_keyspace() -> String {
    format!("{PREFIX}{}_{:08x}", now_seconds(), rand::random::<u32>())
}

fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn url_of(keyspace: &str) -> StoreUrl {
    StoreUrl::parse(&format!("{}/{keyspace}?replication=SimpleStrategy:1", server())).unwrap()
}

/// Tables are slow to make: all tests of a process share those of one keyspace. What earlier processes have left is
/// dropped.
async fn shared_keyspace() -> &'static str {
    static KEYSPACE: OnceCell<String> = OnceCell::const_new();
    let make = async || {
        let keyspace = new_keyspace();
        let url = url_of(&keyspace);
        let options = Options::of(&url).unwrap();
        let connection = options.connect(&url, None).await.unwrap();
        let rows = connection.session.query_unpaged("SELECT keyspace_name FROM system_schema.keyspaces", ()).await;
        let rows = rows.unwrap().into_rows_result().unwrap();
        for row in rows.rows::<(String,)>().unwrap() {
            let (name,) = row.unwrap();
            let made = name.strip_prefix(PREFIX).and_then(|rest| rest.split('_').next()?.parse::<u64>().ok());
            if made.is_some_and(|made| made + OLD_SECONDS < now_seconds()) {
                drop_keyspace(&connection.session, &name).await;
            }
        }
        CassandraTimelines::migrate(&url).await.unwrap();
        keyspace
    };
    KEYSPACE.get_or_init(make).await
}

async fn drop_keyspace(session: &Session, name: &str) {
    let mut statement = scylla::statement::Statement::new(format!("DROP KEYSPACE IF EXISTS {name}"));
    statement.set_request_timeout(Some(std::time::Duration::from_secs(60)));
    session.query_unpaged(statement, ()).await.unwrap();
}

/// A session of its own for each test, as each has a runtime of its own.
async fn open_shared() -> CassandraTimelines {
    CassandraTimelines::open(&url_of(shared_keyspace().await)).await.unwrap()
}

/// Generations that no other test has.
fn own_generations() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1_000);
    NEXT.fetch_add(1_000, Ordering::Relaxed)
}

/// The tables of this process as if they were empty: the generations of a test are its own.
struct Apart {
    inner: CassandraTimelines,
    first: u32,
}

impl Apart {
    fn shift(&self, Generation(generation): Generation) -> Generation {
        assert!(generation < 1_000);
        Generation(self.first + generation)
    }
}

macro_rules! delegate {
    ($($name:ident($($value:ident: $kind:ty),*) -> $answer:ty;)+) => {
        #[async_trait]
        impl Timelines for Apart {
            $(
                async fn $name(&self, generation: Generation, $($value: $kind),*) -> Result<$answer, StoreError> {
                    self.inner.$name(self.shift(generation), $($value),*).await
                }
            )+
        }
    };
}

delegate! {
    write_authors(entries: &[AuthorEntry]) -> ();
    authors(authors: &[UserId], span: Span, limit: usize) -> Vec<Entry>;
    authors_since(authors: &[UserId], after: &[i64], limit: usize) -> Vec<Entry>;
    write_homes(owners: &[UserId], entry: Entry) -> Vec<UserId>;
    fill_home(owner: UserId, entries: &[Entry]) -> ();
    raise_mark(owner: UserId, mark: PostId) -> ();
    trim(owner: UserId, at: usize, to: usize) -> ();
    home(owner: UserId, span: Span, limit: usize) -> Home;
    home_since(owner: UserId, after: &[i64], limit: usize) -> Home;
    scan_authors(after: Option<(UserId, PostId)>, limit: usize) -> Vec<AuthorEntry>;
    scan_homes(after: Option<(UserId, PostId)>, limit: usize) -> Vec<(UserId, Entry)>;
}

async fn open() -> (Arc<dyn Timelines>, ()) {
    (Arc::new(Apart { inner: open_shared().await, first: own_generations() }), ())
}

contract::stamp!(open);
