//! The server that is measured, with a community in it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use adapters::http::tokens::AccessTokens;
use adapters::secrets::Secrets;
use domain::{SessionId, Timestamp, UserId};
use harness::{Client, Server, Setup, Stores};

use crate::Scale;

/// A server with a seeded community.
pub(crate) struct Town {
    pub(crate) server: Server,
    /// The people, by id.
    pub(crate) people: Vec<UserId>,
    /// Posts that everybody may see, by id.
    pub(crate) posts: Vec<String>,
    issuer: Issuer,
}

/// Makes access tokens as the server does.
#[derive(Clone)]
pub(crate) struct Issuer(Arc<AccessTokens>);

impl Issuer {
    /// With the keys in `secrets`, which the server has made.
    pub(crate) fn with(secrets: &Path) -> Self {
        let secrets = Secrets::load_or_create(secrets).expect("the server's keys");
        Self(Arc::new(AccessTokens::new(secrets.signing_keys().clone())))
    }

    /// An access token of somebody, good for a quarter of an hour.
    pub(crate) fn token(&self, user: UserId) -> String {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis();
        let now = Timestamp::from_millis(i64::try_from(now).expect("not that far in the future"));
        self.0.issue(user, SessionId::from_parts(now, rand::random()), now).expect("a token")
    }
}

impl Town {
    /// Seeds and starts it, and waits until all read models are made.
    pub(crate) async fn new(scale: Scale) -> Self {
        // Everything as it is by default.
        let setup = Setup { stores: Stores::Embedded, cheap_passwords: false, ..Setup::default() };
        let mut server = Server::prepare(setup);
        let (users, posts) = (scale.users.to_string(), scale.posts.to_string());
        let _ = server.run(&["seed", "--users", &users, "--posts", &posts]).await.expect(0);
        server.start_again().await;
        server.verify().await;

        let issuer = Issuer::with(&server.secrets_file());
        let file = server.files().content();
        let ids = |query: &str| {
            let mut query = file.prepare(query).expect("SQL");
            let rows = query.query_map([], |row| row.get::<_, Vec<u8>>(0)).expect("rows");
            rows.map(|id| uuid::Uuid::from_slice(&id.expect("an id")).expect("an id").to_string()).collect::<Vec<_>>()
        };
        let people = ids("SELECT owner FROM usernames ORDER BY owner");
        let people = people.iter().map(|id| id.parse().expect("an id")).collect();
        let posts = ids("SELECT post FROM previews WHERE preview ->> 'visibility' = 'public' ORDER BY post");
        Self { people, posts, issuer, server }
    }

    /// Where it serves.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.server.port()))
    }

    /// An access token of somebody, good for a quarter of an hour.
    pub(crate) fn token(&self, user: UserId) -> String {
        self.issuer.token(user)
    }

    /// What makes tokens, for whoever needs many.
    pub(crate) fn issuer(&self) -> Issuer {
        self.issuer.clone()
    }

    /// Events in the log.
    pub(crate) fn events(&self) -> u64 {
        let count = self.server.files().event_log().query_row("SELECT count(*) FROM events", [], |row| row.get(0));
        u64::try_from(count.unwrap_or(0_i64)).unwrap_or(0)
    }

    /// Somebody's client.
    pub(crate) fn client(&self, user: UserId) -> Client {
        self.server.client().bearer(&self.token(user))
    }

    /// Likes, by the read model's counts.
    pub(crate) fn counted_likes(&self) -> u64 {
        let sum = "SELECT coalesce(sum(likes), 0) FROM posts WHERE generation = 1";
        let sum: i64 = self.server.files().read_models().query_row(sum, [], |row| row.get(0)).expect("a sum");
        u64::try_from(sum).expect("likes")
    }

    /// After all that load: no difference anywhere.
    pub(crate) async fn judge(&self) {
        self.server.verify().await;
    }
}
