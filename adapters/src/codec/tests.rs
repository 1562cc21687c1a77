//! E2: personal data reaches the log sealed only; and a box opens for nobody and nowhere else.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use domain::comment::{self, Added};
use domain::post::{self, Published, Text, Visibility};
use domain::reaction::{self, Subject};
use domain::text::{CommentText, DisplayName, Markdown, Title, Username};
use domain::user::{self, Names, Registered};
use domain::{CommentId, CorrelationId, EventId, PostId, Sealed, Timestamp, UserId};
use futures::FutureExt as _;
use futures::future::join_all;
use tempfile::TempDir;

use super::*;
use crate::content::SqliteContent;
use crate::sqlite::{Database, Durability, TRUTH};

fn author() -> UserId {
    UserId::from_bytes(id(250))
}

/// What is changed, and how.
type Change<T> = (&'static str, fn(&mut T));

/// What all texts hold.
const WORD: &str = "Wombat";

struct Fixture {
    directory: TempDir,
    db: Arc<Database>,
    content: Arc<dyn Content>,
    codec: Codec,
}

fn secrets(directory: &TempDir, name: &str) -> Secrets {
    Secrets::load_or_create(&directory.path().join(name)).unwrap()
}

fn fixture() -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::open(&directory.path().join("truth.db"), &TRUTH, Durability::Process).unwrap();
    let content: Arc<dyn Content> = Arc::new(SqliteContent::open(db.clone(), None).unwrap());
    let codec = Codec::new(content.clone(), &secrets(&directory, "secrets.toml"));
    Fixture { directory, db, content, codec }
}

impl Fixture {
    /// One that has unwrapped no key yet.
    fn fresh_codec(&self) -> Codec {
        Codec::new(self.content.clone(), &secrets(&self.directory, "secrets.toml"))
    }

    async fn change_keys(&self, sql: &'static str) {
        self.db.write(|connection| Ok(connection.execute_batch(sql)?)).await.unwrap();
    }
}

fn id(number: u8) -> [u8; 16] {
    *UserId::from_parts(Timestamp::from_millis(1_700_000_000_000), [number; 10]).as_bytes()
}

fn envelope(event: Event) -> Envelope {
    Envelope {
        id: EventId::from_bytes(id(1)),
        time: Timestamp::from_millis(1_700_000_000_000),
        stream: event.stream(),
        sequence: 7,
        actor: author(),
        correlation: CorrelationId::from_bytes(id(2)),
        causation: None,
        event,
    }
}

fn text() -> Sealed<Text> {
    Sealed::Open(Text {
        title: Some(Title::parse(WORD).unwrap()),
        markdown: Markdown::parse(&format!("*{WORD}* – Grüße")).unwrap(),
    })
}

fn published(post: u8) -> Envelope {
    let post = PostId::from_bytes(id(post));
    let (visibility, imported) = (Visibility::Public, false);
    envelope(Event::Post(post::Event::Published(Published {
        post,
        author: author(),
        visibility,
        imported,
        text: text(),
    })))
}

fn edited(post: u8) -> Envelope {
    let post = PostId::from_bytes(id(post));
    envelope(Event::Post(post::Event::Edited(post::Edited { post, author: author(), text: text() })))
}

/// One event of every type that holds what people wrote.
fn all_with_text() -> Vec<Envelope> {
    let (post, comment) = (PostId::from_bytes(id(3)), CommentId::from_bytes(id(4)));
    let said = || Sealed::Open(CommentText::parse(&format!("{WORD}!")).unwrap());
    let names = Names { username: Username::parse(WORD).unwrap(), display_name: DisplayName::parse(WORD).unwrap() };
    let added = Added { comment, post, author: author(), parent: None, text: said() };
    vec![
        published(3),
        edited(3),
        envelope(Event::Comment(comment::Event::Added(added))),
        envelope(Event::Comment(comment::Event::Edited(comment::Edited {
            comment,
            post,
            author: author(),
            text: said(),
        }))),
        envelope(Event::User(user::Event::Registered(Registered { user: author(), names: Sealed::Open(names) }))),
    ]
}

