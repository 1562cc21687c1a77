//! Homes and authors' posts: complete, in order, filtered, bounded.

use std::collections::BTreeSet;

use adapters::timelines::Entry;
use adapters::views::{EdgeChange, EdgeField};
use domain::post::Visibility;
use domain::{PostId, Timestamp, UserId};
use proptest::prelude::*;

use super::world::{GENERATION, World};
use crate::explain::explanation;
use crate::feed::Walk;

impl World {
    /// The home by pages of `limit` from the newest to the end.
    async fn older(&self, viewer: UserId, limit: usize) -> Vec<PostId> {
        self.walked(viewer, Walk::NEWEST, limit).await
    }

    /// The home by pages of `limit` from the oldest to the newest.
    async fn newer(&self, viewer: UserId, limit: usize) -> Vec<PostId> {
        self.walked(viewer, Walk::After(PostId::MIN), limit).await
    }

    async fn walked(&self, viewer: UserId, from: Walk, limit: usize) -> Vec<PostId> {
        let mut posts = Vec::new();
        let mut next = Some(from);
        while let Some(walk) = next {
            let page = self.feed().home(viewer, walk, limit).await.unwrap();
            assert!(page.entries.len() <= limit, "a page is never longer than asked for");
            posts.extend(page.posts());
            assert_ne!(page.next, next, "each page goes further");
            next = page.next;
        }
        posts
    }
}

fn reversed(mut posts: Vec<PostId>) -> Vec<PostId> {
    posts.reverse();
    posts
}

#[tokio::test]
async fn a_home_is_what_its_owner_follows_and_writes_newest_first() {
    let world = World::new().await;
    let (ada, bob, eve) = (world.person("ada").await, world.person("bob").await, world.person("eve").await);
    world.follow(ada, bob).await;
    let first = world.publish(bob, "one").await;
    let own = world.publish(ada, "two").await;
    world.publish(eve, "not for ada").await;
    let last = world.publish(bob, "three").await;

    let page = world.feed().home(ada, Walk::NEWEST, 20).await.unwrap();
    assert_eq!(page.posts(), [last, own, first]);
    assert_eq!(page.next, None, "the end is known without another page");
    assert_eq!(world.feed().whole_home(ada).await.unwrap(), [last, own, first]);
}

#[tokio::test]
async fn pages_lead_to_the_end_both_ways_and_say_where_it_is() {
    let world = World::new().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    world.follow(ada, bob).await;
    let mut posts = Vec::new();
    for index in 0..20 {
        posts.push(world.publish(bob, &format!("post {index}")).await);
    }
    for limit in [1, 3, 10, 20, 100] {
        assert_eq!(world.newer(ada, limit).await, posts, "limit {limit}");
        assert_eq!(reversed(world.older(ada, limit).await), posts, "limit {limit}");
    }
    let last_page = world.feed().home(ada, Walk::Before(posts[10]), 10).await.unwrap();
    assert_eq!(last_page.next, None, "a full last page is known to be the last");
    let nothing = world.feed().home(ada, Walk::After(posts[19]), 10).await.unwrap();
    assert_eq!((nothing.posts(), nothing.next), (vec![], None));
}

#[tokio::test]
async fn a_trimmed_home_goes_on_from_the_authors() {
    let world = World::new().await;
    let (ada, bob, eve) = (world.person("ada").await, world.person("bob").await, world.person("eve").await);
    world.follow(ada, bob).await;
    world.follow(ada, eve).await;
    let mut posts = Vec::new();
    for index in 0..30 {
        let author = [bob, eve, ada][index % 3];
        posts.push(world.publish(author, &format!("post {index}")).await);
    }
    world.ports.timelines.trim(GENERATION, ada, 20, 8).await.unwrap();
    for limit in [1, 7, 8, 9, 30] {
        assert_eq!(reversed(world.older(ada, limit).await), posts, "T1 beyond the mark, limit {limit}");
        assert_eq!(world.newer(ada, limit).await, posts, "T1 up through the mark, limit {limit}");
    }
    let below_the_mark = world.feed().home(ada, Walk::Before(posts[3]), 2).await.unwrap();
    assert_eq!(below_the_mark.posts(), [posts[2], posts[1]]);
}

