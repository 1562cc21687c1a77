//! From an author's Markdown to what is shown: sanitised HTML, and the beginning of the text without markup.
//!
//! Two walls: the renderer shows raw HTML as the text that it is, and the sanitiser lets through a short list of tags
//! whatever the renderer does. Both work in bounded space and time: what is nested or blown up beyond any honest text
//! is shown as it was written.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::LazyLock;

use adapters::StoreError;
use adapters::content::{Preview, Rendered};
use ammonia::UrlRelative;
use comrak::nodes::{AstNode, NodeValue};
use comrak::{Arena, Options, format_html, parse_document};
use domain::post::{Text, Visibility};
use domain::text::{Markdown, Title};
use domain::{PostId, Timestamp, UserId};

#[cfg(test)]
mod tests;

/// Which version of this module made a rendering. Raised with every change that shows.
pub const RENDERER: u16 = 1;

/// Characters of the text that lists show.
const PREVIEW: usize = 280;
/// How far back the end of a word is looked for.
const LONGEST_WORD: usize = 40;
/// Nesting that is rendered. Sanitising takes the square of it.
const DEEPEST: usize = 100;
/// Bytes of HTML that a text may become.
const LARGEST: usize = 1024 * 1024;
/// From this many bytes on, rendering takes longer than handing it to another thread.
const LARGE: usize = 4 * 1024;

/// A text as it is shown, apart from what else is known of its post.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderedText {
    html: String,
    beginning: String,
    truncated: bool,
}

/// What a preview says of a post beside its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The post.
    pub post: PostId,
    /// Who wrote it.
    pub author: UserId,
    /// Who may read it.
    pub visibility: Visibility,
    /// When the text was last changed.
    pub edited_at: Option<Timestamp>,
    /// The stream's sequence.
    pub version: u64,
}

/// Renders a post. May take long: see [`prepare`] for where others wait.
///
/// # Errors
/// The preview cannot be written as JSON: a defect.
pub fn render(facts: Facts, text: &Text) -> Result<Rendered, serde_json::Error> {
    render_text(text.markdown.as_str()).of(facts, text.title.as_ref())
}

/// What is left of a deleted post.
pub fn nothing() -> Rendered {
    Rendered { renderer: RENDERER, html: String::new(), preview: None }
}

/// Renders a text, on another thread if it is large.
///
/// # Errors
/// The rendering broke off: a defect.
pub async fn prepare(markdown: &Markdown) -> Result<RenderedText, StoreError> {
    if markdown.as_str().len() < LARGE {
        return Ok(render_text(markdown.as_str()));
    }
    let markdown = markdown.clone();
    let rendered = tokio::task::spawn_blocking(move || render_text(markdown.as_str())).await;
    rendered.map_err(|_| StoreError::Damaged("a text could not be rendered".to_owned()))
}

impl RenderedText {
    /// The rendering of a post with this text.
    ///
    /// # Errors
    /// The preview cannot be written as JSON: a defect.
    pub fn of(&self, facts: Facts, title: Option<&Title>) -> Result<Rendered, serde_json::Error> {
        let Facts { post, author, visibility, edited_at, version } = facts;
        let preview = Preview {
            id: post,
            author_id: author,
            title: title.cloned(),
            text: self.beginning.clone(),
            truncated: self.truncated,
            visibility,
            created_at: post.timestamp(),
            edited_at,
            version,
        };
        let preview = Some(serde_json::to_string(&preview)?);
        Ok(Rendered { renderer: RENDERER, html: self.html.clone(), preview })
    }
}

fn render_text(markdown: &str) -> RenderedText {
    let arena = Arena::new();
    let root = parse_document(&arena, markdown, &OPTIONS);
    if depth_of(root) > DEEPEST {
        return as_written(markdown);
    }
    let (beginning, truncated) = beginning(root);
    let mut html = Bounded { text: String::with_capacity(markdown.len() * 2), limit: LARGEST };
    match format_html(root, &OPTIONS, &mut html) {
        Ok(()) => RenderedText { html: SANITISER.clean(&html.text).to_string(), beginning, truncated },
        Err(fmt::Error) => as_written(markdown),
    }
}

static OPTIONS: LazyLock<Options<'static>> = LazyLock::new(|| {
    let mut options = Options::default();
    options.extension.strikethrough = true;
    options.extension.table = true;
    options.extension.autolink = true;
    // Raw HTML is shown as text. (The sanitiser would not let it through anyway.)
    options.render.escape = true;
    options
});

