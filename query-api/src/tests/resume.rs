//! L1, L2 as a property: whatever happens, is lost or cut off, a client that comes back with its last id ends up with
//! what there is, having been told each thing once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use adapters::live::{Channel, Delivery};
use domain::post::Visibility;
use domain::{CommentId, PostId, UserId};
use proptest::prelude::*;

use super::watching::{Told, Watching, streams};
use super::world::World;
use crate::stream::Streams;

#[derive(Clone, Debug)]
enum Happening {
    Comment {
        by: usize,
    },
    Edit(usize),
    Delete(usize),
    EditPost,
    Like(usize),
    /// The live messages of the next happenings are lost, and upstream says so.
    Lose(Vec<Happening>),
    /// The client takes in what is there.
    Read,
    /// The client takes in what is there, but for all after this many events, and is cut off; then it comes back.
    Cut(usize),
}

fn change() -> impl Strategy<Value = Happening> {
    prop_oneof![
        5 => (0..3usize).prop_map(|by| Happening::Comment { by }),
        4 => (0..20usize).prop_map(Happening::Edit),
        2 => (0..20usize).prop_map(Happening::Delete),
        1 => Just(Happening::EditPost),
        1 => (0..3usize).prop_map(Happening::Like),
    ]
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        12 => change(),
        1 => prop::collection::vec(change(), 0..5).prop_map(Happening::Lose),
        3 => Just(Happening::Read),
        3 => (0..6usize).prop_map(Happening::Cut),
    ]
}

struct Scene {
    world: World,
    streams: Arc<Streams>,
    viewer: UserId,
    /// Two who are heard, and one whom the viewer has blocked.
    people: [UserId; 3],
    post: PostId,
    comments: Vec<(CommentId, usize, Option<String>)>,
    texts: usize,
}

/// What a page would show that applies every event it is told.
#[derive(Debug, Default)]
struct Shown {
    comments: BTreeMap<String, String>,
    /// Every event that was told with an id.
    told: BTreeSet<(i64, String)>,
    added: BTreeSet<String>,
    version: u64,
    last: Option<i64>,
}

impl Scene {
    async fn new() -> Self {
        let world = World::new().await;
        let viewer = world.person("viewer").await;
        let people = [world.person("ada").await, world.person("bob").await, world.person("eve").await];
        let post = world.publish(people[0], "text").await;
        world.block(viewer, people[2]).await;
        let streams = streams(&world);
        Self { world, streams, viewer, people, post, comments: Vec::new(), texts: 0 }
    }

    async fn open(&self, last_event_id: Option<&str>) -> Watching {
        Watching::open(&self.streams, Some(self.viewer), self.post, last_event_id).await.unwrap()
    }

    fn new_text(&mut self) -> String {
        self.texts += 1;
        format!("text {}", self.texts)
    }

    async fn change(&mut self, happening: &Happening) {
        let (world, post) = (&self.world, self.post);
        match happening {
            Happening::Comment { by } => {
                let text = self.new_text();
                let comment = self.world.comment(post, self.people[*by], &text).await;
                self.comments.push((comment, *by, Some(text)));
            }
            Happening::Edit(index) => {
                let text = self.new_text();
                if let Some((comment, _, present @ Some(_))) = self.comments.get_mut(*index) {
                    self.world.change_comment(post, *comment, Some(&text)).await;
                    *present = Some(text);
                }
            }
            Happening::Delete(index) => {
                if let Some((comment, _, present @ Some(_))) = self.comments.get_mut(*index) {
                    world.change_comment(post, *comment, None).await;
                    *present = None;
                }
            }
            Happening::EditPost => {
                let text = self.new_text();
                self.world.edit_post(post, self.people[0], &text, Visibility::Public).await;
            }
            Happening::Like(by) => world.like(post, self.people[*by]).await,
            Happening::Lose(_) | Happening::Read | Happening::Cut(_) => {}
        }
    }
}

impl Shown {
    fn apply(&mut self, told: &Told) -> Result<(), TestCaseError> {
        prop_assert_ne!(&told.event, "reset", "nothing here is beyond resuming");
        let Some(id) = told.id else { return Ok(()) };
        prop_assert!(self.last.is_none_or(|last| last < id), "L2: {} after {:?}", id, self.last);
        self.last = Some(id);
        prop_assert!(self.told.insert((id, told.event.clone())), "L1: told twice");
        let about = told.data["id"].as_str().unwrap().to_owned();
        let text = told.data["text"].as_str().map(ToOwned::to_owned);
        match told.event.as_str() {
            "NEW_COMMENT" => {
                prop_assert!(self.added.insert(about.clone()), "L1: added twice");
                self.comments.insert(about, text.unwrap());
            }
            "COMMENT_EDITED" => {
                prop_assert!(self.added.contains(&about), "edited before it was there");
                self.comments.insert(about, text.unwrap());
            }
            "COMMENT_DELETED" => {
                self.comments.remove(&about);
            }
            "POST_EDITED" => {
                let version = told.data["version"].as_u64().unwrap();
                prop_assert!(version > self.version, "L1: version {} told again", version);
                self.version = version;
            }
            other => prop_assert!(false, "unexpected {}", other),
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_resumed_stream_tells_every_change_once(happenings in prop::collection::vec(happening(), 1..50)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let mut scene = Scene::new().await;
            let mut shown = Shown::default();
            let mut watching = scene.open(None).await;
            for happening in &happenings {
                match happening {
                    Happening::Lose(changes) => {
                        scene.world.live.lose(true);
                        for change in changes {
                            scene.change(change).await;
                        }
                        scene.world.live.lose(false);
                        scene.world.live.deliver(Channel::Post(scene.post), Delivery::Lost);
                    }
                    Happening::Read => {
                        prop_assert!(watching.take_in().await, "nothing ends this stream");
                        while let Some(told) = watching.buffered() {
                            shown.apply(&told)?;
                        }
                    }
                    Happening::Cut(after) => {
                        prop_assert!(watching.take_in().await, "nothing ends this stream");
                        for _ in 0..*after {
                            if let Some(told) = watching.buffered() {
                                shown.apply(&told)?;
                            }
                        }
                        let last_event_id = watching.last_event_id.clone();
                        drop(watching);
                        // Before its first id a client has nothing to come back with: it loads the page afresh.
                        let afresh = scene.world.position(scene.post, 0);
                        watching = scene.open(Some(last_event_id.as_deref().unwrap_or(&afresh))).await;
                    }
                    change => scene.change(change).await,
                }
            }
            prop_assert!(watching.take_in().await, "nothing ends this stream");
            while let Some(told) = watching.buffered() {
                shown.apply(&told)?;
            }
            let present: BTreeMap<String, String> = scene.comments.iter()
                .filter(|(_, by, _)| *by != 2)
                .filter_map(|(comment, _, text)| Some((comment.to_string(), text.clone()?)))
                .collect();
            prop_assert_eq!(shown.comments, present, "L1");
            Ok(())
        })?;
    }
}
