//! Many people who write at the same time, and ask again, always for the same, until they are answered; and what must
//! be there in the end.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use harness::{Answer, Client, Person, System, Tokens, Watching, eventually, random, walk};
use http::Method;
use rand::RngExt;
use serde_json::{Value, json};
use tokio::sync::watch;

/// How many write at the same time.
const CLIENTS: usize = 64;

/// What somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Wish {
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
pub(crate) type Command = (usize, Wish);

/// An answer as far as repeating must give it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
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

/// People, and posts that are there from the beginning, to be commented and liked.
pub(crate) struct Town {
    pub(crate) people: Vec<Person>,
    pub(crate) posts: Vec<String>,
}

impl Town {
    pub(crate) async fn new(client: &Client, people: usize, posts: usize) -> Arc<Self> {
        let names: Vec<String> = (0..people).map(|number| format!("person_{number}")).collect();
        let people = futures::future::join_all(names.iter().map(|name| Person::register(client, name))).await;
        let mut town = Self { people, posts: Vec::new() };
        let mut tokens = Tokens::default();
        for number in 0..posts {
            let author = &town.people[number % town.people.len()];
            let post = author.publish("discuss", &mut tokens).await.id;
            town.posts.push(post);
        }
        Arc::new(town)
    }

    /// Sends a command once.
    pub(crate) async fn send(&self, (who, wish): &Command) -> Result<Answer, reqwest::Error> {
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

    /// Commands that come to so many events; some are wished for again and again.
    pub(crate) fn commands(&self, events: usize) -> Arc<Vec<Command>> {
        let mut random = random("load");
        let (people, posts) = (self.people.len(), self.posts.len());
        let (mut commands, mut known) = (Vec::new(), BTreeSet::new());
        for number in 0.. {
            if known.len() == events {
                break;
            }
            let who = random.random_range(0..people);
            let post = random.random_range(0..posts);
            let wish = match random.random_range(0..100) {
                0..20 => Wish::Publish(format!("post-{number}")),
                20..55 => Wish::Comment(post, format!("comment-{number}")),
                55..90 => Wish::Like(post),
                _ => Wish::Follow((who + random.random_range(1..people)) % people),
            };
            known.insert((who, wish.clone()));
            commands.push((who, wish));
        }
        Arc::new(commands)
    }
}

/// Sixty-four clients work the commands off. Whoever gets no answer, or is told to come again, asks again: as often as
/// it takes, always the same. `acknowledged` counts.
pub(crate) async fn work(
    town: Arc<Town>,
    commands: Arc<Vec<Command>>,
    acknowledged: watch::Sender<usize>,
) -> HashMap<Command, Given> {
    let next = Arc::new(AtomicUsize::new(0));
    let repeated = Arc::new(AtomicUsize::new(0));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        let (town, commands, next) = (Arc::clone(&town), Arc::clone(&commands), Arc::clone(&next));
        let (acknowledged, repeated) = (acknowledged.clone(), Arc::clone(&repeated));
        clients.spawn(async move {
            let mut given = Vec::new();
            while let Some(command) = commands.get(next.fetch_add(1, Ordering::SeqCst)) {
                let answer = eventually("an answer", async || {
                    let why = match town.send(command).await {
                        Ok(answer) if answer.status == 503 => {
                            assert!(answer.header("retry-after").is_some(), "{}", answer.shown());
                            answer.shown()
                        }
                        // Somebody is at it: what had no answer yet may still be under way.
                        Ok(answer) if answer.status == 409 && answer.problem().code == "conflict" => answer.shown(),
                        Ok(answer) if answer.status == 401 => {
                            town.people[command.0].log_in_again().await;
                            answer.shown()
                        }
                        Ok(answer) => return Ok(answer),
                        Err(error) => error.to_string(),
                    };
                    repeated.fetch_add(1, Ordering::SeqCst);
                    Err(why)
                })
                .await;
                assert!(matches!(answer.status, 201 | 204), "{command:?}: {}", answer.shown());
                given.push((command.clone(), Given::from(answer)));
                acknowledged.send_modify(|count| *count += 1);
            }
            given
        });
    }
    let given: HashMap<Command, Given> = clients.join_all().await.into_iter().flatten().collect();
    println!("{} requests were repeated", repeated.load(Ordering::SeqCst));
    given
}

