//! What can be set: one tree of settings with its defaults. [`sources`] fills it from file, environment and flags.
//!
//! `hybrid-live.example.toml` at the repository's root shows and explains every setting; a test holds it against the
//! defaults here.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use adapters::cache;
use adapters::checkpoints::{ENGAGEMENT, PROFILES, TIMELINES};
use adapters::http::rate_limits::PerMinute;
use adapters::stores::StoreUrls;
use command_api::auth::passwords::PasswordSettings;
use projectors::timelines;
use serde::{Deserialize, Serialize};

mod roles;
mod sources;

pub(crate) use roles::{Roles, ServerRole};
pub(crate) use sources::{Flags, LogFlags, ProjectionFlags, load};

#[cfg(test)]
mod tests;

/// Stands for the data directory in paths and URLs.
const DATA_DIR: &str = "{data_dir}";

/// Every setting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Where HTTP is served.
    pub(crate) listen: SocketAddr,
    /// What this process does; everything where there is none.
    pub(crate) roles: Vec<ServerRole>,
    /// Where everything is kept that has no place of its own.
    pub(crate) data_dir: String,
    /// Keys of the server; made on first use. May contain `{data_dir}`, as may the stores' URLs.
    pub(crate) secrets_file: String,
    /// Origins, besides the request's own host, whose pages may act with the cookie.
    pub(crate) public_origins: Vec<String>,
    /// Origins whose pages may call without the cookie; `*` for all.
    pub(crate) cors_origins: Vec<String>,
    /// Proxies of ours that a request comes through, each adding to `X-Forwarded-For` whom it comes from.
    pub(crate) trusted_proxies: usize,
    /// Partitions of every topic of a log that is not there yet.
    pub(crate) partitions: u16,
    /// Where each kind of data is.
    pub(crate) stores: Stores,
    /// What is cached.
    pub(crate) cache: Cache,
    /// What a client may ask for at most.
    pub(crate) limits: Limits,
    /// How often a client may ask.
    pub(crate) rate_limits: RateLimits,
    /// What a password's hash costs.
    pub(crate) argon2: Argon2,
    /// How the read models are made.
    pub(crate) projections: Projections,
    /// What is logged.
    pub(crate) log: Log,
}

/// The stores' URLs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stores {
    pub(crate) content: String,
    pub(crate) event_log: String,
    pub(crate) views: String,
    pub(crate) timelines: String,
    pub(crate) checkpoints: String,
    pub(crate) cache: String,
    pub(crate) live: String,
}

/// How long what is cached lives, and how much of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cache {
    pub(crate) preview_seconds: u64,
    pub(crate) counts_seconds: u64,
    pub(crate) comments_seconds: u64,
    pub(crate) lease_seconds: u64,
    pub(crate) jitter_percent: u8,
    pub(crate) comments: usize,
    pub(crate) memory_mib: u64,
}

/// Limits of the HTTP server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    pub(crate) body_bytes: usize,
    pub(crate) connections: usize,
    pub(crate) streams: usize,
    pub(crate) header_seconds: u64,
    pub(crate) request_seconds: u64,
    pub(crate) requests: usize,
    pub(crate) shutdown_seconds: u64,
}

/// Calls per minute; 0: no limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RateLimits {
    pub(crate) log_in: u32,
    pub(crate) log_in_name: u32,
    pub(crate) register: u32,
    pub(crate) refresh: u32,
    pub(crate) commands: u32,
    pub(crate) queries: u32,
    pub(crate) streams: u32,
}

/// Argon2id's costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Argon2 {
    pub(crate) memory_kib: u32,
    pub(crate) passes: u32,
    /// 0: as many as there are cores.
    pub(crate) at_once: usize,
}

