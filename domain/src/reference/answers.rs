//! What the model answers: the answers that every store of a projection is compared with.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{Folded, Reference};
use crate::comment::Comment;
use crate::ids::{CommentId, PostId, UserId};
use crate::post::Post;
use crate::relation::Direction;
use crate::stream::StreamId;
use crate::text::CommentText;
use crate::time::Timestamp;

/// A post, deleted or not.
#[derive(Clone, Copy, Debug)]
pub struct PostAnswer<'a> {
    /// The post.
    pub post: PostId,
    /// What it is now.
    pub state: &'a Post,
    /// The number of its newest event.
    pub sequence: u64,
    /// Where `post.published` is in its partition.
    pub created: i64,
    /// Where its newest event is in its partition.
    pub changed: i64,
}

/// A comment, deleted or not.
#[derive(Clone, Copy, Debug)]
pub struct CommentAnswer<'a> {
    /// The comment.
    pub comment: CommentId,
    /// What it is about.
    pub post: PostId,
    /// Who wrote it.
    pub author: UserId,
    /// What it answers; not known of a deleted comment.
    pub parent: Option<CommentId>,
    /// What it says; `None` once deleted.
    pub text: Option<&'a CommentText>,
    /// When the text was last changed.
    pub edited_at: Option<Timestamp>,
    /// The number of its newest event.
    pub sequence: u64,
    /// Where `comment.added` is in its partition.
    pub created: i64,
    /// Where its newest event is in its partition.
    pub position: i64,
}

/// Somebody's reaction to a post, present or past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReactionAnswer {
    /// The post.
    pub post: PostId,
    /// Who reacted.
    pub user: UserId,
    /// Whether they like it now.
    pub liked: bool,
    /// The number of the newest event.
    pub sequence: u64,
    /// Where that event is in its partition.
    pub position: i64,
}

/// What one person does about another, or did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EdgeAnswer {
    /// Who acts.
    pub from: UserId,
    /// Whom it is about.
    pub to: UserId,
    /// What holds now.
    pub direction: Direction,
    /// In the pair's stream, the number of the newest event of this direction.
    pub sequence: u64,
}

impl Reference {
    /// T1: the posts that are not deleted, by those whom `user` follows now and by `user`, newest first, to the end.
    /// A block either way keeps posts out, whatever else the log says (R3), and so does a mute by `user`.
    pub fn home(&self, user: UserId) -> Vec<PostId> {
        let mut authors: BTreeSet<UserId> = self.following(user).collect();
        authors.retain(|author| !self.is_blocked(user, *author) && !self.edge(user, *author).muting);
        authors.insert(user);
        let posts: BTreeSet<PostId> =
            authors.iter().filter_map(|author| self.posts_by_author.get(author)).flatten().copied().collect();
        posts.into_iter().rev().collect()
    }

    /// An author's posts that are not deleted, of every visibility, newest first.
    pub fn author_posts(&self, author: UserId) -> Vec<PostId> {
        self.posts_by_author.get(&author).into_iter().flatten().rev().copied().collect()
    }

    /// Who likes a post now. The post itself may be deleted or unknown.
    pub fn likes(&self, post: PostId) -> BTreeSet<UserId> {
        self.reactions_to(post).filter(|reaction| reaction.liked).map(|reaction| reaction.user).collect()
    }

