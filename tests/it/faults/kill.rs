//! `kill -9` in the middle of thousands of commands, twice: W1, W4, C1, L1, and `verify` finds no difference.

use std::sync::Arc;

use harness::{Server, Watching, random};
use rand::seq::IndexedRandom;
use serde_json::json;
use tokio::sync::watch;

use crate::load::{Command, Given, Town, Wish, every_effect_is_there_once, the_stream_missed_nothing, work};

const EVENTS: usize = 3_300;
const PEOPLE: usize = 16;
/// The first is watched all the time.
const POSTS: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_loses_nothing_and_doubles_nothing() {
    let mut server = Server::start().await;
    let town = Town::new(&server.client(), PEOPLE, POSTS).await;
    let commands = town.commands(EVENTS);

    let mut watching = Watching::post(&server.client(), &town.posts[0], None).await;
    let (acknowledged, mut count) = watch::channel(0);
    let work = tokio::spawn(work(Arc::clone(&town), Arc::clone(&commands), acknowledged.clone()));
    for kill_at in [commands.len() / 3, commands.len() * 2 / 3] {
        count.wait_for(|count| *count >= kill_at).await.expect("work goes on");
        server.kill().await;
        println!("killed after {} acknowledged commands", *count.borrow());
        server.start_again().await;
        watching.resume().await.expect("a stream");
    }
    // Judged while it goes on: what is in motion is read again until it stands.
    server.verify().await;
    let given = work.await.expect("every command is acknowledged");

    // W4: the same key, the same answer, and no second effect, whenever it is repeated.
    let keyed: Vec<&Command> =
        given.keys().filter(|(_, wish)| matches!(wish, Wish::Publish(_) | Wish::Comment(..))).collect();
    for command in &keyed {
        let again = Given::from(town.send(command).await.expect("an answer"));
        assert_eq!(&again, &given[*command], "W4: {command:?}");
    }
    for command in keyed.sample(&mut random("another body"), 20) {
        let (who, Wish::Publish(key) | Wish::Comment(_, key)) = command else { continue };
        let other = town.people[*who].client.post_once("/v1/posts", key, &json!({ "markdown": "other" })).await;
        assert_eq!(other.expect(422).problem().code, "idempotency_key_reused");
    }

    every_effect_is_there_once(&server, &server.client(), &town, &given).await;
    the_stream_missed_nothing(&server.client(), &town, &given, &watching).await;
    server.verify().await;
    // Judged by nobody running, too.
    assert!(server.terminate().await.success());
    server.verify().await;
}