/// W1, W4, C1, T1: what was acknowledged is in the log and in everything that people see, once.
pub(crate) async fn every_effect_is_there_once(
    system: &System,
    client: &Client,
    town: &Town,
    given: &HashMap<Command, Given>,
) {
    // The work may have taken longer than a session lasts.
    for person in &town.people {
        person.log_in_again().await;
    }
    let people = town.people.len();
    let wished = |of: fn(&Wish) -> bool| given.keys().filter(|(_, wish)| of(wish)).count();
    let logged = async |kind: &str| {
        let happened = system.happened(kind).await;
        if harness::Stores::of_this_run().share_transactions() {
            let events = system.events(Some(kind)).await.len();
            assert_eq!(events, happened, "{kind}: nothing is in the log twice where it shares the commit");
        }
        happened
    };
    assert_eq!(
        logged("post.published").await,
        town.posts.len() + wished(|wish| matches!(wish, Wish::Publish(_))),
        "W1, W4"
    );
    assert_eq!(logged("comment.added").await, wished(|wish| matches!(wish, Wish::Comment(..))), "W1, W4");
    assert_eq!(logged("reaction.liked").await, wished(|wish| matches!(wish, Wish::Like(_))), "W1");
    assert_eq!(logged("relation.followed").await, wished(|wish| matches!(wish, Wish::Follow(_))), "W1");

    // As the people see it: every list to its end.
    let mut tokens = Tokens::default();
    for (number, person) in town.people.iter().enumerate() {
        // One command more: its token, and all before it, are waited for by every query.
        person.follow(&town.people[(number + 1) % people], &mut tokens).await;
        person.publish("settle", &mut tokens).await;
    }
    let mut published: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    for (who, person) in town.people.iter().enumerate() {
        let posts = walk(client, &format!("/v1/users/{}/posts", person.id), 100, &tokens).await;
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
        let comments = walk(client, &format!("/v1/posts/{post}/comments"), 100, &tokens).await;
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

        let likes = walk(client, &format!("/v1/posts/{post}/likes"), 7, &tokens).await;
        let mut likes: Vec<&str> = likes.iter().filter_map(|like| like["user"]["id"].as_str()).collect();
        likes.sort_unstable();
        let likers = (0..people).filter(|who| given.contains_key(&(*who, Wish::Like(number))));
        let mut likers: Vec<&str> = likers.map(|who| town.people[who].id.as_str()).collect();
        likers.sort_unstable();
        assert_eq!(likes, likers, "who likes post {number}");
        let whole = client.get(&format!("/v1/posts/{post}")).await.expect(200).json();
        assert_eq!((&whole["likes"], &whole["comments"]), (&json!(likes.len()), &json!(comments.len())), "C1");
    }
    for (who, person) in town.people.iter().enumerate() {
        let follows =
            |whom: usize| whom == who || whom == (who + 1) % people || given.contains_key(&(who, Wish::Follow(whom)));
        let authors: BTreeSet<&str> =
            (0..people).filter(|whom| follows(*whom)).map(|whom| town.people[whom].id.as_str()).collect();
        let mut expected = Vec::new();
        for author in &authors {
            let posts = walk(client, &format!("/v1/users/{author}/posts"), 100, &tokens).await;
            expected.extend(posts.iter().filter_map(|post| post["id"].as_str().map(str::to_owned)));
        }
        expected.sort_unstable_by(|one, other| other.cmp(one));
        let home: Vec<String> =
            person.feed(100, &tokens).await.iter().filter_map(|post| post["id"].as_str().map(str::to_owned)).collect();
        assert_eq!(home, expected, "T1: the home of {}", person.username);
    }
}

/// L1: every comment on the first post, once.
pub(crate) async fn the_stream_missed_nothing(
    client: &Client,
    town: &Town,
    given: &HashMap<Command, Given>,
    watching: &Watching,
) {
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
    let likes = client.get(&format!("/v1/posts/{}", town.posts[0])).await.expect(200).json()["likes"].clone();
    watching
        .until("the last number of likes", |told| {
            told.iter().rev().find(|told| told.name == "LIKES").is_some_and(|told| told.data["likes"] == likes)
        })
        .await;
}
