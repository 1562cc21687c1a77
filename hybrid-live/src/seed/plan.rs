//! The community that a seed stands for: who there is, who follows whom, who writes, comments and likes what.
//!
//! Everything follows from the seed, the numbers asked for and the newest time, and each person and post from a
//! generator of its own: so it does not matter in which order, or how far, the plan is carried out.

use std::collections::BTreeSet;

use domain::post::{Text, Visibility};
use domain::text::{CommentText, DisplayName, InvalidText, Markdown, Title, Username};
use domain::{CommentId, PostId, Timestamp, UserId};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Zipf};

use super::words;

const HOUR: i64 = 60 * 60 * 1000;
const DAY: i64 = 24 * HOUR;
/// People join from so long before the newest time on …
const FIRST_JOINED: i64 = 90 * DAY;
/// … and are all there when the first post is written.
const FIRST_POST: i64 = 30 * DAY;
/// Likes and comments per post, on average.
const LIKES: f64 = 6.0;
const COMMENTS: f64 = 2.0;
/// The share of posts that are for followers only.
const FOR_FOLLOWERS: f64 = 0.08;
/// How steeply it falls off, from the first to the last: how many follow somebody, …
const FOLLOWED: f64 = 0.95;
/// … how much somebody writes (those with many followers more than others, but by far not so much more), …
const WRITING: f64 = 0.6;
/// … and how much is said about a post.
const RECEPTION: f64 = 1.05;

/// A community.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    seed: u64,
    users: u32,
    posts: u32,
    until: Timestamp,
    /// Sum of the posts' weights.
    weight: f64,
}

/// Somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Person {
    pub(super) id: UserId,
    pub(super) joined: Timestamp,
    pub(super) display_name: DisplayName,
}

/// Somebody begins to read somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Follow {
    pub(super) from: UserId,
    pub(super) to: UserId,
    pub(super) at: Timestamp,
}

/// Somebody writes a post.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Post {
    pub(super) id: PostId,
    pub(super) author: UserId,
    pub(super) at: Timestamp,
    pub(super) visibility: Visibility,
    pub(super) text: Text,
}

/// Somebody comments on a post.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Comment {
    pub(super) id: CommentId,
    pub(super) post: PostId,
    pub(super) author: UserId,
    pub(super) parent: Option<CommentId>,
    pub(super) at: Timestamp,
    pub(super) text: CommentText,
}

/// Somebody likes a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Like {
    pub(super) post: PostId,
    pub(super) user: UserId,
    pub(super) at: Timestamp,
}

/// How a post is taken.
#[derive(Clone, Copy)]
struct Reception {
    visibility: Visibility,
    likes: u32,
    comments: u32,
}

/// What a generator is for: the same number of another purpose gives other values.
#[derive(Clone, Copy)]
enum Purpose {
    Person = 1,
    Username = 2,
    Followed = 3,
    Follows = 4,
    Post = 5,
    Reception = 6,
    Comments = 7,
    Likes = 8,
}

impl Plan {
    /// The community of `seed`.
    pub(super) fn new(seed: u64, users: u32, posts: u32, until: Timestamp) -> Self {
        let weight = (0..posts).map(|rank| popularity(u64::from(rank))).sum();
        Self { seed, users, posts, until, weight }
    }

    /// How many people.
    pub(super) fn users(&self) -> u32 {
        self.users
    }

    /// How many posts.
    pub(super) fn posts(&self) -> u32 {
        self.posts
    }

    /// Likes and comments of all posts.
    pub(super) fn totals(&self) -> (u64, u64) {
        let receptions = (0..self.posts).map(|index| self.reception(index));
        receptions.fold((0, 0), |(likes, comments), reception| {
            (likes + u64::from(reception.likes), comments + u64::from(reception.comments))
        })
    }