fn sealed_box(envelope: &mut Envelope) -> SealedBox {
    let (_, part) = envelope.event.sealed_part().unwrap();
    part.sealed().unwrap().clone()
}

fn put_box(envelope: &mut Envelope, sealed: SealedBox) {
    let (_, part) = envelope.event.sealed_part().unwrap();
    part.close(sealed);
}

async fn sealed(codec: &Codec, envelope: Envelope) -> Envelope {
    codec.parse(&codec.seal(envelope).await.unwrap()).unwrap()
}

#[track_caller]
fn assert_permanent(answer: Result<(), OpenError>, why: &str) {
    match answer {
        Err(OpenError::Permanent(said)) => assert!(!said.contains(WORD), "{said}"),
        answer => panic!("{why}: {answer:?}"),
    }
}

#[tokio::test]
async fn what_people_wrote_is_sealed_and_comes_back() {
    let fixture = fixture();
    for open in all_with_text() {
        assert!(open.event.data().is_err(), "an open part must not be serialised");
        assert!(serde_json::to_string(&open).is_err());
        assert!(!format!("{open:?}").contains(WORD));

        let record = fixture.codec.seal(open.clone()).await.unwrap();
        let visible = format!("{record:?}").to_lowercase();
        assert!(!visible.contains(&WORD.to_lowercase()), "{visible}");
        assert!(!visible.contains(BASE64_STANDARD.encode(WORD).trim_end_matches('=')));
        assert_eq!((record.topic, &record.lane), (open.event.topic(), &open.event.lane()));

        let mut read = fixture.codec.parse(&record).unwrap();
        assert_ne!(read, open, "it is closed until it is opened");
        fixture.fresh_codec().open(&mut read).await.unwrap();
        assert_eq!(read, open);
        // What is open already is left as it is, and so is what was never closed.
        fixture.codec.open(&mut read).await.unwrap();
        assert_eq!(read, open);
    }
    let twice = [fixture.codec.seal(published(3)).await.unwrap(), fixture.codec.seal(published(3)).await.unwrap()];
    assert_ne!(twice[0].data, twice[1].data, "equal texts must not look equal");
}

#[tokio::test]
async fn an_event_without_text_passes_as_it_is() {
    let fixture = fixture();
    let subject = Subject { post: PostId::from_bytes(id(3)), user: author() };
    let mut liked = envelope(Event::Reaction(reaction::Event::Liked(subject)));
    liked.causation = Some(EventId::from_bytes(id(9)));
    let record = fixture.codec.seal(liked.clone()).await.unwrap();
    let mut read = fixture.codec.parse(&record).unwrap();
    fixture.codec.open(&mut read).await.unwrap();
    assert_eq!(read, liked);
    assert_eq!(fixture.content.key(author()).await.unwrap(), None, "nobody needed a key");

    // What is sealed is not sealed again.
    let closed = sealed(&fixture.codec, published(3)).await;
    assert_eq!(sealed(&fixture.codec, closed.clone()).await, closed);
}

#[tokio::test]
async fn a_box_that_was_touched_stays_closed() {
    let fixture = fixture();
    let mut closed = sealed(&fixture.codec, published(3)).await;
    let good = sealed_box(&mut closed);
    for index in 0..good.bytes.len() {
        let mut touched = good.clone();
        touched.bytes[index] ^= 1;
        put_box(&mut closed, touched);
        assert_permanent(fixture.codec.open(&mut closed).await, &format!("byte {index}"));

        let shorter = SealedBox { bytes: good.bytes[..index].to_vec(), ..good.clone() };
        put_box(&mut closed, shorter.clone());
        assert_permanent(fixture.codec.open(&mut closed).await, &format!("{index} bytes"));
        assert_eq!(sealed_box(&mut closed), shorter, "the event stays as it was");
    }
    // Whose key it is closed with is a part of it.
    put_box(&mut closed, SealedBox { key: UserId::from_bytes(id(5)), ..good.clone() });
    assert_permanent(fixture.codec.open(&mut closed).await, "another's name on it");
    put_box(&mut closed, good);
    fixture.codec.open(&mut closed).await.unwrap();
}

