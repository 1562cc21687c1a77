//! Documents and what is shown of posts.

use futures::future::join_all;

use super::*;
use crate::content::{Answer, CommandClaim, CommitError, RecentCommand, Rendered, StoredPreview};

fn a_post() -> StreamId {
    StreamId::Post(post(1))
}

fn rendered(text: &str) -> Rendered {
    let preview = Some(format!(r#"{{"text":"{text}"}}"#));
    Rendered { renderer: 3, html: format!("<p>{text}</p>"), preview }
}

fn recent(key: &str, etag: Option<&str>) -> RecentCommand {
    RecentCommand {
        actor: "a person".to_owned(),
        key: key.to_owned(),
        at: NOW,
        answer: Answer { status: 201, body: r#"{"id":"…"}"#.to_owned(), etag: etag.map(str::to_owned) },
    }
}

pub(crate) async fn nothing_is_absent(open: impl AsyncFn() -> Stores) {
    let stores = open().await;
    let content = &stores.content;
    assert_eq!(content.load(a_post()).await.unwrap(), None);
    assert_eq!(content.outbox(a_post()).await.unwrap(), []);
    assert_eq!(content.published(a_post()).await.unwrap(), None);
    assert_eq!(content.states(&[a_post(), StreamId::User(user(1))]).await.unwrap(), [None, None]);
    assert_eq!(content.states(&[]).await.unwrap(), []);
    assert_eq!(content.previews(&[post(1)]).await.unwrap(), [None]);
    assert_eq!(content.rendered(post(1)).await.unwrap(), None);
    assert_eq!(content.scan(None, 10).await.unwrap(), []);
    assert_eq!(pending(&stores, Timestamp::from_millis(i64::MAX), 10).await, []);
}

pub(crate) async fn a_first_commit_makes_a_document(open: impl AsyncFn() -> Stores) {
    let stores = open().await;
    let events = events(a_post(), 0, 2);
    let first = Commit {
        state: r#"{"text":"Grüße \u{1F98A} and 'quotes'"}"#.to_owned(),
        private: Some(r#"{"secret":true}"#.to_owned()),
        recent_commands: Some(vec![recent("one", None), recent("two", Some("\"1\""))]),
        ..commit(a_post(), 0, events.clone())
    };
    let done = committed(&stores, &first).await;
    assert_eq!((done.revision, done.sequence), (1, 2));
    let document = stores.content.load(a_post()).await.unwrap().unwrap();
    assert_eq!((document.revision, document.sequence), (1, 2));
    assert_eq!((&document.state, &document.private), (&first.state, &first.private));
    assert_eq!(Some(document.recent_commands), first.recent_commands);
    assert_eq!(events_of(&stores, a_post()).await, events);
}

pub(crate) async fn states_are_those_of_the_last_commit(open: impl AsyncFn() -> Stores) {
    let stores = open().await;
    let people = [StreamId::User(user(1)), StreamId::User(user(2))];
    // An adapter may remember what was read, and that nothing was there.
    for revision in 0..4_u64 {
        let before = stores.content.states(&people).await.unwrap();
        assert_eq!(before[0].as_ref().map(|state| state.sequence), (revision > 0).then_some(revision));
        let state = format!(r#"{{"revision":{revision}}}"#);
        let next = Commit { state: state.clone(), ..commit(people[0], revision, events(people[0], revision, 1)) };
        committed(&stores, &next).await;
        let after = stores.content.states(&people).await.unwrap();
        assert_eq!(after, [Some(PublicState { sequence: revision + 1, state }), None]);
    }
}

pub(crate) async fn what_is_not_given_stays(open: impl AsyncFn() -> Stores) {
    let stores = open().await;
    let first = Commit {
        private: Some("1".to_owned()),
        rendered: Some(rendered("first")),
        recent_commands: Some(vec![recent("key", None)]),
        ..commit(a_post(), 0, vec![])
    };
    committed(&stores, &first).await;
    let second = commit(a_post(), 1, vec![]);
    committed(&stores, &second).await;
    let document = stores.content.load(a_post()).await.unwrap().unwrap();
    assert_eq!((document.state, document.private), (second.state, first.private));
    assert_eq!(document.recent_commands, [recent("key", None)]);
    assert_eq!(stores.content.rendered(post(1)).await.unwrap(), first.rendered);

    let private = Some("2".to_owned());
    let third = Commit { private, recent_commands: Some(vec![]), ..commit(a_post(), 2, vec![]) };
    committed(&stores, &third).await;
    let document = stores.content.load(a_post()).await.unwrap().unwrap();
    assert_eq!((document.private.as_deref(), document.recent_commands), (Some("2"), vec![]));
}

pub(crate) async fn revisions_count_changes_and_sequences_count_events(open: impl AsyncFn() -> Stores) {
    let stores = open().await;
    let mut sequence = 0;
    for (revision, count) in [3, 0, 1, 0, 5].into_iter().enumerate() {
        let revision = revision as u64;
        let done = committed(&stores, &commit(a_post(), revision, events(a_post(), sequence, count))).await;
        sequence += count as u64;
        assert_eq!((done.revision, done.sequence), (revision + 1, sequence));
        let document = stores.content.load(a_post()).await.unwrap().unwrap();
        assert_eq!((document.revision, document.sequence), (revision + 1, sequence));
    }
}

/// W2
pub(crate) async fn a_commit_on_another_revision_has_no_effect(open: impl AsyncFn() -> Stores) {
    let stores = open().await;
    let refused = async |revision| {
        let commit = Commit {
            private: Some("never".to_owned()),
            rendered: Some(rendered("never")),
            recent_commands: Some(vec![recent("never", None)]),
            ..commit(a_post(), revision, events(a_post(), revision, 1))
        };
        let before = all_of(&stores, a_post()).await;
        let answer = stores.content.commit(commit).await;
        assert!(matches!(answer, Err(CommitError::Conflict)), "{answer:?}");
        assert_eq!(all_of(&stores, a_post()).await, before);
    };
    refused(1).await;
    committed(&stores, &commit(a_post(), 0, events(a_post(), 0, 1))).await;
    committed(&stores, &commit(a_post(), 1, events(a_post(), 1, 1))).await;
    for revision in [0, 1, 3] {
        refused(revision).await;
    }
}

/// W2
pub(crate) async fn of_many_commits_on_one_revision_one_wins(open: impl AsyncFn() -> Stores) {
    let stores = open().await;
    let mut all_events = Vec::new();
    for revision in 0..3 {
        let commits: Vec<_> = (0..20).map(|_| commit(a_post(), revision, events(a_post(), revision, 1))).collect();
        let attempt = |commit: &Commit| {
            let (content, commit) = (Arc::clone(&stores.content), commit.clone());
            tokio::spawn(async move { content.commit(commit).await })
        };
        let answers = join_all(commits.iter().map(attempt)).await.into_iter().map(Result::unwrap);
        let mut won = Vec::new();
        for (commit, answer) in commits.iter().zip(answers) {
            match answer {
                Ok(_) => won.push(commit),
                Err(CommitError::Conflict) => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(won.len(), 1);
        assert_eq!(stores.content.load(a_post()).await.unwrap().unwrap().state, won[0].state);
        all_events.extend(won[0].records.clone());
        assert_eq!(events_of(&stores, a_post()).await, all_events);
    }
}

pub(crate) async fn deciding_again_after_a_conflict_loses_nothing(open: impl AsyncFn() -> Stores) {
    let stores = open().await;
    let count = async |stores: Stores| {
        for _ in 0..10 {
            loop {
                let document = stores.content.load(a_post()).await.unwrap();
                let (revision, sequence, value) = document.map_or((0, 0, 0), |document| {
                    (document.revision, document.sequence, document.state.parse::<u32>().unwrap())
                });
                let state = (value + 1).to_string();
                let commit = Commit { state, ..commit(a_post(), revision, events(a_post(), sequence, 1)) };
                match stores.content.commit(commit).await {
                    Ok(_) => break,
                    Err(CommitError::Conflict) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    };
    let counts = (0..8).map(|_| count(stores.clone()));
    join_all(counts).await;
    let document = stores.content.load(a_post()).await.unwrap().unwrap();
    assert_eq!((document.revision, document.sequence, document.state.as_str()), (80, 80, "80"));
    let sequences = events_of(&stores, a_post()).await.into_iter().map(|record| record.attributes.sequence);
    assert_eq!(sequences.collect::<Vec<_>>(), (1..=80).collect::<Vec<_>>());
}

pub(crate) async fn events_that_are_numbered_otherwise_are_refused(open: impl AsyncFn() -> Stores) {
    let stores = open().await;
    let refused = async |revision, sequence| {
        let before = all_of(&stores, a_post()).await;
        let answer = stores.content.commit(commit(a_post(), revision, events(a_post(), sequence, 2))).await;
        assert!(matches!(answer, Err(CommitError::Store(_))), "{answer:?}");
        assert_eq!(all_of(&stores, a_post()).await, before);
    };
    refused(0, 1).await;
    committed(&stores, &commit(a_post(), 0, events(a_post(), 0, 2))).await;
    refused(1, 1).await;
    refused(1, 3).await;
}

pub(crate) async fn states_are_answered_as_asked_and_show_nothing_private(open: impl AsyncFn() -> Stores) {
    let stores = open().await;
    let (one, other) = (StreamId::User(user(1)), StreamId::relation(user(2), user(1)));
    let first = Commit { private: Some("hidden".to_owned()), ..commit(one, 0, events(one, 0, 2)) };
    let second = commit(other, 0, vec![]);
    committed(&stores, &first).await;
    committed(&stores, &second).await;
    let states = stores.content.states(&[other, StreamId::User(user(9)), one, other]).await.unwrap();
    assert_eq!(states, [public(0, &second), None, public(2, &first), public(0, &second)]);
    let all = stores.content.scan(None, 10).await.unwrap();
    assert!(!format!("{states:?} {all:?}").contains("hidden"));
}

pub(crate) async fn previews_are_answered_as_asked(open: impl AsyncFn() -> Stores) {
    let stores = open().await;
    for number in 1..=3 {
        let text = Some(rendered(&number.to_string()));
        committed(&stores, &Commit { rendered: text, ..commit(StreamId::Post(post(number)), 0, vec![]) }).await;
    }
    let preview = |number: u16| Some(StoredPreview { sequence: 0, preview: rendered(&number.to_string()).preview });
    let previews = stores.content.previews(&[post(3), post(9), post(1), post(2), post(1)]).await.unwrap();
    assert_eq!(previews, [preview(3), None, preview(1), preview(2), preview(1)]);
}

pub(crate) async fn what_is_shown_follows_the_newest_rendering(open: impl AsyncFn() -> Stores) {
    let stores = open().await;
    let deleted = Rendered { renderer: 4, html: String::new(), preview: None };
    let renderings = [rendered("first"), rendered("second"), deleted.clone(), rendered("again")];
    for (revision, rendered) in renderings.into_iter().enumerate() {
        let commit = Commit { rendered: Some(rendered.clone()), ..commit(a_post(), revision as u64, vec![]) };
        committed(&stores, &commit).await;
        let preview = rendered.preview.clone();
        let stored = [Some(StoredPreview { sequence: 0, preview })];
        assert_eq!(stores.content.previews(&[post(1)]).await.unwrap(), stored);
        assert_eq!(stores.content.rendered(post(1)).await.unwrap(), Some(rendered));
    }
}

pub(crate) async fn scanning_goes_through_all_in_the_order_of_their_texts(open: impl AsyncFn() -> Stores) {
    let stores = open().await;
    let mut expected = Vec::new();
    for number in [7, 1, 300, 2] {
        for stream in [
            StreamId::User(user(number)),
            StreamId::relation(user(number), user(1000)),
            StreamId::Post(post(number)),
            StreamId::Comment(comment(number)),
            StreamId::Reaction(post(number), user(8)),
        ] {
            let commit = commit(stream, 0, events(stream, 0, 1));
            committed(&stores, &commit).await;
            expected.push((stream, public(1, &commit).unwrap()));
        }
    }
    expected.sort_by_key(|(stream, _)| stream.to_string());
    for limit in [1, 3, 19, 20, 21] {
        let mut found = Vec::new();
        loop {
            let page = stores.content.scan(found.last().map(|(stream, _)| *stream), limit).await.unwrap();
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        assert_eq!(found, expected, "pages of {limit}");
    }
    // What one goes on after need not be there.
    let absent = StreamId::Post(post(3));
    let found = stores.content.scan(Some(absent), 100).await.unwrap();
    let above = expected.into_iter().filter(|(stream, _)| stream.to_string() > absent.to_string());
    assert_eq!(found, above.collect::<Vec<_>>());
}

/// W1
pub(crate) async fn a_restart_keeps_everything(open: impl AsyncFn() -> Stores) {
    let stores = open().await;
    let first = Commit {
        private: Some("secret".to_owned()),
        rendered: Some(rendered("kept")),
        recent_commands: Some(vec![recent("key", Some("\"1\""))]),
        ..commit(a_post(), 0, events(a_post(), 0, 3))
    };
    committed(&stores, &first).await;
    let claim = CommandClaim {
        actor: "somebody".to_owned(),
        key: "key".to_owned(),
        digest: [7; 32],
        stream: a_post(),
        at: NOW,
    };
    let name = domain::text::Username::parse("somebody").unwrap();
    stores.content.claim_command(claim.clone()).await.unwrap();
    stores.content.claim_username(&name, user(1), NOW, NOW).await.unwrap();
    stores.content.create_key(user(1), vec![1, 2, 3]).await.unwrap();
    let seen = async |stores: &Stores| {
        let content = &stores.content;
        (
            all_of(stores, a_post()).await,
            content.claim_command(claim.clone()).await.unwrap(),
            content.username_owner(&name).await.unwrap(),
            content.key(user(1)).await.unwrap(),
            content.scan(None, 10).await.unwrap(),
        )
    };
    let before = seen(&stores).await;
    drop(stores);
    assert_eq!(seen(&open().await).await, before);
}
