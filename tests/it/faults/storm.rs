//! Everything that people can do, in random order, from many clients at once, while the server is killed and
//! restarted under them. Then the judge: `verify` finds no difference, and every number that a profile shows is the
//! length of the list that it counts (C4).
//!
//! Two hundred thousand operations under `HYBRID_LIVE_TEST_LONG`, a tenth of that otherwise; where everything is on
//! servers, a fifth.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use harness::{Answer, Client, Person, Server, Setup, Stores, Tokens, eventually, random, walk};
use http::Method;
use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use tokio::sync::watch;

const OPERATIONS: u32 = 20_000;
const CLIENTS: usize = 32;
const PEOPLE: usize = 24;
/// How often the server ends, in turn by SIGKILL and by SIGTERM.
const ENDS: usize = 6;
/// Things that are operated on: the newest of what was made, so that several clients meet on each.
const POOL: usize = 60;
/// Few enough rows in a home that homes are trimmed, and few enough followers that some authors are hot.
const SETTINGS: &str = "[projections]\ntrim_at = 40\ntrim_to = 25\ntrim_every = 2\nhot_author_followers = 18\n";

/// What somebody does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    Publish,
    EditPost,
    DeletePost,
    Comment,
    Reply,
    EditComment,
    DeleteComment,
    Like,
    Unlike,
    Follow,
    Unfollow,
    Block,
    Unblock,
    Mute,
    Unmute,
    EditProfile,
}

/// How often each is done, in relation to the others.
const DEEDS: [(Deed, u32); 16] = [
    (Deed::Publish, 10),
    (Deed::EditPost, 4),
    (Deed::DeletePost, 3),
    (Deed::Comment, 14),
    (Deed::Reply, 5),
    (Deed::EditComment, 5),
    (Deed::DeleteComment, 4),
    (Deed::Like, 24),
    (Deed::Unlike, 9),
    (Deed::Follow, 12),
    (Deed::Unfollow, 6),
    (Deed::Block, 1),
    (Deed::Unblock, 3),
    (Deed::Mute, 2),
    (Deed::Unmute, 2),
    (Deed::EditProfile, 3),
];

impl Deed {
    fn any(random: &mut ChaCha8Rng) -> Self {
        DEEDS.choose_weighted(random, |(_, weight)| *weight).expect("weights").0
    }

    /// The statuses that it may be answered with, whatever others do at the same time.
    fn answers(self) -> &'static [u16] {
        match self {
            Self::Publish => &[201],
            // Gone or out of sight meanwhile, changed meanwhile, or too many at once.
            Self::EditPost | Self::EditComment => &[200, 404, 409, 412],
            Self::DeletePost | Self::DeleteComment => &[204, 404, 409],
            Self::Comment | Self::Reply => &[201, 404, 409],
            Self::Like | Self::Unlike => &[204, 404, 409],
            // A block is in the way, or too many at once.
            Self::Follow | Self::Unfollow | Self::Block | Self::Unblock | Self::Mute | Self::Unmute => &[204, 409],
            Self::EditProfile => &[200, 409, 412],
        }
    }
}

/// A post or a comment.
#[derive(Clone, Debug)]
struct Thing {
    id: String,
    /// The post that it is on; of a post, itself.
    post: String,
    author: usize,
    etag: String,
}

/// The newest things.
#[derive(Debug, Default)]
struct Pool(Mutex<Vec<Thing>>);

impl Pool {
    fn add(&self, thing: Thing) {
        let mut things = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if things.len() == POOL {
            things.remove(0);
        }
        things.push(thing);
    }

    fn any(&self, random: &mut ChaCha8Rng) -> Option<Thing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).choose(random).cloned()
    }

    fn saw(&self, id: &str, etag: &str) {
        let mut things = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thing) = things.iter_mut().find(|thing| thing.id == id) {
            etag.clone_into(&mut thing.etag);
        }
    }
}

struct Town {
    people: Vec<Person>,
    posts: Pool,
    comments: Pool,
}