#[tokio::test]
async fn hot_authors_are_merged_without_doubles() {
    let world = World::new().await;
    let (ada, bob, hot) = (world.person("ada").await, world.person("bob").await, world.person("hot").await);
    world.follow(ada, bob).await;
    world.follow(ada, hot).await;
    let mut posts = Vec::new();
    for index in 0..6 {
        posts.push(world.publish([bob, hot][index % 2], "in the home").await);
    }
    world.ports.views.mark_hot(GENERATION, &[hot]).await.unwrap();
    for index in 0..12 {
        posts.push(match index % 3 {
            0 => world.publish(bob, "in the home").await,
            _ => world.publish_hot(hot, "in no follower's home").await,
        });
    }
    for limit in [1, 2, 5, 50] {
        assert_eq!(reversed(world.older(ada, limit).await), posts, "limit {limit}");
        assert_eq!(world.newer(ada, limit).await, posts, "limit {limit}");
    }
    world.ports.timelines.trim(GENERATION, ada, 3, 2).await.unwrap();
    assert_eq!(reversed(world.older(ada, 4).await), posts, "with the mark between");
    assert_eq!(world.newer(ada, 4).await, posts, "with the mark between");
}

#[tokio::test]
async fn the_home_is_read_before_the_hot_flags() {
    let world = World::new().await;
    let (ada, hot) = (world.person("ada").await, world.person("hot").await);
    world.follow(ada, hot).await;
    world.ports.views.mark_hot(GENERATION, &[hot]).await.unwrap();
    world.publish_hot(hot, "text").await;
    world.calls.take();
    world.older(ada, 5).await;
    let calls = world.calls.take_in_order();
    assert_eq!(calls[..3], ["home", "hot_followed", "authors"], "T4: whoever became hot in between is seen");
}

#[tokio::test]
async fn whom_one_no_longer_follows_drops_out_and_the_page_fills() {
    let world = World::new().await;
    let (ada, bob, eve) = (world.person("ada").await, world.person("bob").await, world.person("eve").await);
    world.follow(ada, bob).await;
    world.follow(ada, eve).await;
    let old: Vec<PostId> = vec![world.publish(bob, "old").await, world.publish(ada, "mine").await];
    for _ in 0..40 {
        world.publish(eve, "many").await;
    }
    world.unfollow(ada, eve).await;
    let page = world.feed().home(ada, Walk::NEWEST, 2).await.unwrap();
    assert_eq!(page.posts(), [old[1], old[0]], "R1 the page fills from further on");

    world.block(bob, ada).await;
    assert_eq!(world.older(ada, 2).await, [old[1]], "R3 own posts stay, the blocker's go");
}

#[tokio::test]
async fn a_block_alone_hides_a_followed_author() {
    let world = World::new().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    world.follow(ada, bob).await;
    world.publish(bob, "seen").await;
    world.edge(bob, ada, EdgeField::Blocking(true)).await;
    assert!(world.older(ada, 5).await.is_empty(), "even before the follow's end has been applied");
}

#[tokio::test]
async fn deleted_and_missing_posts_drop_out_and_cursors_of_theirs_still_work() {
    let world = World::new().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    world.follow(ada, bob).await;
    let mut posts = Vec::new();
    for index in 0..10 {
        posts.push(world.publish(bob, &format!("post {index}")).await);
    }
    for index in [2, 3, 4, 9] {
        world.delete_post(posts[index], bob).await;
    }
    let missing = world.new_post_id();
    world.list(bob, missing, &[ada]).await;
    let left = [posts[0], posts[1], posts[5], posts[6], posts[7], posts[8]];
    for limit in [1, 2, 3, 6, 10] {
        assert_eq!(reversed(world.older(ada, limit).await), left, "limit {limit}");
        assert_eq!(world.newer(ada, limit).await, left, "limit {limit}");
    }
    let page = world.feed().home(ada, Walk::Before(posts[3]), 5).await.unwrap();
    assert_eq!(page.posts(), [posts[1], posts[0]], "a cursor is a position, not a row");
}

#[tokio::test]
async fn a_desert_of_missing_posts_is_crossed_in_bounded_steps() {
    let world = World::new().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    world.follow(ada, bob).await;
    let oldest = world.publish(bob, "still there").await;
    let desert: Vec<Entry> = (0..5_000)
        .map(|offset| Entry { post: world.new_post_id(), author: bob, partition: 0, offset: 100_000 + offset })
        .collect();
    world.ports.timelines.fill_home(GENERATION, ada, &desert).await.unwrap();

    world.calls.take();
    let page = world.feed().home(ada, Walk::NEWEST, 20).await.unwrap();
    let calls: usize = world.calls.take().values().sum();
    assert!(page.entries.is_empty() && page.next.is_some(), "a short page with a cursor");
    assert!(calls < 60, "bounded work, not {calls} calls");
    assert_eq!(world.older(ada, 20).await, [oldest], "and yet the end is reached");
}

