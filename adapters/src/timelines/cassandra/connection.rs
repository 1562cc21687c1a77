//! From a URL to a session, and what the driver's errors mean to callers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use openssl::ssl::{SslConnector, SslFiletype, SslMethod};
use openssl::x509::X509;
use openssl::x509::store::X509StoreBuilder;
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::{OpenSsl010Config, Session};
use scylla::client::session_builder::SessionBuilder;
use scylla::cluster::ClusterState;
use scylla::errors::{
    ConnectionError, ConnectionPoolError, ConnectionSetupRequestErrorKind, DbError, ExecutionError, MetadataError,
    NewSessionError, PrepareError, RequestAttemptError,
};
use scylla::policies::load_balancing::DefaultPolicy;
use scylla::policies::speculative_execution::SimpleSpeculativeExecutionPolicy;
use scylla::statement::{Consistency, SerialConsistency};

use crate::StoreError;
use crate::url::{StoreUrl, Tls, UrlError};

/// Where a URL names no keyspace.
const KEYSPACE: &str = "hybrid_live";
/// Longest name of a keyspace.
const NAME_LENGTH: usize = 48;
/// Of one connection's opening.
const CONNECT: Duration = Duration::from_secs(5);
/// Of a read or write, the driver's own retries included.
const REQUEST: Duration = Duration::from_secs(5);
/// After so long a read is sent to a second replica, too.
const READ_ELSEWHERE: Duration = Duration::from_millis(500);
/// Copies of each row, where nothing else is asked for: one node may fail, and quorums go on.
const FACTOR: usize = 3;

/// What a URL says.
pub(super) struct Options {
    pub(super) keyspace: String,
    datacenter: Option<String>,
    replication: Option<Replication>,
    tls: Option<Tls>,
}

/// How many copies are kept, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Replication {
    /// Anywhere.
    Simple(usize),
    /// In each datacenter.
    Datacenters(BTreeMap<String, usize>),
}

/// A session and how its statements are sent.
pub(super) struct Connection {
    pub(super) session: Session,
    /// For reads: a slow replica is not waited for if another answers.
    pub(super) reads: ExecutionProfile,
    /// For writes: idempotent as well, but a cluster that is slow for its load is not helped by each write coming twice.
    pub(super) writes: ExecutionProfile,
    pub(super) datacenter: String,
}

impl Options {
    /// Reads a URL.
    pub(super) fn of(url: &StoreUrl) -> Result<Self, StoreError> {
        Self::parse(url).map_err(|error| StoreError::Unfit(error.to_string()))
    }

    fn parse(url: &StoreUrl) -> Result<Self, UrlError> {
        let keyspace = if url.name().is_empty() { KEYSPACE } else { url.name() };
        if !is_name(keyspace) {
            return Err(UrlError::new(format!(
                "a keyspace's name begins with a letter and has at most {NAME_LENGTH} lower-case letters, digits and _"
            )));
        }
        let options = Self {
            keyspace: keyspace.to_owned(),
            datacenter: url.option("datacenter").map(str::to_owned),
            replication: url.option("replication").map(Replication::parse).transpose()?,
            tls: url.tls()?,
        };
        url.finish()?;
        Ok(options)
    }

    /// Connects. `patience` is for one statement.
    pub(super) async fn connect(&self, url: &StoreUrl, patience: Option<Duration>) -> Result<Connection, StoreError> {
        let profile = ExecutionProfile::builder()
            .consistency(Consistency::LocalQuorum)
            .serial_consistency(Some(SerialConsistency::LocalSerial))
            .request_timeout(Some(patience.unwrap_or(REQUEST)))
            .build();
        let mut handle = profile.clone().into_handle();
        let mut builder = SessionBuilder::new()
            .known_nodes(url.hosts())
            .connection_timeout(CONNECT)
            .keyspaces_to_fetch([&self.keyspace])
            .default_execution_profile_handle(handle.clone());
        if let (Some(user), password) = (url.user(), url.password().unwrap_or_default()) {
            builder = builder.user(user, password);
        }
        if let Some(tls) = &self.tls {
            builder = builder.tls_context(Some(tls_config(tls)?));
        }
        let session = builder.build().await.map_err(|error| self.not_connected(&error))?;

        let datacenter = self.local_datacenter(&session.get_cluster_state())?;
        // Another datacenter is no substitute: its quorum knows nothing of what this one's has acknowledged.
        let policy = DefaultPolicy::builder()
            .prefer_datacenter(datacenter.clone())
            .token_aware(true)
            .permit_dc_failover(false)
            .build();
        let writes = profile.to_builder().load_balancing_policy(policy).build();
        let second = SimpleSpeculativeExecutionPolicy { max_retry_count: 1, retry_interval: READ_ELSEWHERE };
        let reads = writes.to_builder().speculative_execution_policy(Some(Arc::new(second))).build();
        handle.map_to_another_profile(writes.clone());
        Ok(Connection { session, reads, writes, datacenter })
    }

