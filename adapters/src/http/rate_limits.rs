//! How often somebody may call, by what they call: log-ins per address and per name, commands and queries per account.
//!
//! The generic cell rate algorithm: a minute's worth may come at once, and comes back evenly. All that is known of
//! somebody is one moment, kept in memory up to a bound: the one who has not called for the longest is forgotten first,
//! who is mostly one with nothing left to remember. Each process limits by itself.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use domain::UserId;
use http::{HeaderName, HeaderValue, Method};
use lru::LruCache;

use super::auth::{AccessTokens, recognise};
use super::client_address::ClientAddress;
use super::problem::{Code, Problem};

/// Calls per minute.
pub const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
/// Calls left of them now.
pub const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
/// Seconds until all are back.
pub const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// Nanoseconds in which a limit is counted.
const WINDOW: u64 = 60_000_000_000;
/// Parts of a limit's memory: two calls rarely meet at one.
const SHARDS: usize = 16;
/// Callers remembered in a part.
const REMEMBERED: usize = 4096;

/// Calls per minute by kind; 0: as many as one likes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerMinute {
    /// Log-ins of an address.
    pub log_in: u32,
    /// Log-ins with one user name, from wherever.
    pub log_in_name: u32,
    /// Registrations of an address.
    pub register: u32,
    /// Refreshed sessions of an address.
    pub refresh: u32,
    /// Commands of an account, or, where it is nobody's, of an address.
    pub commands: u32,
    /// Queries likewise.
    pub queries: u32,
    /// Streams opened likewise.
    pub streams: u32,
}

/// All limits of a process.
#[derive(Debug)]
pub struct RateLimits {
    log_in: Option<Limit>,
    log_in_name: Option<Limit>,
    register: Option<Limit>,
    refresh: Option<Limit>,
    commands: Option<Limit>,
    queries: Option<Limit>,
    streams: Option<Limit>,
    trusted_proxies: usize,
    /// Hashes what memory must not hold as it is, and spreads callers over shards.
    hasher: RandomState,
}

/// Who is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Caller {
    Account(UserId),
    Address(IpAddr),
    /// A user name that somebody tries, by its hash.
    Name(u64),
}

/// Where a caller stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    limit: u32,
    remaining: u32,
    /// Until all is back.
    reset: Duration,
    /// Until the next call, of one that was refused.
    wait: Option<Duration>,
}

/// One limit and what it knows of callers.
#[derive(Debug)]
pub(super) struct Limit {
    per_minute: u32,
    shards: [Mutex<LruCache<Caller, u64>>; SHARDS],
}

impl RateLimits {
    /// With these figures, behind as many proxies whose word on where a request comes from is believed.
    pub fn new(per_minute: PerMinute, trusted_proxies: usize) -> Self {
        let PerMinute { log_in, log_in_name, register, refresh, commands, queries, streams } = per_minute;
        Self {
            log_in: Limit::new(log_in),
            log_in_name: Limit::new(log_in_name),
            register: Limit::new(register),
            refresh: Limit::new(refresh),
            commands: Limit::new(commands),
            queries: Limit::new(queries),
            streams: Limit::new(streams),
            trusted_proxies,
            hasher: RandomState::new(),
        }
    }

    /// Without any limit.
    pub fn off() -> Self {
        Self::new(PerMinute::default(), 0)
    }

    /// Counts an attempt to log in with this name, whether or not anybody is called so: the answer must not tell.
    ///
    /// # Errors
    /// Too many: what to answer.
    pub fn log_in_as(&self, username: &str) -> Result<(), Box<Response>> {
        let Some(limit) = &self.log_in_name else { return Ok(()) };
        // As names are compared, so that spelling it in another way is no other name.
        let name = Caller::Name(self.hasher.hash_one(username.to_ascii_lowercase()));
        let standing = limit.count(name, &self.hasher, now());
        standing.refusal().map_or(Ok(()), |refusal| Err(Box::new(refusal)))
    }

