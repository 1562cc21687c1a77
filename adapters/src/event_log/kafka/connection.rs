//! How the servers are reached: the URL's options, and what each kind of client is told.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use domain::Topic;
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::StoreError;
use crate::url::{StoreUrl, Tls, UrlError};

/// The largest record that is sent.
pub(super) const MAX_RECORD_BYTES: usize = 1024 * 1024;
/// What a server sends in one answer, and keeps for one partition that nobody reads on. A client's memory is bounded by
/// them, and one record always fits.
const FETCH_BYTES: usize = 4 * 1024 * 1024;
const PARTITION_KBYTES: usize = 1024;
/// Records and bytes that wait to be sent, of all callers.
const UNSENT_RECORDS: usize = 50_000;
const UNSENT_KBYTES: usize = 64 * 1024;
/// How long a record waits for company.
const LINGER_MILLIS: u32 = 2;
/// How often the same trouble is told of.
const TELL_EVERY: Duration = Duration::from_secs(30);

/// What a URL says.
pub(super) struct Connection {
    client: ClientConfig,
    prefix: String,
    shown: String,
    /// How connections are made.
    manner: String,
    /// How long an answer may take.
    pub(super) timeout: Duration,
    session: Duration,
    heartbeat: Duration,
    /// Copies that every topic must have.
    pub(super) replication_factor: u16,
    /// Copies that must be there for a write.
    pub(super) min_insync_replicas: u16,
    /// What all its clients share.
    pub(super) context: Context,
}

impl Connection {
    pub(super) fn new(url: &StoreUrl) -> Result<Self, StoreError> {
        let wrong = |error: UrlError| StoreError::Unfit(format!("{url}: {error}"));
        Self::read(url).map_err(wrong)
    }

    fn read(url: &StoreUrl) -> Result<Self, UrlError> {
        let millis = |key: &str, default| Ok(Duration::from_millis(url.parsed(key)?.unwrap_or(default)));
        let timeout = millis("timeout_ms", 5_000)?;
        let session = millis("session_timeout_ms", 10_000)?;
        let heartbeat = millis("heartbeat_interval_ms", 1_000)?;
        if timeout < Duration::from_secs(1) {
            return Err(UrlError::new("`timeout_ms` must be at least 1000"));
        }
        if heartbeat.is_zero() || heartbeat * 3 > session {
            return Err(UrlError::new("`heartbeat_interval_ms` must be at most a third of `session_timeout_ms`"));
        }
        let replication_factor = url.parsed("replication_factor")?.unwrap_or(3);
        let min_insync_replicas = url.parsed("min_insync_replicas")?.unwrap_or(2);
        if min_insync_replicas == 0 || min_insync_replicas > replication_factor {
            return Err(UrlError::new("`min_insync_replicas` must be from 1 to `replication_factor`"));
        }
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if url.name().len() > 150 || !url.name().bytes().all(legal) {
            return Err(UrlError::new("the prefix of the topics may have letters, digits, `.`, `_` and `-` only"));
        }
        let mut client = ClientConfig::new();
        client
            .set_log_level(RDKafkaLogLevel::Warning)
            .set("bootstrap.servers", url.hosts().join(","))
            .set("client.id", "hybrid-live")
            .set("log.connection.close", "false")
            .set("socket.keepalive.enable", "true")
            .set("socket.timeout.ms", timeout.as_millis().to_string())
            .set("socket.connection.setup.timeout.ms", timeout.as_millis().to_string())
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000");
        let manner = secure(url, &mut client)?;
        url.finish()?;
        Ok(Self {
            client,
            prefix: if url.name().is_empty() { String::new() } else { format!("{}.", url.name()) },
            shown: url.to_string(),
            manner,
            timeout,
            session,
            heartbeat,
            replication_factor,
            min_insync_replicas,
            context: Context::default(),
        })
    }

    /// The name of a topic on the servers.
    pub(super) fn topic(&self, topic: Topic) -> String {
        format!("{}{topic}", self.prefix)
    }

    /// The topic that says which life of the log this is.
    pub(super) fn life_topic(&self) -> String {
        format!("{}hybrid-live.log", self.prefix)
    }