/// The projections' settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Projections {
    /// Names of those that this process runs; all where there is none.
    pub(crate) only: Vec<String>,
    pub(crate) batch: usize,
    pub(crate) parallelism: usize,
    pub(crate) hot_author_followers: usize,
    pub(crate) trim_at: usize,
    pub(crate) trim_to: usize,
    pub(crate) trim_every: u32,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Log {
    pub(crate) format: LogFormat,
    pub(crate) filter: String,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// For programs: one object per line.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        let limits = timelines::Limits::default();
        let settings = projectors::Settings::default();
        let cached = cache::Limits::default();
        let passwords = PasswordSettings::default();
        let truth = || format!("sqlite:{DATA_DIR}/truth.db");
        let read_models = || format!("sqlite:{DATA_DIR}/read_models.db");
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            roles: Vec::new(),
            data_dir: "./data".to_owned(),
            secrets_file: format!("{DATA_DIR}/secrets.toml"),
            public_origins: Vec::new(),
            cors_origins: Vec::new(),
            trusted_proxies: 0,
            partitions: 4,
            stores: Stores {
                content: truth(),
                event_log: truth(),
                views: read_models(),
                timelines: read_models(),
                checkpoints: read_models(),
                cache: "memory:".to_owned(),
                live: "memory:".to_owned(),
            },
            cache: Cache {
                preview_seconds: cached.preview.as_secs(),
                counts_seconds: cached.counts.as_secs(),
                comments_seconds: cached.comments.as_secs(),
                lease_seconds: cached.lease.as_secs(),
                jitter_percent: cached.jitter_percent,
                comments: cached.kept,
                memory_mib: 32,
            },
            limits: Limits {
                body_bytes: 256 * 1024,
                connections: 25_000,
                streams: 20_000,
                header_seconds: 15,
                request_seconds: 30,
                requests: 2048,
                shutdown_seconds: 10,
            },
            rate_limits: RateLimits {
                log_in: 30,
                log_in_name: 10,
                register: 20,
                refresh: 60,
                commands: 300,
                queries: 1200,
                streams: 120,
            },
            argon2: Argon2 { memory_kib: passwords.memory_kib, passes: passwords.passes, at_once: 0 },
            projections: Projections {
                only: Vec::new(),
                batch: settings.batch,
                parallelism: settings.parallelism,
                hot_author_followers: limits.hot_author_followers,
                trim_at: limits.trim_at,
                trim_to: limits.trim_to,
                trim_every: limits.trim_every,
            },
            log: Log { format: LogFormat::Text, filter: "info".to_owned() },
        }
    }
}

impl Config {
    /// What this process does.
    pub(crate) fn roles(&self) -> Roles {
        Roles::new(&self.roles, &self.projections.only)
    }

    /// The data directory.
    pub(crate) fn data_dir(&self) -> &Path {
        Path::new(&self.data_dir)
    }

    /// The file with the server's keys.
    pub(crate) fn secrets_file(&self) -> PathBuf {
        PathBuf::from(self.placed(&self.secrets_file))
    }

    /// Where each kind of data is.
    pub(crate) fn store_urls(&self) -> StoreUrls {
        StoreUrls {
            content: self.placed(&self.stores.content),
            event_log: self.placed(&self.stores.event_log),
            views: self.placed(&self.stores.views),
            timelines: self.placed(&self.stores.timelines),
            checkpoints: self.placed(&self.stores.checkpoints),
            cache: self.placed(&self.stores.cache),
            cached: self.cache_limits(),
            cache_bytes: self.cache.memory_mib.saturating_mul(1024 * 1024),
            live: self.placed(&self.stores.live),
        }
    }

    /// How long what is cached lives, and how much of it.
    fn cache_limits(&self) -> cache::Limits {
        let Cache { preview_seconds, counts_seconds, comments_seconds, lease_seconds, .. } = self.cache;
        cache::Limits {
            preview: Duration::from_secs(preview_seconds),
            counts: Duration::from_secs(counts_seconds),
            comments: Duration::from_secs(comments_seconds),
            lease: Duration::from_secs(lease_seconds),
            jitter_percent: self.cache.jitter_percent,
            kept: self.cache.comments,
        }
    }

    /// Where fan-out and homes end.
    pub(crate) fn timeline_limits(&self) -> timelines::Limits {
        let Projections { hot_author_followers, trim_at, trim_to, trim_every, .. } = self.projections;
        timelines::Limits { hot_author_followers, trim_at, trim_to, trim_every }
    }

