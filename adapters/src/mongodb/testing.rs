//! A database of its own for each test, on the server that the environment names.

use std::sync::atomic::{AtomicU32, Ordering};

use mongodb::Database;

use crate::url::StoreUrl;

pub(crate) mod wire;

const SERVER: &str = "HYBRID_LIVE_TEST_MONGODB";

/// A database that is dropped with this.
pub(crate) struct Place {
    url: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let server = std::env::var(SERVER)
            .unwrap_or_else(|_| panic!("{SERVER} is not set: run `eval \"$(tests/services/up)\"` first"));
        let (number, chance) = (NUMBER.fetch_add(1, Ordering::Relaxed), rand::random::<u64>());
        Self { url: format!("{server}/hl_test_{number}_{chance:016x}") }
    }

    pub(crate) fn url(&self) -> StoreUrl {
        StoreUrl::parse(&self.url).unwrap()
    }

    /// To do by hand what an adapter does, or what destroys it.
    pub(crate) async fn database(&self) -> Database {
        super::database(&self.url()).await.unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Elsewhere: the test's own runtime may be ending.
        let url = self.url();
        let ended = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { super::database(&url).await.unwrap().drop().await.unwrap() });
        });
        assert!(ended.join().is_ok() || std::thread::panicking(), "the test's database is still there");
    }
}
