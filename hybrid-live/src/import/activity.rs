//! What of an outbox becomes a post, and what does not: one activity at a time.
//!
//! Taken is what the account wrote for everyone: `Create` activities with a `Note` that is addressed to the public
//! (Mastodon's "public" and "unlisted"), and threads of one's own. Left out, with the reason counted: boosts, replies
//! to other people (they make no sense without what they answer), whatever is for followers or named people only,
//! polls and other kinds. A content warning becomes the title. Pictures are not in this file.

use std::fmt;

use domain::post::Text;
use domain::text::{InvalidText, Markdown, Title};
use domain::{PostId, Timestamp, UserId};
use htmd::HtmlToMarkdown;
use htmd::options::{BrStyle, BulletListMarker, LinkStyle, Options};
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

/// "Everyone", in the three spellings that the standard allows.
const PUBLIC: [&str; 3] = ["https://www.w3.org/ns/activitystreams#Public", "as:Public", "Public"];
/// More markup than this is not a post that somebody wrote. Bounds how deep elements can nest, and so the stack.
const TAGS: usize = 5_000;
/// Longer HTML cannot become a text of allowed length.
const HTML_BYTES: usize = 1024 * 1024;
/// Characters of a title, as `domain` allows them.
const TITLE: usize = 200;

/// A post to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ImportedPost {
    pub(super) id: PostId,
    pub(super) text: Text,
}

/// Why an item does not become a post.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Skipped {
    Boost,
    OtherActivity,
    OtherKind,
    NotIncluded,
    NotPublic,
    Reply,
    OtherAccount,
    NoId,
    NoTime,
    ImpossibleTime,
    Empty,
    TooMuchMarkup,
    InvalidText(String),
    Malformed(String),
}

impl Skipped {
    /// Whether somebody may want to look at the item: it should have been a post.
    pub(super) fn is_a_fault(&self) -> bool {
        match self {
            Self::Boost | Self::OtherActivity | Self::OtherKind | Self::NotPublic | Self::Reply | Self::Empty => false,
            Self::NotIncluded
            | Self::OtherAccount
            | Self::NoId
            | Self::NoTime
            | Self::ImpossibleTime
            | Self::TooMuchMarkup
            | Self::InvalidText(_)
            | Self::Malformed(_) => true,
        }
    }

    /// What it is counted as.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Boost => "boosts",
            Self::OtherActivity => "activities other than new posts",
            Self::OtherKind => "polls and other kinds of posts",
            Self::NotIncluded => "posts that the file names but does not hold",
            Self::NotPublic => "not addressed to everyone",
            Self::Reply => "replies to other people",
            Self::OtherAccount => "by another account",
            Self::NoId => "without an id",
            Self::NoTime => "without a time",
            Self::ImpossibleTime => "with a time before 1970 or in the future",
            Self::Empty => "without text",
            Self::TooMuchMarkup => "with too much markup",
            Self::InvalidText(_) => "with a text that is not allowed",
            Self::Malformed(_) => "malformed",
        }
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidText(reason) => write!(f, "the text {reason}"),
            Self::Malformed(reason) => write!(f, "malformed: {reason}"),
            other => f.write_str(other.kind()),
        }
    }
}

/// Turns activities of one outbox into posts.
pub(super) struct Reader {
    /// Who gets the posts.
    owner: UserId,
    /// Nothing can have been written later.
    now: Timestamp,
    /// Whose outbox it is: the actor of the first activity that has one.
    account: Option<String>,
    html: HtmlToMarkdown,
}

impl Reader {
    /// For posts of `owner`.
    pub(super) fn new(owner: UserId, now: Timestamp) -> Self {
        let options = Options {
            br_style: BrStyle::Backslash,
            bullet_list_marker: BulletListMarker::Dash,
            link_style: LinkStyle::InlinedPreferAutolinks,
            ul_bullet_spacing: 1,
            ol_number_spacing: 1,
            ..Options::default()
        };
        let html = HtmlToMarkdown::builder()
            .options(options)
            .skip_tags(vec!["script", "style", "head", "title", "template", "iframe", "object", "img", "svg", "math"])
            .build();
        Self { owner, now, account: None, html }
    }

    /// The id that an item goes by, to name it to people.
    pub(super) fn name(item: &RawValue) -> Option<String> {
        let activity: Value = serde_json::from_str(item.get()).ok()?;
        text(&activity, "id").map(str::to_owned)
    }

