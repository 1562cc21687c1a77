//! The system divided over processes on shared files: each serves its roles, projectors share partitions, and one that is
//! killed loses nothing and doubles nothing (P2). One that is put to sleep is not tried here: asleep in the middle of a
//! write it keeps the file's lock, and everybody waits for it.

use harness::{Client, Person, Server, Setup, Stores, Tokens, Watching, eventually, walk};
use http::Method;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

/// A directory whose processes share a cache and publish live messages at `redis`.
fn prepare(redis: &str) -> Server {
    let settings = format!("partitions = 16\n[stores]\ncache = \"{redis}\"\nlive = \"{redis}\"\n");
    Server::prepare(Setup { stores: Stores::Embedded, settings, ..Setup::default() })
}

/// A place of its own on the Redis server of this run.
fn redis() -> String {
    let variable = "HYBRID_LIVE_TEST_REDIS";
    let url =
        std::env::var(variable).unwrap_or_else(|_| panic!("{variable}: run `eval \"$(tests/services/up)\"` first"));
    format!("{url}/roles-{:016x}", rand::random::<u64>())
}

/// A process with some of the roles, killed when this goes.
struct Process {
    child: Child,
    client: Client,
}

impl Process {
    async fn start(server: &Server, roles: &str) -> Self {
        let mut child = server.begin_heard(&["serve", "--listen", "127.0.0.1:0", "--role", roles]);
        let mut lines = BufReader::new(child.stdout.take().expect("is heard")).lines();
        let line = lines.next_line().await.expect("readable").unwrap_or_else(|| panic!("{roles}: ended at once"));
        let (_, address) = line.split_once("ready at ").unwrap_or_else(|| panic!("{line}"));
        Self { child, client: Client::new(address) }
    }

    /// Whether there is such a path here: past the API's document, which knows of no parts.
    async fn serves(&self, method: Method, path: &str) -> bool {
        let request = self.client.request(method, path).build().expect("a request");
        self.client.execute(request).await.expect("an answer").status() != 404
    }

    /// This person here.
    fn person(&self, person: &Person) -> Person {
        let token = person.session["access_token"].as_str().expect("a token");
        Person { client: self.client.bearer(token), ..person.clone() }
    }
}

#[tokio::test]
async fn what_goes_with_its_process_is_not_for_several() {
    let server = prepare("memory:");
    let refused = server.run(&["serve", "--role", "query-api,relay"]).await.expect(2);
    for named in ["query-api, relay", "stores.cache", "memory:"] {
        assert!(refused.text.contains(named), "{named}: {}", refused.text);
    }
    let refused = server.run(&["serve", "--role", "projectors", "--projections", "timelines"]).await.expect(2);
    assert!(refused.text.contains("projectors (timelines)"), "{}", refused.text);
}

#[tokio::test]
async fn a_process_with_some_roles_makes_no_keys_of_its_own_and_migrate_makes_them_once() {
    let server = prepare("redis://127.0.0.1:1/nobody");
    let refused = server.run(&["serve", "--role", "relay", "--listen", "127.0.0.1:0"]).await.expect(2);
    assert!(refused.text.contains("hybrid-live migrate") && refused.text.contains("secrets.toml"), "{}", refused.text);
    assert!(!server.files().secrets.exists());

    let made = server.run(&["migrate"]).await.expect(0);
    for line in ["content at sqlite:./data/truth.db: made, version 2", "views at", "secrets.toml: made"] {
        assert!(made.text.contains(line), "{line}: {}", made.text);
    }
    let keys = std::fs::read(server.files().secrets).expect("made");
    let again = server.run(&["migrate"]).await.expect(0);
    assert!(again.text.contains("event_log at sqlite:./data/truth.db: version 2, as it was"), "{}", again.text);
    assert_eq!(std::fs::read(server.files().secrets).expect("there"), keys);
}

#[tokio::test]
async fn keys_that_the_content_was_not_written_with_are_refused() {
    let mut server = Server::start().await;
    let _ = server.people(["ada"]).await;
    assert!(server.terminate().await.success());
    std::fs::remove_file(server.secrets_file()).expect("lost");
    let refused = server.run(&["serve", "--listen", "127.0.0.1:0"]).await.expect(2);
    assert!(refused.text.contains("secrets.toml"), "{}", refused.text);
}

#[tokio::test]
async fn processes_share_the_work_and_one_that_dies_is_made_up_for() {
    let server = prepare(&redis());
    let _ = server.run(&["migrate"]).await.expect(0);
    let commands = Process::start(&server, "command-api,relay").await;
    let queries = Process::start(&server, "query-api,streamer").await;
    let mut first = Process::start(&server, "projectors").await;
    let second = Process::start(&server, "projectors").await;

    // Whoever wants everything finds the files taken.
    let refused = server.run(&["serve", "--listen", "127.0.0.1:0"]).await.expect(2);
    assert!(refused.text.contains("another hybrid-live"), "{}", refused.text);
    // Each serves its own routes.
    assert!(!commands.serves(Method::GET, "/v1/feed").await && !queries.serves(Method::POST, "/v1/sessions").await);
    assert!(commands.serves(Method::POST, "/v1/sessions").await && queries.serves(Method::GET, "/v1/feed").await);

    let mut people = Vec::new();
    for number in 0..6 {
        people.push(Person::register(&commands.client, &format!("person{number}")).await);
    }
    let mut tokens = Tokens::default();
    for one in &people {
        for other in people.iter().filter(|other| other.id != one.id) {
            one.follow(other, &mut tokens).await;
        }
    }
    let reader = queries.person(&people[0]);
    let post = people[1].publish("in several processes", &mut tokens).await;
    assert_eq!(reader.feed(20, &tokens).await.len(), 1, "W7: what was written here is read there");
    let stream = Watching::post(&reader.client, &post.id, None).await;
    let comment = people[2].comment(&post.id, "seen at once", &mut tokens).await;
    stream.until("the comment is told", |told| told.iter().any(|one| one.data["id"] == comment.as_str())).await;

    // One dies in the middle of its work.
    let mut posts = 1;
    for round in 0..20 {
        for author in &people[1..] {
            author.publish(&format!("round {round}"), &mut tokens).await;
            posts += 1;
        }
        if round == 10 {
            first.child.kill().await.expect("killed");
        }
    }
    server.verify().await;

    eventually("the feed is whole", async || {
        let feed = walk(&reader.client, "/v1/feed", 100, &tokens).await;
        if feed.len() == posts { Ok(()) } else { Err(format!("{} of {posts}", feed.len())) }
    })
    .await;
    for process in [&commands, &queries, &second] {
        let _ = process.client.get("/health/ready").await.expect(200);
    }
}