#[tokio::test]
async fn a_box_opens_under_its_own_attributes_only() {
    let fixture = fixture();
    let closed = sealed(&fixture.codec, published(3)).await;
    let changes: [Change<Envelope>; 7] = [
        ("id", |it| it.id = EventId::from_bytes(id(8))),
        ("time", |it| it.time = it.time.plus_millis(1)),
        ("stream", |it| it.stream = StreamId::Post(PostId::from_bytes(id(8)))),
        ("sequence", |it| it.sequence += 1),
        ("actor", |it| it.actor = UserId::from_bytes(id(8))),
        ("correlation", |it| it.correlation = CorrelationId::from_bytes(id(8))),
        ("causation", |it| it.causation = Some(EventId::from_bytes(id(8)))),
    ];
    for (attribute, change) in changes {
        let mut changed = closed.clone();
        change(&mut changed);
        assert_permanent(fixture.codec.open(&mut changed).await, attribute);
    }
    // Into another event of the same person: of another post, and of another type with the same attributes.
    let moved = sealed_box(&mut closed.clone());
    for target in [published(4), edited(3)] {
        let mut target = sealed(&fixture.codec, target).await;
        put_box(&mut target, moved.clone());
        assert_permanent(fixture.codec.open(&mut target).await, "moved");
    }
}

#[tokio::test]
async fn only_a_tombstone_means_erased() {
    let fixture = fixture();
    let closed = sealed(&fixture.codec, published(3)).await;
    fixture.change_keys("UPDATE person_keys SET wrapped = NULL").await;
    let fresh = fixture.fresh_codec();
    let answer = fresh.open(&mut closed.clone()).await;
    assert!(matches!(answer, Err(OpenError::Erased)), "{answer:?}");
    let answer = fresh.seal(published(4)).await;
    assert!(matches!(answer, Err(StoreError::Overtaken(_))), "{answer:?}");

    fixture.change_keys("DELETE FROM person_keys").await;
    assert_permanent(fixture.fresh_codec().open(&mut closed.clone()).await, "no key and no tombstone");
    assert_eq!(fixture.content.key(author()).await.unwrap(), None, "opening makes no key");
}

#[tokio::test]
async fn a_key_is_bound_to_its_person_and_to_the_server() {
    let fixture = fixture();
    let closed = sealed(&fixture.codec, published(3)).await;

    let other_server = Codec::new(fixture.content.clone(), &secrets(&fixture.directory, "other.toml"));
    assert_permanent(other_server.open(&mut closed.clone()).await, "another server's wrapping key");
    let answer = other_server.seal(published(4)).await;
    assert!(matches!(answer, Err(StoreError::Damaged(_))), "{answer:?}");

    // Somebody else's box in an event of the author, whoever's key it names.
    let mut other = published(3);
    if let Event::Post(post::Event::Published(published)) = &mut other.event {
        published.author = UserId::from_bytes(id(5));
    }
    let other_box = sealed_box(&mut sealed(&fixture.codec, other).await);
    for key in [author(), UserId::from_bytes(id(5))] {
        let mut closed = closed.clone();
        put_box(&mut closed, SealedBox { key, ..other_box.clone() });
        assert_permanent(fixture.codec.open(&mut closed).await, "another's box");
    }

    let swap = "UPDATE person_keys SET wrapped = (SELECT wrapped FROM person_keys ORDER BY person LIMIT 1)";
    fixture.change_keys(swap).await;
    assert_permanent(fixture.fresh_codec().open(&mut closed.clone()).await, "another's wrapped key");
}

