//! A small community in a real data directory.

use std::path::Path;

use super::*;
use crate::verify;

const UNTIL: Timestamp = Timestamp::from_millis(1_767_225_600_000);

async fn opened(directory: &Path) -> (Config, Opened) {
    let config = Config { data_dir: directory.display().to_string(), ..Config::default() };
    let opened = wiring::open(&config).await.expect("opens");
    (config, opened)
}

async fn seed(opened: &Opened, plan: &Plan) -> Summary {
    Seeding::new(opened, plan).carry_out("not a hash").await.expect("carries out")
}

/// Every document's text, of everything but the secrets.
async fn documents(opened: &Opened) -> Vec<(StreamId, String)> {
    let mut documents = Vec::new();
    loop {
        let after = documents.last().map(|(stream, _)| *stream);
        let page = opened.stores.content.scan(after, 500).await.expect("reads");
        if page.is_empty() {
            return documents;
        }
        documents.extend(page.into_iter().map(|(stream, state)| (stream, state.state)));
    }
}

#[tokio::test]
async fn the_same_seed_makes_the_same_and_a_second_run_adds_nothing() {
    let directories = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
    let plan = Plan::new(7, 20, 40, UNTIL);
    let (config, one) = opened(directories[0].path()).await;
    let first = seed(&one, &plan).await;
    for Count { planned, added } in [first.people, first.follows, first.posts, first.comments, first.likes] {
        assert!(planned > 0);
        assert_eq!(added, planned);
    }
    let again = seed(&one, &plan).await;
    for (before, Count { planned, added }) in [
        (first.people, again.people),
        (first.follows, again.follows),
        (first.posts, again.posts),
        (first.comments, again.comments),
        (first.likes, again.likes),
    ] {
        assert_eq!((planned, added), (before.planned, 0));
    }

    let (_, other) = opened(directories[1].path()).await;
    seed(&other, &plan).await;
    assert_eq!(documents(&one).await, documents(&other).await);
    assert!(verify::is_clean(&config, &one).await);
}

#[tokio::test]
async fn two_communities_live_side_by_side_though_names_collide() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_, opened) = opened(directory.path()).await;
    let (one, other) = (Plan::new(1, 700, 0, UNTIL), Plan::new(2, 700, 0, UNTIL));
    let names = |plan: &Plan| Seeding::new(&opened, plan).names().expect("names").into_iter().collect::<HashSet<_>>();
    assert!(!names(&one).is_disjoint(&names(&other)), "some names are wanted twice");
    assert_eq!(seed(&opened, &one).await.people.added, 700);
    assert_eq!(seed(&opened, &other).await.people.added, 700);
    assert_eq!(seed(&opened, &other).await.people.added, 0, "also those who had to take another name");
}

#[tokio::test]
async fn what_people_took_back_stays_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_, opened) = opened(directory.path()).await;
    let plan = Plan::new(3, 10, 10, UNTIL);
    seed(&opened, &plan).await;
    let like = (0..10).find_map(|index| plan.likes(index).expect("valid").first().copied()).expect("a like");
    let commands = Commands::new(opened.write_path.clone());
    commands.unlike(&Origin::now(like.user), like.post).await.expect("takes back");
    assert_eq!(seed(&opened, &plan).await.likes.added, 0);
}

#[tokio::test]
async fn a_password_that_is_not_allowed_is_refused_before_anything_is_made() {
    let directory = tempfile::tempdir().expect("a directory");
    let data_dir = directory.path().join("data");
    let config = Config { data_dir: data_dir.display().to_string(), ..Config::default() };
    let args = SeedArgs { users: 1, posts: 1, seed: 1, until: UNTIL, password: "short".to_owned() };
    assert!(run(&config, args).await.expect_err("refused").to_string().contains("--password"));
    assert!(!data_dir.exists());
}
