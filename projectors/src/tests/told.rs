//! Whom `timelines` tells that their relations have changed.

use std::sync::Arc;

use adapters::checkpoints::Generation;
use adapters::live::{BroadcastLive, Channel, Delivery, Live, Message, News, Subscription};
use adapters::sqlite::{Database, Durability, READ_MODELS};
use adapters::timelines::SqliteTimelines;
use adapters::views::SqliteViews;
use domain::relation::{self, Pair};
use domain::{Event, LogId, Position, UserId};

use super::fixture::{envelope, id};
use crate::Timelines;
use crate::projection::{Projection as _, Recorded};
use crate::timelines::Limits;

fn related(offset: i64, event: relation::Event) -> Recorded {
    let (actor, sequence) = (event.pair().from, offset.unsigned_abs() + 1);
    let event = Event::from(event);
    let position = Position { log: LogId(7), topic: event.topic(), partition: 0, offset };
    Recorded { position, envelope: envelope(event.stream(), sequence, actor, event) }
}

async fn next(subscription: &mut dyn Subscription) -> i64 {
    match subscription.next().await {
        Some(Delivery::Message(Message { position, news: News::RelationChanged })) => position,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_mute_is_told_to_the_muter_alone_and_everything_else_to_both() {
    let directory = tempfile::tempdir().unwrap();
    let models = Database::open(&directory.path().join("models.db"), &READ_MODELS, Durability::Process).unwrap();
    let live = Arc::new(BroadcastLive::new(16));
    let (views, timelines) = (SqliteViews::new(Arc::clone(&models)), SqliteTimelines::new(models));
    let projection =
        Timelines::new(Arc::new(views), Arc::new(timelines), Arc::clone(&live) as Arc<dyn Live>, Limits::default());
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
