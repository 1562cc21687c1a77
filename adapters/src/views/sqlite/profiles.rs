//! People, their numbers, and who follows whom since when.
//!
//! Numbers are fed by many lanes, so no position guards them. What guards them is the row that a number counts: both
//! change in one transaction, and only for a newer sequence of that row (C1, C2).

use domain::text::{Bio, DisplayName, Username};
use domain::{Timestamp, UserId};
use rusqlite::types::{FromSqlError, Type};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::StoreError;
use crate::checkpoints::Generation;
use crate::sqlite::values::{Unsigned, page};
use crate::views::{FollowList, FollowRow, ProfileChange, ProfileNames, ProfileRow};

pub(super) fn write(
    connection: &Connection,
    generation: Generation,
    changes: &[ProfileChange],
) -> Result<(), StoreError> {
    for change in changes {
        match change {
            ProfileChange::Named { user, names, sequence } => {
                write_names(connection, generation, *user, names.as_ref(), *sequence)?;
            }
            ProfileChange::Follow(follow) => write_follow(connection, generation, follow)?,
            ProfileChange::Post { author, post, listed, sequence } => {
                let key = (author.as_bytes(), post.as_bytes());
                write_post(connection, generation, key, *listed, *sequence)?;
            }
        }
    }
    Ok(())
}

fn write_names(
    connection: &Connection,
    Generation(generation): Generation,
    user: UserId,
    names: Option<&ProfileNames>,
    sequence: u64,
) -> Result<(), StoreError> {
    let mut write = connection.prepare_cached(
        "INSERT INTO profiles
        (generation, user, username, display_name, bio, sequence, followers, following, posts)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, 0, 0)
        ON CONFLICT (generation, user) DO UPDATE
        SET username = excluded.username, display_name = excluded.display_name, bio = excluded.bio,
            sequence = excluded.sequence
        WHERE excluded.sequence > profiles.sequence",
    )?;
    write.execute(params![
        generation,
        user.as_bytes(),
        names.map(|names| names.username.as_str()),
        names.map(|names| names.display_name.as_str()),
        names.map(|names| names.bio.as_str()),
        Unsigned(sequence),
    ])?;
    Ok(())
}

fn write_follow(
    connection: &Connection,
    Generation(generation): Generation,
    follow: &FollowRow,
) -> Result<(), StoreError> {
    let (from, to) = (follow.from.as_bytes(), follow.to.as_bytes());
    let mut stored = connection.prepare_cached(
        "SELECT following, sequence FROM follows WHERE generation = ?1 AND from_user = ?2 AND to_user = ?3",
    )?;
    let stored = stored.query_row(params![generation, from, to], guard_at).optional()?;
    let Some(step) = step(stored, follow.following, follow.sequence) else { return Ok(()) };
    let mut write = connection.prepare_cached(
        "INSERT INTO follows (generation, from_user, to_user, following, sequence, since)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)
        ON CONFLICT (generation, from_user, to_user) DO UPDATE
        SET following = excluded.following, sequence = excluded.sequence, since = excluded.since",
    )?;
    let (sequence, since) = (Unsigned(follow.sequence), follow.since.as_millis());
    write.execute(params![generation, from, to, follow.following, sequence, since])?;
    if step != 0 {
        add(connection, generation, to, [step, 0, 0])?;
        add(connection, generation, from, [0, step, 0])?;
    }
    Ok(())
}

fn write_post(
    connection: &Connection,
    Generation(generation): Generation,
    (author, post): (&[u8; 16], &[u8; 16]),
    listed: bool,
    sequence: u64,
) -> Result<(), StoreError> {
    let mut stored = connection.prepare_cached(
        "SELECT listed, sequence FROM profile_posts WHERE generation = ?1 AND author = ?2 AND post = ?3",
    )?;
    let stored = stored.query_row(params![generation, author, post], guard_at).optional()?;
    let Some(step) = step(stored, listed, sequence) else { return Ok(()) };
    let mut write = connection.prepare_cached(
        "INSERT INTO profile_posts (generation, author, post, listed, sequence) VALUES (?1, ?2, ?3, ?4, ?5)
        ON CONFLICT (generation, author, post) DO UPDATE
        SET listed = excluded.listed, sequence = excluded.sequence",
    )?;
    write.execute(params![generation, author, post, listed, Unsigned(sequence)])?;
    if step != 0 {
        add(connection, generation, author, [0, 0, step])?;
    }
    Ok(())
}

/// What a guard's change does to the numbers; `None` where the guard has the event already, or a newer one (C2).
fn step(stored: Option<(bool, u64)>, holds: bool, sequence: u64) -> Option<i64> {
    let (held, known) = stored.unwrap_or((false, 0));
    (sequence > known).then(|| i64::from(holds) - i64::from(held))
}

/// Adds to somebody's followers, followed and posts; makes their row if it is not there.
fn add(
    connection: &Connection,
    generation: u32,
    user: &[u8; 16],
    [followers, following, posts]: [i64; 3],
) -> Result<(), StoreError> {
    let mut write = connection.prepare_cached(
        "INSERT INTO profiles (generation, user, sequence, followers, following, posts)
        VALUES (?1, ?2, 0, ?3, ?4, ?5)
        ON CONFLICT (generation, user) DO UPDATE
        SET followers = followers + excluded.followers, following = following + excluded.following,
            posts = posts + excluded.posts",
    )?;
    write.execute(params![generation, user, followers, following, posts])?;
    Ok(())
}