impl Town {
    /// One deed of one client. POSTs carry a key, so that whoever asks again after a crash asks for the same.
    async fn act(&self, deed: Deed, key: &str, random: &mut ChaCha8Rng) {
        let who = random.random_range(0..PEOPLE);
        let whom = (who + random.random_range(1..PEOPLE)) % PEOPLE;
        let post = self.posts.any(random).expect("a post");
        let comment = self.comments.any(random).expect("a comment");
        let (method, path, body) = match deed {
            Deed::Publish => {
                let visibility = if random.random_bool(0.2) { "followers" } else { "public" };
                (Method::POST, "/v1/posts".to_owned(), Some(json!({ "markdown": key, "visibility": visibility })))
            }
            Deed::EditPost => (Method::PUT, format!("/v1/posts/{}", post.id), Some(json!({ "markdown": key }))),
            Deed::DeletePost => (Method::DELETE, format!("/v1/posts/{}", post.id), None),
            Deed::Comment => (Method::POST, format!("/v1/posts/{}/comments", post.id), Some(json!({ "text": key }))),
            Deed::Reply => {
                let body = json!({ "text": key, "parent_id": comment.id });
                (Method::POST, format!("/v1/posts/{}/comments", comment.post), Some(body))
            }
            Deed::EditComment => (Method::PUT, format!("/v1/comments/{}", comment.id), Some(json!({ "text": key }))),
            Deed::DeleteComment => (Method::DELETE, format!("/v1/comments/{}", comment.id), None),
            Deed::Like => (Method::PUT, format!("/v1/posts/{}/like", post.id), None),
            Deed::Unlike => (Method::DELETE, format!("/v1/posts/{}/like", post.id), None),
            Deed::Follow => (Method::PUT, format!("/v1/users/{}/follow", self.people[whom].id), None),
            Deed::Unfollow => (Method::DELETE, format!("/v1/users/{}/follow", self.people[whom].id), None),
            Deed::Block => (Method::PUT, format!("/v1/users/{}/block", self.people[whom].id), None),
            Deed::Unblock => (Method::DELETE, format!("/v1/users/{}/block", self.people[whom].id), None),
            Deed::Mute => (Method::PUT, format!("/v1/users/{}/mute", self.people[whom].id), None),
            Deed::Unmute => (Method::DELETE, format!("/v1/users/{}/mute", self.people[whom].id), None),
            Deed::EditProfile => {
                (Method::PUT, "/v1/me".to_owned(), Some(json!({ "display_name": "Somebody", "bio": key })))
            }
        };
        // Edits are their authors' affair; what others may not do is tested elsewhere.
        let who = match deed {
            Deed::EditPost | Deed::DeletePost => post.author,
            Deed::EditComment | Deed::DeleteComment => comment.author,
            _ => who,
        };
        let etag = match deed {
            Deed::EditPost => Some(post.etag.as_str()),
            Deed::EditComment => Some(comment.etag.as_str()),
            Deed::EditProfile => Some("*"),
            _ => None,
        };
        let answer = self.answer(who, || {
            let mut request = self.people[who].client.request(method.clone(), &path);
            if method == Method::POST {
                request = request.header("idempotency-key", key);
            }
            if let Some(etag) = etag {
                request = request.header("if-match", etag);
            }
            if let Some(body) = &body {
                request = request.json(body);
            }
            request
        });
        let answer = answer.await;
        assert!(deed.answers().contains(&answer.status), "{deed:?} {path}: {}", answer.shown());
        self.remember(deed, who, &post, &comment, &answer);
    }

    /// Asks until there is an answer: a server that was killed comes back.
    async fn answer(&self, who: usize, request: impl Fn() -> reqwest::RequestBuilder) -> Answer {
        loop {
            match Client::try_send(request()).await {
                // It is about to stop, or full: what it did not do is asked for again.
                Ok(answer) if answer.status == 503 => {}
                Ok(answer) => return answer,
                Err(_) => {
                    let client = &self.people[who].client;
                    eventually("the server is back", async || {
                        match Client::try_send(client.request(Method::GET, "/health/live")).await {
                            Ok(answer) if answer.status == 200 => Ok(()),
                            Ok(answer) => Err(answer.shown()),
                            Err(error) => Err(error.to_string()),
                        }
                    })
                    .await;
                }
            }
        }
    }

    fn remember(&self, deed: Deed, author: usize, post: &Thing, comment: &Thing, answer: &Answer) {
        let etag = answer.header("etag").unwrap_or_default();
        match (deed, answer.status) {
            (Deed::Publish, 201) => {
                let id = answer.text("id");
                self.posts.add(Thing { post: id.clone(), id, author, etag: etag.to_owned() });
            }
            (Deed::Comment | Deed::Reply, 201) => {
                let (id, post) = (answer.text("id"), answer.text("post_id"));
                self.comments.add(Thing { id, post, author, etag: etag.to_owned() });
            }
            (Deed::EditPost, 200) => self.posts.saw(&post.id, etag),
            (Deed::EditComment, 200) => self.comments.saw(&comment.id, etag),
            _ => {}
        }
    }
}

