//! Starts a server for tests in a container and leaves it running; `tests/services/up` calls this where a Docker engine
//! answers, and ends the container with the Docker client.
//!
//! ```text
//! services start NAME CONTAINER PORT    returns when the server can be used at 127.0.0.1:PORT
//! services ready NAME                   prints what that server logs when it can be used
//! ```
//!
//! Where no engine answers this is compiled and checked, and that is all: the native servers are what is tested with there.

use std::error::Error;
use std::io::Write as _;
use std::time::Duration;

use testcontainers::core::{IntoContainerPort as _, WaitFor};
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerRequest, GenericImage, ImageExt as _};

/// How long an image may take to come and a server to be ready: the first run fetches the image.
const PATIENCE: Duration = Duration::from_mins(10);

/// A server as its makers publish it.
struct Image {
    name: &'static str,
    tag: &'static str,
    /// The port it listens on inside.
    port: u16,
    /// What it logs when it can be used.
    ready: &'static str,
}

fn image(server: &str) -> Result<Image, String> {
    let (name, tag, port, ready) = match server {
        "kafka" => ("apache/kafka", "4.1.2", 9092, "Kafka Server started"),
        "mongodb" => ("mongo", "8.0", 27017, "Waiting for connections"),
        "cassandra" => ("cassandra", "5.0", 9042, "Starting listening for CQL clients"),
        "redis" => ("redis", "7.2", 6379, "Ready to accept connections"),
        other => return Err(format!("no server is called {other}; there are: kafka, mongodb, cassandra, redis")),
    };
    Ok(Image { name, tag, port, ready })
}

/// The container of a server: settings as for the native ones, and nothing listens beyond this machine.
fn container(server: &str, name: &str, port: u16) -> Result<ContainerRequest<GenericImage>, String> {
    let image = image(server)?;
    let request = GenericImage::new(image.name, image.tag)
        .with_wait_for(WaitFor::message_on_either_std(image.ready))
        .with_container_name(name)
        .with_startup_timeout(PATIENCE)
        .with_mapped_port(port, image.port.tcp())
        .with_host_config_modifier(|host| {
            for binding in host.port_bindings.iter_mut().flat_map(|ports| ports.values_mut()).flatten().flatten() {
                binding.host_ip = Some("127.0.0.1".to_owned());
            }
        });
    Ok(match server {
        "kafka" => kafka(request, port),
        // Acknowledged is on disk: tests kill it and count. The image writes this into its own settings.
        "cassandra" => request.with_env_var("MAX_HEAP_SIZE", "1G").with_env_var("HEAP_NEWSIZE", "256M").with_cmd([
            "bash",
            "-c",
            CASSANDRA_IN_BATCHES,
        ]),
        "redis" => request.with_cmd(["redis-server", "--save", "", "--appendonly", "no"]),
        _ => request,
    })
}

/// Starts Cassandra with `commitlog_sync: batch` instead of `periodic`.
const CASSANDRA_IN_BATCHES: &str = "sed -i -e 's/^commitlog_sync: periodic/commitlog_sync: batch/' -e '/^commitlog_sync_period/d' \
                                    /etc/cassandra/cassandra.yaml && exec docker-entrypoint.sh cassandra -f";

/// One node that is broker and controller. It tells clients to come to the port of this machine.
fn kafka(request: ContainerRequest<GenericImage>, port: u16) -> ContainerRequest<GenericImage> {
    let settings = [
        ("KAFKA_PROCESS_ROLES", "broker,controller"),
        ("KAFKA_NODE_ID", "1"),
        ("KAFKA_LISTENERS", "PLAINTEXT://:9092,CONTROLLER://:9093"),
        ("KAFKA_LISTENER_SECURITY_PROTOCOL_MAP", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"),
        ("KAFKA_INTER_BROKER_LISTENER_NAME", "PLAINTEXT"),
        ("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER"),
        ("KAFKA_CONTROLLER_QUORUM_VOTERS", "1@localhost:9093"),
        ("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "1"),
        ("KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS", "1"),
        ("KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "1"),
        ("KAFKA_TRANSACTION_STATE_LOG_MIN_ISR", "1"),
        ("KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR", "1"),
        ("KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR", "1"),
        ("KAFKA_AUTO_CREATE_TOPICS_ENABLE", "false"),
        ("KAFKA_BROKER_HEARTBEAT_INTERVAL_MS", "250"),
        ("KAFKA_BROKER_SESSION_TIMEOUT_MS", "1000"),
        ("KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS", "0"),
        ("KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS", "1000"),
    ];
    settings
        .into_iter()
        .fold(request, |request, (name, value)| request.with_env_var(name, value))
        .with_env_var("KAFKA_ADVERTISED_LISTENERS", format!("PLAINTEXT://127.0.0.1:{port}"))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["start", server, name, port] => {
            let started = container(server, name, port.parse()?)?.start().await?;
            // Its end would be the container's end, and the tests are still to come.
            std::mem::forget(started);
        }
        ["ready", server] => writeln!(std::io::stdout(), "{}", image(server)?.ready)?,
        _ => return Err("services start NAME CONTAINER PORT, or services ready NAME".into()),
    }
    Ok(())
}
