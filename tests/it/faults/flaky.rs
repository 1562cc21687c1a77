//! Every store slow, failing, and failing too late, at random and under load: whoever asks is told to come again and
//! nothing else (no error but 503), and what was acknowledged is there once (W1, W4, C2).
//!
//! The system runs inside the test, since no server lets its stores be made to fail. It stands on two files, so that
//! the outbox, its relay and two stores' failures are part of it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use adapters::StoreError;
use adapters::cache;
use adapters::codec::Codec;
use adapters::decorated::{Around, Decorated};
use adapters::http::auth::AccessTokens;
use adapters::http::cursor::Cursors;
use adapters::http::trace;
use adapters::secrets::Secrets;
use adapters::sqlite::Sharing;
use adapters::stores::{self, StoreUrls};
use async_trait::async_trait;
use axum::middleware::from_fn;
use command_api::CommandState;
use command_api::auth::passwords::{PasswordSettings, Passwords};
use command_api::relay::{self, Relay};
use command_api::write_path::WritePath;
use harness::{Client, Server, Setup, Stores, random};
use projectors::timelines::Limits;
use projectors::{Engagement, EngagementPorts, Profiles, Projection, Runtime, RuntimePorts, Settings, Timelines};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::load::{Town, every_effect_is_there_once, work};

const EVENTS: u32 = 2_000;
const PEOPLE: usize = 16;
const POSTS: usize = 30;

/// What stores go through.
struct Weather {
    random: Mutex<ChaCha8Rng>,
    is_bad: AtomicBool,
    failures: AtomicUsize,
}

impl Weather {
    /// Whether something happens that happens so many times in a thousand.
    fn strikes(&self, in_a_thousand: u32) -> bool {
        self.is_bad.load(Ordering::Relaxed)
            && self.random.lock().unwrap_or_else(PoisonError::into_inner).random_range(0..1000) < in_a_thousand
    }

    fn fails(&self, in_a_thousand: u32) -> Result<(), StoreError> {
        if self.strikes(in_a_thousand) {
            self.failures.fetch_add(1, Ordering::Relaxed);
            return Err(StoreError::Unavailable("bad weather".to_owned()));
        }
        Ok(())
    }
}

