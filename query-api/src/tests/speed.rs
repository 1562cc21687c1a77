//! Where the time of a home goes. Measures and asserts nothing: `cargo test --release -- --ignored speed --nocapture`.

use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use domain::{PostId, StreamId, UserId};
use http::Request;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use super::http_client::Client;
use super::world::{GENERATION, World};
use crate::feed::Walk;
use crate::hydrate::WrittenPosts;

const TIMES: u32 = 5_000;

async fn measure(name: &str, mut work: impl AsyncFnMut()) {
    for _ in 0..TIMES / 10 {
        work().await;
    }
    let started = Instant::now();
    for _ in 0..TIMES {
        work().await;
    }
    println!("{name:28} {:8.2} µs", started.elapsed().as_secs_f64() * 1e6 / f64::from(TIMES));
}

async fn call(router: &Router, request: Request<Body>) -> usize {
    let response = router.clone().oneshot(request).await.unwrap();
    response.into_body().collect().await.unwrap().to_bytes().len()
}

#[tokio::test]
#[ignore = "measures, and asserts nothing"]
async fn where_the_time_of_a_home_goes() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let text = "Something that somebody wrote, about as long as such things are. ".repeat(4);
    for index in 0..40 {
        let author = world.person(&format!("author{index}")).await;
        world.follow(ada, author).await;
        for _ in 0..10 {
            world.publish(author, &text).await;
        }
    }
    let client = Client::new(&world).by(ada);
    let size = client.get("/v1/feed").await.text.len();
    println!("a page of {size} bytes");
    let body: &'static str = Box::leak("x".repeat(size).into_boxed_str());
    let constant = Router::new().route("/constant", get(async move || body));
    measure("constant body", async || {
        call(&constant, Request::get("/constant").body(Body::empty()).unwrap()).await;
    })
    .await;
    measure("GET /v1/feed", async || {
        client.get_length("/v1/feed").await;
    })
    .await;
    measure("GET /v1/me", async || {
        client.get_length("/v1/me").await;
    })
    .await;

    let feed = world.feed();
    measure("home of ids", async || {
        feed.home(ada, Walk::NEWEST, 20).await.unwrap();
    })
    .await;
    let page = feed.home(ada, Walk::NEWEST, 20).await.unwrap();
    measure("written", async || {
        let mut written = WrittenPosts::default();
        written.add(&world.ports, feed.cached(), Some(ada), &page.entries).await.unwrap();
    })
    .await;
    let posts: Vec<PostId> = page.posts();
    let authors: Vec<UserId> = page.entries.iter().map(|listed| listed.entry.author).collect();
    let streams: Vec<StreamId> = authors.iter().copied().map(StreamId::User).collect();
    let ports = &world.ports;
    measure("  serving", async || {
        ports.checkpoints.serving("timelines").await.unwrap();
    })
    .await;
    measure("  a read of nothing", async || {
        ports.views.hot(GENERATION, &[]).await.unwrap();
    })
    .await;
    let span = Walk::NEWEST.span();
    measure("  home", async || {
        ports.timelines.home(GENERATION, ada, span, 27).await.unwrap();
    })
    .await;
    measure("  hot_followed", async || {
        ports.views.hot_followed(GENERATION, ada).await.unwrap();
    })
    .await;
    measure("  relations", async || {
        ports.views.relations(GENERATION, ada, &authors).await.unwrap();
    })
    .await;
    measure("  previews", async || {
        ports.content.previews(&posts).await.unwrap();
    })
    .await;
    measure("  states", async || {
        ports.content.states(&streams).await.unwrap();
    })
    .await;
    measure("  counts", async || {
        ports.views.counts(GENERATION, &posts).await.unwrap();
    })
    .await;
    measure("  liked", async || {
        ports.views.liked(GENERATION, ada, &posts).await.unwrap();
    })
    .await;
}
