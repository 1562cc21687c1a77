//! One row damaged in each store, and each is named; nothing damaged, and nothing is.

use std::path::Path;

use adapters::content::Commit;
use adapters::event_log::{Attributes, Record};
use adapters::http::clock;
use command_api::commands::{Commands, CommentEdit, PostEdit, ProfileEdit, SeenVersions};
use command_api::write_path::Origin;
use domain::event::Schema;
use domain::post::{Post, Text};
use domain::text::{Bio, CommentText, DisplayName, Markdown};
use domain::user::Profile;
use domain::{Aggregate as _, CorrelationId, Envelope, EventId, Lane, StreamId, Topic};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::*;
use crate::seed;
use crate::serve::Lock;

/// A community in which everything has happened that can: deleted, edited, taken back, blocked, trimmed, and authors
/// with too many followers. Made once; every test gets a copy.
static COMMUNITY: OnceCell<TempDir> = OnceCell::const_new();

fn config(directory: &Path) -> Config {
    let mut config = Config { data_dir: directory.display().to_string(), ..Config::default() };
    config.projections.hot_author_followers = 9;
    config.projections.trim_at = 20;
    config.projections.trim_to = 10;
    config.projections.trim_every = 1;
    config
}

async fn make_community() -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let config = config(directory.path());
    let opened = wiring::open(&config).await.expect("opens");
    // People and their follows are projected before they write: so posts meet flags and trimmed homes.
    seed::seed_for_tests(&opened, 1, 24, 0).await;
    assert!(is_clean(&config, &opened).await);
    seed::seed_for_tests(&opened, 1, 24, 120).await;
    change_minds(&opened).await;
    assert!(is_clean(&config, &opened).await);
    directory
}

/// Edits, deletions, and what was taken back.
async fn change_minds(opened: &Opened) {
    let commands = Commands::new(opened.write_path.clone());
    let documents = opened.stores.content.scan(None, 10_000).await.expect("reads");
    let mut seen = [0; 5];
    for (stream, document) in documents {
        match stream {
            StreamId::Post(post) => {
                let state: Post = serde_json::from_str(&document.state).expect("a post");
                let Post::Published { author, .. } = state else { continue };
                let origin = Origin::now(author);
                seen[0] += 1;
                if seen[0] % 5 == 0 {
                    commands.delete_post(&origin, post).await.expect("deletes");
                } else if seen[0] % 4 == 0 {
                    let text = Text { title: None, markdown: Markdown::parse("*changed*").expect("valid") };
                    let edit = PostEdit { post, seen: SeenVersions::Any, text };
                    commands.edit_post(&origin, edit).await.expect("edits");
                }
            }
            StreamId::Comment(comment) => {
                let state: domain::comment::Comment = serde_json::from_str(&document.state).expect("a comment");
                let domain::comment::Comment::Added { author, .. } = state else { continue };
                seen[1] += 1;
                let origin = Origin::now(author);
                if seen[1] % 6 == 0 {
                    commands.delete_comment(&origin, comment).await.expect("deletes");
                } else if seen[1] % 5 == 0 {
                    let text = CommentText::parse("changed").expect("valid");
                    // Its post may be gone.
                    let _ =
                        commands.edit_comment(&origin, CommentEdit { comment, seen: SeenVersions::Any, text }).await;
                }
            }
            StreamId::Reaction(post, user) => {
                seen[2] += 1;
                if seen[2] % 4 == 0 {
                    let _ = commands.unlike(&Origin::now(user), post).await;
                }
            }
            StreamId::Relation(low, high) => {
                seen[3] += 1;
                if seen[3] % 20 == 0 {
                    commands.block(&Origin::now(low), high).await.expect("blocks");
                } else if seen[3] % 6 == 0 {
                    commands.unfollow(&Origin::now(low), high).await.expect("unfollows");
                } else if seen[3] % 5 == 0 {
                    commands.mute(&Origin::now(high), low).await.expect("mutes");
                }
            }
            StreamId::User(user) => {
                seen[4] += 1;
                if seen[4] % 3 == 0 {
                    let display_name = DisplayName::parse("Somebody else").expect("valid");
                    let profile = Profile { display_name, bio: Bio::parse("Changed.\nTwice.").expect("valid") };
                    let edit = ProfileEdit { seen: SeenVersions::Any, profile };
                    commands.edit_profile(&Origin::now(user), edit).await.expect("edits");
                }
            }
        }
    }
}