    fn not_connected(&self, error: &NewSessionError) -> StoreError {
        use ConnectionSetupRequestErrorKind::{BrokenConnection, DbError as Refused, MissingAuthentication};
        // The driver breaks its lines.
        let text = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        let unavailable = |why: &str| StoreError::Unavailable(format!("Cassandra: {text}{why}"));
        let NewSessionError::MetadataError(MetadataError::ConnectionPoolError(ConnectionPoolError::Broken {
            last_connection_error,
        })) = error
        else {
            return unavailable("");
        };
        match last_connection_error {
            ConnectionError::ConnectionSetupRequestError(setup) => match setup.get_error() {
                Refused(DbError::AuthenticationError | DbError::Unauthorized, why) => {
                    StoreError::Unfit(format!("Cassandra does not let us in: {why}"))
                }
                MissingAuthentication => {
                    StoreError::Unfit("Cassandra wants a user and a password, and the URL has none".to_owned())
                }
                BrokenConnection(_) => {
                    unavailable(&format!("; connections are made {}", Tls::manner(self.tls.as_ref())))
                }
                _ => unavailable(""),
            },
            _ if text.contains("certificate verify failed") => unavailable(
                "; it must come from an authority in `tls_ca_file`, or from one of the system's, and name the node's IP \
                 address",
            ),
            _ => unavailable(""),
        }
    }

    fn local_datacenter(&self, cluster: &ClusterState) -> Result<String, StoreError> {
        let known: BTreeSet<&str> =
            cluster.get_nodes_info().iter().filter_map(|node| node.datacenter.as_deref()).collect();
        let names = || known.iter().copied().collect::<Vec<_>>().join(", ");
        match &self.datacenter {
            Some(wanted) if known.contains(wanted.as_str()) => Ok(wanted.clone()),
            Some(wanted) => Err(StoreError::Unfit(format!(
                "the cluster has no datacenter `{wanted}`, which the option `datacenter` names, but {}",
                names()
            ))),
            None if known.len() == 1 => Ok(names()),
            None => Err(StoreError::Unfit(format!(
                "the cluster has the datacenters {}: the option `datacenter` must name the one that is near",
                names()
            ))),
        }
    }

    /// The replication of a keyspace that is to be made, if the cluster has the nodes for it.
    pub(super) fn replication(&self, connection: &Connection) -> Result<Replication, StoreError> {
        let replication = self.replication.clone();
        let replication = replication
            .unwrap_or_else(|| Replication::Datacenters(BTreeMap::from([(connection.datacenter.clone(), FACTOR)])));
        let cluster = connection.session.get_cluster_state();
        let nodes = |of: Option<&str>| {
            let nodes = cluster.get_nodes_info().iter();
            nodes.filter(|node| of.is_none_or(|name| node.datacenter.as_deref() == Some(name))).count()
        };
        let too_few = |factor: usize, place: String, nodes: usize| {
            StoreError::Unfit(format!(
                "each row of the keyspace `{}` is to have {factor} copies in {place}, which has {nodes} node(s); the \
                option `replication` says otherwise, as in `replication=NetworkTopologyStrategy:{}={nodes}`",
                self.keyspace, connection.datacenter
            ))
        };
        match &replication {
            Replication::Simple(factor) if *factor > nodes(None) => {
                return Err(too_few(*factor, "the cluster".to_owned(), nodes(None)));
            }
            Replication::Simple(_) => {}
            Replication::Datacenters(factors) => {
                for (datacenter, factor) in factors {
                    let there = nodes(Some(datacenter));
                    if *factor > there {
                        return Err(too_few(*factor, format!("the datacenter `{datacenter}`"), there));
                    }
                }
            }
        }
        Ok(replication)
    }
}

