//! Servers for tests: the one that is there, and a test's own, which it may hurt.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// Something that does come about, does so within this time, however slow the machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The server that is there for tests, with a prefix of one's own.
pub(crate) fn shared_url() -> String {
    let url = std::env::var("HYBRID_LIVE_TEST_REDIS");
    let url = url.expect("HYBRID_LIVE_TEST_REDIS names the Redis for tests: run `eval \"$(tests/services/up)\"` first");
    format!("{url}/test-{:016x}", rand::random::<u64>())
}

/// Waits until `is_so`.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let waited = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waited).await.unwrap_or_else(|_| panic!("{what} did not come about"));
}

pub(crate) struct OwnServer {
    child: Option<Child>,
    pub(crate) port: u16,
    arguments: Vec<String>,
    pub(crate) directory: TempDir,
}

impl OwnServer {
    /// A plain server.
    pub(crate) async fn start() -> Self {
        let server = Self::spawn(|_| Vec::new());
        server.answers().await;
        server
    }

    /// A server with more arguments, which get the directory that it works in. May not have come up yet.
    pub(crate) fn spawn(arguments: impl FnOnce(&Path) -> Vec<String>) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        // Nobody else is given the port again soon.
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
        let arguments = arguments(directory.path());
        let mut server = Self { child: None, port, arguments, directory };
        server.start_again();
        server
    }

    pub(crate) fn start_again(&mut self) {
        let mut command = Command::new("redis-server");
        let directory = self.directory.path();
        if !self.arguments.iter().any(|argument| argument == "--port") {
            command.arg("--port").arg(self.port.to_string());
        }
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"]).arg(directory);
        command.args(&self.arguments).stdout(Stdio::null());
        self.child = Some(command.spawn().expect("redis-server, from the package of that name"));
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().expect("it runs").id().to_string();
        let status = Command::new("kill").args([&format!("-{signal}"), &pid]).status().expect("kill");
        assert!(status.success());
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/own", self.port)
    }

    /// Another connection than the adapter's.
    pub(crate) async fn control(&self) -> redis::RedisResult<redis::aio::MultiplexedConnection> {
        // The driver's own patience is half a second, and machines that test are busy.
        let config = redis::AsyncConnectionConfig::new();
        let config = config.set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE));
        let client = redis::Client::open(("127.0.0.1", self.port))?;
        client.get_multiplexed_async_connection_with_config(&config).await
    }

    pub(crate) async fn ask<T: redis::FromRedisValue>(&self, command: &str) -> redis::RedisResult<T> {
        let mut words = command.split(' ');
        let mut asked = redis::cmd(words.next().expect("a command"));
        for word in words {
            asked.arg(word);
        }
        asked.query_async(&mut self.control().await?).await
    }

    pub(crate) async fn answers(&self) {
        until("a server that answers", || async { self.ask::<String>("PING").await.is_ok() }).await;
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        self.kill();
    }
}
