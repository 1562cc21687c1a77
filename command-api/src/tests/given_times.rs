//! Commands without HTTP, with ids and times that are given: an import writes what was, and a second run adds nothing.

use adapters::content::Preview;
use domain::post::{Text, Visibility};
use domain::text::{CommentText, Markdown};
use domain::{CommentId, CorrelationId, PostId, Rejection, StreamId, Timestamp};

use super::world::World;
use crate::commands::{Commands, NewComment, Publication};
use crate::write_path::{Origin, WriteError};

#[tokio::test]
async fn an_import_keeps_its_times_and_ids() {
    let world = World::together().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let commands = Commands::new(world.write_path.clone());
    let then = Timestamp::from_millis(1_500_000_000_000);
    let chance = || [9; 10];
    let correlation = CorrelationId::from_parts(then, [1; 10]);
    let by = |actor| Origin { actor, at: then, correlation, entropy: &chance };
    let post = PostId::from_parts(then, [5; 10]);
    let text = Text { title: None, markdown: Markdown::parse("from *before*").unwrap() };
    let publication = Publication { post, visibility: Visibility::Public, text, imported: true };
    let answered = commands.publish(&by(ada.id), publication.clone(), None).await.unwrap();
    assert_eq!(answered.stream, StreamId::Post(post));

    let imported =
        world.log().await.into_iter().find(|record| record.attributes.schema.kind == "post.published").unwrap();
    assert_eq!(imported.attributes.time, then);
    assert_eq!(imported.attributes.correlation, correlation);
    assert_eq!(imported.attributes.id, domain::EventId::from_parts(then, [9; 10]));
    assert!(imported.data.contains(r#""imported":true"#), "{}", imported.data);
    let stored = world.content.previews(&[post]).await.unwrap().remove(0).unwrap();
    let preview: Preview = serde_json::from_str(&stored.preview.unwrap()).unwrap();
    assert_eq!((preview.created_at, preview.text.as_str()), (then, "from before"));

    let before = world.everything().await;
    let again = commands.publish(&by(ada.id), publication, None).await.unwrap_err();
    assert!(matches!(again, WriteError::Rejected(Rejection::AlreadyExists("post"))), "{again}");
    assert_eq!(world.everything().await, before);

    commands.follow(&by(bob.id), ada.id).await.unwrap();
    commands.like(&by(bob.id), post).await.unwrap();
    let comment = CommentId::from_parts(then, [6; 10]);
    let new = NewComment { comment, post, parent: None, text: CommentText::parse("indeed").unwrap() };
    commands.comment(&by(bob.id), new, None).await.unwrap();
    let kinds = ["relation.followed", "reaction.liked", "comment.added"];
    for record in world.log().await.into_iter().filter(|r| kinds.contains(&r.attributes.schema.kind.as_str())) {
        assert_eq!((record.attributes.time, record.attributes.actor), (then, bob.id));
    }
}
