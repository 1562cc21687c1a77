//! `kill -9` in the middle of thousands of commands, twice: W1, W4, L1, and `verify` finds no difference.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use harness::{Answer, Client, Person, Server, Tokens, Watching, eventually, random, walk};
use http::Method;
use rand::RngExt;
use rand::seq::{IndexedRandom, SliceRandom};
use serde_json::{Value, json};
use tokio::sync::watch;

const COMMANDS: usize = 5_000;
const CLIENTS: usize = 64;
const PEOPLE: usize = 16;
/// Posts that are there from the beginning, to be commented and liked. The first is watched all the time.
const POSTS: usize = 20;
/// After how many acknowledged commands the server is killed.
const KILLS: [usize; 2] = [COMMANDS / 3, COMMANDS * 2 / 3];

/// What somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Wish {
    /// A post with this mark as its text.
    Publish(String),
    /// A comment with this mark as its text, on the post of this number.
    Comment(usize, String),
    /// A like of the post of this number.
    Like(usize),
    /// A follow of the person of this number.
    Follow(usize),
}

/// Whose wish it is, by number.
type Command = (usize, Wish);

/// An answer as far as repeating must give it again.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Given {
    status: u16,
    body: String,
    etag: Option<String>,
}

impl From<Answer> for Given {
    fn from(answer: Answer) -> Self {
        Self {
            status: answer.status,
            etag: answer.header("etag").map(str::to_owned),
            body: String::from_utf8_lossy(&answer.body).into_owned(),
        }
    }
}

struct Town {
    people: Vec<Person>,
    posts: Vec<String>,
}

impl Town {
    async fn send(&self, (who, wish): &Command) -> Result<Answer, reqwest::Error> {
        let client = &self.people[*who].client;
        let request = match wish {
            Wish::Publish(mark) => {
                let request = client.request(Method::POST, "/v1/posts").header("idempotency-key", mark);
                request.json(&json!({ "markdown": mark }))
            }
            Wish::Comment(post, mark) => {
                let path = format!("/v1/posts/{}/comments", self.posts[*post]);
                client.request(Method::POST, &path).header("idempotency-key", mark).json(&json!({ "text": mark }))
            }
            Wish::Like(post) => client.request(Method::PUT, &format!("/v1/posts/{}/like", self.posts[*post])),
            Wish::Follow(whom) => client.request(Method::PUT, &format!("/v1/users/{}/follow", self.people[*whom].id)),
        };
        Client::try_send(request).await
    }
}

fn commands() -> Vec<Command> {
    let mut random = random("kill");
    let mut commands: Vec<Command> = (0..COMMANDS)
        .map(|number| {
            let who = random.random_range(0..PEOPLE);
            let post = random.random_range(0..POSTS);
            let wish = match random.random_range(0..100) {
                0..20 => Wish::Publish(format!("post-{number}")),
                20..55 => Wish::Comment(post, format!("comment-{number}")),
                55..90 => Wish::Like(post),
                _ => Wish::Follow((who + random.random_range(1..PEOPLE)) % PEOPLE),
            };
            (who, wish)
        })
        .collect();
    commands.shuffle(&mut random);
    commands
}

/// Sixty-four clients work the commands off. Whoever gets no answer asks again once the server is back: as often as
/// it takes, always the same.
async fn work(
    town: &Arc<Town>,
    commands: &Arc<Vec<Command>>,
    acknowledged: &watch::Sender<usize>,
) -> HashMap<Command, Given> {
    let next = Arc::new(AtomicUsize::new(0));
    let unanswered = Arc::new(AtomicUsize::new(0));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        let (town, commands, next) = (Arc::clone(town), Arc::clone(commands), Arc::clone(&next));
        let (acknowledged, unanswered) = (acknowledged.clone(), Arc::clone(&unanswered));
        clients.spawn(async move {
            let mut given = Vec::new();
            while let Some(command) = commands.get(next.fetch_add(1, Ordering::SeqCst)) {
                let answer = loop {
                    match town.send(command).await {
                        Ok(answer) => break answer,
                        Err(_) => {
                            unanswered.fetch_add(1, Ordering::SeqCst);
                            back(&town.people[command.0].client).await;
                        }
                    }
                };
                assert!(matches!(answer.status, 201 | 204), "{command:?}: {}", answer.shown());
                given.push((command.clone(), Given::from(answer)));
                acknowledged.send_modify(|count| *count += 1);
            }
            given
        });
    }
    let given: HashMap<Command, Given> = clients.join_all().await.into_iter().flatten().collect();
    println!("{} requests had no answer and were repeated", unanswered.load(Ordering::SeqCst));
    given
}