    /// For clients that ask and change what topics there are.
    pub(super) fn asking(&self) -> ClientConfig {
        self.client.clone()
    }

    /// For the client that appends. Idempotence keeps what is sent again after a lost answer from standing twice, or
    /// behind what was sent after it.
    pub(super) fn appending(&self) -> ClientConfig {
        let mut config = self.client.clone();
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("compression.type", "lz4")
            .set("linger.ms", LINGER_MILLIS.to_string())
            .set("message.timeout.ms", self.timeout.as_millis().to_string())
            .set("request.timeout.ms", self.timeout.as_millis().to_string())
            .set("message.max.bytes", MAX_RECORD_BYTES.to_string())
            .set("queue.buffering.max.messages", UNSENT_RECORDS.to_string())
            .set("queue.buffering.max.kbytes", UNSENT_KBYTES.to_string());
        config
    }

    /// For clients that read from places of our own choice. The library wants the name of a group even where there is
    /// none to join.
    pub(super) fn reading(&self) -> ClientConfig {
        let mut config = self.consuming("readers");
        config
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "true")
            .set("isolation.level", "read_uncommitted")
            .set("check.crcs", "true")
            .set("message.max.bytes", MAX_RECORD_BYTES.to_string())
            .set("fetch.max.bytes", FETCH_BYTES.to_string())
            .set("max.partition.fetch.bytes", (PARTITION_KBYTES * 1024).to_string())
            .set("queued.max.messages.kbytes", PARTITION_KBYTES.to_string())
            // Queues are short: whoever empties one must not wait for the next look at it.
            .set("fetch.queue.backoff.ms", "10");
        config
    }

    /// For the client that is a member of a group and reads nothing.
    pub(super) fn joining(&self, group: &str) -> ClientConfig {
        let mut config = self.consuming(group);
        config
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", self.session.as_millis().to_string())
            .set("heartbeat.interval.ms", self.heartbeat.as_millis().to_string())
            .set("max.poll.interval.ms", self.session.as_millis().max(300_000).to_string())
            .set("queued.min.messages", "1")
            .set("queued.max.messages.kbytes", "1")
            .set("max.partition.fetch.bytes", "1");
        config
    }

    fn consuming(&self, group: &str) -> ClientConfig {
        let mut config = self.client.clone();
        config
            .set("group.id", format!("{}hybrid-live.{group}", self.prefix))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("allow.auto.create.topics", "false");
        config
    }
}

/// Answers how connections are made.
fn secure(url: &StoreUrl, client: &mut ClientConfig) -> Result<String, UrlError> {
    let tls = url.tls()?;
    if let Some(tls) = &tls {
        let text = |path: &std::path::Path| path.display().to_string();
        if let Some(file) = &tls.ca_file {
            client.set("ssl.ca.location", text(file));
        }
        if let Some((certificate, key)) = &tls.identity {
            client.set("ssl.certificate.location", text(certificate)).set("ssl.key.location", text(key));
        }
    }
    let mechanism = url.option("sasl");
    let protocol = match (url.user(), url.password()) {
        (None, None) if mechanism.is_some() => return Err(UrlError::new("`sasl` needs a user and a password")),
        (None, None) => {
            if tls.is_some() {
                "ssl"
            } else {
                "plaintext"
            }
        }
        (Some(user), Some(password)) => {
            // One that does not show the password to the server, unless told otherwise.
            let mechanism = mechanism.unwrap_or("SCRAM-SHA-512");
            if !["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"].contains(&mechanism) {
                return Err(UrlError::new("`sasl` is PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"));
            }
            client.set("sasl.mechanism", mechanism).set("sasl.username", user).set("sasl.password", password);
            if tls.is_some() { "sasl_ssl" } else { "sasl_plaintext" }
        }
        _ => return Err(UrlError::new("a user and a password go together")),
    };
    client.set("security.protocol", protocol);
    let who = if url.user().is_some() { "as a user" } else { "without a user" };
    Ok(format!("{}, {who}", Tls::manner(tls.as_ref())))
}

/// As the URL may be shown: the clients' settings hold the password.
impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// What the library's clients tell, passed on without floods: a server that is gone is told of by every client for
/// every attempt to reach it.
#[derive(Clone, Default)]
pub(super) struct Context {
    told: Arc<Mutex<HashMap<String, Told>>>,
    trouble: Arc<Mutex<Option<Trouble>>>,
}

