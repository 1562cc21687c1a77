//! Text that people may give: checked once, at the door, and a type of its own from then on.
//!
//! What is refused: what shows nothing (white space and invisible characters only), what is too long, control
//! characters. Line ends of every kind become `\n` in texts of several lines, and are refused in one-line texts, as are
//! the characters that impose a writing direction: a name is shown in the middle of other people's words and must not
//! reorder them, while a text has a paragraph to itself, where right-to-left authors need them. Joiners and the marks
//! of direction (U+200C to U+200F, U+061C) stay allowed everywhere: Persian, Indic scripts and emoji need them.
//! Nothing is normalised beyond line ends and trimming.
//!
//! Reading events and documents goes through the same checks. So a rule may be loosened, never tightened: what was
//! accepted once is read for ever (E1).

use std::fmt;

use serde::{Deserialize, Serialize};

/// What is wrong with a text. Says nothing of the text itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidText {
    /// Nothing that shows.
    #[error("must not be empty")]
    Empty,
    /// Above the limit.
    #[error("must be at most {limit} {unit}")]
    TooLong {
        /// The limit.
        limit: usize,
        /// What is counted.
        unit: &'static str,
    },
    /// Below the limit.
    #[error("must be at least {limit} characters")]
    TooShort {
        /// The limit.
        limit: usize,
    },
    /// A control character other than tab and line end; in one-line texts also those, and what imposes a direction.
    #[error("must not contain control characters")]
    Control,
    /// A user name outside `[a-z0-9_]`.
    #[error("must consist of letters a to z, digits and underscores, and begin with a letter")]
    Username,
}

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks and normalises.
            ///
            /// # Errors
            /// The rule that the text breaks.
            pub fn parse(text: &str) -> Result<Self, InvalidText> {
                let check: fn(&str) -> Result<String, InvalidText> = $check;
                check(text).map(Self)
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidText;

            fn try_from(text: String) -> Result<Self, InvalidText> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> String {
                text.0
            }
        }
    };
}

text!(
    /// 3 to 30 of `a`–`z`, `0`–`9` and `_`, beginning with a letter. Upper case is lowered: names are unique regardless.
    Username,
    |text| {
        let name = text.to_ascii_lowercase();
        if name.chars().count() < 3 {
            return Err(InvalidText::TooShort { limit: 3 });
        }
        if name.chars().count() > 30 {
            return Err(InvalidText::TooLong { limit: 30, unit: "characters" });
        }
        let allowed = name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
        if allowed && name.as_bytes()[0].is_ascii_lowercase() { Ok(name) } else { Err(InvalidText::Username) }
    }
);
text!(
    /// What a person wants to be called: one line, 1 to 50 characters, trimmed.
    DisplayName,
    |text| line(text, 50)
);
text!(
    /// A post's title: one line, 1 to 200 characters, trimmed.
    Title,
    |text| line(text, 200)
);
text!(
    /// A post's text as its author wrote it: 1 byte to 64 KiB of Markdown, line ends made `\n`.
    Markdown,
    |text| lines(text, 64 * 1024)
);
text!(
    /// A comment: plain text, 1 byte to 8 KiB, line ends made `\n`.
    CommentText,
    |text| lines(text, 8 * 1024)
);

text!(
    /// What a person says of themselves: at most 500 characters, in several lines if they like, trimmed, line ends made
    /// `\n`. May be empty, and is where nothing of it would show.
    #[derive(Default)]
    Bio,
    |text| lines_or_nothing(text, 500)
);

impl Bio {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn line(text: &str, limit: usize) -> Result<String, InvalidText> {
    let text = text.trim();
    if text.chars().all(shows_nothing) {
        return Err(InvalidText::Empty);
    }
    if text.chars().any(|c| c.is_control() || is_line_separator(c) || imposes_direction(c)) {
        return Err(InvalidText::Control);
    }
    if text.chars().count() > limit {
        return Err(InvalidText::TooLong { limit, unit: "characters" });
    }
    Ok(text.to_owned())
}

fn lines(text: &str, limit: usize) -> Result<String, InvalidText> {
    let text = with_line_feeds(text);
    if text.len() > limit {
        return Err(InvalidText::TooLong { limit, unit: "bytes" });
    }
    if text.chars().any(is_no_part_of_lines) {
        return Err(InvalidText::Control);
    }
    if text.chars().all(shows_nothing) {
        return Err(InvalidText::Empty);
    }
    Ok(text)
}

fn lines_or_nothing(text: &str, limit: usize) -> Result<String, InvalidText> {
    let text = with_line_feeds(text.trim());
    if text.chars().any(is_no_part_of_lines) {
        return Err(InvalidText::Control);
    }
    if text.chars().all(shows_nothing) {
        return Ok(String::new());
    }
    if text.chars().count() > limit {
        return Err(InvalidText::TooLong { limit, unit: "characters" });
    }
    Ok(text)
}

fn with_line_feeds(text: &str) -> String {
    text.replace("\r\n", "\n").replace(|c| c == '\r' || is_line_separator(c), "\n")
}

/// Control characters other than what sets lines apart and indents them.
fn is_no_part_of_lines(c: char) -> bool {
    c.is_control() && c != '\n' && c != '\t'
}

/// Unicode's own line and paragraph separators, which browsers and editors break lines at.
fn is_line_separator(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}')
}

/// Embeddings, overrides and isolates: they reach beyond the text that they stand in.
fn imposes_direction(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// White space, and what Unicode calls ignorable by default, and the blanks that it counts as letters or symbols.
fn shows_nothing(c: char) -> bool {
    c.is_whitespace()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}