const PROFILE: &str = "SELECT user, username, display_name, bio, sequence, followers, following, posts FROM profiles";

pub(super) fn rows(
    connection: &Connection,
    Generation(generation): Generation,
    users: &[UserId],
) -> Result<Vec<Option<ProfileRow>>, StoreError> {
    let mut statement = connection.prepare_cached(&format!("{PROFILE} WHERE generation = ?1 AND user = ?2"))?;
    let find = |user: &UserId| Ok(statement.query_row(params![generation, user.as_bytes()], profile_at).optional()?);
    users.iter().map(find).collect()
}

pub(super) fn users_named(
    connection: &Connection,
    Generation(generation): Generation,
    usernames: &[Username],
) -> Result<Vec<Option<UserId>>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT user FROM profiles INDEXED BY profiles_username WHERE generation = ?1 AND username = ?2",
    )?;
    let at = |row: &Row<'_>| row.get(0).map(UserId::from_bytes);
    let find = |name: &Username| Ok(statement.query_row(params![generation, name.as_str()], at).optional()?);
    usernames.iter().map(find).collect()
}

pub(super) fn newest_follows(
    connection: &Connection,
    Generation(generation): Generation,
    list: FollowList,
    before: Option<(Timestamp, UserId)>,
    limit: usize,
) -> Result<Vec<FollowRow>, StoreError> {
    let (user, mut statement) = match list {
        FollowList::FollowersOf(user) => (
            user,
            connection.prepare_cached(
                "SELECT from_user, to_user, following, sequence, since FROM follows INDEXED BY follows_followers
                WHERE generation = ?1 AND to_user = ?2 AND following = 1 AND (since, from_user) < (?3, ?4)
                ORDER BY since DESC, from_user DESC",
            )?,
        ),
        FollowList::FollowedBy(user) => (
            user,
            connection.prepare_cached(
                "SELECT from_user, to_user, following, sequence, since FROM follows INDEXED BY follows_following
                WHERE generation = ?1 AND from_user = ?2 AND following = 1 AND (since, to_user) < (?3, ?4)
                ORDER BY since DESC, to_user DESC",
            )?,
        ),
    };
    let (since, other) = before.map_or((i64::MAX, UserId::MAX), |(since, other)| (since.as_millis(), other));
    let rows = statement.query_map(params![generation, user.as_bytes(), since, other.as_bytes()], follow_at)?;
    page(rows, limit)
}

pub(super) fn scan(
    connection: &Connection,
    Generation(generation): Generation,
    after: Option<UserId>,
    limit: usize,
) -> Result<Vec<ProfileRow>, StoreError> {
    let query = format!("{PROFILE} WHERE generation = ?1 AND user > ?2 ORDER BY user");
    let mut statement = connection.prepare_cached(&query)?;
    let after = after.unwrap_or(UserId::MIN);
    let rows = statement.query_map(params![generation, after.as_bytes()], profile_at)?;
    page(rows, limit)
}

pub(super) fn scan_follows(
    connection: &Connection,
    Generation(generation): Generation,
    after: Option<(UserId, UserId)>,
    limit: usize,
) -> Result<Vec<FollowRow>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT from_user, to_user, following, sequence, since
        FROM follows WHERE generation = ?1 AND (from_user, to_user) > (?2, ?3) ORDER BY from_user, to_user",
    )?;
    let (from, to) = after.unwrap_or((UserId::MIN, UserId::MIN));
    let rows = statement.query_map(params![generation, from.as_bytes(), to.as_bytes()], follow_at)?;
    page(rows, limit)
}

fn guard_at(row: &Row<'_>) -> rusqlite::Result<(bool, u64)> {
    Ok((row.get(0)?, row.get::<_, Unsigned>(1)?.0))
}

fn profile_at(row: &Row<'_>) -> rusqlite::Result<ProfileRow> {
    let username = row.get::<_, Option<String>>(1)?;
    let display_name = row.get::<_, Option<String>>(2)?;
    let bio = row.get::<_, Option<String>>(3)?;
    let names = match (username, display_name, bio) {
        (None, None, None) => None,
        // Stored as it was checked once; checked again, so that damage is seen and not shown.
        (Some(username), Some(display_name), Some(bio)) => Some(ProfileNames {
            username: Username::try_from(username).map_err(|error| unreadable(1, error))?,
            display_name: DisplayName::try_from(display_name).map_err(|error| unreadable(2, error))?,
            bio: Bio::try_from(bio).map_err(|error| unreadable(3, error))?,
        }),
        _ => return Err(unreadable(1, FromSqlError::InvalidType)),
    };
    Ok(ProfileRow {
        user: UserId::from_bytes(row.get(0)?),
        names,
        sequence: row.get::<_, Unsigned>(4)?.0,
        followers: row.get::<_, Unsigned>(5)?.0,
        following: row.get::<_, Unsigned>(6)?.0,
        posts: row.get::<_, Unsigned>(7)?.0,
    })
}

fn unreadable(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}

fn follow_at(row: &Row<'_>) -> rusqlite::Result<FollowRow> {
    Ok(FollowRow {
        from: UserId::from_bytes(row.get(0)?),
        to: UserId::from_bytes(row.get(1)?),
        following: row.get(2)?,
        sequence: row.get::<_, Unsigned>(3)?.0,
        since: Timestamp::from_millis(row.get(4)?),
    })
}