impl Replication {
    /// `SimpleStrategy:1`, `NetworkTopologyStrategy:dc1=3,dc2=3`.
    fn parse(text: &str) -> Result<Self, UrlError> {
        let wrong = || {
            UrlError::new(
                "the option `replication` is `SimpleStrategy:FACTOR` or `NetworkTopologyStrategy:DATACENTER=FACTOR,…`",
            )
        };
        let factor = |text: &str| text.parse().ok().filter(|factor| *factor > 0).ok_or_else(wrong);
        match text.split_once(':') {
            Some(("SimpleStrategy", text)) => Ok(Self::Simple(factor(text)?)),
            Some(("NetworkTopologyStrategy", text)) => {
                let mut factors = BTreeMap::new();
                for one in text.split(',') {
                    let (datacenter, copies) = one.split_once('=').ok_or_else(wrong)?;
                    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "_-.".contains(letter);
                    if datacenter.is_empty() || !datacenter.chars().all(is_plain) {
                        return Err(wrong());
                    }
                    factors.insert(datacenter.to_owned(), factor(copies)?);
                }
                Ok(Self::Datacenters(factors))
            }
            _ => Err(wrong()),
        }
    }

    /// As a map of CQL.
    pub(super) fn to_cql(&self) -> String {
        match self {
            Self::Simple(factor) => format!("{{'class': 'SimpleStrategy', 'replication_factor': {factor}}}"),
            Self::Datacenters(factors) => {
                let factors = factors.iter().map(|(datacenter, factor)| format!(", '{datacenter}': {factor}"));
                format!("{{'class': 'NetworkTopologyStrategy'{}}}", factors.collect::<String>())
            }
        }
    }
}

/// A name that CQL takes without quotes, so that it can stand in a statement as it is.
fn is_name(name: &str) -> bool {
    let is_plain = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'_';
    name.len() <= NAME_LENGTH
        && name.bytes().all(is_plain)
        && name.starts_with(|first: char| first.is_ascii_lowercase())
}

/// Certificates must come from an authority that is believed, and name the address at which the node was reached: an IP
/// address, since that is how nodes are known to each other. The driver sees to the latter.
fn tls_config(tls: &Tls) -> Result<OpenSsl010Config, StoreError> {
    let unfit = |what: &str, error: &dyn std::fmt::Display| StoreError::Unfit(format!("TLS: {what}: {error}"));
    let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(|error| unfit("no context", &error))?;
    if let Some(file) = &tls.ca_file {
        let name = file.display().to_string();
        let text = std::fs::read(file).map_err(|error| unfit(&name, &error))?;
        let mut store = X509StoreBuilder::new().map_err(|error| unfit("no store of authorities", &error))?;
        let authorities = X509::stack_from_pem(&text).map_err(|error| unfit(&name, &error))?;
        if authorities.is_empty() {
            return Err(unfit(&name, &"it holds no certificate"));
        }
        for authority in authorities {
            store.add_cert(authority).map_err(|error| unfit(&name, &error))?;
        }
        builder.set_cert_store(store.build());
    }
    if let Some((certificate, key)) = &tls.identity {
        let named = |file: &std::path::Path| file.display().to_string();
        builder.set_certificate_chain_file(certificate).map_err(|error| unfit(&named(certificate), &error))?;
        builder.set_private_key_file(key, SslFiletype::PEM).map_err(|error| unfit(&named(key), &error))?;
        builder.check_private_key().map_err(|error| unfit("certificate and key do not belong together", &error))?;
    }
    Ok(OpenSsl010Config::new(builder))
}

/// Waiting mends all but what the server refuses for what it is.
pub(super) fn failed(error: impl Into<ExecutionError>) -> StoreError {
    let error = error.into();
    match &error {
        ExecutionError::LastAttemptError(attempt) if is_refusal(attempt) => {
            StoreError::Unfit(format!("Cassandra refuses a statement: {error}"))
        }
        ExecutionError::BadQuery(_) => StoreError::Unfit(format!("Cassandra: {error}")),
        _ => StoreError::Unavailable(format!("Cassandra: {error}")),
    }
}

/// The same for preparing, where a missing table shows first.
pub(super) fn not_prepared(error: &PrepareError) -> StoreError {
    match error {
        PrepareError::AllAttemptsFailed { first_attempt } if is_refusal(first_attempt) => StoreError::Unfit(format!(
            "the tables in Cassandra are not those of this version, run `hybrid-live migrate`: {error}"
        )),
        _ => StoreError::Unavailable(format!("Cassandra: {error}")),
    }
}

fn is_refusal(error: &RequestAttemptError) -> bool {
    use DbError::{ConfigError, Invalid, SyntaxError, Unauthorized};
    matches!(error, RequestAttemptError::DbError(SyntaxError | Invalid | Unauthorized | ConfigError, _))
}