/// A copy of the community.
async fn copied() -> (TempDir, Config) {
    let community = COMMUNITY.get_or_init(make_community).await;
    let directory = tempfile::tempdir().expect("a directory");
    for entry in std::fs::read_dir(community.path()).expect("reads") {
        let entry = entry.expect("reads");
        std::fs::copy(entry.path(), directory.path().join(entry.file_name())).expect("copies");
    }
    let config = config(directory.path());
    (directory, config)
}

async fn verified(config: &Config, asked: Option<Projection>) -> Report {
    let opened = wiring::open(config).await.expect("opens");
    verify(config, &opened, asked, Joining::OnlyAlone).await.expect("compares")
}

fn damage(directory: &Path, file: &str, sql: &str) {
    let connection = Connection::open(directory.join(file)).expect("opens");
    let rows = connection.execute(sql, []).unwrap_or_else(|error| panic!("{sql}: {error}"));
    assert!(rows > 0, "damages something: {sql}");
}

/// The stores in which a difference is found after `sql`.
async fn differing(file: &str, sql: &str) -> (Vec<&'static str>, Report) {
    let (directory, config) = copied().await;
    damage(directory.path(), file, sql);
    let report = verified(&config, None).await;
    let stores = report.stores.iter().filter(|store| !store.differences.is_empty()).map(|store| store.name).collect();
    (stores, report)
}

#[tokio::test]
async fn what_is_not_damaged_has_no_difference() {
    let (_directory, config) = copied().await;
    let report = verified(&config, None).await;
    assert!(report.is_clean(), "{:#?}", report.lines());
    for store in &report.stores {
        let least = if store.name == "home rows" { 100 } else { 20 };
        assert!(store.compared >= least, "{} compared {} rows", store.name, store.compared);
    }
    assert!(report.lines().last().is_some_and(|verdict| verdict.starts_with("no difference in ")));
}

/// Each: the file, the damage, the store that must be named, and whether it alone.
const TRUTH: &str = "truth.db";
const READ_MODELS: &str = "read_models.db";

macro_rules! damaged {
    ($($name:ident: $file:expr, $sql:expr => $store:literal;)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                let (stores, report) = differing($file, $sql).await;
                assert!(stores.contains(&$store), "{:#?}", report.lines());
                let named = report.lines().iter().any(|line| line.starts_with(concat!("  ", $store, ": ")));
                assert!(named, "the row is named: {:#?}", report.lines());
                assert!(!report.is_clean());
            }
        )*
    };
}

