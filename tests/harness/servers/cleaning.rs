//! Removing what a system made on the servers, and lending keyspaces.
//!
//! All of it is for order alone: a server for tests is thrown away in the end. So what fails here fails no test.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;

use super::{Keyspace, Servers};

/// Keyspaces with all their tables that nobody uses at present.
static POOL: Mutex<Vec<Keyspace>> = Mutex::new(Vec::new());

/// For each step: a server that does not answer is not waited for.
const PATIENCE: Duration = Duration::from_secs(20);

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A keyspace with empty tables; if there is none, the name `fresh` for a new one.
pub(super) fn lend_keyspace(server: &str, fresh: &str) -> Keyspace {
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    let kept = pool.iter().position(|keyspace| keyspace.server == server).map(|index| pool.swap_remove(index));
    drop(pool);
    if let Some(keyspace) = kept {
        let emptied = keyspace.clone();
        if let Ok(()) = apart(async move { empty(&emptied).await }) {
            return keyspace;
        }
    }
    Keyspace { server: server.to_owned(), name: fresh.to_owned() }
}

/// Removes what bears the name `own` from the servers, and puts the keyspace back into the pool.
pub(super) fn give_back(servers: &Servers, own: &str, keyspace: Option<Keyspace>) {
    let (kafka, mongodb, own) = (servers.kafka.clone(), servers.mongodb.clone(), own.to_owned());
    if kafka.is_some() || mongodb.is_some() {
        let _ = apart(async move {
            if let Some(server) = mongodb {
                mongodb::Client::with_uri_str(format!("{server}/")).await?.database(&own).drop().await?;
            }
            match kafka {
                Some(server) => drop_topics(&server, &own).await,
                None => Ok(()),
            }
        });
    }
    // One that was never made has no tables; whoever borrows it makes them.
    if let Some(keyspace) = keyspace {
        POOL.lock().unwrap_or_else(PoisonError::into_inner).push(keyspace);
    }
}

/// Runs `work` on a thread of its own: a test's runtime may be about to end.
fn apart<T: Send + 'static>(work: impl Future<Output = Result<T, Failure>> + Send + 'static) -> Result<T, Failure> {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async { tokio::time::timeout(PATIENCE, work).await? })
    };
    std::thread::spawn(run).join().map_err(|_| Failure::from("the cleaner panicked"))?
}

async fn drop_topics(server: &str, own: &str) -> Result<(), Failure> {
    let brokers = server.trim_start_matches("kafka://");
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).set("log_level", "0").create()?;
    let metadata = admin.inner().fetch_metadata(None, PATIENCE)?;
    let topics: Vec<&str> =
        metadata.topics().iter().map(|topic| topic.name()).filter(|name| name.contains(own)).collect();
    admin.delete_topics(&topics, &AdminOptions::new()).await?;
    Ok(())
}

/// Empties every table but the one that says which version of the schema is there.
async fn empty(keyspace: &Keyspace) -> Result<(), Failure> {
    let node = keyspace.server.trim_start_matches("cassandra://");
    let session = SessionBuilder::new().known_node(node).build().await?;
    let query = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ?";
    let tables = session.query_unpaged(query, (&keyspace.name,)).await?.into_rows_result()?;
    for table in tables.rows::<(String,)>()? {
        let (table,) = table?;
        if !table.contains("schema") {
            truncate(&session, &keyspace.name, &table).await?;
        }
    }
    Ok(())
}

async fn truncate(session: &Session, keyspace: &str, table: &str) -> Result<(), Failure> {
    session.query_unpaged(format!("TRUNCATE {keyspace}.{table}"), ()).await?;
    Ok(())
}
