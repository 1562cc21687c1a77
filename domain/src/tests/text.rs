//! What people may write, and what is made of it.

use proptest::prelude::*;

use super::strategies::raw_text;
use crate::text::{Bio, CommentText, DisplayName, InvalidText, Markdown, Title, Username};

#[test]
fn user_names_are_lowered() {
    assert_eq!(Username::parse("Ada_99").expect("valid").as_str(), "ada_99");
    assert_eq!(Username::parse(&"a".repeat(30)).expect("valid").as_str(), "a".repeat(30));
}

#[test]
fn user_names_are_of_few_letters() {
    for wrong in
        ["ada lovelace", " ada", "9lives", "_ada", "ada-l", "ada.l", "адам", "adá", "ada\u{200d}", "K\u{130}NG"]
    {
        assert_eq!(Username::parse(wrong), Err(InvalidText::Username), "{wrong:?}");
    }
    for short in ["", "a", "ab"] {
        assert_eq!(Username::parse(short), Err(InvalidText::TooShort { limit: 3 }));
    }
    assert_eq!(Username::parse(&"a".repeat(31)), Err(InvalidText::TooLong { limit: 30, unit: "characters" }));
}

#[test]
fn one_line_texts_are_trimmed() {
    assert_eq!(DisplayName::parse("  Ada L.\u{3000}\n").expect("valid").as_str(), "Ada L.");
    assert_eq!(Title::parse("\tOn engines ").expect("valid").as_str(), "On engines");
}

#[test]
fn limits_of_one_line_texts_count_characters() {
    assert!(DisplayName::parse(&"é".repeat(50)).is_ok());
    assert_eq!(DisplayName::parse(&"é".repeat(51)), Err(InvalidText::TooLong { limit: 50, unit: "characters" }));
    assert!(Title::parse(&"é".repeat(200)).is_ok());
    assert_eq!(Title::parse(&"é".repeat(201)), Err(InvalidText::TooLong { limit: 200, unit: "characters" }));
}

#[test]
fn limits_of_texts_count_bytes_as_stored() {
    assert!(Markdown::parse(&"é".repeat(32 * 1024)).is_ok());
    assert_eq!(Markdown::parse(&"é".repeat(32 * 1024 + 1)), Err(InvalidText::TooLong { limit: 65_536, unit: "bytes" }));
    assert!(CommentText::parse(&"a".repeat(8 * 1024)).is_ok());
    assert_eq!(CommentText::parse(&"a".repeat(8 * 1024 + 1)), Err(InvalidText::TooLong { limit: 8192, unit: "bytes" }));
    // Line ends of two bytes are kept as one, and count as one.
    assert!(CommentText::parse(&"a\r\n".repeat(4 * 1024)).is_ok());
}

#[test]
fn what_shows_nothing_is_empty() {
    for nothing in ["", " ", "\n\n\t", "\u{3000}", "\u{200b}", "\u{feff} \u{200d}", "\u{2800}", "\u{3164}", "\u{ad}"] {
        assert_eq!(DisplayName::parse(nothing), Err(InvalidText::Empty), "{nothing:?}");
        assert_eq!(Title::parse(nothing), Err(InvalidText::Empty), "{nothing:?}");
        assert_eq!(Markdown::parse(nothing), Err(InvalidText::Empty), "{nothing:?}");
        assert_eq!(CommentText::parse(nothing), Err(InvalidText::Empty), "{nothing:?}");
    }
    assert_eq!(DisplayName::parse("\u{202e}"), Err(InvalidText::Empty));
}

#[test]
fn line_ends_of_every_kind_become_line_feeds() {
    let written = "one\r\ntwo\rthree\nfour\u{2028}five\u{2029}six\r\r\nseven";
    let kept = "one\ntwo\nthree\nfour\nfive\nsix\n\nseven";
    assert_eq!(Markdown::parse(written).expect("valid").as_str(), kept);
    assert_eq!(CommentText::parse(written).expect("valid").as_str(), kept);
}

#[test]
fn texts_keep_indentation_and_trailing_space() {
    assert_eq!(Markdown::parse("    code\n\n- a\n\t- b  \n").expect("valid").as_str(), "    code\n\n- a\n\t- b  \n");
}

#[test]
fn control_characters_are_refused() {
    for control in ["\0", "\u{7}", "\u{8}", "\u{b}", "\u{1b}", "\u{7f}", "\u{85}", "\u{9b}"] {
        let text = format!("a{control}b");
        assert_eq!(DisplayName::parse(&text), Err(InvalidText::Control), "{control:?}");
        assert_eq!(Title::parse(&text), Err(InvalidText::Control), "{control:?}");
        assert_eq!(Markdown::parse(&text), Err(InvalidText::Control), "{control:?}");
        assert_eq!(CommentText::parse(&text), Err(InvalidText::Control), "{control:?}");
    }
}

#[test]
fn one_line_texts_stay_on_their_line() {
    for break_ in ["\n", "\r\n", "\r", "\t", "\u{2028}", "\u{2029}"] {
        let text = format!("a{break_}b");
        assert_eq!(DisplayName::parse(&text), Err(InvalidText::Control), "{break_:?}");
        assert_eq!(Title::parse(&text), Err(InvalidText::Control), "{break_:?}");
    }
}

