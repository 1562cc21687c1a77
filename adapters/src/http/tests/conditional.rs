//! When a client that has something already is sent it again.

use axum::response::IntoResponse as _;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::http::conditional::{has_already, unless_known};

fn naming(tags: &[&'static str]) -> HeaderMap {
    tags.iter().map(|tag| (header::IF_NONE_MATCH, HeaderValue::from_static(tag))).collect()
}

#[test]
fn any_of_several_tags_in_any_form_will_do() {
    for tags in [&["\"a\""] as &[_], &["W/\"a\""], &["*"], &["\"b\", \"a\""], &["\"b\"", "W/\"c\" , W/\"a\""]] {
        assert!(has_already(&naming(tags), "\"a\""), "{tags:?}");
    }
    for tags in [&[] as &[_], &["\"b\""], &["a"], &["\"a"], &["w/\"a\""], &[""]] {
        assert!(!has_already(&naming(tags), "\"a\""), "{tags:?}");
    }
}

#[test]
fn what_is_known_is_not_sent_but_its_tag_and_its_life_are() {
    let etag = HeaderValue::from_static("\"a\"");
    let answer = || ([(header::CACHE_CONTROL, "no-cache"), (header::CONTENT_TYPE, "text/css")], "text");
    let sent = unless_known(&naming(&["\"b\""]), &etag, answer());
    assert_eq!((sent.status(), sent.headers().get(header::ETAG)), (StatusCode::OK, Some(&etag)));
    let unchanged = unless_known(&naming(&["\"a\""]), &etag, answer());
    assert_eq!((unchanged.status(), unchanged.headers().get(header::ETAG)), (StatusCode::NOT_MODIFIED, Some(&etag)));
    assert_eq!(unchanged.headers()[header::CACHE_CONTROL], "no-cache");
    assert!(!unchanged.headers().contains_key(header::CONTENT_TYPE));
}

#[test]
fn only_a_success_can_be_known() {
    let refused =
        unless_known(&naming(&["*"]), &HeaderValue::from_static("\"a\""), StatusCode::NOT_FOUND.into_response());
    assert_eq!(refused.status(), StatusCode::NOT_FOUND);
}
