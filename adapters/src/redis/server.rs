//! Which server, and as whom.

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ErrorKind, IntoConnectionInfo as _, ProtocolVersion, RedisConnectionInfo,
    RedisError, ServerErrorKind, TlsCertificates,
};
use zeroize::Zeroizing;

use super::ANSWERS_WITHIN;
use crate::StoreError;
use crate::url::{StoreUrl, Tls, UrlError};

/// The port where a host names none.
const PORT: u16 = 6379;
/// The prefix where the URL names none.
const PREFIX: &str = "hybrid-live";

/// What is known of the server before one is connected to it.
pub(crate) struct Server {
    /// As it may be shown.
    shown: String,
    hosts: Vec<(String, u16)>,
    login: RedisConnectionInfo,
    password: Option<Zeroizing<String>>,
    tls: Option<TlsCertificates>,
    /// How connections are made.
    manner: &'static str,
    prefix: String,
    /// Whether it is a cluster, once that is known.
    is_cluster: OnceLock<bool>,
}

impl Server {
    pub(crate) fn from_url(url: &StoreUrl) -> Result<Self, StoreError> {
        let unfit = |error: UrlError| StoreError::Unfit(format!("{url} is not a good URL: {error}"));
        let database: Option<u16> = url.parsed("database").map_err(unfit)?;
        let is_cluster: Option<bool> = url.parsed("cluster").map_err(unfit)?;
        let tls = url.tls().map_err(unfit)?;
        url.finish().map_err(unfit)?;
        let hosts = url.hosts().iter().map(|host| address(host)).collect::<Result<Vec<_>, _>>().map_err(unfit)?;
        let prefix = if url.name().is_empty() { PREFIX } else { url.name() };
        // They would change which part of a name decides the slot.
        if prefix.contains(['{', '}']) {
            return Err(unfit(UrlError::new("the prefix must not hold `{` or `}`")));
        }
        if database.is_some_and(|number| number > 0) && is_cluster == Some(true) {
            return Err(unfit(UrlError::new("a cluster has no `database` but 0")));
        }

        let mut login = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3);
        login = login.set_lib_name("hybrid-live", env!("CARGO_PKG_VERSION")).set_db(database.unwrap_or(0).into());
        if let Some(user) = url.user().filter(|user| !user.is_empty()) {
            login = login.set_username(user);
        }
        if let Some(password) = url.password() {
            login = login.set_password(password);
        }
        Ok(Self {
            shown: url.to_string(),
            hosts,
            login,
            password: url.password().map(|password| Zeroizing::new(password.to_owned())),
            tls: tls.as_ref().map(certificates).transpose()?,
            manner: Tls::manner(tls.as_ref()),
            prefix: prefix.to_owned(),
            is_cluster: is_cluster.map_or_else(OnceLock::new, OnceLock::from),
        })
    }

    /// Asks the server whether it is a cluster, unless the URL says so or it was asked before. Comes before a link.
    pub(crate) async fn learn_mode(&self) -> Result<(), StoreError> {
        if self.is_cluster.get().is_none() {
            let is_cluster = self.ask_mode().await?;
            self.is_cluster.get_or_init(|| is_cluster);
        }
        if !self.is_cluster() && self.hosts.len() > 1 {
            // Which of them would hear what is published on which?
            return Err(StoreError::Unfit(format!("{self} is no cluster: name one host")));
        }
        Ok(())
    }

    async fn ask_mode(&self) -> Result<bool, StoreError> {
        let asked = async {
            let config = redis::AsyncConnectionConfig::new();
            let config = config.set_connection_timeout(Some(ANSWERS_WITHIN)).set_response_timeout(Some(ANSWERS_WITHIN));
            let mut connection = self.first_that_answers(&config).await?;
            redis::cmd("INFO").arg("cluster").query_async::<String>(&mut connection).await
        };
        match asked.await {
            Ok(info) => Ok(info.lines().any(|line| line.trim() == "cluster_enabled:1")),
            Err(error) if is_refusal(&error, &["NOPERM"]) => Err(StoreError::Unfit(format!(
                "{self} does not say whether it is a cluster: allow the user `INFO`, or add `cluster=true` or \
                 `cluster=false` to the URL"
            ))),
            Err(error) => Err(self.refusal(&error)),
        }
    }

    /// A connection to one of the hosts that the URL names.
    pub(crate) async fn first_that_answers(
        &self,
        config: &redis::AsyncConnectionConfig,
    ) -> Result<redis::aio::MultiplexedConnection, RedisError> {
        let mut last = RedisError::from((ErrorKind::InvalidClientConfig, "no host"));
        for (host, port) in &self.hosts {
            let client = self.client(host, *port)?;
            match client.get_multiplexed_async_connection_with_config(config).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    pub(crate) fn client(&self, host: &str, port: u16) -> Result<Client, RedisError> {
        let address = match self.tls {
            None => ConnectionAddr::Tcp(host.to_owned(), port),
            Some(_) => ConnectionAddr::TcpTls { host: host.to_owned(), port, insecure: false, tls_params: None },
        };
        let info = address.into_connection_info()?.set_redis_settings(self.login.clone());
        match &self.tls {
            None => Client::open(info),
            Some(certificates) => Client::build_with_tls(info, certificates.clone()),
        }
    }

    /// The host that a cluster means when it names none.
    pub(crate) fn first_host(&self) -> &str {
        self.hosts.first().map_or("", |(host, _)| host)
    }

    pub(crate) fn is_cluster(&self) -> bool {
        self.is_cluster.get().copied().unwrap_or(false)
    }

    /// What all names begin with.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// What a refused connection means to whoever opens the store.
    pub(crate) fn refusal(&self, error: &RedisError) -> StoreError {
        let text = self.told(error);
        let is_setting = is_refusal(error, &["NOPERM", "NOAUTH", "WRONGPASS"])
            || matches!(
                error.kind(),
                ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig | ErrorKind::RESP3NotSupported
            );
        if is_setting {
            return StoreError::Unfit(format!("{self} refuses: {text}"));
        }
        let is_ended = error.is_io_error() && !error.is_connection_refusal() && !error.is_timeout();
        let manner = if is_ended { format!("; connections are made {}", self.manner) } else { String::new() };
        StoreError::Unavailable(text + &manner)
    }

    /// What the driver says, in one line and without the password: an old server quotes commands that it does not know.
    pub(crate) fn told(&self, error: &RedisError) -> String {
        let text = error.to_string().replace(['\n', '\r'], " ");
        match &self.password {
            Some(password) if !password.is_empty() => text.replace(password.as_str(), "…"),
            _ => text,
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// Whether the server refuses with one of `codes`, of which one is `NOPERM`: it knows us, but does not let us.
fn is_refusal(error: &RedisError, codes: &[&str]) -> bool {
    let is_one = |code: &str| codes.contains(&code);
    error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm)
        || error.code().is_some_and(is_one)
        || error.clone().into_server_errors().is_some_and(|errors| {
            errors.iter().any(|(_, error)| error.kind() == Some(ServerErrorKind::NoPerm) || is_one(error.code()))
        })
}

fn address(host: &str) -> Result<(String, u16), UrlError> {
    let wrong = || UrlError::new("a host's port is not a number");
    match host.rsplit_once(':') {
        // An IPv6 address without a port ends in its bracket.
        Some((name, port)) if !port.ends_with(']') => Ok((bare(name).to_owned(), port.parse().map_err(|_| wrong())?)),
        _ => Ok((bare(host).to_owned(), PORT)),
    }
}

fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn certificates(tls: &Tls) -> Result<TlsCertificates, StoreError> {
    let read = |path: &Path| {
        fs::read(path).map_err(|error| StoreError::Unfit(format!("{} cannot be read: {error}", path.display())))
    };
    let client_tls = tls.identity.as_ref().map(|(certificate, key)| {
        Ok::<_, StoreError>(ClientTlsConfig { client_cert: read(certificate)?, client_key: read(key)? })
    });
    Ok(TlsCertificates {
        client_tls: client_tls.transpose()?,
        root_cert: tls.ca_file.as_deref().map(read).transpose()?,
    })
}
