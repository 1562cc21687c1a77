//! One row damaged by hand in each store: `verify` names it.

use std::path::Path;

use harness::{Server, Tokens, TruthFiles};

/// What is damaged, in which file, and what `verify` must say of it.
struct Damage {
    what: &'static str,
    file: File,
    sql: String,
    named: Vec<String>,
}

#[derive(Clone, Copy)]
enum File {
    ReadModels,
    Content,
}

fn hex(id: &str) -> String {
    format!("x'{}'", id.replace('-', ""))
}

#[tokio::test]
async fn verify_names_each_damaged_row() {
    let mut server = Server::start().await;
    let [ada, ben, cleo] = server.people(["ada", "ben", "cleo"]).await;
    let mut tokens = Tokens::default();
    ben.follow(&ada, &mut tokens).await;
    cleo.follow(&ada, &mut tokens).await;
    cleo.block(&ben, &mut tokens).await;
    cleo.mute(&ada, &mut tokens).await;
    cleo.unmute(&ada, &mut tokens).await;
    let mut posts = Vec::new();
    for number in 0..4 {
        posts.push(ada.publish(&format!("number {number}"), &mut tokens).await.id);
    }
    let comment = ben.comment(&posts[0], "hello", &mut tokens).await;
    for post in &posts {
        ben.like(post, &mut tokens).await;
    }
    cleo.like(&posts[0], &mut tokens).await;
    cleo.unlike(&posts[0], &mut tokens).await;
    assert_eq!(ben.feed(20, &tokens).await.len(), 4);
    assert!(server.terminate().await.success());
    server.verify().await;

    let (ada_key, ben_key, cleo_key) = (hex(&ada.id), hex(&ben.id), hex(&cleo.id));
    let keys: Vec<String> = posts.iter().map(|post| hex(post)).collect();
    let read_model = |what, sql: String, named: &[&str]| Damage {
        what,
        file: File::ReadModels,
        sql,
        named: named.iter().map(|&name| name.to_owned()).collect(),
    };
    let content = |what, sql: String, named: &[&str]| Damage { file: File::Content, ..read_model(what, sql, named) };
    let damages = [
        read_model(
            "an author's post is missing",
            format!("DELETE FROM author_posts WHERE author = {ada_key} AND post = {}", keys[0]),
            &[&posts[0]],
        ),
        read_model(
            "an author's post is taken for deleted",
            format!("UPDATE author_posts SET deleted = 1 WHERE post = {}", keys[1]),
            &[&posts[1]],
        ),
        read_model(
            "a post is missing in a home",
            format!("DELETE FROM homes WHERE owner = {ben_key} AND post = {}", keys[1]),
            &[&ben.id, &posts[1]],
        ),
        read_model("a home is empty", format!("DELETE FROM homes WHERE owner = {cleo_key}"), &[&cleo.id]),
        read_model(
            "a follow is forgotten",
            format!("UPDATE edges SET following = 0 WHERE from_user = {ben_key} AND to_user = {ada_key}"),
            &[&ben.id, &ada.id],
        ),
        read_model(
            "a block is forgotten",
            format!("UPDATE edges SET blocking = 0 WHERE from_user = {cleo_key} AND to_user = {ben_key}"),
            &[&cleo.id, &ben.id],
        ),
        read_model(
            "a follow is invented",
            format!("INSERT INTO edges VALUES (1, {ada_key}, {ben_key}, 1, 0, 1, 0)"),
            &[&ada.id, &ben.id],
        ),
        read_model(
            "a mute that was lifted is back",
            format!("UPDATE edges SET muting = 1 WHERE from_user = {cleo_key} AND to_user = {ada_key}"),
            &[&cleo.id, &ada.id],
        ),
        read_model(
            "a follower is not counted",
            format!("UPDATE profiles SET followers = followers - 1 WHERE user = {ada_key}"),
            &[&ada.id],
        ),
        read_model("a profile is missing", format!("DELETE FROM profiles WHERE user = {cleo_key}"), &[&cleo.id]),
        read_model(
            "a profile says something else",
            format!("UPDATE profiles SET bio = 'other' WHERE user = {ben_key}"),
            &[&ben.id],
        ),
        read_model(
            "a follow is missing in the lists",
            format!("DELETE FROM follows WHERE from_user = {ben_key}"),
            &[&ben.id, &ada.id],
        ),
        read_model(
            "a version is missing",
            format!("DELETE FROM versions WHERE stream = 'post-{}'", posts[0]),
            &[&posts[0]],
        ),
        read_model(
            "a version says something else",
            format!("UPDATE versions SET text = 'hallo' WHERE stream = 'comment-{comment}'"),
            &[&comment],
        ),
        read_model(
            "likes are miscounted",
            format!("UPDATE posts SET likes = likes + 1 WHERE post = {}", keys[2]),
            &[&posts[2]],
        ),
        read_model(
            "comments are miscounted",
            format!("UPDATE posts SET comments = 0 WHERE post = {}", keys[0]),
            &[&posts[0]],
        ),
        read_model("a count is missing", format!("DELETE FROM posts WHERE post = {}", keys[2]), &[&posts[2]]),
        read_model("a comment says something else", "UPDATE comments SET text = 'hallo'".to_owned(), &[&comment]),
        read_model("a comment is gone", "UPDATE comments SET text = NULL".to_owned(), &[&comment]),
        read_model("a comment is missing", "DELETE FROM comments".to_owned(), &[&comment]),
        read_model(
            "a like is forgotten",
            format!("UPDATE reactions SET liked = 0 WHERE post = {} AND user = {ben_key}", keys[3]),
            &[&posts[3], &ben.id],
        ),
        read_model(
            "a like is invented",
            format!("INSERT INTO reactions VALUES (1, {}, {cleo_key}, 1, 1, 0)", keys[3]),
            &[&posts[3], &cleo.id],
        ),
        content(
            "a document says something else",
            "UPDATE documents SET state = replace(state, 'hello', 'hallo') WHERE state LIKE '%hello%'".to_owned(),
            &[&comment],
        ),
        content(
            "a document is missing",
            format!("DELETE FROM documents WHERE stream = x'02{}'", posts[3].replace('-', "")),
            &[&posts[3]],
        ),
        content(
            "a document is ahead of the log",
            format!("UPDATE documents SET sequence = sequence + 1 WHERE stream = x'02{}'", posts[2].replace('-', "")),
            &[&posts[2]],
        ),
    ];

    let files = server.files();
    let data = files.read_models.parent().expect("the data directory").to_owned();
    let whole = tempfile::tempdir().expect("a directory");
    copy(&data, whole.path());
    for damage in damages {
        copy(whole.path(), &data);
        let path = match damage.file {
            File::ReadModels => &files.read_models,
            File::Content => &files.content,
        };
        let file = TruthFiles::changing(path);
        file.execute_batch(&damage.sql).expect(damage.what);
        assert!(file.total_changes() > 0, "{}: nothing was damaged", damage.what);
        drop(file);
        let judged = server.run(&["verify"]).await;
        assert_eq!(judged.code, Some(1), "{}: {}", damage.what, judged.text);
        for name in &damage.named {
            assert!(judged.text.contains(name), "{}: {name} is not named:\n{}", damage.what, judged.text);
        }
    }
    copy(whole.path(), &data);
    server.verify().await;
}

/// Makes `to` hold the files of `from` and no others.
fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(to).expect("a directory") {
        std::fs::remove_file(entry.expect("an entry").path()).expect("it goes");
    }
    for entry in std::fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("it is copied");
    }
}