#[test]
fn names_and_titles_do_not_reorder_their_surroundings_and_texts_may() {
    for direction in ["\u{202a}", "\u{202b}", "\u{202c}", "\u{202d}", "\u{202e}", "\u{2066}", "\u{2067}", "\u{2069}"] {
        let text = format!("a{direction}b");
        assert_eq!(DisplayName::parse(&text), Err(InvalidText::Control), "{direction:?}");
        assert_eq!(Title::parse(&text), Err(InvalidText::Control), "{direction:?}");
        assert_eq!(Markdown::parse(&text).expect("valid").as_str(), text);
        assert_eq!(CommentText::parse(&text).expect("valid").as_str(), text);
    }
}

#[test]
fn joiners_and_marks_of_direction_are_part_of_writing() {
    for text in ["می\u{200c}خواهم", "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}", "א\u{200f}!", "ع\u{61c}1"] {
        assert_eq!(DisplayName::parse(text).expect("valid").as_str(), text);
        assert_eq!(Markdown::parse(text).expect("valid").as_str(), text);
    }
}

#[test]
fn what_is_said_of_a_bad_text_shows_nothing_of_it() {
    let error = serde_json::from_str::<Title>("\"secret\\u0000\"").expect_err("invalid").to_string();
    assert!(!error.contains("secret"), "{error}");
}

#[test]
fn a_bio_may_be_empty_and_is_where_nothing_of_it_shows() {
    for nothing in ["", " ", "\r\n\t", "\u{3000}", "\u{200b}", "\u{feff} \u{200d}", "\u{2800}"] {
        assert!(Bio::parse(nothing).expect("valid").is_empty(), "{nothing:?}");
    }
    assert_eq!(Bio::default(), Bio::parse("").expect("valid"));
}

#[test]
fn a_bio_has_several_lines_and_five_hundred_characters_at_most() {
    assert_eq!(Bio::parse("\n  one\r\ntwo\u{2028}\tthree \n").expect("valid").as_str(), "one\ntwo\n\tthree");
    assert!(Bio::parse(&"é".repeat(500)).is_ok());
    assert_eq!(Bio::parse(&"é".repeat(501)), Err(InvalidText::TooLong { limit: 500, unit: "characters" }));
    // Line ends of two characters are kept as one, and count as one.
    assert!(Bio::parse(&"a\r\n".repeat(250)).is_ok());
    for control in ["\0", "\u{7}", "\u{1b}", "\u{7f}", "\u{85}"] {
        assert_eq!(Bio::parse(&format!("a{control}b")), Err(InvalidText::Control), "{control:?}");
    }
}

proptest! {
    #[test]
    fn a_bio_that_is_accepted_is_accepted_again_unchanged(text in raw_text(), times in 1..200usize) {
        if let Ok(accepted) = Bio::parse(&text.repeat(times)) {
            prop_assert_eq!(Bio::parse(accepted.as_str()), Ok(accepted.clone()));
            let json = serde_json::to_string(&accepted).expect("serialises");
            prop_assert_eq!(serde_json::from_str::<Bio>(&json).expect("its own JSON"), accepted.clone());
            prop_assert!(accepted.as_str().chars().count() <= 500);
            prop_assert!(accepted.as_str().chars().all(|c| !c.is_control() || c == '\n' || c == '\t'));
        }
    }

    // E1: what was accepted is read back, unchanged, by the same checks.
    #[test]
    fn what_is_accepted_is_accepted_again_unchanged(text in raw_text()) {
        macro_rules! check {
            ($($name:ident),*) => {$(
                if let Ok(accepted) = $name::parse(&text) {
                    prop_assert_eq!($name::parse(accepted.as_str()), Ok(accepted.clone()));
                    let json = serde_json::to_string(&accepted).expect("serialises");
                    prop_assert_eq!(serde_json::from_str::<$name>(&json).expect("its own JSON"), accepted.clone());
                    prop_assert!(accepted.as_str().chars().all(|c| !c.is_control() || c == '\n' || c == '\t'));
                    let other_line_ends = ['\u{2028}', '\u{2029}', '\r'];
                    prop_assert!(!accepted.as_str().contains(other_line_ends));
                    prop_assert!(!accepted.as_str().trim().is_empty());
                }
            )*};
        }
        check!(Username, DisplayName, Title, Markdown, CommentText);
    }

    #[test]
    fn the_limits_hold_for_whatever_is_accepted(text in raw_text(), times in 1..2_000usize) {
        let text = text.repeat(times);
        if let Ok(name) = DisplayName::parse(&text) { prop_assert!((1..=50).contains(&name.as_str().chars().count())); }
        if let Ok(title) = Title::parse(&text) { prop_assert!((1..=200).contains(&title.as_str().chars().count())); }
        if let Ok(comment) = CommentText::parse(&text) { prop_assert!((1..=8192).contains(&comment.as_str().len())); }
        if let Ok(markdown) = Markdown::parse(&text) { prop_assert!((1..=65_536).contains(&markdown.as_str().len())); }
    }
}
