//! Which lane a stream is in, without an event of it at hand.

use domain::comment::Comment;
use domain::post::Post;
use domain::reaction::Reaction;
use domain::relation::Relation;
use domain::user::User;
use domain::{Aggregate, Lane, StreamId, Topic};

/// An aggregate whose streams have their lane by their id, or by their state.
pub trait InLane: Aggregate {
    /// Topic and lane of `stream`, whose state this is; `None` where nothing of the stream can be in any.
    fn lane_of(&self, stream: StreamId) -> Option<(Topic, Lane)> {
        match stream {
            StreamId::User(user) => Some((Topic::Users, Lane::user(user))),
            StreamId::Relation(low, high) => Some((Topic::Relations, Lane::pair(low, high))),
            StreamId::Post(post) | StreamId::Reaction(post, _) => Some((Topic::Posts, Lane::post(post))),
            StreamId::Comment(_) => None,
        }
    }
}

impl InLane for User {}
impl InLane for Relation {}
impl InLane for Post {}
impl InLane for Reaction {}

impl InLane for Comment {
    // A comment's id does not say what it is about.
    fn lane_of(&self, _stream: StreamId) -> Option<(Topic, Lane)> {
        self.post().map(|post| (Topic::Posts, Lane::post(post)))
    }
}