    /// The person with this number.
    pub(super) fn person(&self, index: u32) -> Result<Person, InvalidText> {
        let mut rng = self.rng(Purpose::Person, index, 0);
        let joined = self.until.plus_millis(-rng.random_range(FIRST_POST..FIRST_JOINED));
        let id = UserId::from_parts(joined, rng.random());
        Ok(Person { id, joined, display_name: DisplayName::parse(&words::display_name(&mut rng))? })
    }

    /// The name that the person with this number tries for the `attempt`th time.
    pub(super) fn username(&self, index: u32, attempt: u32) -> Result<Username, InvalidText> {
        Username::parse(&words::username(&mut self.rng(Purpose::Username, index, attempt), attempt))
    }

    /// The number of the person who has the most followers and writes the most.
    pub(super) fn most_popular(&self) -> u32 {
        scatter(0, u64::from(self.users), self.seed) as u32
    }

    /// The numbers of those whom the person with this number follows.
    pub(super) fn followed(&self, index: u32) -> BTreeSet<u32> {
        let mut rng = self.rng(Purpose::Followed, index, 0);
        let wanted = rng.random_range(3..=25_u32).min(self.users - 1) as usize;
        let mut followed = BTreeSet::new();
        // The popular are drawn again and again, so not everyone finds as many as they want.
        for _ in 0..wanted * 2 {
            let other = self.somebody(&mut rng, FOLLOWED);
            if followed.len() < wanted && other != index {
                followed.insert(other);
            }
        }
        followed
    }

    /// Whom the person with this number follows, and since when.
    pub(super) fn follows(&self, index: u32) -> Result<Vec<Follow>, InvalidText> {
        let mut rng = self.rng(Purpose::Follows, index, 0);
        let me = self.person(index)?;
        let follows = self.followed(index).into_iter().map(|other| {
            let to = self.person(other)?;
            let at = self.between(&mut rng, me.joined.max(to.joined));
            Ok(Follow { from: me.id, to: to.id, at })
        });
        follows.collect()
    }

    /// The post with this number.
    pub(super) fn post(&self, index: u32) -> Result<Post, InvalidText> {
        let mut rng = self.rng(Purpose::Post, index, 0);
        let author = self.somebody(&mut rng, WRITING);
        let at = self.until.plus_millis(-rng.random_range(0..FIRST_POST));
        let id = PostId::from_parts(at, rng.random());
        let visibility = self.reception(index).visibility;
        let (title, markdown) = words::post(&mut rng);
        let title = title.as_deref().map(Title::parse).transpose()?;
        let text = Text { title, markdown: Markdown::parse(&markdown)? };
        Ok(Post { id, author: self.person(author)?.id, at, visibility, text })
    }

    /// The comments on the post with this number, each after what it answers.
    pub(super) fn comments(&self, index: u32) -> Result<Vec<Comment>, InvalidText> {
        let count = self.reception(index).comments;
        if count == 0 {
            return Ok(Vec::new());
        }
        let post = self.post(index)?;
        let mut rng = self.rng(Purpose::Comments, index, 0);
        let mut comments: Vec<Comment> = Vec::with_capacity(count as usize);
        for number in 0..count as usize {
            let answered =
                if number > 0 && rng.random_bool(0.3) { comments.get(rng.random_range(0..number)) } else { None };
            let (parent, since) = answered.map_or((None, post.at), |answered| (Some(answered.id), answered.at));
            let at = self.between(&mut rng, since);
            let author = self.person(self.anybody(&mut rng))?.id;
            let id = CommentId::from_parts(at, rng.random());
            let text = CommentText::parse(&words::comment(&mut rng))?;
            comments.push(Comment { id, post: post.id, author, parent, at, text });
        }
        Ok(comments)
    }

