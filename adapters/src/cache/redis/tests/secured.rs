//! TLS, a user with a password, and no more rights than are needed: those of `cora` in `tests/services/redis/secured.acl`,
//! as `docs/deploying/redis.md` names them.

use super::*;
use crate::secured::{Refusal, Secured, Visit};

#[tokio::test]
async fn a_user_with_these_rights_will_do() {
    let server = Secured::start("redis").await;
    server.listen();
    let cora = Visit { user: "cora", ..server.visit() };
    let space = contract::space();
    // A cache begins without its server, so whether one is let in shows when it is asked.
    let open = async |url: &StoreUrl| {
        let cache = RedisCache::open(url, contract::long()).await?;
        cache.values(space, &[contract::preview(9)]).await?;
        Ok(cache)
    };
    let cache = server.lets_in(&server.url(&cora, "own", ""), open).await;
    contract::filled(&cache, space, contract::preview(1), contract::value(1, "one")).await;
    contract::list_filled(&cache, space, contract::list(1), contract::comments(1, [(1, 1)])).await;
    for number in 2..9 {
        let items = vec![contract::item(number, number.into()), contract::item(10 - number, number.into())];
        cache.add_comments(space, vec![(contract::list(1), items)]).await.unwrap();
    }
    assert_eq!(format!("{cache:?}"), format!("RedisCache(redis://cora@{}/own)", cora.address));

    let another_prefix = Refusal::unfit("another prefix", cora.clone(), "refuses");
    server.refuses("other", "", vec![another_prefix], open).await;
    // Its life is not told to dan, without which nothing can be believed.
    let no_info = Refusal::unfit("no INFO", Visit { user: "dan", ..cora.clone() }, "refuses");
    server.refuses("own", "cluster=false", vec![no_info], open).await;
    let refusals = vec![
        Refusal::unfit("nobody's name", Visit { user: "eve", ..cora.clone() }, "refuses"),
        Refusal::unavailable("no TLS", Visit { tls: false, ..cora.clone() }, "without TLS"),
    ];
    server.refuses("own", "", refusals, open).await;
    server.is_kept_from_logs();
}
