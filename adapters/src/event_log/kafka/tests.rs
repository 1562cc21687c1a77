//! The contract, and what only this adapter can be asked.

use super::*;

/// The servers that tests share. Each test has topics of its own there.
fn servers() -> String {
    std::env::var("HYBRID_LIVE_TEST_KAFKA").expect("HYBRID_LIVE_TEST_KAFKA: run `eval \"$(tests/services/up)\"` first")
}

const OPTIONS: &str = "replication_factor=1&min_insync_replicas=1&session_timeout_ms=6000&heartbeat_interval_ms=200";

/// Topics of its own, which are deleted in the end.
struct Place {
    url: String,
}

impl Place {
    fn new() -> Self {
        let url = format!("{}/test-{:016x}", servers(), rand::random::<u64>());
        Self { url: format!("{url}?{OPTIONS}") }
    }

    fn url(&self) -> StoreUrl {
        StoreUrl::parse(&self.url).unwrap()
    }

    fn connection(&self) -> Arc<Connection> {
        Arc::new(Connection::new(&self.url()).unwrap())
    }

    async fn open(&self) -> KafkaEventLog {
        KafkaEventLog::open(&self.url()).await.unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let connection = self.connection();
        let mut names: Vec<String> = connection.log_topics(1).into_iter().map(|(name, _)| name).collect();
        names.push(connection.life_topic());
        let delete = async move {
            let admin: rdkafka::admin::AdminClient<_> =
                connection.asking().create_with_context(connection.context.clone()).unwrap();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let _ = admin.delete_topics(&names, &rdkafka::admin::AdminOptions::new()).await;
        };
        let deleted = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(delete);
        });
        deleted.join().unwrap();
    }
}

async fn place() -> (impl AsyncFn() -> Arc<dyn EventLog>, Arc<Place>) {
    let place = Arc::new(Place::new());
    KafkaEventLog::migrate(&place.url(), 4).await.unwrap();
    let outlives = Arc::clone(&place);
    (async move || Arc::new(place.open().await) as Arc<dyn EventLog>, outlives)
}

crate::event_log::contract::stamp!(contract, super::place);
crate::event_log::contract::membership::stamp!(membership_contract, super::place);