#[tokio::test]
async fn a_desert_of_those_one_no_longer_follows_is_crossed_too() {
    let world = World::new().await;
    let (ada, bob, eve) = (world.person("ada").await, world.person("bob").await, world.person("eve").await);
    world.follow(ada, bob).await;
    let oldest = world.publish(bob, "still there").await;
    let desert: Vec<Entry> = (0..5_000)
        .map(|offset| Entry { post: world.new_post_id(), author: eve, partition: 0, offset: 100_000 + offset })
        .collect();
    world.ports.timelines.fill_home(GENERATION, ada, &desert).await.unwrap();
    let newest = world.publish(bob, "new").await;
    assert_eq!(world.older(ada, 20).await, [newest, oldest]);
    assert_eq!(world.newer(ada, 20).await, [oldest, newest]);
    let first = world.feed().home(ada, Walk::NEWEST, 20).await.unwrap();
    let second = world.feed().home(ada, first.next.unwrap(), 20).await.unwrap();
    assert!(second.next.unwrap().from() < first.next.unwrap().from(), "each page goes past what it looked at");
}

#[tokio::test]
async fn a_page_takes_a_constant_number_of_calls() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    for index in 0..40 {
        let author = world.person(&format!("author{index}")).await;
        world.follow(ada, author).await;
        for _ in 0..3 {
            world.publish(author, "text").await;
        }
    }
    let mut calls_by_limit = Vec::new();
    for limit in [1, 10, 100] {
        world.calls.take();
        assert_eq!(world.feed().home(ada, Walk::NEWEST, limit).await.unwrap().entries.len(), limit);
        calls_by_limit.push(world.calls.take());
    }
    assert_eq!(calls_by_limit[0], calls_by_limit[1], "R2");
    assert_eq!(calls_by_limit[0], calls_by_limit[2], "R2");
    let calls: Vec<_> = calls_by_limit[0].iter().map(|(name, times)| (*name, *times)).collect();
    assert_eq!(calls, [("home", 1), ("hot_followed", 1), ("previews", 1), ("relations", 1)]);
}

#[tokio::test]
async fn more_followed_authors_than_fit_into_a_call_are_all_merged() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let authors: Vec<UserId> = (0..2_100u16)
        .map(|index| {
            let [high, low] = index.to_be_bytes();
            UserId::from_parts(Timestamp::from_millis(1), [0, 0, 0, 0, 0, 0, 0, 0, high, low])
        })
        .collect();
    let follow = |to: &UserId| EdgeChange { from: ada, to: *to, what: EdgeField::Following(true), sequence: 1 };
    let edges: Vec<EdgeChange> = authors.iter().map(follow).collect();
    world.ports.views.write_edges(GENERATION, &edges).await.unwrap();
    let mut posts = Vec::new();
    for index in [2_050, 7, 1_500, 999, 1_000, 2_099, 0] {
        posts.push(world.publish(authors[index], "text").await);
    }
    world.ports.timelines.raise_mark(GENERATION, ada, posts[5]).await.unwrap();
    for limit in [1, 2, 20] {
        assert_eq!(reversed(world.older(ada, limit).await), posts, "limit {limit}");
        assert_eq!(world.newer(ada, limit).await, posts, "limit {limit}");
    }
}