async fn back(client: &Client) {
    eventually("the server is back", async || {
        match Client::try_send(client.request(Method::GET, "/health/live")).await {
            Ok(answer) if answer.status == 200 => Ok(()),
            Ok(answer) => Err(answer.shown()),
            Err(error) => Err(error.to_string()),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_loses_nothing_and_doubles_nothing() {
    let mut server = Server::start().await;
    let mut tokens = Tokens::default();
    let names: Vec<String> = (0..PEOPLE).map(|number| format!("person_{number}")).collect();
    let client = server.client();
    let people = futures::future::join_all(names.iter().map(|name| Person::register(&client, name))).await;
    let mut posts = Vec::new();
    for number in 0..POSTS {
        posts.push(people[number % PEOPLE].publish("discuss", &mut tokens).await.id);
    }
    let town = Arc::new(Town { people, posts });
    let commands = Arc::new(commands());

    let mut watching = Watching::post(&server.client(), &town.posts[0], None).await;
    let (acknowledged, mut count) = watch::channel(0);
    let work = {
        let (town, commands, acknowledged) = (Arc::clone(&town), Arc::clone(&commands), acknowledged.clone());
        tokio::spawn(async move { work(&town, &commands, &acknowledged).await })
    };
    for kill_at in KILLS {
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

    every_effect_is_there_once(&server, &town, &given).await;
    the_stream_missed_nothing(&server, &town, &given, &watching).await;
    server.verify().await;
    // Judged by nobody running, too.
    assert!(server.terminate().await.success());
    server.verify().await;
}

async fn every_effect_is_there_once(server: &Server, town: &Town, given: &HashMap<Command, Given>) {
    let wished = |of: fn(&Wish) -> bool| given.keys().filter(|(_, wish)| of(wish)).count();
    let logged = |kind: &str| {
        let events = server.files().events(Some(kind));
        let distinct: BTreeSet<(String, i64)> =
            events.iter().map(|event| (event.subject.clone(), event.sequence)).collect();
        if harness::Stores::of_this_run() == harness::Stores::Embedded {
            assert_eq!(distinct.len(), events.len(), "{kind}: nothing is in the log twice where it shares the commit");
        }
        distinct.len()
    };
    // Unpublished events are on their way where content and log are apart.
    server.files().settled().await;
    assert_eq!(logged("post.published"), POSTS + wished(|wish| matches!(wish, Wish::Publish(_))), "W1, W4");
    assert_eq!(logged("comment.added"), wished(|wish| matches!(wish, Wish::Comment(..))), "W1, W4");
    assert_eq!(logged("reaction.liked"), wished(|wish| matches!(wish, Wish::Like(_))), "W1");
    assert_eq!(logged("relation.followed"), wished(|wish| matches!(wish, Wish::Follow(_))), "W1");

    // As the people see it: every list to its end.
    let mut tokens = Tokens::default();
    for (number, person) in town.people.iter().enumerate() {
        // One command more: its token, and all before it, are waited for by every query.
        person.follow(&town.people[(number + 1) % PEOPLE], &mut tokens).await;
        person.publish("settle", &mut tokens).await;
    }
    let client = server.client();
    let mut published: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    for (who, person) in town.people.iter().enumerate() {
        let posts = walk(&client, &format!("/v1/users/{}/posts", person.id), 100, &tokens).await;
        let mut marks: BTreeMap<String, usize> = BTreeMap::new();
        for post in &posts {
            let mark = post["text"].as_str().expect("a text").to_owned();
            if mark != "discuss" && mark != "settle" {
                *marks.entry(mark).or_default() += 1;
            }
        }
        let wished: BTreeMap<String, usize> = given
            .keys()
            .filter(|(by, _)| *by == who)
            .filter_map(|(_, wish)| match wish {
                Wish::Publish(mark) => Some((mark.clone(), 1)),
                _ => None,
            })
            .collect();
        assert_eq!(marks, wished, "what {} published", person.username);
        published.insert(person.id.clone(), marks);
    }
    for (number, post) in town.posts.iter().enumerate() {
        let comments = walk(&client, &format!("/v1/posts/{post}/comments"), 100, &tokens).await;
        let mut comments: Vec<&str> = comments.iter().filter_map(|comment| comment["text"].as_str()).collect();
        comments.sort_unstable();
        let mut wished: Vec<&str> = given
            .keys()
            .filter_map(|(_, wish)| match wish {
                Wish::Comment(on, mark) if *on == number => Some(mark.as_str()),
                _ => None,
            })
            .collect();
        wished.sort_unstable();
        assert_eq!(comments, wished, "comments on post {number}");

        let likes = walk(&client, &format!("/v1/posts/{post}/likes"), 7, &tokens).await;
        let mut likes: Vec<&str> = likes.iter().filter_map(|like| like["user"]["id"].as_str()).collect();
        likes.sort_unstable();
        let likers = (0..PEOPLE).filter(|who| given.contains_key(&(*who, Wish::Like(number))));
        let mut likers: Vec<&str> = likers.map(|who| town.people[who].id.as_str()).collect();
        likers.sort_unstable();
        assert_eq!(likes, likers, "who likes post {number}");
        let whole = client.get(&format!("/v1/posts/{post}")).await.expect(200).json();
        assert_eq!((&whole["likes"], &whole["comments"]), (&json!(likes.len()), &json!(comments.len())), "C1");
    }
    for (who, person) in town.people.iter().enumerate() {
        let follows =
            |whom: usize| whom == who || whom == (who + 1) % PEOPLE || given.contains_key(&(who, Wish::Follow(whom)));
        let authors: BTreeSet<&str> =
            (0..PEOPLE).filter(|whom| follows(*whom)).map(|whom| town.people[whom].id.as_str()).collect();
        let mut expected = Vec::new();
        for author in &authors {
            let posts = walk(&client, &format!("/v1/users/{author}/posts"), 100, &tokens).await;
            expected.extend(posts.iter().filter_map(|post| post["id"].as_str().map(str::to_owned)));
        }
        expected.sort_unstable_by(|one, other| other.cmp(one));
        let home: Vec<String> =
            person.feed(100, &tokens).await.iter().filter_map(|post| post["id"].as_str().map(str::to_owned)).collect();
        assert_eq!(home, expected, "T1: the home of {}", person.username);
    }
}

/// L1: every comment on the watched post, once.
async fn the_stream_missed_nothing(server: &Server, town: &Town, given: &HashMap<Command, Given>, watching: &Watching) {
    let mut commented: Vec<String> = given
        .iter()
        .filter(|((_, wish), _)| matches!(wish, Wish::Comment(0, _)))
        .map(|(_, given)| {
            serde_json::from_str::<Value>(&given.body).expect("JSON")["id"].as_str().expect("an id").to_owned()
        })
        .collect();
    commented.sort_unstable();
    let total = commented.len();
    watching
        .until("every comment", |told| told.iter().filter(|told| told.name == "NEW_COMMENT").count() >= total)
        .await;
    let mut told = watching.ids("NEW_COMMENT");
    told.sort_unstable();
    assert_eq!(told, commented, "L1: each once");
    assert!(!watching.told().iter().any(|told| told.name == "reset"), "L1: nor was there a need to load afresh");
    let likes = server.client().get(&format!("/v1/posts/{}", town.posts[0])).await.expect(200).json()["likes"].clone();
    watching
        .until("the last number of likes", |told| {
            told.iter().rev().find(|told| told.name == "LIKES").is_some_and(|told| told.data["likes"] == likes)
        })
        .await;
}