damaged! {
    a_changed_state_in_content: TRUTH,
        "UPDATE documents SET state = replace(state, 'true', 'false')
         WHERE stream = (SELECT stream FROM documents WHERE state LIKE '%\"liked\":true%' LIMIT 1)" => "content";
    a_missing_document_in_content: TRUTH,
        "DELETE FROM documents WHERE stream = (SELECT stream FROM documents WHERE state LIKE '%liked%' LIMIT 1)" => "content";
    another_sequence_in_content: TRUTH,
        "UPDATE documents SET sequence = sequence + 1 WHERE stream = (SELECT max(stream) FROM documents)" => "content";
    a_text_that_is_no_state_in_content: TRUTH,
        "UPDATE documents SET state = 'nonsense' WHERE stream = (SELECT max(stream) FROM documents)" => "content";
    a_changed_preview: TRUTH,
        "UPDATE previews SET preview = json_set(preview, '$.text', 'other') WHERE post = (SELECT max(post) FROM previews)"
        => "rendered posts";
    a_missing_preview: TRUTH,
        "DELETE FROM previews WHERE post = (SELECT max(post) FROM previews)" => "rendered posts";
    changed_html: TRUTH,
        "UPDATE renderings SET html = '<p>other</p>' WHERE post = (SELECT max(post) FROM renderings)" => "rendered posts";
    a_name_of_somebody_else: TRUTH,
        "UPDATE usernames SET owner = zeroblob(16) WHERE name = (SELECT max(name) FROM usernames)" => "user names";
    a_missing_name: TRUTH,
        "DELETE FROM usernames WHERE name = (SELECT max(name) FROM usernames)" => "user names";

    a_changed_count: READ_MODELS,
        "UPDATE posts SET likes = likes + 1 WHERE post = (SELECT max(post) FROM posts)" => "counts";
    a_position_of_counts_that_fell: READ_MODELS,
        "UPDATE posts SET position = position - 1 WHERE post = (SELECT max(post) FROM posts)" => "counts";
    missing_counts: READ_MODELS,
        "DELETE FROM posts WHERE post = (SELECT max(post) FROM posts)" => "counts";
    counts_of_nothing: READ_MODELS,
        "INSERT INTO posts SELECT generation, randomblob(16), 1, 0, 0, 0, 0, -1, 0 FROM posts LIMIT 1" => "counts";
    a_changed_comment: READ_MODELS,
        "UPDATE comments SET text = 'other' WHERE rowid = (SELECT max(rowid) FROM comments WHERE text IS NOT NULL)"
        => "comments";
    a_comment_that_came_back: READ_MODELS,
        "UPDATE comments SET text = 'back' WHERE rowid = (SELECT max(rowid) FROM comments WHERE text IS NULL)"
        => "comments";
    a_missing_comment: READ_MODELS,
        "DELETE FROM comments WHERE rowid = (SELECT max(rowid) FROM comments)" => "comments";
    a_comment_of_nobody: READ_MODELS,
        "INSERT INTO comments SELECT generation, post, randomblob(16), author, parent, text, edited_at, sequence, created,
         position FROM comments LIMIT 1" => "comments";
    a_flipped_reaction: READ_MODELS,
        "UPDATE reactions SET liked = 1 - liked WHERE (post, user) = (SELECT post, user FROM reactions LIMIT 1)"
        => "reactions";
    a_missing_reaction: READ_MODELS,
        "DELETE FROM reactions WHERE (post, user) = (SELECT post, user FROM reactions LIMIT 1)" => "reactions";
    a_changed_edge: READ_MODELS,
        "UPDATE edges SET following = 1 - following WHERE (from_user, to_user) = (SELECT from_user, to_user FROM edges LIMIT 1)"
        => "edges";
    an_older_edge: READ_MODELS,
        "UPDATE edges SET sequence = 0 WHERE (from_user, to_user) = (SELECT from_user, to_user FROM edges LIMIT 1)" => "edges";
    a_missing_edge: READ_MODELS,
        "DELETE FROM edges WHERE (from_user, to_user) = (SELECT from_user, to_user FROM edges LIMIT 1)" => "edges";
    an_edge_that_mutes_nobody_any_more: READ_MODELS,
        "UPDATE edges SET muting = 0 WHERE (from_user, to_user) = (SELECT from_user, to_user FROM edges WHERE muting = 1 LIMIT 1)"
        => "edges";
    a_changed_number_of_followers: READ_MODELS,
        "UPDATE profiles SET followers = followers + 1 WHERE user = (SELECT max(user) FROM profiles)" => "profiles";
    a_changed_number_of_posts: READ_MODELS,
        "UPDATE profiles SET posts = posts + 1 WHERE user = (SELECT max(user) FROM profiles)" => "profiles";
    a_changed_bio: READ_MODELS,
        "UPDATE profiles SET bio = 'other' WHERE user = (SELECT max(user) FROM profiles)" => "profiles";
    a_name_that_is_none: READ_MODELS,
        "UPDATE profiles SET username = '?' WHERE user = (SELECT max(user) FROM profiles)" => "profiles";
    a_missing_profile: READ_MODELS,
        "DELETE FROM profiles WHERE user = (SELECT max(user) FROM profiles)" => "profiles";
    a_profile_of_nobody: READ_MODELS,
        "INSERT INTO profiles SELECT generation, randomblob(16), 'nobody', display_name, bio, 1, 0, 0, 0 FROM profiles LIMIT 1"
        => "profiles";
    a_flipped_follow: READ_MODELS,
        "UPDATE follows SET following = 1 - following WHERE (from_user, to_user) = (SELECT from_user, to_user FROM follows LIMIT 1)"
        => "follows";
    a_follow_since_another_time: READ_MODELS,
        "UPDATE follows SET since = since + 1 WHERE (from_user, to_user) = (SELECT from_user, to_user FROM follows LIMIT 1)"
        => "follows";
    a_missing_follow: READ_MODELS,
        "DELETE FROM follows WHERE (from_user, to_user) = (SELECT from_user, to_user FROM follows LIMIT 1)" => "follows";
    a_changed_version: READ_MODELS,
        "UPDATE versions SET text = 'other' WHERE rowid = (SELECT max(rowid) FROM versions)" => "versions";
    a_missing_version: READ_MODELS,
        "DELETE FROM versions WHERE rowid = (SELECT max(rowid) FROM versions)" => "versions";
    a_version_of_something_deleted: READ_MODELS,
        "INSERT INTO versions SELECT generation, 'post-' || lower(substr(hex(post), 1, 8) || '-' || substr(hex(post), 9, 4)
         || '-' || substr(hex(post), 13, 4) || '-' || substr(hex(post), 17, 4) || '-' || substr(hex(post), 21)), 1, 0, NULL,
         'back' FROM posts WHERE deleted = 1 LIMIT 1" => "versions";
    an_author_who_was_never_hot: READ_MODELS,
        "INSERT INTO hot_authors SELECT generation, to_user FROM follows WHERE to_user NOT IN (SELECT author FROM hot_authors)
         GROUP BY generation, to_user HAVING count(*) <= 3 LIMIT 1" => "hot authors";
    an_author_whose_flag_is_lost: READ_MODELS,
        "DELETE FROM hot_authors" => "homes";
    a_post_missing_from_its_authors_timeline: READ_MODELS,
        "DELETE FROM author_posts WHERE post = (SELECT max(post) FROM author_posts)" => "author timelines";
    a_deleted_post_that_came_back: READ_MODELS,
        "UPDATE author_posts SET deleted = 0 WHERE post = (SELECT max(post) FROM author_posts WHERE deleted = 1)"
        => "author timelines";
    another_place_of_a_post: READ_MODELS,
        "UPDATE author_posts SET \"offset\" = \"offset\" + 1 WHERE post = (SELECT max(post) FROM author_posts)"
        => "author timelines";
    a_post_missing_from_homes: READ_MODELS,
        "DELETE FROM homes WHERE post = (SELECT max(post) FROM homes WHERE post IN (SELECT post FROM author_posts WHERE deleted = 0))"
        => "homes";
    a_home_row_of_another_author: READ_MODELS,
        "UPDATE homes SET author = owner WHERE owner <> author AND post = (SELECT max(post) FROM homes WHERE owner <> author)"
        => "home rows";
    a_home_row_of_no_post: READ_MODELS,
        "INSERT INTO homes SELECT generation, owner, randomblob(16), author, partition, \"offset\" FROM homes LIMIT 1"
        => "home rows";
    a_mark_that_fell: READ_MODELS,
        "DELETE FROM home_marks" => "homes";
}

