//! Removing what a system made on the servers, and lending keyspaces.
//!
//! All of it is for order alone: a server for tests is thrown away in the end. So what fails here fails no test.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use scylla::client::session_builder::SessionBuilder;

use super::{Keyspace, Servers};

/// Keyspaces with all their tables, empty, that nobody uses at present.
static POOL: Mutex<Vec<Keyspace>> = Mutex::new(Vec::new());

/// A server that does not answer is not waited for.
const PATIENCE: Duration = Duration::from_secs(20);

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn pool() -> MutexGuard<'static, Vec<Keyspace>> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A keyspace with empty tables; if there is none at present, the name `fresh` for a new one.
pub(super) fn lend_keyspace(server: &str, fresh: &str) -> Keyspace {
    let mut pool = pool();
    match pool.iter().position(|keyspace| keyspace.server == server) {
        Some(index) => pool.swap_remove(index),
        None => Keyspace { server: server.to_owned(), name: fresh.to_owned() },
    }
}

/// Removes what bears the name `own` from the servers, and puts the keyspace back into the pool once it is empty. Nobody
/// waits for that: the next scenario has begun by then.
pub(super) fn give_back(servers: Servers, own: String, keyspace: Option<Keyspace>) {
    if let Some(keyspace) = keyspace {
        apart(async move {
            empty(&keyspace).await?;
            pool().push(keyspace);
            Ok(())
        });
    }
    if let Some(server) = servers.mongodb {
        let own = own.clone();
        apart(async move {
            let client = mongodb::Client::with_uri_str(format!("{server}/")).await?;
            Ok(client.database(&own).drop().await?)
        });
    }
    if let Some(server) = servers.kafka {
        apart(async move { drop_topics(&server, &own).await });
    }
}

/// Puts a keyspace back as it was lent.
pub(super) fn give_back_unused(keyspace: Option<Keyspace>) {
    pool().extend(keyspace);
}

/// Runs `work` on a thread of its own: a test's runtime may be about to end.
fn apart(work: impl Future<Output = Result<(), Failure>> + Send + 'static) {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async { tokio::time::timeout(PATIENCE, work).await? })
    });
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
    let tables = tables.rows::<(String,)>()?.collect::<Result<Vec<_>, _>>()?;
    let truncate = async |table: &str| {
        let truncate = format!("TRUNCATE {}.{table}", keyspace.name);
        session.query_unpaged(truncate, ()).await.map(drop)
    };
    let filled = tables.iter().map(|(table,)| table.as_str()).filter(|table| !table.contains("schema"));
    futures::future::try_join_all(filled.map(truncate)).await?;
    Ok(())
}