/// What a client could not do.
#[derive(Clone)]
struct Trouble {
    what: String,
    /// Whether it was not let in for who it is: nobody mends that by waiting.
    is_refused: bool,
}

struct Told {
    at: Instant,
    /// What was not told since.
    withheld: u64,
}

impl Context {
    /// What was wrong last. It explains why an answer does not come.
    fn trouble(&self) -> Option<Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn tell(&self, facility: &str, message: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let withheld = match told.get_mut(facility) {
            Some(before) if before.at.elapsed() < TELL_EVERY => {
                before.withheld += 1;
                tracing::debug!(facility, "kafka: {message}");
                return;
            }
            Some(before) => before.withheld,
            None => 0,
        };
        told.insert(facility.to_owned(), Told { at: Instant::now(), withheld: 0 });
        tracing::warn!(facility, withheld, "kafka: {message}");
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => self.tell(facility, message),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => tracing::debug!(facility, "kafka: {message}"),
            RDKafkaLogLevel::Debug => tracing::trace!(facility, "kafka: {message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        // The end of a partition comes this way, too.
        if code == Some(RDKafkaErrorCode::PartitionEOF) {
            return;
        }
        // That all servers are out of reach says nothing of why.
        if code != Some(RDKafkaErrorCode::AllBrokersDown) {
            let is_refused = code == Some(RDKafkaErrorCode::Authentication);
            let trouble = Trouble { what: reason.to_owned(), is_refused };
            *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(trouble);
        }
        self.tell("ERROR", reason);
    }
}

impl ConsumerContext for Context {}

/// What a client's error means to callers.
pub(super) fn failed(error: KafkaError) -> StoreError {
    match error {
        // A file with a certificate that is none, say. The settings themselves are not quoted: one is the password.
        KafkaError::ClientConfig(_, what, key, _) => StoreError::Unfit(format!("kafka: {key}: {what}")),
        KafkaError::ClientCreation(what) => StoreError::Unfit(format!("kafka: {what}")),
        _ => match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                StoreError::Unfit(format!("a record is larger than {MAX_RECORD_BYTES} bytes or than its topic allows"))
            }
            Some(code) if is_forbidden(code) => StoreError::Unfit(format!("kafka: {code}")),
            _ => StoreError::Unavailable(format!("kafka: {error}")),
        },
    }
}

/// What servers answer about `what`.
pub(super) fn answered(what: &str, code: RDKafkaErrorCode) -> StoreError {
    let text = format!("kafka: {what}: {code}");
    if is_forbidden(code) { StoreError::Unfit(text) } else { StoreError::Unavailable(text) }
}

/// Whether the servers know us, but do not let us.
fn is_forbidden(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(code, Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed | Code::GroupAuthorizationFailed)
}

/// What a question that `client` did not get an answer to means, with what the client tells beside: why it is not let in,
/// say. Blocks for a moment.
pub(super) fn unanswered<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    connection: &Connection,
    error: KafkaError,
) -> StoreError {
    while client.poll(Duration::from_millis(50)).is_some() {}
    let manner = &connection.manner;
    match (failed(error), connection.context.trouble()) {
        (StoreError::Unavailable(_), Some(Trouble { what, is_refused: true })) => {
            StoreError::Unfit(format!("kafka does not let us in: {what}"))
        }
        (StoreError::Unavailable(error), Some(Trouble { what, .. })) => {
            StoreError::Unavailable(format!("{error} ({what}); connections are made {manner}"))
        }
        (StoreError::Unavailable(error), None) => {
            StoreError::Unavailable(format!("{error}; connections are made {manner}"))
        }
        (other, _) => other,
    }
}

/// Clients take a while to end, which is no business of the threads that everything else runs on.
pub(super) fn drop_elsewhere<T: Send + 'static>(value: T) {
    let ending = std::thread::Builder::new().name("kafka-end".to_owned()).spawn(move || drop(value));
    if let Err(error) = ending {
        tracing::warn!(%error, "no thread for ending a client of kafka");
    }
}