    /// The likes of the post with this number.
    pub(super) fn likes(&self, index: u32) -> Result<Vec<Like>, InvalidText> {
        let count = self.reception(index).likes;
        if count == 0 {
            return Ok(Vec::new());
        }
        let post = self.post(index)?;
        let mut rng = self.rng(Purpose::Likes, index, 0);
        let people = rand::seq::index::sample(&mut rng, self.users as usize, count as usize);
        let likes = people.into_iter().map(|person| {
            let user = self.person(person as u32)?.id;
            Ok(Like { post: post.id, user, at: self.between(&mut rng, post.at) })
        });
        likes.collect()
    }

    /// Who may read the post with this number, and what comes of it.
    fn reception(&self, index: u32) -> Reception {
        let mut rng = self.rng(Purpose::Reception, index, 0);
        if rng.random_bool(FOR_FOLLOWERS) {
            // Only followers could say something, and nobody notices that they do not.
            return Reception { visibility: Visibility::Followers, likes: 0, comments: 0 };
        }
        let rank = scatter(u64::from(index), u64::from(self.posts), self.seed);
        let share = popularity(rank) / self.weight * f64::from(self.posts);
        let mut number = |average: f64, most: u32| {
            let expected = average * share;
            // The fraction decides by chance, so that the unpopular have some, too.
            let number = expected.floor() + f64::from(u8::from(rng.random_bool(expected.fract())));
            (number as u32).min(most)
        };
        let (likes, comments) = (number(LIKES, self.users / 2), number(COMMENTS, 10_000));
        Reception { visibility: Visibility::Public, likes, comments }
    }

    /// Somebody, the popular more often.
    fn somebody(&self, rng: &mut ChaCha8Rng, steepness: f64) -> u32 {
        // One person or more, and a steepness above 0: always a distribution.
        let rank = Zipf::new(f64::from(self.users), steepness).map_or(1.0, |zipf| zipf.sample(rng));
        scatter(rank as u64 - 1, u64::from(self.users), self.seed) as u32
    }

    fn anybody(&self, rng: &mut ChaCha8Rng) -> u32 {
        rng.random_range(0..self.users)
    }

    /// A time after `since`, sooner more likely than later, and not beyond the newest.
    fn between(&self, rng: &mut ChaCha8Rng, since: Timestamp) -> Timestamp {
        let longest = (self.until.as_millis() - since.as_millis()).max(1);
        let chance: f64 = rng.random();
        since.plus_millis((longest as f64 * chance.powi(4)) as i64)
    }

    fn rng(&self, purpose: Purpose, index: u32, attempt: u32) -> ChaCha8Rng {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        seed[8..16].copy_from_slice(&(purpose as u64).to_le_bytes());
        seed[16..20].copy_from_slice(&index.to_le_bytes());
        seed[20..24].copy_from_slice(&attempt.to_le_bytes());
        seed[24..].copy_from_slice(&self.until.as_millis().to_le_bytes());
        ChaCha8Rng::from_seed(seed)
    }
}

fn popularity(rank: u64) -> f64 {
    ((rank + 1) as f64).powf(-RECEPTION)
}

/// One place for each of `0..total`: otherwise the first would be the most popular in every respect.
fn scatter(number: u64, total: u64, seed: u64) -> u64 {
    let mut step = (total / 2 + seed % (total / 2 + 1)) | 1;
    while gcd(step, total) != 1 {
        step += 2;
    }
    // Below 2^32 each, so the product fits.
    (number % total * (step % total) + seed % total) % total
}

