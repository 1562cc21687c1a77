//! Processes are started while a server is away that stores are on. Whoever does not need it serves as if nothing were; who
//! does waits, says so, and comes up by itself once the server is back. Nothing is lost (W1), and `verify` finds no
//! difference.

use harness::{Client, Cluster, Person, Role, Servers, Service, Setup, Stores, Tokens, eventually};

/// All but what takes commands.
const REST: [Role; 4] = [Role::QueryApi, Role::Streamer, Role::Relay, Role::Projectors];

/// A system of two processes, one of its servers being the scenario's own.
async fn beside(name: &str) -> (Service, Cluster) {
    Stores::only(&[Stores::Cluster]);
    let service = Service::start(name).await;
    let servers = Servers::of_this_run().with(name, service.url());
    let mut cluster = Cluster::new(&Setup { servers, ..Setup::default() }).await;
    cluster.start("commands", &[Role::CommandApi]).await;
    cluster.start("rest", &REST).await;
    (service, cluster)
}

/// How the process says that it is: the status, and what it lacks.
pub(crate) async fn readiness(client: &Client) -> (u16, Vec<String>) {
    let answer = client.get("/health/ready").await;
    let body = answer.json();
    let dependencies = body["dependencies"].as_array().expect("dependencies");
    let lacking = dependencies.iter().filter(|it| it["status"] == "down");
    (answer.status, lacking.map(|it| it["name"].as_str().expect("a name").to_owned()).collect())
}

pub(crate) async fn until_ready(client: &Client) {
    eventually("the process is ready", async || match readiness(client).await {
        (200, _) => Ok(()),
        lacking => Err(format!("{lacking:?}")),
    })
    .await;
}

/// Whoever asks what is not served yet is told when to come again.
async fn is_put_off(client: &Client, path: &str) {
    let answer = client.get(path).await.expect(503);
    assert_eq!(answer.problem().code, "unavailable");
    assert!(answer.header("retry-after").is_some(), "{}", answer.shown());
}

/// A follow and a post by each, which all must be told of in the end.
async fn live_on(people: &[Person; 2], posts: &mut Vec<String>, tokens: &mut Tokens) {
    let [ada, ben] = people;
    ben.follow(ada, tokens).await;
    for author in people {
        posts.push(author.publish("still here", tokens).await.id);
    }
    ben.like(&posts[0], tokens).await;
}

async fn everything_has_arrived(cluster: &Cluster, people: &[Person; 2], posts: &[String], tokens: &Tokens) {
    let feed = people[1].feed(50, tokens).await;
    let mut told: Vec<&str> = feed.iter().map(|item| item["id"].as_str().expect("an id")).collect();
    let mut expected: Vec<&str> = posts.iter().map(String::as_str).collect();
    told.sort_unstable();
    expected.sort_unstable();
    assert_eq!(told, expected);
    cluster.verify().await;
}

/// "Commands are accepted as long as MongoDB is there", also by a process that has never seen the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_api_that_starts_without_kafka_takes_commands() {
    let (kafka, mut cluster) = beside("kafka").await;
    let people = Person::register_all(&cluster.client(), ["ada", "ben"]).await;
    let (mut posts, mut tokens) = (Vec::new(), Tokens::default());
    live_on(&people, &mut posts, &mut tokens).await;

    kafka.kill().await;
    cluster.kill("commands").await;
    cluster.start_again("commands").await;
    live_on(&people, &mut posts, &mut tokens).await;
    let commands = cluster.client_of("commands");
    until_ready(&commands).await;
    // Administration looks into the log.
    is_put_off(&commands, "/v1/admin/projections").await;
    assert!(cluster.log("commands").contains("event_log"), "it says what it waits for");

    kafka.start_again().await;
    eventually("administration is there", async || {
        let answer = people[0].client.get("/v1/admin/projections").await;
        if answer.status == 403 { Ok(()) } else { Err(answer.shown()) }
    })
    .await;
    everything_has_arrived(&cluster, &people, &posts, &tokens).await;
    // Now it has the log, and needs no relay.
    cluster.kill("rest").await;
    live_on(&people, &mut posts, &mut tokens).await;
    eventually("the log has every post", async || {
        let there = cluster.happened("post.published").await;
        if there == posts.len() { Ok(()) } else { Err(there.to_string()) }
    })
    .await;
    cluster.start_again("rest").await;
    everything_has_arrived(&cluster, &people, &posts, &tokens).await;
}

/// `waited_for`: the store that is on the server.
async fn waits_and_comes_up(name: &str, waited_for: &str) {
    let (service, mut cluster) = beside(name).await;
    let people = Person::register_all(&cluster.client(), ["ada", "ben"]).await;
    let (mut posts, mut tokens) = (Vec::new(), Tokens::default());
    live_on(&people, &mut posts, &mut tokens).await;

    service.kill().await;
    cluster.kill("rest").await;
    cluster.begin_again("rest").await;
    live_on(&people, &mut posts, &mut tokens).await;
    let rest = cluster.client_of("rest");
    let (status, lacking) = readiness(&rest).await;
    assert_eq!(status, 503);
    assert!(lacking.iter().any(|lacking| lacking == waited_for), "{lacking:?}");
    is_put_off(&rest, "/v1/feed").await;
    // Whoever waits stops when told to.
    cluster.terminate("rest").await;
    let said = cluster.log("rest");
    assert!(said.contains(&format!("the {waited_for} store at")), "it says what it waits for:\n{said}");

    cluster.begin_again("rest").await;
    service.start_again().await;
    until_ready(&rest).await;
    everything_has_arrived(&cluster, &people, &posts, &tokens).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_start_without_kafka_wait_for_it() {
    waits_and_comes_up("kafka", "event_log").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_start_without_cassandra_wait_for_it() {
    waits_and_comes_up("cassandra", "timelines").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_start_without_redis_wait_for_it() {
    waits_and_comes_up("redis", "live").await;
}

/// Even the truth may come later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_api_that_starts_without_mongodb_waits_for_it() {
    let (mongodb, mut cluster) = beside("mongodb").await;
    let people = Person::register_all(&cluster.client(), ["ada", "ben"]).await;
    let (mut posts, mut tokens) = (Vec::new(), Tokens::default());
    mongodb.kill().await;
    cluster.kill("commands").await;
    cluster.begin_again("commands").await;
    let commands = cluster.client_of("commands");
    assert_eq!(readiness(&commands).await, (503, vec!["content".to_owned()]));
    is_put_off(&commands, "/v1/admin/projections").await;

    mongodb.start_again().await;
    until_ready(&commands).await;
    live_on(&people, &mut posts, &mut tokens).await;
    everything_has_arrived(&cluster, &people, &posts, &tokens).await;
}