#[tokio::test]
async fn of_many_first_uses_of_a_key_all_seal_with_one() {
    let fixture = fixture();
    // Until all have looked for a key and found none, none is stored.
    let (go_on, told) = std::sync::mpsc::channel::<()>();
    let held_up = fixture.db.write(move |_| {
        let _ = told.recv();
        Ok(())
    });
    assert!(held_up.now_or_never().is_none());
    let codecs: Vec<_> = (0..30).map(|_| fixture.fresh_codec()).collect();
    let mut all = Box::pin(join_all((10..).zip(&codecs).map(|(number, codec)| codec.seal(published(number)))));
    assert!(futures::poll!(&mut all).is_pending());
    drop(go_on);

    let fresh = fixture.fresh_codec();
    for (number, record) in (10..).zip(all.await) {
        let mut read = fresh.parse(&record.unwrap()).unwrap();
        fresh.open(&mut read).await.unwrap();
        assert_eq!(read, published(number));
    }
}

#[tokio::test]
async fn a_record_that_is_not_what_it_says_is_unreadable() {
    let fixture = fixture();
    let good = fixture.codec.seal(published(3)).await.unwrap();
    let changes: [Change<Record>; 9] = [
        ("unknown event type post.levitated", |it| it.attributes.schema.kind = "post.levitated".to_owned()),
        ("unknown event type", |it| it.attributes.schema.version = 2),
        ("malformed data", |it| it.data = "{".to_owned()),
        ("malformed data", |it| it.attributes.schema.kind = "post.deleted".to_owned()),
        ("malformed stream id", |it| it.attributes.subject = "post-office".to_owned()),
        ("malformed subject", |it| it.attributes.subject = StreamId::Post(PostId::from_bytes(id(8))).to_string()),
        ("malformed sequence", |it| it.attributes.sequence = 0),
        ("malformed lane", |it| it.topic = domain::Topic::Users),
        ("malformed lane", |it| it.lane = domain::Lane::new("another")),
    ];
    for (wrong, change) in changes {
        let mut record = good.clone();
        change(&mut record);
        let said = fixture.codec.parse(&record).unwrap_err().to_string();
        assert!(said.contains(wrong), "{said}");
    }
    let mut astray = published(3);
    astray.stream = StreamId::Post(PostId::from_bytes(id(8)));
    assert!(fixture.codec.seal(astray).await.is_err(), "nor is such a record made");
}

#[tokio::test]
async fn a_store_that_is_away_is_waited_for() {
    assert!(matches!(OpenError::from(StoreError::Unavailable("away".to_owned())), OpenError::Unavailable(_)));
    assert!(matches!(OpenError::from(StoreError::Damaged("torn".to_owned())), OpenError::Permanent(_)));
    let fixture = fixture();
    assert_eq!(format!("{:?}", fixture.codec), "Codec(…)");
}

/// What was ever sealed must open for ever. If this fails, the stored form has changed: it needs another layout number,
/// and this one must stay readable.
#[tokio::test]
async fn the_first_layout_is_readable() {
    let fixture = fixture();
    let key = BASE64_STANDARD.encode([b'k'; 32]);
    let path = fixture.directory.path().join("golden.toml");
    let text =
        format!("wrapping_key = \"{key}\"\ndigest_key = \"{key}\"\n[[signing_keys]]\nid = \"1\"\nkey = \"{key}\"\n");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let golden = Codec::new(fixture.content.clone(), &Secrets::load_or_create(&path).unwrap());
    let wrapped =
        "Abu0FiJ7flCU+Bpk6mPlypZruXuddVD3YmtXbv18QkFeJ3WyFaonYp7++JCNsOW/X5mvSqMs/TzrCB4hKBZ63R2rz1W9HakT7A==";
    let sealed_text = "AfK1cWsh7B+o5ZPJg8FCOHO0MKK8DE2aa1og+67XL2zwlIGwglnEi2SWr3HNQ/YIAg41OeC5ySmTGPQ5Irzz5Pkzqy+E8Ml5MKi7\
        jmYFEMyYxPJ4HHrZ0JOSTizV";
    fixture.content.create_key(author(), BASE64_STANDARD.decode(wrapped).unwrap()).await.unwrap();
    let mut read = published(3);
    put_box(&mut read, SealedBox { key: author(), bytes: BASE64_STANDARD.decode(sealed_text).unwrap() });
    golden.open(&mut read).await.unwrap();
    assert_eq!(read, published(3));
}