    /// How much the projections do at once.
    pub(crate) fn projection_settings(&self) -> projectors::Settings {
        let Projections { batch, parallelism, .. } = self.projections;
        projectors::Settings { batch, parallelism, ..projectors::Settings::default() }
    }

    /// What the hash of a password costs.
    pub(crate) fn password_settings(&self) -> PasswordSettings {
        let Argon2 { memory_kib, passes, at_once } = self.argon2;
        let defaults = PasswordSettings::default();
        let at_once = if at_once == 0 { defaults.at_once } else { at_once };
        PasswordSettings { memory_kib, passes, at_once, ..defaults }
    }

    /// How often a client may ask.
    pub(crate) fn per_minute(&self) -> PerMinute {
        let RateLimits { log_in, log_in_name, register, refresh, commands, queries, streams } = self.rate_limits;
        PerMinute { log_in, log_in_name, register, refresh, commands, queries, streams }
    }

    /// How long a request may take.
    pub(crate) fn request_time(&self) -> Duration {
        Duration::from_secs(self.limits.request_seconds)
    }

    /// How long requests under way may take once the server is told to stop.
    pub(crate) fn shutdown_time(&self) -> Duration {
        Duration::from_secs(self.limits.shutdown_seconds)
    }

    fn placed(&self, text: &str) -> String {
        text.replace(DATA_DIR, &self.data_dir)
    }

    /// What no type can say: the key and what is wrong with its value.
    fn check(&self) -> Result<(), (&'static str, String)> {
        let Projections { trim_at, trim_to, trim_every, batch, parallelism, .. } = self.projections;
        let known = [TIMELINES, ENGAGEMENT, PROFILES];
        if let Some(name) = self.projections.only.iter().find(|name| !known.contains(&name.as_str())) {
            return Err(("projections.only", format!("`{name}` is no projection; there are {}", known.join(", "))));
        }
        if !self.projections.only.is_empty() && !self.roles().has(ServerRole::Projectors) {
            return Err(("projections.only", "is for a process with the role projectors".to_owned()));
        }
        let positive = [
            ("limits.body_bytes", self.limits.body_bytes),
            ("limits.connections", self.limits.connections),
            ("limits.header_seconds", self.limits.header_seconds as usize),
            ("limits.request_seconds", self.limits.request_seconds as usize),
            ("limits.requests", self.limits.requests),
            ("cache.preview_seconds", self.cache.preview_seconds as usize),
            ("cache.counts_seconds", self.cache.counts_seconds as usize),
            ("cache.comments_seconds", self.cache.comments_seconds as usize),
            ("cache.lease_seconds", self.cache.lease_seconds as usize),
            ("projections.batch", batch),
            ("projections.parallelism", parallelism),
            ("projections.trim_to", trim_to),
            ("projections.trim_every", trim_every as usize),
            ("argon2.passes", self.argon2.passes as usize),
        ];
        if let Some((key, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return Err((key, "must be at least 1".to_owned()));
        }
        if !(1..=1024).contains(&self.partitions) {
            return Err(("partitions", format!("must be from 1 to 1024, not {}", self.partitions)));
        }
        if self.cache.jitter_percent > 90 {
            return Err(("cache.jitter_percent", "must be at most 90".to_owned()));
        }
        if !(1..=1000).contains(&self.cache.comments) {
            return Err(("cache.comments", format!("must be from 1 to 1000, not {}", self.cache.comments)));
        }
        if trim_to >= trim_at {
            return Err(("projections.trim_to", format!("must be below projections.trim_at, which is {trim_at}")));
        }
        if self.argon2.memory_kib < 8 {
            return Err(("argon2.memory_kib", "must be at least 8".to_owned()));
        }
        if self.data_dir.is_empty() {
            return Err(("data_dir", "must not be empty".to_owned()));
        }
        let public = self.public_origins.iter().map(|origin| ("public_origins", origin));
        let cors = self.cors_origins.iter().filter(|origin| *origin != "*").map(|origin| ("cors_origins", origin));
        for (key, origin) in public.chain(cors) {
            let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
            if host.is_none_or(|host| host.is_empty() || host.contains(['/', '?', '#', '@'])) {
                return Err((key, format!("`{origin}` is not an origin such as https://example.org")));
            }
        }
        Ok(())
    }
}