#[tokio::test]
async fn one_damaged_row_is_one_difference() {
    let sql =
        "UPDATE comments SET text = 'other' WHERE rowid = (SELECT max(rowid) FROM comments WHERE text IS NOT NULL)";
    let (stores, report) = differing(READ_MODELS, sql).await;
    assert_eq!(stores, ["comments"]);
    let differences: usize = report.stores.iter().map(|store| store.differences.len()).sum();
    assert_eq!(differences, 1);
    let lines = report.lines().join("\n");
    assert!(lines.contains("found") && lines.contains("\"other\""), "{lines}");
}

#[tokio::test]
async fn only_what_was_asked_for_is_compared() {
    let (directory, config) = copied().await;
    damage(directory.path(), READ_MODELS, "DELETE FROM edges");
    assert!(verified(&config, Some(Projection::Engagement)).await.is_clean());
    assert!(verified(&config, Some(Projection::Profiles)).await.is_clean());
    assert!(!verified(&config, Some(Projection::Timelines)).await.is_clean());
}

#[tokio::test]
async fn a_text_in_the_log_that_does_not_open_is_named() {
    let (directory, config) = copied().await;
    let sql = "UPDATE events SET data = replace(data, '\"box\":\"', '\"box\":\"AAAA') WHERE place =
               (SELECT max(place) FROM events WHERE type = 'post.published')";
    damage(directory.path(), TRUTH, sql);
    let report = verified(&config, None).await;
    assert!(report.faults.iter().any(|fault| fault.contains("does not open")), "{:#?}", report.lines());
}

