//! What becomes a post, rule by rule. All people and hosts are made up.

use serde_json::json;

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);
const ACTOR: &str = "https://social.example/users/ana";

fn owner() -> UserId {
    UserId::from_parts(Timestamp::from_millis(1_700_000_000_000), [7; 10])
}

fn note() -> Value {
    json!({
        "id": format!("{ACTOR}/statuses/1"),
        "type": "Note",
        "summary": null,
        "inReplyTo": null,
        "published": "2024-05-06T07:08:09Z",
        "attributedTo": ACTOR,
        "to": ["https://www.w3.org/ns/activitystreams#Public"],
        "cc": [format!("{ACTOR}/followers")],
        "content": "<p>Good <em>morning</em></p>",
    })
}

fn with(mut note: Value, key: &str, value: Value) -> Value {
    note[key] = value;
    note
}

fn create(note: Value) -> Value {
    json!({ "id": "https://social.example/a/1", "type": "Create", "actor": ACTOR, "object": note })
}

fn read(activity: &Value) -> Result<ImportedPost, Skipped> {
    let raw = serde_json::value::to_raw_value(activity).expect("serialises");
    Reader::new(owner(), NOW).read(&raw)
}

fn markdown(html: &str) -> String {
    read(&create(with(note(), "content", json!(html)))).expect("a post").text.markdown.as_str().to_owned()
}

#[test]
fn a_public_note_becomes_a_post_of_its_own_time() {
    let post = read(&create(note())).expect("a post");
    assert_eq!(post.id.timestamp().to_string(), "2024-05-06T07:08:09.000Z");
    assert_eq!(post.text.markdown.as_str(), "Good *morning*");
    assert_eq!(post.text.title, None);
}

#[test]
fn the_millisecond_is_kept() {
    let post = read(&create(with(note(), "published", json!("2024-05-06T09:08:09.123+02:00")))).expect("a post");
    assert_eq!(post.id.timestamp().to_string(), "2024-05-06T07:08:09.123Z");
}

#[test]
fn the_same_note_has_the_same_id_and_another_owner_another() {
    let raw = serde_json::value::to_raw_value(&create(note())).expect("serialises");
    let mine = Reader::new(owner(), NOW).read(&raw).expect("a post").id;
    assert_eq!(mine, Reader::new(owner(), NOW.plus_millis(5)).read(&raw).expect("a post").id);
    let other = UserId::from_parts(NOW, [8; 10]);
    assert_ne!(mine, Reader::new(other, NOW).read(&raw).expect("a post").id);
    let second = read(&create(with(note(), "id", json!("https://social.example/2")))).expect("a post").id;
    assert_ne!(mine, second, "written in the same millisecond");
}

#[test]
fn unlisted_counts_as_public_in_every_spelling() {
    for public in PUBLIC {
        let unlisted = with(with(note(), "to", json!([format!("{ACTOR}/followers")])), "cc", json!(public));
        assert!(read(&create(unlisted)).is_ok(), "{public}");
    }
}

#[test]
fn what_is_for_some_is_left_out() {
    let followers = with(with(note(), "to", json!([format!("{ACTOR}/followers")])), "cc", json!([]));
    assert_eq!(read(&create(followers)), Err(Skipped::NotPublic));
    // The activity says public, the note does not: the narrower counts.
    let mut mixed = create(with(with(note(), "to", json!(["https://x.example/b"])), "cc", json!([])));
    mixed["to"] = json!(PUBLIC[0]);
    assert_eq!(read(&mixed), Err(Skipped::NotPublic));
    for nonsense in [json!(5), json!({"a": 1}), json!([[PUBLIC[0]]])] {
        assert_eq!(read(&create(with(with(note(), "to", nonsense), "cc", json!(null)))), Err(Skipped::NotPublic));
    }
}

#[test]
fn a_note_without_addressees_has_those_of_its_activity() {
    let mut activity = create(note());
    let bare = activity["object"].as_object_mut().expect("an object");
    bare.remove("to");
    bare.remove("cc");
    assert_eq!(read(&activity), Err(Skipped::NotPublic));
    activity["to"] = json!([PUBLIC[0]]);
    assert!(read(&activity).is_ok());
}

#[test]
fn boosts_and_other_activities_are_left_out() {
    let boost = json!({ "type": "Announce", "actor": ACTOR, "object": "https://other.example/1" });
    assert_eq!(read(&boost), Err(Skipped::Boost));
    assert_eq!(read(&json!({ "type": "Delete", "object": note() })), Err(Skipped::OtherActivity));
    assert_eq!(read(&create(with(note(), "type", json!("Question")))), Err(Skipped::OtherKind));
    assert_eq!(read(&create(json!("https://social.example/1"))), Err(Skipped::NotIncluded));
}

#[test]
fn threads_of_ones_own_are_kept_and_replies_to_others_are_not() {
    let thread = with(note(), "inReplyTo", json!(format!("{ACTOR}/statuses/0")));
    assert!(read(&create(thread)).is_ok());
    for other in ["https://other.example/users/ben/statuses/1", "https://social.example/users/anabel/statuses/1"] {
        assert_eq!(read(&create(with(note(), "inReplyTo", json!(other)))), Err(Skipped::Reply), "{other}");
    }
}