#[async_trait]
impl Around for Weather {
    async fn before(&self, _call: &'static str) -> Result<(), StoreError> {
        if self.strikes(20) {
            let millis = self.random.lock().unwrap_or_else(PoisonError::into_inner).random_range(1..20);
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
        self.fails(20)
    }

    async fn after(&self, _call: &'static str) -> Result<(), StoreError> {
        self.fails(20)
    }
}

/// A whole system inside this process.
struct Inside {
    client: Client,
    runtime: Runtime,
    stop: CancellationToken,
}

impl Inside {
    /// On the files of `server`, which does not run.
    async fn start(server: &Server, weather: &Arc<Weather>) -> Self {
        let data = server.directory().join("data");
        std::fs::create_dir_all(&data).expect("a directory");
        let file = |name: &str| format!("sqlite:{}", data.join(name).display());
        let urls = StoreUrls {
            content: file("content.db"),
            event_log: file("log.db"),
            views: file("read_models.db"),
            timelines: file("read_models.db"),
            checkpoints: file("read_models.db"),
            cache: "memory:".to_owned(),
            cached: cache::Limits::default(),
            cache_bytes: 1 << 24,
            live: "memory:".to_owned(),
        };
        let whole = stores::open(&urls, 4, Sharing::Shared).await.expect("opens");
        let around = || Arc::clone(weather) as Arc<dyn Around>;
        let stores = stores::Stores {
            content: Arc::new(Decorated::new(whole.content, around())),
            event_log: Arc::new(Decorated::new(whole.event_log, around())),
            views: Arc::new(Decorated::new(whole.views, around())),
            timelines: Arc::new(Decorated::new(whole.timelines, around())),
            checkpoints: Arc::new(Decorated::new(whole.checkpoints, around())),
            cache: Arc::new(Decorated::new(whole.cache, around())),
            live: Arc::new(Decorated::new(whole.live, around())),
            log_shares_transactions: whole.log_shares_transactions,
        };
        let secrets = Secrets::load_or_create(&server.secrets_file()).expect("secrets");
        let codec = Arc::new(Codec::new(Arc::clone(&stores.content), &secrets));
        let write_path = WritePath::new(Arc::clone(&stores.content), Arc::clone(&stores.event_log), Arc::clone(&codec));
        let stop = CancellationToken::new();
        tokio::spawn(Relay::new(&write_path, relay::Settings::default()).run(stop.clone()));
        let runtime = projections(&stores, codec).await;

        let tokens = Arc::new(AccessTokens::new(secrets.signing_keys().clone()));
        let cheap = PasswordSettings { memory_kib: 64, passes: 1, ..PasswordSettings::default() };
        let passwords = Passwords::new(cheap).expect("good settings");
        let settings = query_api::Settings {
            tokens: Arc::clone(&tokens),
            cursors: Cursors::new(&secrets),
            streams: 10,
            shutdown: stop.clone(),
        };
        let ports = query_api::Ports {
            content: stores.content,
            event_log: stores.event_log,
            views: stores.views,
            timelines: stores.timelines,
            checkpoints: stores.checkpoints,
            cache: stores.cache,
            live: stores.live,
        };
        let router = command_api::router(CommandState::new(write_path, tokens, secrets, passwords))
            .merge(query_api::router(ports, settings))
            .layer(from_fn(trace::layer));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let client = Client::new(&format!("http://{}", listener.local_addr().expect("an address")));
        let served = stop.clone();
        tokio::spawn(async move { served.run_until_cancelled(async { axum::serve(listener, router).await }).await });
        Self { client, runtime, stop }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.runtime.stop().await;
    }
}

async fn projections(stores: &stores::Stores, codec: Arc<Codec>) -> Runtime {
    let stores::Stores { content, event_log, views, timelines, checkpoints, cache, live, .. } = stores.clone();
    let all: Vec<Arc<dyn Projection>> = vec![
        Arc::new(Timelines::new(
            Arc::clone(&views),
            timelines,
            Arc::clone(&live),
            Arc::clone(&checkpoints),
            Limits::default(),
        )),
        Arc::new(Engagement::new(EngagementPorts {
            content,
            views: Arc::clone(&views),
            cache,
            live,
            checkpoints: Arc::clone(&checkpoints),
        })),
        Arc::new(Profiles::new(views)),
    ];
    let patient = Settings {
        batch: 32,
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(20),
        ..Settings::default()
    };
    Runtime::start(RuntimePorts { event_log, checkpoints, codec }, all, patient).await.expect("starts")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_weather_in_every_store_loses_and_doubles_nothing() {
    Stores::only(&[Stores::EmbeddedApart]);
    let weather = Arc::new(Weather {
        random: Mutex::new(random("weather")),
        is_bad: AtomicBool::new(false),
        failures: AtomicUsize::new(0),
    });
    let server = Server::prepare(Setup::default());
    let inside = Inside::start(&server, &weather).await;
    let town = Town::new(&inside.client, PEOPLE, POSTS).await;
    let commands = town.commands(crate::cases(EVENTS) as usize);
    let (acknowledged, _count) = watch::channel(0);

    weather.is_bad.store(true, Ordering::Relaxed);
    let given = work(Arc::clone(&town), commands, acknowledged).await;
    weather.is_bad.store(false, Ordering::Relaxed);
    let failures = weather.failures.load(Ordering::Relaxed);
    println!("{failures} calls of stores have failed");
    assert!(failures > given.len() / 20, "the weather was bad");

    every_effect_is_there_once(&server, &inside.client, &town, &given).await;
    inside.stop().await;
    server.verify().await;
}
