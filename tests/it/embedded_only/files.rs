//! The files themselves: those that are refused, and those that are made again.

use harness::{Person, Server, Tokens, TruthFiles, get_current, walk};
use serde_json::Value;

#[tokio::test]
async fn files_of_a_newer_version_or_another_program_are_refused_unharmed() {
    for change in ["PRAGMA user_version = 99", "PRAGMA application_id = 1"] {
        for pick in [|files: &TruthFiles| files.content.clone(), |files: &TruthFiles| files.read_models.clone()] {
            let mut server = Server::start().await;
            assert!(server.terminate().await.success());
            let path = pick(&server.files());
            TruthFiles::changing(&path).execute_batch(change).expect(change);
            let before = std::fs::read(&path).expect("a file");
            let refused = server.run(&["serve", "--listen", "127.0.0.1:0"]).await;
            assert_ne!(refused.code, Some(0), "{change}");
            let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
            assert!(refused.text.contains(&name), "it names the file: {}", refused.text);
            assert_eq!(std::fs::read(&path).expect("a file"), before, "{change}: the file is as it was");
        }
    }
}

/// The read models' file may be deleted: it is made again from the log.
#[tokio::test]
async fn read_models_that_are_deleted_are_made_again() {
    let mut server = Server::start().await;
    let [ada, ben, cleo] = server.people(["ada", "ben", "cleo"]).await;
    let mut tokens = Tokens::default();
    for reader in [&ben, &cleo] {
        reader.follow(&ada, &mut tokens).await;
    }
    cleo.unfollow(&ada, &mut tokens).await;
    ada.follow(&cleo, &mut tokens).await;
    let post = ada.publish("one", &mut tokens).await.id;
    ada.publish_to("followers", "two", &mut tokens).await;
    ben.comment(&post, "well", &mut tokens).await;
    assert_eq!(ben.feed(10, &tokens).await.len(), 2);
    assert!(server.terminate().await.success());
    for suffix in ["", "-wal", "-shm"] {
        let mut path = server.files().read_models.clone().into_os_string();
        path.push(suffix);
        let _ = std::fs::remove_file(path);
    }

    server.start_again().await;
    let ben = Person::log_in(&server.client(), "ben").await;
    let profile = get_current(&ben.client, &format!("/v1/users/{}", ada.id), &tokens).await.expect(200).json();
    assert_eq!(["followers", "following", "posts"].map(|number| profile[number].as_u64()), [1, 1, 2].map(Some));
    let followers = walk(&server.client(), &format!("/v1/users/{}/followers", ada.id), 10, &tokens).await;
    assert_eq!(followers.iter().map(|one| &one["id"]).collect::<Vec<_>>(), [&Value::from(ben.id.clone())]);
    assert_eq!(ben.feed(10, &tokens).await.len(), 2);
    server.verify().await;
}
