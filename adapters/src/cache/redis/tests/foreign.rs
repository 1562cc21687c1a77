//! Whatever else is found under a key is nothing, and is replaced.

use super::*;

const DIGITS: &str = "09223372036854775809";

#[tokio::test]
async fn what_is_not_ours_is_nothing() {
    let cache = opened(&shared_url()).await;
    let space = contract::space();
    let (key, counts) = (contract::preview(1), contract::counts(1));
    let huge = format!("={}", "9".repeat(20));
    let signed = "=+9223372036854775809x".to_owned();
    let half_a_lease = format!("?{DIGITS}0922");
    let lease_with_rubbish = format!("?{DIGITS}{}x", "9".repeat(20));
    let other = format!("!{DIGITS}x");
    let short = format!("={}", &DIGITS[1..]);
    let rubbish =
        ["", "x", "\u{0}", "=", "?", "={}", "{\"version\":1}", &huge, &signed, &half_a_lease, &lease_with_rubbish]
            .map(str::to_owned)
            .into_iter()
            .chain([other, short]);
    let mut plants: Vec<Vec<Vec<u8>>> =
        rubbish.map(|text| vec![b"SET".to_vec(), b"name".to_vec(), text.into_bytes()]).collect();
    for other_kind in ["HSET name a b", "RPUSH name a b", "SADD name a", "ZADD name 1 a", "XADD name * a b"] {
        plants.push(other_kind.split(' ').map(|word| word.as_bytes().to_vec()).collect());
    }
    for plant in &plants {
        for key in [key, counts] {
            let said = String::from_utf8_lossy(&plant.concat()).into_owned();
            let planted = async || {
                cache.forget(space, key).await;
                cache.on(space, key, &plant.iter().map(Vec::as_slice).collect::<Vec<_>>()).await;
                let redis::Value::Int(1) = cache.on(space, key, &[b"EXISTS", b"name"]).await else {
                    panic!("{said} is not planted")
                };
            };
            planted().await;
            assert_eq!(cache.values(space, &[key]).await.unwrap(), [None], "{said}");
            cache.update(space, vec![(key, contract::value(i64::MAX, "told"))]).await.unwrap();
            assert_eq!(cache.values(space, &[key]).await.unwrap(), [None], "{said}");
            planted().await;
            assert!(!contract::fill(&cache, space, key, Token(0), contract::value(1, "late")).await, "{said}");
            planted().await;
            contract::filled(&cache, space, key, contract::value(1, "one")).await;
            assert_eq!(contract::look_up(&cache, space, key).await, Lookup::Found(contract::value(1, "one")), "{said}");
        }
    }
}

#[tokio::test]
async fn what_is_no_list_of_ours_is_nothing() {
    let cache = opened(&shared_url()).await;
    let (space, key) = (contract::space(), contract::list(1));
    let item = format!("c{}{DIGITS}text", "1".repeat(39));
    let marker = format!("={DIGITS}");
    let lease = format!("?{DIGITS}{DIGITS}");
    let huge_id = format!("c{}{DIGITS}text", "9".repeat(39));
    let lists: [&[&str]; 12] = [
        &["x"],
        &[""],
        &[&item],
        &[&marker, &item],
        &[&marker, "x"],
        &["x", &marker],
        &[&item, "x", &item, &marker],
        &[&huge_id, &marker],
        &["c", &marker],
        &["x", &lease],
        &[&item, &format!("{marker}x")],
        &[&item, &format!("?{DIGITS}")],
    ];
    let mut plants: Vec<Vec<String>> = lists
        .iter()
        .map(|list| ["RPUSH", "name"].iter().chain(*list).map(|word| (*word).to_owned()).collect())
        .collect();
    for other_kind in ["SET name x", "HSET name a b", "SADD name a"] {
        plants.push(other_kind.split(' ').map(str::to_owned).collect());
    }
    for plant in &plants {
        let planted = async || {
            cache.drop_comments(space, vec![key]).await.unwrap();
            cache.on_list(space, key, &plant.iter().map(String::as_bytes).collect::<Vec<_>>()).await;
        };
        planted().await;
        assert_eq!(cache.comments(space, key).await.unwrap(), None, "{plant:?}");
        for number in 0..3 {
            let told = contract::item(number, i64::MAX);
            cache.add_comments(space, vec![(key, vec![told])]).await.unwrap();
            assert_eq!(cache.comments(space, key).await.unwrap(), None, "{plant:?}");
        }
        planted().await;
        let token = Token(DIGITS.parse().unwrap());
        assert!(!cache.fill_comments(space, key, token, Comments::default()).await.unwrap(), "{plant:?}");
        planted().await;
        contract::list_filled(&cache, space, key, contract::comments(1, [(1, 1)])).await;
        assert_eq!(cache.comments(space, key).await.unwrap(), Some(contract::comments(1, [(1, 1)])), "{plant:?}");
    }
}
