//! Whom projections tell of what, and what they owe when nobody can be told.

use std::sync::Arc;

use adapters::cache::NoCache;
use adapters::checkpoints::{Checkpoints as _, Epochs, Generation, SqliteCheckpoints};
use adapters::content::SqliteContent;
use adapters::decorated::{Around, Decorated};
use adapters::live::{BroadcastLive, Channel, Delivery, Live, Message, News, Subscription};
use adapters::sqlite::{Database, Durability, READ_MODELS};
use adapters::timelines::SqliteTimelines;
use adapters::views::{SqliteViews, Views as _};
use domain::relation::{self, Pair};
use domain::{Event, LogId, Position, PostId, StreamId, UserId, reaction};

use super::fixture::{Cable, beside, envelope, id, post_position};
use crate::projection::{Projection as _, Recorded};
use crate::timelines::Limits;
use crate::{Engagement, EngagementPorts, Timelines};

struct World {
    views: Arc<SqliteViews>,
    timelines: Arc<SqliteTimelines>,
    content: Arc<SqliteContent>,
    checkpoints: Arc<SqliteCheckpoints>,
    live: Arc<Decorated<BroadcastLive>>,
    cable: Arc<Cable>,
    _directory: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let models = Database::open(&directory.path().join("models.db"), &READ_MODELS, Durability::Process).unwrap();
        let (content, checkpoints) = beside(directory.path(), &models);
        let cable = Arc::new(Cable::default());
        let live = Decorated::new(Arc::new(BroadcastLive::new(16)), Arc::clone(&cable) as Arc<dyn Around>);
        Self {
            views: Arc::new(SqliteViews::new(Arc::clone(&models))),
            timelines: Arc::new(SqliteTimelines::new(Arc::clone(&models))),
            content,
            checkpoints,
            live: Arc::new(live),
            cable,
            _directory: directory,
        }
    }

    fn timelines(&self) -> Timelines {
        let (views, timelines) = (Arc::clone(&self.views) as _, Arc::clone(&self.timelines) as _);
        Timelines::new(views, timelines, Arc::clone(&self.live) as _, self.checkpoints.clone(), Limits::default())
    }

    fn engagement(&self) -> Engagement {
        Engagement::new(EngagementPorts {
            content: self.content.clone(),
            views: Arc::clone(&self.views) as _,
            cache: Arc::new(NoCache),
            live: Arc::clone(&self.live) as _,
            checkpoints: self.checkpoints.clone(),
        })
    }

    fn epochs(&self) -> Epochs {
        self.checkpoints.progress().borrow().epochs
    }
}

fn related(offset: i64, event: relation::Event) -> Recorded {
    let (actor, sequence) = (event.pair().from, offset.unsigned_abs() + 1);
    let event = Event::from(event);
    let position = Position { log: LogId(7), topic: event.topic(), partition: 0, offset };
    Recorded { position, envelope: envelope(event.stream(), sequence, actor, event) }
}

fn liked(offset: i64, post: PostId, user: UserId) -> Recorded {
    let event = Event::from(reaction::Event::Liked(reaction::Subject { post, user }));
    let stream = StreamId::Reaction(post, user);
    Recorded { position: post_position(offset), envelope: envelope(stream, 1, user, event) }
}

async fn next(subscription: &mut dyn Subscription) -> i64 {
    match subscription.next().await {
        Some(Delivery::Message(Message { position, news: News::RelationChanged })) => position,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_mute_is_told_to_the_muter_alone_and_everything_else_to_both() {
    let world = World::new();
    let (projection, live) = (world.timelines(), &world.live);
    let (ada, ben): (UserId, UserId) = (id(1), id(2));
    let mut to_ada = live.subscribe(Channel::Viewer(ada)).await.unwrap();
    let mut to_ben = live.subscribe(Channel::Viewer(ben)).await.unwrap();

    let pair = Pair { from: ada, to: ben };
    let events = [
        related(0, relation::Event::Followed(pair)),
        related(1, relation::Event::Muted(pair)),
        related(2, relation::Event::Unmuted(pair)),
        related(3, relation::Event::Blocked(pair)),
    ];
    projection.apply(super::owner(Generation::FIRST), &events).await.expect("applies");
    for expected in 0..4 {
        assert_eq!(next(&mut *to_ada).await, expected);
    }
    for expected in [0, 3] {
        assert_eq!(next(&mut *to_ben).await, expected, "who is muted does not notice");
    }
}

/// L1: what cannot be told is owed, and the counts do not wait.
#[tokio::test]
async fn whoever_cannot_tell_goes_on_and_raises_the_epoch() {
    let world = World::new();
    let (engagement, timelines) = (world.engagement(), world.timelines());
    let (one, two): (PostId, PostId) = (id(1), id(2));
    let owner = super::owner(Generation::FIRST);
    engagement.apply(owner, &[liked(1, one, id(1))]).await.expect("applies");
    assert_eq!(world.epochs(), Epochs::default());

    world.cable.cut(true);
    engagement.apply(owner, &[liked(2, one, id(2)), liked(3, two, id(2))]).await.expect("applies");
    assert_eq!(world.epochs(), Epochs { cache: 0, live: 1 }, "once for a batch");
    assert_eq!(world.views.post_row(Generation::FIRST, one).await.unwrap().likes, 2);
    let pair = Pair { from: id(1), to: id(2) };
    timelines.apply(owner, &[related(1, relation::Event::Followed(pair))]).await.expect("applies");
    assert_eq!(world.epochs(), Epochs { cache: 0, live: 2 });

    world.cable.cut(false);
    let mut listener = world.live.subscribe(Channel::Post(one)).await.unwrap();
    engagement.apply(owner, &[liked(4, one, id(3))]).await.expect("applies");
    let told = Message { position: 4, news: News::NewLike { likes: 3 } };
    assert_eq!(listener.next().await, Some(Delivery::Message(told)));
    assert_eq!(world.epochs(), Epochs { cache: 0, live: 2 });
}