fn gcd(one: u64, other: u64) -> u64 {
    if other == 0 { one } else { gcd(other, one % other) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNTIL: Timestamp = Timestamp::from_millis(1_767_225_600_000);

    fn plan(seed: u64) -> Plan {
        Plan::new(seed, 50, 200, UNTIL)
    }

    #[test]
    fn the_same_seed_gives_the_same_community() {
        for index in 0..50 {
            assert_eq!(plan(1).person(index), plan(1).person(index));
            assert_eq!(plan(1).username(index, 0), plan(1).username(index, 0));
            assert_eq!(plan(1).follows(index), plan(1).follows(index));
        }
        for index in 0..200 {
            assert_eq!(plan(1).post(index), plan(1).post(index));
            assert_eq!(plan(1).comments(index), plan(1).comments(index));
            assert_eq!(plan(1).likes(index), plan(1).likes(index));
        }
    }

    #[test]
    fn this_very_community_stays_as_it_is() {
        let plan = plan(1);
        let first = plan.post(0).expect("valid");
        // A change of these values means that a second run after an upgrade adds everything again.
        assert_eq!(plan.person(0).expect("valid").id.to_string(), PERSON);
        assert_eq!(first.id.to_string(), POST);
        assert_eq!(plan.username(0, 0).expect("valid").as_str(), USERNAME);
    }

    const PERSON: &str = "019a6b93-a573-792a-83f2-5376ef016893";
    const POST: &str = "019af054-36e8-7100-ab6b-fc9cb264fc33";
    const USERNAME: &str = "calm_quail_91";

    #[test]
    fn another_seed_gives_another_community() {
        assert_ne!(plan(1).person(0), plan(2).person(0));
        assert_ne!(plan(1).post(0), plan(2).post(0));
    }

    #[test]
    fn everything_happens_after_what_it_needs() {
        let plan = plan(3);
        for index in 0..200 {
            let post = plan.post(index).expect("valid");
            assert!(post.at <= UNTIL && post.id.timestamp() == post.at);
            let comments = plan.comments(index).expect("valid");
            for comment in &comments {
                let parent = comment.parent.and_then(|parent| comments.iter().find(|other| other.id == parent));
                assert_eq!(comment.parent.is_some(), parent.is_some(), "answers one of the same post");
                assert!(comment.at >= parent.map_or(post.at, |parent| parent.at) && comment.at <= UNTIL);
            }
            for like in plan.likes(index).expect("valid") {
                assert!(like.at >= post.at && like.at <= UNTIL);
            }
        }
        for index in 0..50 {
            for follow in plan.follows(index).expect("valid") {
                assert_ne!(follow.from, follow.to);
                assert!(follow.at >= follow.from.timestamp() && follow.at >= follow.to.timestamp());
            }
        }
    }

    #[test]
    fn nobody_likes_twice_and_totals_are_what_is_planned() {
        let plan = plan(4);
        let mut totals = (0, 0);
        for index in 0..200 {
            let likes = plan.likes(index).expect("valid");
            let distinct: BTreeSet<UserId> = likes.iter().map(|like| like.user).collect();
            assert_eq!(distinct.len(), likes.len());
            totals.0 += likes.len() as u64;
            totals.1 += plan.comments(index).expect("valid").len() as u64;
        }
        assert_eq!(plan.totals(), totals);
        assert!(totals.0 > 200 && totals.1 > 100, "a lively place: {totals:?}");
    }

    #[test]
    fn some_are_followed_far_more_than_most() {
        let plan = Plan::new(5, 300, 0, UNTIL);
        let mut followers = std::collections::HashMap::<UserId, usize>::new();
        for index in 0..300 {
            for follow in plan.follows(index).expect("valid") {
                *followers.entry(follow.to).or_default() += 1;
            }
        }
        let most = followers.values().max().copied().unwrap_or_default();
        let average = followers.values().sum::<usize>() / 300;
        assert!(most > 5 * average, "most {most}, average {average}");
    }

    #[test]
    fn scattering_gives_everybody_one_place() {
        for total in [1, 2, 7, 100, 1009] {
            for seed in [0, 1, 12_345_678_901] {
                let places: BTreeSet<u64> = (0..total).map(|number| scatter(number, total, seed)).collect();
                assert_eq!(places.len() as u64, total);
                assert_eq!(places.last(), Some(&(total - 1)));
            }
        }
    }

    #[test]
    fn a_single_person_follows_nobody() {
        let plan = Plan::new(1, 1, 3, UNTIL);
        assert_eq!(plan.follows(0), Ok(Vec::new()));
        assert_eq!(plan.totals().0, 0);
    }
}
