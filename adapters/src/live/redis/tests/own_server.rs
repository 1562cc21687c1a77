//! Servers of a test's own, which it may hurt.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::*;

pub(super) struct OwnServer {
    child: Option<Child>,
    pub(super) port: u16,
    arguments: Vec<String>,
    pub(super) directory: TempDir,
}

impl OwnServer {
    /// A plain server.
    pub(super) async fn start() -> Self {
        let server = Self::spawn(|_| Vec::new());
        server.answers().await;
        server
    }

    /// A server with more arguments, which get the directory that it works in. May not have come up yet.
    pub(super) fn spawn(arguments: impl FnOnce(&Path) -> Vec<String>) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        // Nobody else is given the port again soon.
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
        let arguments = arguments(directory.path());
        let mut server = Self { child: None, port, arguments, directory };
        server.start_again();
        server
    }

    pub(super) fn start_again(&mut self) {
        let mut command = Command::new("redis-server");
        let directory = self.directory.path();
        if !self.arguments.iter().any(|argument| argument == "--port") {
            command.arg("--port").arg(self.port.to_string());
        }
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"]).arg(directory);
        command.args(&self.arguments).stdout(Stdio::null());
        self.child = Some(command.spawn().expect("redis-server, from the package of that name"));
    }

    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub(super) fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().expect("it runs").id().to_string();
        let status = Command::new("kill").args([&format!("-{signal}"), &pid]).status().expect("kill");
        assert!(status.success());
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/own", self.port)
    }

    /// Another connection than the adapter's.
    pub(super) async fn control(&self) -> redis::RedisResult<redis::aio::MultiplexedConnection> {
        // The driver's own patience is half a second, and machines that test are busy.
        let config = redis::AsyncConnectionConfig::new();
        let config = config.set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE));
        let client = redis::Client::open(("127.0.0.1", self.port))?;
        client.get_multiplexed_async_connection_with_config(&config).await
    }

    pub(super) async fn ask<T: redis::FromRedisValue>(&self, command: &str) -> redis::RedisResult<T> {
        let mut words = command.split(' ');
        let mut asked = redis::cmd(words.next().expect("a command"));
        for word in words {
            asked.arg(word);
        }
        asked.query_async(&mut self.control().await?).await
    }

    pub(super) async fn answers(&self) {
        until("a server that answers", || async { self.ask::<String>("PING").await.is_ok() }).await;
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        self.kill();
    }
}