/// By how much fewer there are where the servers for tests take so much longer for each.
fn slowness() -> usize {
    if Stores::of_this_run() == Stores::Cluster { 5 } else { 1 }
}

/// Where the server ends, in acknowledged operations: anywhere in each part of the whole.
fn ends(operations: usize) -> Vec<usize> {
    let mut random = random("storm ends");
    let part = operations / (ENDS + 1);
    (1..=ENDS).map(|number| number * part + random.random_range(0..part)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_everything_with_kills_leaves_no_difference() {
    let operations = crate::cases(OPERATIONS) as usize / slowness();
    let mut server = Server::start_with(Setup { settings: SETTINGS.to_owned(), ..Setup::default() }).await;
    let client = server.client();
    let names: Vec<String> = (0..PEOPLE).map(|number| format!("person_{number}")).collect();
    let people = futures::future::join_all(names.iter().map(|name| Person::register(&client, name))).await;
    let town = Arc::new(Town { people, posts: Pool::default(), comments: Pool::default() });
    let mut tokens = Tokens::default();
    for (author, person) in town.people.iter().enumerate() {
        let post = person.publish("first", &mut tokens).await;
        let comment = person.comment(&post.id, "first", &mut tokens).await;
        town.posts.add(Thing { id: post.id.clone(), post: post.id.clone(), author, etag: post.etag });
        town.comments.add(Thing { id: comment, post: post.id, author, etag: "\"1\"".to_owned() });
    }

    let (done, mut count) = watch::channel(0usize);
    let next = Arc::new(AtomicUsize::new(0));
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..CLIENTS {
        let (town, next, done) = (Arc::clone(&town), Arc::clone(&next), done.clone());
        clients.spawn(async move {
            let mut random = random(&format!("storm client {number}"));
            let mut deeds: BTreeMap<Deed, usize> = BTreeMap::new();
            while next.fetch_add(1, Ordering::Relaxed) < operations {
                let deed = Deed::any(&mut random);
                let key = format!("storm-{number}-{}", deeds.values().sum::<usize>());
                town.act(deed, &key, &mut random).await;
                *deeds.entry(deed).or_default() += 1;
                done.send_modify(|done| *done += 1);
            }
            deeds
        });
    }
    for (number, end) in ends(operations).into_iter().enumerate() {
        count.wait_for(|count| *count >= end).await.expect("work goes on");
        if number % 2 == 0 {
            server.kill().await;
        } else {
            assert!(server.terminate().await.success());
        }
        server.start_again().await;
    }
    let deeds = clients.join_all().await.into_iter().flatten();
    let mut all: BTreeMap<Deed, usize> = BTreeMap::new();
    for (deed, count) in deeds {
        *all.entry(deed).or_default() += count;
    }
    println!("{operations} operations with {ENDS} ends of the server: {all:?}");

    server.verify().await;
    profiles_count_their_lists(&server, &town).await;
    // Judged by nobody running, too.
    assert!(server.terminate().await.success());
    server.verify().await;
}

/// As people see it: each number beside the list that it counts.
async fn profiles_count_their_lists(server: &Server, town: &Town) {
    let client = server.client();
    let none = Tokens::default();
    let moved = AtomicBool::new(false);
    for person in &town.people {
        let profile = client.get(&format!("/v1/users/{}", person.id)).await.expect(200).json();
        let followers = walk(&client, &format!("/v1/users/{}/followers", person.id), 7, &none).await;
        let following = walk(&client, &format!("/v1/users/{}/following", person.id), 7, &none).await;
        // One's own list has what is for followers, too.
        let posts = walk(&person.client, &format!("/v1/users/{}/posts", person.id), 100, &none).await;
        assert_eq!(profile["followers"], followers.len(), "followers of {}", person.username);
        assert_eq!(profile["following"], following.len(), "whom {} follows", person.username);
        assert_eq!(profile["posts"], posts.len(), "posts of {}", person.username);
        moved.fetch_or(!followers.is_empty() && !posts.is_empty(), Ordering::Relaxed);
    }
    assert!(moved.into_inner(), "somebody has followers and posts");
}