#[tokio::test]
async fn an_event_that_is_missing_from_the_log_is_named() {
    let (directory, config) = copied().await;
    let sql = "DELETE FROM events WHERE place = (SELECT one.place FROM events one JOIN events two
               ON one.subject = two.subject AND one.sequence = 1 AND two.sequence = 2 LIMIT 1)";
    damage(directory.path(), TRUTH, sql);
    let report = verified(&config, None).await;
    assert!(report.faults.iter().any(|fault| fault.contains("missing")), "{:#?}", report.lines());
}

#[tokio::test]
async fn a_parked_lane_is_named() {
    let (_directory, config) = copied().await;
    let opened = wiring::open(&config).await.expect("opens");
    opened.stores.event_log.append(vec![from_the_future(&opened).await]).await.expect("appends");
    let report = verify(&config, &opened, None, Joining::OnlyAlone).await.expect("compares");
    let parked: Vec<&String> = report.faults.iter().filter(|fault| fault.contains("has parked lane")).collect();
    assert_eq!(parked.len(), 3, "by all projections: {:#?}", report.lines());
    assert!(parked[0].contains("post.renamed"), "{:?}", parked[0]);
}

/// An event of a type that no reader knows.
async fn from_the_future(opened: &Opened) -> Record {
    let documents = opened.stores.content.scan(None, 10_000).await.expect("reads");
    let post = documents.iter().find_map(|(stream, _)| match stream {
        StreamId::Post(post) => Some(*post),
        _ => None,
    });
    let post = post.expect("a post");
    let at = clock::now();
    Record {
        topic: Topic::Posts,
        lane: Lane::post(post),
        attributes: Attributes {
            id: EventId::from_parts(at, [1; 10]),
            schema: Schema { kind: "post.renamed".to_owned(), version: 1 },
            subject: StreamId::Post(post).to_string(),
            sequence: 9,
            time: at,
            actor: domain::UserId::from_parts(at, [2; 10]),
            correlation: CorrelationId::from_parts(at, [3; 10]),
            causation: None,
        },
        data: "{}".to_owned(),
    }
}

#[tokio::test]
async fn beside_a_server_what_changed_meanwhile_is_read_again_and_only_real_differences_stay() {
    let (directory, config) = copied().await;
    let sql = "UPDATE edges SET sequence = sequence + 1 WHERE (from_user, to_user) =
               (SELECT from_user, to_user FROM edges LIMIT 1)";
    damage(directory.path(), READ_MODELS, sql);
    let opened = wiring::open(&config).await.expect("opens");
    let _lock = Lock::take(directory.path()).expect("free");
    let runtime = wiring::start_projections(&config, &opened).await.expect("starts");
    let projections = Projections::start(&config, &opened, None, Joining::OnlyAlone).await.expect("starts");
    assert!(projections.are_a_servers());

    let model = Model::new(opened.stores.event_log.partitions());
    let mut comparison = Comparison { opened: &opened, projections: &projections, model, heads: Heads::new() };
    comparison.advance().await.expect("folds");
    // Others write after the log was folded and before the stores are read.
    seed::seed_for_tests(&opened, 2, 30, 60).await;
    change_minds(&opened).await;
    let newest = heads(opened.stores.event_log.as_ref()).await.expect("reads");
    projections.pass(&opened.stores, &newest).await.expect("catch up");

    let mut checks =
        stores::checks(&opened.stores, None, config.projections.hot_author_followers, true).await.expect("reads");
    for check in &mut checks {
        check.compare(&comparison.model).await.expect("compares");
        if check.name() == "content" || check.name() == "counts" {
            assert!(check.differences().len() > 50, "{} has moved on", check.name());
        }
    }
    assert!(comparison.settle(&mut checks).await.expect("settles"));
    for check in &checks {
        let real = usize::from(check.name() == "edges");
        assert_eq!(check.differences().len(), real, "{}: {:?}", check.name(), check.differences());
    }
    runtime.stop().await;
}