    /// A post's comments that are not deleted, newest first. The post itself may be deleted or unknown.
    pub fn comments(&self, post: PostId) -> Vec<CommentAnswer<'_>> {
        let comments = self.comments_by_post.get(&post).into_iter().flatten().rev();
        comments.filter_map(|comment| self.comment(*comment)).collect()
    }

    /// What `from` does about `to`.
    pub fn edge(&self, from: UserId, to: UserId) -> Direction {
        let holds = |who: Option<&BTreeSet<UserId>>| who.is_some_and(|others| others.contains(&to));
        Direction {
            following: holds(self.following.get(&from)),
            blocking: holds(self.blocking.get(&from)),
            muting: holds(self.muting.get(&from)),
        }
    }

    /// Whether one of the two has blocked the other.
    pub fn is_blocked(&self, one: UserId, other: UserId) -> bool {
        self.edge(one, other).blocking || self.edge(other, one).blocking
    }

    /// Whom `user` follows now, by id.
    pub fn following(&self, user: UserId) -> impl Iterator<Item = UserId> {
        self.following.get(&user).into_iter().flatten().copied()
    }

    /// A post, deleted or not.
    pub fn post(&self, post: PostId) -> Option<PostAnswer<'_>> {
        self.posts.get(&post).map(|folded| post_answer(post, folded))
    }

    /// A comment, deleted or not.
    pub fn comment(&self, comment: CommentId) -> Option<CommentAnswer<'_>> {
        comment_answer(comment, self.comments.get(&comment)?)
    }

    /// Everybody with an account, by id.
    pub fn users(&self) -> impl Iterator<Item = UserId> {
        self.users.keys().copied()
    }

    /// Every post, deleted ones too, by id.
    pub fn posts(&self) -> impl Iterator<Item = PostAnswer<'_>> {
        self.posts.iter().map(|(post, folded)| post_answer(*post, folded))
    }

    /// Every comment, deleted ones too, by id.
    pub fn all_comments(&self) -> impl Iterator<Item = CommentAnswer<'_>> {
        self.comments.iter().filter_map(|(comment, folded)| comment_answer(*comment, folded))
    }

    /// Every reaction there ever was, by post and user.
    pub fn reactions(&self) -> impl Iterator<Item = ReactionAnswer> {
        self.reactions.iter().map(|(key, folded)| reaction_answer(*key, folded))
    }

    /// Every reaction that there ever was to a post, by user.
    pub fn reactions_to(&self, post: PostId) -> impl Iterator<Item = ReactionAnswer> {
        let all = self.reactions.range((post, UserId::MIN)..=(post, UserId::MAX));
        all.map(|(key, folded)| reaction_answer(*key, folded))
    }

    /// Somebody's reaction to a post, present or past.
    pub fn reaction(&self, post: PostId, user: UserId) -> Option<ReactionAnswer> {
        self.reactions.get(&(post, user)).map(|folded| reaction_answer((post, user), folded))
    }

    /// One direction, if anything ever happened in it.
    pub fn edge_answer(&self, from: UserId, to: UserId) -> Option<EdgeAnswer> {
        let sequence = *self.direction_sequences.get(&(from, to))?;
        Some(EdgeAnswer { from, to, direction: self.edge(from, to), sequence })
    }

    /// Every direction in which anything ever happened, by who acts and whom it is about.
    pub fn edges(&self) -> impl Iterator<Item = EdgeAnswer> {
        self.direction_sequences.iter().map(|((from, to), sequence)| EdgeAnswer {
            from: *from,
            to: *to,
            direction: self.edge(*from, *to),
            sequence: *sequence,
        })
    }

    /// A stream's sequence and its state, as [`Self::states`] gives them; `None` where the stream has no events.
    pub fn state(&self, stream: StreamId) -> Option<(u64, String)> {
        let (_, sequence, state) = match stream {
            StreamId::Comment(id) => state(stream, self.comments.get(&id)?),
            StreamId::Post(id) => state(stream, self.posts.get(&id)?),
            StreamId::Reaction(post, user) => state(stream, self.reactions.get(&(post, user))?),
            StreamId::Relation(low, high) => state(stream, self.relations.get(&(low, high))?),
            StreamId::User(id) => state(stream, self.users.get(&id)?),
        };
        Some((sequence, state))
    }

    /// Each stream with its sequence and its state, exactly as `content` keeps it, in the order of the streams' text.
    pub fn states(&self) -> impl Iterator<Item = (StreamId, u64, String)> {
        let comments = self.comments.iter().map(|(id, folded)| state(StreamId::Comment(*id), folded));
        let posts = self.posts.iter().map(|(id, folded)| state(StreamId::Post(*id), folded));
        let reactions = self.reactions.iter().map(|(id, folded)| state(StreamId::Reaction(id.0, id.1), folded));
        let relations = self.relations.iter().map(|(id, folded)| state(StreamId::Relation(id.0, id.1), folded));
        let users = self.users.iter().map(|(id, folded)| state(StreamId::User(*id), folded));
        comments.chain(posts).chain(reactions).chain(relations).chain(users)
    }
}

fn post_answer(post: PostId, folded: &Folded<Post>) -> PostAnswer<'_> {
    let Folded { sequence, first: created, newest: changed, .. } = *folded;
    PostAnswer { post, state: &folded.state, sequence, created, changed }
}

fn comment_answer(comment: CommentId, folded: &Folded<Comment>) -> Option<CommentAnswer<'_>> {
    let (post, author, parent, text, edited_at) = match &folded.state {
        Comment::Absent => return None,
        Comment::Added { post, author, parent, text, edited_at } => (*post, *author, *parent, Some(text), *edited_at),
        Comment::Deleted { post, author } => (*post, *author, None, None, None),
    };
    let Folded { sequence, first: created, newest: position, .. } = *folded;
    Some(CommentAnswer { comment, post, author, parent, text, edited_at, sequence, created, position })
}

fn reaction_answer((post, user): (PostId, UserId), folded: &Folded<crate::reaction::Reaction>) -> ReactionAnswer {
    let Folded { sequence, newest: position, .. } = *folded;
    ReactionAnswer { post, user, liked: folded.state.liked, sequence, position }
}

fn state<A: Serialize>(stream: StreamId, folded: &Folded<A>) -> (StreamId, u64, String) {
    // A state always serialises; if one did not, the empty text would differ from every document's.
    (stream, folded.sequence, serde_json::to_string(&folded.state).unwrap_or_default())
}