static SANITISER: LazyLock<ammonia::Builder<'static>> = LazyLock::new(|| {
    let set = |names: &[&'static str]| names.iter().copied().collect::<HashSet<_>>();
    let mut builder = ammonia::Builder::empty();
    builder
        .tags(set(&[
            "a",
            "blockquote",
            "br",
            "code",
            "del",
            "em",
            "h1",
            "h2",
            "h3",
            "h4",
            "h5",
            "h6",
            "hr",
            "img",
            "li",
            "ol",
            "p",
            "pre",
            "strong",
            "table",
            "tbody",
            "td",
            "th",
            "thead",
            "tr",
            "ul",
        ]))
        .clean_content_tags(set(&["script", "style"]))
        .tag_attributes(HashMap::from([
            ("a", set(&["href", "title"])),
            ("img", set(&["src", "alt", "title"])),
            ("ol", set(&["start"])),
            ("td", set(&["align"])),
            ("th", set(&["align"])),
        ]))
        .url_schemes(set(&["http", "https", "mailto"]))
        // A relative link would lead to wherever the page happens to be.
        .url_relative(UrlRelative::Deny)
        .attribute_filter(|element, attribute, value| {
            let is_image_source = element == "img" && attribute == "src";
            let is_remote = ["http://", "https://"].iter().any(|scheme| {
                value.get(..scheme.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(scheme))
            });
            (!is_image_source || is_remote).then_some(value.into())
        })
        .link_rel(Some("nofollow ugc noopener"))
        .strip_comments(true);
    builder
});

/// The deepest nesting, without recursion.
fn depth_of<'a>(root: &'a AstNode<'a>) -> usize {
    let (mut depth, mut deepest) = (0, 0);
    for edge in root.traverse() {
        match edge {
            comrak::arena_tree::NodeEdge::Start(_) => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            comrak::arena_tree::NodeEdge::End(_) => depth -= 1,
        }
    }
    deepest
}

/// A text that cannot be rendered, as its author wrote it.
fn as_written(markdown: &str) -> RenderedText {
    let mut html = String::with_capacity(markdown.len() + 16);
    html.push_str("<pre>");
    for character in markdown.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            other => html.push(other),
        }
    }
    html.push_str("</pre>");
    let mut beginning = Beginning::default();
    beginning.push(markdown);
    let (beginning, truncated) = beginning.finish();
    RenderedText { html, beginning, truncated }
}

/// The beginning of what a reader reads.
fn beginning<'a>(root: &'a AstNode<'a>) -> (String, bool) {
    let mut beginning = Beginning::default();
    for edge in root.traverse() {
        if beginning.is_full() {
            break;
        }
        match edge {
            comrak::arena_tree::NodeEdge::Start(node) => match &node.data().value {
                NodeValue::Text(text) => beginning.push(text),
                NodeValue::Code(code) => beginning.push(&code.literal),
                NodeValue::CodeBlock(block) => beginning.push(&block.literal),
                NodeValue::HtmlInline(html) => beginning.push(html),
                NodeValue::HtmlBlock(html) => beginning.push(&html.literal),
                NodeValue::SoftBreak => beginning.push(" "),
                NodeValue::LineBreak => beginning.push("\n"),
                _ => {}
            },
            comrak::arena_tree::NodeEdge::End(node) => match &node.data().value {
                NodeValue::TableCell => beginning.push(" "),
                value if value.block() => beginning.push("\n"),
                _ => {}
            },
        }
    }
    beginning.finish()
}

/// Gathers text up to a little more than lists show; what separates never doubles and never opens or ends it.
#[derive(Default)]
struct Beginning {
    text: String,
    characters: usize,
    /// White space that is written only if something follows.
    separator: Option<char>,
}

impl Beginning {
    fn is_full(&self) -> bool {
        self.characters > PREVIEW
    }

    fn push(&mut self, text: &str) {
        for character in text.chars() {
            if self.is_full() {
                return;
            }
            if character.is_whitespace() {
                let line_end = character == '\n' || self.separator == Some('\n');
                self.separator = Some(if line_end { '\n' } else { ' ' });
                continue;
            }
            if let Some(separator) = self.separator.take().filter(|_| self.characters > 0) {
                self.text.push(separator);
                self.characters += 1;
            }
            self.text.push(character);
            self.characters += 1;
        }
    }

    /// The text, cut between words if there is more, and whether there is.
    fn finish(mut self) -> (String, bool) {
        if !self.is_full() {
            return (self.text, false);
        }
        let end = self.text.char_indices().nth(PREVIEW).map_or(self.text.len(), |(index, _)| index);
        // Cut exactly between two words already, or somewhere in one.
        let in_word = self.text[end..].starts_with(|next: char| !next.is_whitespace());
        self.text.truncate(end);
        let last_gap = self.text.rfind(char::is_whitespace).filter(|_| in_word);
        if let Some(gap) = last_gap.filter(|gap| self.text[*gap..].chars().count() <= LONGEST_WORD) {
            self.text.truncate(gap);
        }
        self.text.truncate(self.text.trim_end().len());
        (self.text, true)
    }
}

/// Refuses to grow beyond its limit.
struct Bounded {
    text: String,
    limit: usize,
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        if self.text.len() + more.len() > self.limit {
            return Err(fmt::Error);
        }
        self.text.push_str(more);
        Ok(())
    }
}