#[tokio::test]
async fn a_server_that_does_not_work_is_not_waited_for() {
    let (directory, config) = copied().await;
    let opened = wiring::open(&config).await.expect("opens");
    let _lock = Lock::take(directory.path()).expect("free");
    opened.stores.event_log.append(vec![from_the_future(&opened).await]).await.expect("appends");
    let mut projections = Projections::start(&config, &opened, None, Joining::OnlyAlone).await.expect("starts");
    assert!(projections.are_a_servers());
    projections.patience = std::time::Duration::ZERO;
    let newest = heads(opened.stores.event_log.as_ref()).await.expect("reads");
    let refusal = projections.pass(&opened.stores, &newest).await.expect_err("nobody works");
    assert_eq!(refusal.exit, Exit::CannotRun);
    assert!(refusal.to_string().contains("stands still"), "{refusal}");
}

#[tokio::test]
async fn what_waits_in_an_outbox_is_listed_and_no_difference() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut config = config(directory.path());
    config.stores.event_log = "sqlite:{data_dir}/log.db".to_owned();
    let opened = wiring::open(&config).await.expect("opens");
    seed::seed_for_tests(&opened, 1, 5, 5).await;
    opened.publish_what_waits().await;

    let at = clock::now();
    let author = domain::UserId::from_parts(at, [1; 10]);
    let post = domain::PostId::from_parts(at, [2; 10]);
    let text = Text { title: None, markdown: Markdown::parse("not in the log yet").expect("valid") };
    let visibility = domain::post::Visibility::Public;
    let command = domain::post::Command::Publish { post, author, visibility, text, imported: false };
    let mut state = Post::default();
    let event = state.decide(&command).expect("new").remove(0);
    state.evolve(&event, at);
    let envelope = Envelope {
        id: EventId::from_parts(at, [3; 10]),
        time: at,
        stream: StreamId::Post(post),
        sequence: 1,
        actor: author,
        correlation: CorrelationId::from_parts(at, [4; 10]),
        causation: None,
        event: event.into(),
    };
    let commit = Commit {
        stream: StreamId::Post(post),
        expected_revision: 0,
        state: serde_json::to_string(&state).expect("serialises"),
        private: None,
        rendered: None,
        records: vec![opened.codec.seal(envelope).await.expect("seals")],
        recent_commands: None,
        at,
    };
    opened.stores.content.commit(commit).await.expect("commits");

    let report = verify(&config, &opened, None, Joining::OnlyAlone).await.expect("compares");
    assert!(report.is_clean(), "{:#?}", report.lines());
    assert!(report.notes.iter().any(|note| note.contains(&StreamId::Post(post).to_string())), "{:?}", report.notes);
}

#[tokio::test]
async fn without_a_data_directory_there_is_nothing_to_verify() {
    let directory = tempfile::tempdir().expect("a directory");
    let missing = directory.path().join("missing");
    let refusal =
        run(&config(&missing), &VerifyArgs { projection: None, run_projections: false }).await.expect_err("refused");
    assert_eq!(refusal.exit, Exit::CannotRun);
    assert!(refusal.to_string().contains("missing") && !missing.exists());
}
