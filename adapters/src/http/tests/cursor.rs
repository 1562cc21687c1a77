//! Cursors: read back where they were given out, and nowhere else.

use proptest::prelude::*;

use crate::http::cursor::Cursors;
use crate::http::problem::Code;
use crate::secrets::Secrets;

fn secrets() -> (tempfile::TempDir, Secrets) {
    let directory = tempfile::tempdir().unwrap();
    let secrets = Secrets::load_or_create(&directory.path().join("secrets.toml")).unwrap();
    (directory, secrets)
}

#[test]
fn a_cursor_belongs_to_its_list() {
    let (_directory, secrets) = secrets();
    let cursors = Cursors::new(&secrets);
    let cursor = cursors.seal("home:ada", b"0123456789abcdef");
    assert_eq!(cursors.open("home:ada", &cursor), Ok(b"0123456789abcdef".to_vec()));
    // It outlasts the process.
    assert!(Cursors::new(&secrets).open("home:ada", &cursor).is_ok());
    for scope in ["home:bob", "posts:ada", "home:ad", "home:ada0", ""] {
        assert_eq!(cursors.open(scope, &cursor).unwrap_err().code, Code::InvalidCursor, "{scope}");
    }
}

#[test]
fn what_was_not_given_out_is_refused() {
    let (_directory, ours) = secrets();
    let (_other_directory, theirs) = secrets_of_others();
    let cursors = Cursors::new(&ours);
    let cursor = cursors.seal("home:ada", &[7; 16]);
    let of_others = Cursors::new(&theirs).seal("home:ada", &[7; 16]);
    let long = "A".repeat(10_000);
    for made_up in ["", "x", "AAAA", "0", "%00", "🦀", long.as_str(), of_others.as_str(), &format!("{cursor}=")] {
        assert_eq!(cursors.open("home:ada", made_up).unwrap_err().code, Code::InvalidCursor, "{made_up:.20}");
    }
    for index in 0..cursor.len() {
        let mut changed = cursor.clone().into_bytes();
        changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert!(cursors.open("home:ada", &changed).is_err(), "character {index}");
    }
}

fn secrets_of_others() -> (tempfile::TempDir, Secrets) {
    secrets()
}

proptest! {
    #[test]
    fn bytes_cannot_move_between_scope_and_value(
        scope in "[a-c]{0,4}",
        value in prop::collection::vec(b'a'..b'd', 0..5),
    ) {
        let (_directory, secrets) = secrets();
        let cursors = Cursors::new(&secrets);
        let cursor = cursors.seal(&scope, &value);
        prop_assert_eq!(cursors.open(&scope, &cursor), Ok(value.clone()));
        let longer = format!("{scope}a");
        prop_assert!(cursors.open(&longer, &cursor).is_err());
        prop_assert_ne!(cursors.seal(&longer, &value), cursors.seal(&scope, &[b"a", &value[..]].concat()));
    }
}