    /// The limit of a call, and whether it goes by address only: before there is an account.
    fn of_call(&self, method: &Method, path: &str) -> (Option<&Limit>, bool) {
        match path {
            "/v1/sessions" => (self.log_in.as_ref(), true),
            "/v1/accounts" => (self.register.as_ref(), true),
            "/v1/sessions/refresh" => (self.refresh.as_ref(), true),
            _ if !method.is_safe() => (self.commands.as_ref(), false),
            _ if path.ends_with("/stream") => (self.streams.as_ref(), false),
            _ => (self.queries.as_ref(), false),
        }
    }
}

/// What a router's calls go through: who calls is recognised, and refused if they call too often.
///
/// Middleware for `Router::route_layer`, so that it knows the matched path.
pub async fn layer(limits: Arc<RateLimits>, tokens: Arc<AccessTokens>, mut request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().cloned();
    let (limit, by_address) = limits.of_call(request.method(), path.as_ref().map_or("", MatchedPath::as_str));
    let Some(limit) = limit else { return next.run(request).await };
    // A token that is not valid is nobody's: whoever sends made-up ones is counted by address.
    let account = if by_address { None } else { recognise(&tokens, &mut request) };
    let caller = account.map_or_else(
        || {
            Caller::Address(
                ClientAddress::of(request.extensions(), request.headers(), limits.trusted_proxies).network(),
            )
        },
        Caller::Account,
    );
    let standing = limit.count(caller, &limits.hasher, now());
    if let Some(refusal) = standing.refusal() {
        return refusal;
    }
    let mut response = next.run(request).await;
    // Where the call met a narrower limit further in, that is what it is told of.
    if !response.headers().contains_key(LIMIT) {
        standing.tell(&mut response);
    }
    response
}

impl Limit {
    pub(super) fn new(per_minute: u32) -> Option<Self> {
        // Grows with its callers: most limits are never met by many.
        let shard = || Mutex::new(LruCache::unbounded());
        (per_minute > 0).then(|| Self { per_minute, shards: std::array::from_fn(|_| shard()) })
    }

    /// Counts a call at `now`, in nanoseconds since any moment.
    pub(super) fn count(&self, caller: Caller, hasher: &RandomState, now: u64) -> Standing {
        let each = WINDOW / u64::from(self.per_minute);
        let shard = usize::try_from(hasher.hash_one(caller) % SHARDS as u64).unwrap_or_default();
        let mut shard = self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner);
        // When all would be back, as it stands.
        let full = shard.get(&caller).copied().unwrap_or_default().max(now);
        let after = full + each;
        let (full, wait) = match after.checked_sub(now + WINDOW) {
            None | Some(0) => {
                shard.put(caller, after);
                if shard.len() > REMEMBERED {
                    shard.pop_lru();
                }
                (after, None)
            }
            // Not counted: who goes on calling is let in as soon as who waits.
            Some(wait) => (full, Some(Duration::from_nanos(wait))),
        };
        let remaining = (now + WINDOW).saturating_sub(full) / each;
        Standing {
            limit: self.per_minute,
            remaining: u32::try_from(remaining).unwrap_or(u32::MAX),
            reset: Duration::from_nanos(full - now),
            wait,
        }
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }
}

impl Standing {
    /// Until the next call, of one that was refused.
    #[cfg(test)]
    pub(super) fn wait(&self) -> Option<Duration> {
        self.wait
    }

    #[cfg(test)]
    pub(super) fn remaining(&self) -> u32 {
        self.remaining
    }

    /// What to answer, if the call was one too many.
    fn refusal(&self) -> Option<Response> {
        let wait = self.wait?;
        let mut response = Problem::from(Code::RateLimited).retry_after(rounded_up(wait)).into_response();
        self.tell(&mut response);
        Some(response)
    }

    fn tell(&self, response: &mut Response) {
        let headers = response.headers_mut();
        headers.insert(LIMIT, HeaderValue::from(self.limit));
        headers.insert(REMAINING, HeaderValue::from(self.remaining));
        headers.insert(RESET, HeaderValue::from(rounded_up(self.reset).as_secs()));
    }
}

/// In whole seconds, after which it is surely over.
fn rounded_up(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs() + u64::from(duration.subsec_nanos() > 0))
}

/// Nanoseconds since the first call. Time that jumps, as the clock's may, would let in or lock out.
fn now() -> u64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX / 2)
}