#[test]
fn notes_of_another_account_are_left_out() {
    let foreign = with(note(), "attributedTo", json!("https://other.example/users/ben"));
    assert_eq!(read(&create(foreign)), Err(Skipped::OtherAccount));
    let mut reader = Reader::new(owner(), NOW);
    let mut read = |activity: &Value| reader.read(&serde_json::value::to_raw_value(activity).expect("serialises"));
    assert!(read(&create(note())).is_ok());
    let ben = "https://other.example/users/ben";
    let mut second = create(with(note(), "attributedTo", json!(ben)));
    second["actor"] = json!(ben);
    assert_eq!(read(&second), Err(Skipped::OtherAccount), "one outbox, one account");
}

#[test]
fn a_content_warning_becomes_the_title() {
    let warned = with(note(), "summary", json!("  long\n walk \u{7} "));
    let post = read(&create(warned)).expect("a post");
    assert_eq!(post.text.title.expect("a title").as_str(), "long walk");
    let long = read(&create(with(note(), "summary", json!("ü".repeat(300))))).expect("a post");
    let title = long.text.title.expect("a title");
    assert_eq!(title.as_str().chars().count(), 200);
    assert!(title.as_str().ends_with('…'));
}

#[test]
fn html_becomes_markdown() {
    assert_eq!(markdown("<p>one</p><p>two<br />three</p>"), "one\n\ntwo\\\nthree");
    let link = r#"<p><a href="https://example.org/a/b"><span class="invisible">https://</span><span>example.org/a/b</span></a></p>"#;
    assert_eq!(markdown(link), "<https://example.org/a/b>");
    let mention = r#"<p>hi <a href="https://x.example/@ben" class="u-url mention">@<span>ben</span></a></p>"#;
    assert_eq!(markdown(mention), "hi [@ben](https://x.example/@ben)");
    assert_eq!(markdown("<ul><li>a</li><li>b</li></ul>"), "- a\n- b");
}

#[test]
fn scripts_leave_nothing_and_signs_stay_signs() {
    assert_eq!(markdown("<p>a<script>alert(1)</script><style>p{}</style>b</p>"), "ab");
    let literal = markdown("<p>&lt;script&gt; *stars* # no heading</p>");
    assert_eq!(literal, "\\<script> \\*stars\\* # no heading");
}

#[test]
fn posts_without_text_are_left_out() {
    for empty in [json!(""), json!("<p></p>"), json!(null), json!("<p><img src='x' alt=''></p>")] {
        assert_eq!(read(&create(with(note(), "content", empty.clone()))), Err(Skipped::Empty), "{empty}");
    }
}

#[test]
fn texts_that_are_not_allowed_are_named() {
    let long = read(&create(with(note(), "content", json!("x".repeat(70_000))))).expect_err("too long");
    assert!(long.to_string().contains("65536"), "{long}");
    let longer = read(&create(with(note(), "content", json!("x".repeat(2_000_000))))).expect_err("too long");
    assert!(matches!(longer, Skipped::InvalidText(_)));
    let control = read(&create(with(note(), "content", json!("a\u{1}b")))).expect_err("control characters");
    assert!(control.is_a_fault(), "{control}");
}

#[test]
fn times_that_cannot_be_are_left_out() {
    let at = |time: &str| read(&create(with(note(), "published", json!(time))));
    assert_eq!(at("1969-12-31T23:59:59Z"), Err(Skipped::ImpossibleTime));
    assert_eq!(at("2999-01-01T00:00:00Z"), Err(Skipped::ImpossibleTime));
    assert_eq!(at("yesterday"), Err(Skipped::NoTime));
    assert_eq!(read(&create(with(note(), "published", json!(1_700_000_000)))), Err(Skipped::NoTime));
}

#[test]
fn malformed_items_are_named_and_do_no_harm() {
    let malformed = [
        json!(null),
        json!(5),
        json!([create(note())]),
        json!({ "object": note() }),
        json!({ "type": ["Create"], "object": note() }),
        json!({ "type": "Create" }),
        json!({ "type": "Create", "object": [note()] }),
        create(json!({})),
        create(with(note(), "content", json!(["x"]))),
        json!({ "type": "Create", "object": with(note(), "attributedTo", json!(null)) }),
    ];
    for item in malformed {
        assert!(matches!(read(&item), Err(Skipped::Malformed(_))), "{item}");
    }
    assert_eq!(
        read(&json!({ "type": "Create", "actor": ACTOR, "object": with(note(), "id", json!(9)) })),
        Err(Skipped::NoId)
    );
}

#[test]
fn deep_and_wide_markup_is_survived() {
    let deep = format!("{}x{}", "<div>".repeat(4_000), "</div>".repeat(4_000));
    std::thread::Builder::new()
        .stack_size(crate::import::STACK)
        .spawn(move || {
            assert_eq!(markdown(&deep), "x");
            assert!(markdown(&format!("{}x", "<blockquote>".repeat(300))).ends_with('x'));
        })
        .expect("starts")
        .join()
        .expect("survives");
    let wide = "<b>".repeat(TAGS + 1);
    assert_eq!(read(&create(with(note(), "content", json!(wide)))), Err(Skipped::TooMuchMarkup));
}

#[test]
fn json_nested_without_end_is_malformed() {
    let raw = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
    let raw = RawValue::from_string(raw).expect("valid JSON");
    assert!(matches!(Reader::new(owner(), NOW).read(&raw), Err(Skipped::Malformed(_))));
}
