//! The servers that stores are on die, and stand still, under load. While one is away, what does not need it goes on;
//! afterwards everything catches up by itself, nothing that was acknowledged is lost (W1), and `verify` finds no
//! difference.
//!
//! The server that is disturbed is the scenario's own; the others are shared with all scenarios.

use std::sync::Arc;

use harness::{Client, Server, Servers, Service, Setup, Stores, eventually};
use http::Method;
use tokio::sync::watch;

use crate::load::{Town, every_effect_is_there_once, work};

const EVENTS: u32 = 2_000;
const PEOPLE: usize = 16;
const POSTS: usize = 30;
/// Commands that must be acknowledged while a server is away that they do not need.
const MEANWHILE: usize = 60;

/// What goes on while a server is away.
#[derive(Clone, Copy)]
struct Without {
    commands: bool,
    /// Queries that do not need it, with `{post}` and `{user}` for what is asked for.
    queries: &'static [&'static str],
}

const FROM_DOCUMENTS: [&str; 6] = [
    "/v1/posts/{post}",
    "/v1/posts/{post}/comments",
    "/v1/posts/{post}/likes",
    "/v1/posts/{post}/history",
    "/v1/users/{user}",
    "/v1/users/{user}/followers",
];
const FROM_TIMELINES: [&str; 2] = ["/v1/users/{user}/posts", "/v1/feed"];

const NOTHING: Without = Without { commands: false, queries: &[] };
const ALL_BUT_TIMELINES: Without = Without { commands: true, queries: &FROM_DOCUMENTS };

async fn goes_on(without: &[Without], town: &Town, count: &mut watch::Receiver<usize>) {
    let person = &town.people[0];
    if without.iter().any(|without| without.commands) {
        let now = *count.borrow();
        count.wait_for(|count| *count >= now + MEANWHILE).await.expect("commands are accepted");
    } else {
        is_refused(&person.client).await;
    }
    for path in without.iter().flat_map(|without| without.queries) {
        let path = path.replace("{post}", &town.posts[0]).replace("{user}", &person.id);
        let answer = person.client.get(&path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.shown());
    }
}

/// Whoever cannot be served is told so, and when to come again.
async fn is_refused(client: &Client) {
    eventually("a command is refused", async || {
        // One that would change nothing: nobody is liked by it or no longer so.
        let nobody = "/v1/posts/0190a0a0-0000-7000-8000-000000000000/like";
        match Client::try_send(client.request(Method::DELETE, nobody)).await {
            Ok(answer) if answer.status == 503 => {
                assert!(answer.header("retry-after").is_some(), "{}", answer.shown());
                Ok(())
            }
            Ok(answer) => Err(answer.shown()),
            Err(error) => Err(error.to_string()),
        }
    })
    .await;
}

async fn dies_and_stands_still(name: &str, without: &[Without]) {
    Stores::only(&[Stores::Cluster]);
    let service = Service::start(name).await;
    let servers = Servers::of_this_run().with(name, service.url());
    let server =
        Server::start_with(Setup { servers, settings: "partitions = 16\n".to_owned(), ..Setup::default() }).await;
    let client = server.client();
    let town = Town::new(&client, PEOPLE, POSTS).await;
    let commands = town.commands(crate::cases(EVENTS) as usize);
    let (acknowledged, mut count) = watch::channel(0);
    let work = tokio::spawn(work(Arc::clone(&town), Arc::clone(&commands), acknowledged));

    count.wait_for(|count| *count >= commands.len() / 5).await.expect("work goes on");
    service.kill().await;
    goes_on(without, &town, &mut count).await;
    service.start_again().await;

    count.wait_for(|count| *count >= commands.len() * 3 / 5).await.expect("work goes on");
    service.pause().await;
    goes_on(without, &town, &mut count).await;
    service.resume().await;

    let given = work.await.expect("every command is acknowledged");
    every_effect_is_there_once(&server, &client, &town, &given).await;
    server.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka_dies_and_stands_still() {
    let timelines = Without { commands: true, queries: &FROM_TIMELINES };
    dies_and_stands_still("kafka", &[ALL_BUT_TIMELINES, timelines]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cassandra_dies_and_stands_still() {
    dies_and_stands_still("cassandra", &[ALL_BUT_TIMELINES]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_dies_and_stands_still() {
    let timelines = Without { commands: true, queries: &FROM_TIMELINES };
    dies_and_stands_still("redis", &[ALL_BUT_TIMELINES, timelines]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mongodb_dies_and_stands_still() {
    dies_and_stands_still("mongodb", &[NOTHING]).await;
}