    /// The post that an item becomes.
    ///
    /// # Errors
    /// Why it becomes none.
    pub(super) fn read(&mut self, item: &RawValue) -> Result<ImportedPost, Skipped> {
        let activity: Value =
            serde_json::from_str(item.get()).map_err(|error| Skipped::Malformed(error.to_string()))?;
        match text(&activity, "type") {
            Some("Create") => {}
            Some("Announce") => return Err(Skipped::Boost),
            Some(_) => return Err(Skipped::OtherActivity),
            None => return Err(Skipped::Malformed("it has no type".to_owned())),
        }
        let note = match activity.get("object") {
            Some(note @ Value::Object(_)) => note,
            Some(Value::String(_)) => return Err(Skipped::NotIncluded),
            _ => return Err(Skipped::Malformed("its object is no post".to_owned())),
        };
        match text(note, "type") {
            Some("Note") => {}
            Some(_) => return Err(Skipped::OtherKind),
            None => return Err(Skipped::Malformed("its object has no type".to_owned())),
        }
        if !is_public(&activity, note) {
            return Err(Skipped::NotPublic);
        }
        let author = self.author(&activity, note)?;
        if let Some(answered) = answered(note)
            && !answered.starts_with(&format!("{author}/"))
        {
            return Err(Skipped::Reply);
        }
        let source = text(note, "id").or_else(|| text(&activity, "id")).ok_or(Skipped::NoId)?;
        let published = text(note, "published").or_else(|| text(&activity, "published")).ok_or(Skipped::NoTime)?;
        let at: Timestamp = published.parse().map_err(|_| Skipped::NoTime)?;
        if at < Timestamp::from_millis(0) || at > self.now {
            return Err(Skipped::ImpossibleTime);
        }
        let text = Text { title: title(note), markdown: self.markdown(note)? };
        Ok(ImportedPost { id: self.id(at, source), text })
    }

    /// The account that wrote the note, if it is the outbox's.
    fn author(&mut self, activity: &Value, note: &Value) -> Result<String, Skipped> {
        let named = [reference(activity.get("actor")), reference(note.get("attributedTo"))];
        let account = match (&self.account, named.iter().flatten().next()) {
            (Some(account), _) => account.clone(),
            (None, Some(first)) => (*first).to_owned(),
            (None, None) => return Err(Skipped::Malformed("it says of nobody that they wrote it".to_owned())),
        };
        if named.into_iter().flatten().any(|name| name != account) {
            return Err(Skipped::OtherAccount);
        }
        self.account = Some(account.clone());
        Ok(account)
    }

    /// The same for the same note, and its millisecond: so a second run finds everything there. The owner counts,
    /// so that two people who import one outbox do not take posts from each other.
    fn id(&self, at: Timestamp, source: &str) -> PostId {
        let mut digest = Sha256::new();
        digest.update(b"hybrid-live import 1\0");
        digest.update(self.owner.as_bytes());
        digest.update(source.as_bytes());
        let digest: [u8; 32] = digest.finalize().into();
        let mut rest = [0; 10];
        rest.copy_from_slice(&digest[..10]);
        PostId::from_parts(at, rest)
    }

    fn markdown(&self, note: &Value) -> Result<Markdown, Skipped> {
        let html = match note.get("content") {
            Some(Value::String(html)) => html.as_str(),
            None | Some(Value::Null) => return Err(Skipped::Empty),
            Some(_) => return Err(Skipped::Malformed("its content is no text".to_owned())),
        };
        if html.len() > HTML_BYTES {
            return Err(Skipped::InvalidText("is too long".to_owned()));
        }
        if tags(html) > TAGS {
            return Err(Skipped::TooMuchMarkup);
        }
        let markdown = self.html.convert(html).map_err(|error| Skipped::Malformed(error.to_string()))?;
        match Markdown::parse(markdown.trim()) {
            Ok(markdown) => Ok(markdown),
            Err(InvalidText::Empty) => Err(Skipped::Empty),
            Err(error) => Err(Skipped::InvalidText(error.to_string())),
        }
    }
}

/// The beginnings of elements in a text of HTML, or more.
fn tags(html: &str) -> usize {
    html.as_bytes().windows(2).filter(|pair| pair[0] == b'<' && pair[1].is_ascii_alphabetic()).count()
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// Whom a reference names: itself, or the object that it spells out.
fn reference(value: Option<&Value>) -> Option<&str> {
    match value? {
        Value::String(id) => Some(id),
        Value::Object(_) => text(value?, "id"),
        _ => None,
    }
}

fn answered(note: &Value) -> Option<&str> {
    reference(note.get("inReplyTo"))
}

/// Whether everyone is among the addressees: the note's, and the activity's only where the note has none.
fn is_public(activity: &Value, note: &Value) -> bool {
    let addressed = if note.get("to").or_else(|| note.get("cc")).is_some() { note } else { activity };
    ["to", "cc"].into_iter().filter_map(|key| addressed.get(key)).any(|addressees| match addressees {
        Value::String(one) => PUBLIC.contains(&one.as_str()),
        Value::Array(many) => many.iter().filter_map(Value::as_str).any(|one| PUBLIC.contains(&one)),
        _ => false,
    })
}

/// The content warning as a title: one line, cut where it is too long.
fn title(note: &Value) -> Option<Title> {
    let words: Vec<&str> = text(note, "summary")?.split(|c: char| c.is_whitespace() || c.is_control()).collect();
    let line = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    let cut = match line.char_indices().nth(TITLE) {
        None => line,
        Some(_) => line.chars().take(TITLE - 1).chain(['…']).collect(),
    };
    Title::parse(&cut).ok()
}

#[cfg(test)]
mod tests;