#[tokio::test]
async fn what_is_for_followers_stays_out_of_an_authors_public_posts() {
    let world = World::new().await;
    let bob = world.person("bob").await;
    let public = world.publish(bob, "for all").await;
    let mut all = vec![public];
    for _ in 0..5 {
        all.push(world.publish_to(bob, "for followers", Visibility::Followers, true).await);
    }
    all.push(world.publish(bob, r#"says "visibility":"followers" only"#).await);
    let feed = world.feed();
    assert_eq!(feed.author(bob, true, Walk::NEWEST, 20).await.unwrap().posts(), reversed(all.clone()));
    let page = feed.author(bob, false, Walk::NEWEST, 2).await.unwrap();
    assert_eq!(page.posts(), [all[6], public], "filled from further on");
}

/// Something that happens in a small community.
#[derive(Clone, Debug)]
enum Happening {
    Publish(usize),
    Delete(usize),
    Follow(usize, usize),
    Unfollow(usize, usize),
    Block(usize, usize),
    Unblock(usize, usize),
    BecomeHot(usize),
    Trim(usize, usize),
}

const PEOPLE: usize = 4;

fn happening() -> impl Strategy<Value = Happening> {
    let person = 0..PEOPLE;
    let two = (0..PEOPLE, 1..PEOPLE).prop_map(|(one, step)| (one, (one + step) % PEOPLE));
    prop_oneof![
        8 => person.clone().prop_map(Happening::Publish),
        2 => (0..40usize).prop_map(Happening::Delete),
        4 => two.clone().prop_map(|(from, to)| Happening::Follow(from, to)),
        1 => two.clone().prop_map(|(from, to)| Happening::Unfollow(from, to)),
        1 => two.clone().prop_map(|(from, to)| Happening::Block(from, to)),
        1 => two.prop_map(|(from, to)| Happening::Unblock(from, to)),
        1 => person.clone().prop_map(Happening::BecomeHot),
        2 => (person, 0..5usize).prop_map(|(owner, keep)| Happening::Trim(owner, keep)),
    ]
}

/// What has happened, as plain sets.
#[derive(Default)]
struct Model {
    posts: Vec<(PostId, usize)>,
    deleted: BTreeSet<PostId>,
    follows: BTreeSet<(usize, usize)>,
    blocks: BTreeSet<(usize, usize)>,
    hot: BTreeSet<usize>,
}

impl Model {
    fn home(&self, owner: usize) -> Vec<PostId> {
        let readable = |author: usize| {
            author == owner
                || self.follows.contains(&(owner, author))
                    && !self.blocks.contains(&(owner, author))
                    && !self.blocks.contains(&(author, owner))
        };
        let mut home: Vec<PostId> =
            self.posts.iter().filter(|(_, author)| readable(*author)).map(|(p, _)| *p).collect();
        home.retain(|post| !self.deleted.contains(post));
        home.reverse();
        home
    }

    async fn apply(&mut self, world: &World, people: &[UserId], happening: &Happening) {
        match *happening {
            Happening::Publish(author) => {
                let hot = self.hot.contains(&author);
                let post = world.publish_to(people[author], "text", Visibility::Public, !hot).await;
                self.posts.push((post, author));
            }
            Happening::Delete(index) => {
                if let Some((post, author)) = self.posts.get(index).copied()
                    && self.deleted.insert(post)
                {
                    world.delete_post(post, people[author]).await;
                }
            }
            Happening::Follow(from, to) => {
                if self.blocks.contains(&(from, to)) || self.blocks.contains(&(to, from)) {
                    return;
                }
                self.follows.insert((from, to));
                world.follow(people[from], people[to]).await;
            }
            Happening::Unfollow(from, to) => {
                self.follows.remove(&(from, to));
                world.unfollow(people[from], people[to]).await;
            }
            Happening::Block(from, to) => {
                self.follows.remove(&(from, to));
                self.follows.remove(&(to, from));
                self.blocks.insert((from, to));
                world.block(people[from], people[to]).await;
            }
            Happening::Unblock(from, to) => {
                self.blocks.remove(&(from, to));
                world.edge(people[from], people[to], EdgeField::Blocking(false)).await;
            }
            Happening::BecomeHot(author) => {
                self.hot.insert(author);
                world.ports.views.mark_hot(GENERATION, &[people[author]]).await.unwrap();
            }
            Happening::Trim(owner, keep) => {
                world.ports.timelines.trim(GENERATION, people[owner], keep, keep).await.unwrap();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// T1, T2, T4, R1, R3: whatever happened, every home is the model's, to its end, both ways and for any page size.
    #[test]
    fn homes_equal_the_model(happenings in prop::collection::vec(happening(), 1..60), limit in 1..7usize) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let world = World::new().await;
            let mut people = Vec::new();
            for index in 0..PEOPLE {
                people.push(world.person(&format!("person{index}")).await);
            }
            let mut model = Model::default();
            for happening in &happenings {
                model.apply(&world, &people, happening).await;
            }
            for (index, owner) in people.iter().enumerate() {
                let expected = model.home(index);
                prop_assert_eq!(&world.older(*owner, limit).await, &expected);
                prop_assert_eq!(&reversed(world.newer(*owner, limit).await), &expected);
                prop_assert_eq!(&world.feed().whole_home(*owner).await.unwrap(), &expected);
                for (post, author) in &model.posts {
                    let why = explanation(&world.ports, *owner, *post).await.unwrap();
                    prop_assert_eq!(why.in_feed, expected.contains(post), "{:?}", &why);
                    prop_assert!(why.author.is_none_or(|told| told == people[*author]));
                }
            }
            Ok(())
        })?;
    }
}
