//! Comments. Lists keep three here (see [`long`]).

use super::*;

async fn add(cache: &dyn Tested, space: Space, items: impl IntoIterator<Item = (u8, i64)>) {
    let items = items.into_iter().map(|(number, position)| item(number, position)).collect();
    cache.add_comments(space, vec![(list(1), items)]).await.unwrap();
}

async fn found(cache: &dyn Tested, space: Space) -> Comments {
    let found = cache.comments(space, list(1)).await.unwrap().expect("a list");
    assert_eq!(cache.look_up_comments(space, list(1)).await.unwrap(), Lookup::Found(found.clone()));
    found
}

pub(crate) async fn a_list_is_leased_and_filled<O>(open: impl AsyncFn(Limits) -> (Arc<dyn Tested>, O)) {
    let (cache, _outlives) = open(long()).await;
    let space = space();
    assert_eq!(cache.comments(space, list(1)).await.unwrap(), None);
    let token = list_granted(&*cache, space, list(1)).await;
    assert_eq!(cache.look_up_comments(space, list(1)).await.unwrap(), Lookup::Taken);
    assert_eq!(cache.comments(space, list(1)).await.unwrap(), None, "a lease is no list");
    let another = Token(token.0 ^ 1);
    assert!(!cache.fill_comments(space, list(1), another, comments(9, [])).await.unwrap());
    assert!(cache.fill_comments(space, list(1), token, comments(7, [(5, 7), (3, 2)])).await.unwrap());
    assert_eq!(found(&*cache, space).await, comments(7, [(5, 7), (3, 2)]));
    assert!(!cache.fill_comments(space, list(1), token, comments(9, [])).await.unwrap(), "a lease is for one fill");
    assert_eq!(found(&*cache, space).await, comments(7, [(5, 7), (3, 2)]));
    // A post without comments has a list, too.
    list_filled(&*cache, space, list(2), comments(-1, [])).await;
    assert_eq!(cache.comments(space, list(2)).await.unwrap(), Some(comments(-1, [])));
}

pub(crate) async fn an_addition_has_its_place<O>(open: impl AsyncFn(Limits) -> (Arc<dyn Tested>, O)) {
    let (cache, _outlives) = open(Limits { kept: 10, ..long() }).await;
    let space = space();
    list_filled(&*cache, space, list(1), comments(10, [])).await;
    add(&*cache, space, [(5, 11)]).await;
    assert_eq!(found(&*cache, space).await, comments(11, [(5, 11)]));
    add(&*cache, space, [(7, 12)]).await;
    // Ids are made by many clocks, so that one may come late.
    add(&*cache, space, [(3, 13)]).await;
    add(&*cache, space, [(6, 14)]).await;
    assert_eq!(found(&*cache, space).await, comments(14, [(7, 12), (6, 14), (5, 11), (3, 13)]));
    // Told again, and late: it is older than the list.
    add(&*cache, space, [(5, 11), (9, 14), (1, 2)]).await;
    assert_eq!(found(&*cache, space).await, comments(14, [(7, 12), (6, 14), (5, 11), (3, 13)]));
    // What the list has already is not there twice; that it was told counts.
    add(&*cache, space, [(7, 15), (3, 16), (6, 17)]).await;
    assert_eq!(found(&*cache, space).await, comments(17, [(7, 12), (6, 14), (5, 11), (3, 13)]));
    // Many at once; what is not newer than the list does not count, even after what is.
    add(&*cache, space, [(8, 18), (4, 20), (2, 17), (9, 21), (8, 22)]).await;
    let all = [(9, 21), (8, 18), (7, 12), (6, 14), (5, 11), (4, 20), (3, 13)];
    assert_eq!(found(&*cache, space).await, comments(22, all));
    add(&*cache, space, []).await;
    assert_eq!(found(&*cache, space).await, comments(22, all));
}

pub(crate) async fn lists_are_trimmed<O>(open: impl AsyncFn(Limits) -> (Arc<dyn Tested>, O)) {
    let (cache, _outlives) = open(long()).await;
    let space = space();
    list_filled(&*cache, space, list(1), comments(10, [(5, 1), (4, 2), (3, 3)])).await;
    add(&*cache, space, [(6, 11)]).await;
    assert_eq!(found(&*cache, space).await, comments(11, [(6, 11), (5, 1), (4, 2)]));
    // Older than all that are kept: it is not among the newest, but was told.
    add(&*cache, space, [(2, 12)]).await;
    assert_eq!(found(&*cache, space).await, comments(12, [(6, 11), (5, 1), (4, 2)]));
    add(&*cache, space, [(7, 13), (1, 14), (8, 15), (9, 16), (10, 17)]).await;
    assert_eq!(found(&*cache, space).await, comments(17, [(10, 17), (9, 16), (8, 15)]));
    // More than a list has are not kept of a fill, either.
    list_filled(&*cache, space, list(2), comments(9, [(5, 1), (4, 2), (3, 3), (2, 4)])).await;
    assert_eq!(cache.comments(space, list(2)).await.unwrap(), Some(comments(9, [(5, 1), (4, 2), (3, 3)])));
}

pub(crate) async fn what_was_added_meanwhile_is_in_the_fill<O>(open: impl AsyncFn(Limits) -> (Arc<dyn Tested>, O)) {
    let (cache, _outlives) = open(long()).await;
    let space = space();
    for (told, loaded, expected) in [
        // Newer than what was loaded, in its place.
        (vec![(6, 11)], comments(10, [(7, 9), (5, 8)]), comments(11, [(7, 9), (6, 11), (5, 8)])),
        // Not newer: it is in what was loaded, or gone again.
        (vec![(6, 10), (4, 9)], comments(10, [(5, 8)]), comments(10, [(5, 8)])),
        // In what was loaded already: its rows are read after its version.
        (vec![(6, 11)], comments(10, [(6, 11), (5, 8)]), comments(11, [(6, 11), (5, 8)])),
        // Too many.
        (vec![(6, 11), (7, 12)], comments(10, [(5, 8), (4, 7), (3, 6)]), comments(12, [(7, 12), (6, 11), (5, 8)])),
        // Not among the newest, but told.
        (vec![(1, 11)], comments(10, [(5, 8), (4, 7), (3, 6)]), comments(11, [(5, 8), (4, 7), (3, 6)])),
        // Told twice, and out of order.
        (vec![(6, 12), (5, 11), (6, 12)], comments(10, []), comments(12, [(6, 12), (5, 11)])),
        (vec![], comments(10, [(5, 8)]), comments(10, [(5, 8)])),
    ] {
        let token = list_granted(&*cache, space, list(1)).await;
        for told in told {
            add(&*cache, space, [told]).await;
            assert_eq!(cache.look_up_comments(space, list(1)).await.unwrap(), Lookup::Taken);
        }
        assert!(cache.fill_comments(space, list(1), token, loaded).await.unwrap());
        assert_eq!(found(&*cache, space).await, expected);
        cache.drop_comments(space, vec![list(1)]).await.unwrap();
    }
}

pub(crate) async fn a_list_with_a_hole_is_not_made<O>(open: impl AsyncFn(Limits) -> (Arc<dyn Tested>, O)) {
    let (cache, _outlives) = open(long()).await;
    let space = space();
    // Four wait where there is room for three: the one that goes is newer than what was loaded, and those that are left are
    // not all newer. Between them and what was loaded, it would be missing.
    let token = list_granted(&*cache, space, list(1)).await;
    add(&*cache, space, [(2, 12), (9, 8), (8, 9), (7, 13)]).await;
    assert!(!cache.fill_comments(space, list(1), token, comments(10, [(9, 8), (8, 9), (1, 1)])).await.unwrap());
    assert_eq!(cache.comments(space, list(1)).await.unwrap(), None);
    // The next may try, and has it.
    list_filled(&*cache, space, list(1), comments(13, [(9, 8), (8, 9), (7, 13)])).await;
    cache.drop_comments(space, vec![list(1)]).await.unwrap();

    // Those that are left are all newer, and as many as are kept.
    let token = list_granted(&*cache, space, list(1)).await;
    add(&*cache, space, [(5, 11), (6, 12), (7, 13), (8, 14)]).await;
    assert!(cache.fill_comments(space, list(1), token, comments(10, [(4, 8)])).await.unwrap());
    assert_eq!(found(&*cache, space).await, comments(14, [(8, 14), (7, 13), (6, 12)]));
    cache.drop_comments(space, vec![list(1)]).await.unwrap();

    // The one that goes is in what was loaded.
    let token = list_granted(&*cache, space, list(1)).await;
    add(&*cache, space, [(5, 11), (6, 12), (7, 13), (8, 14)]).await;
    assert!(cache.fill_comments(space, list(1), token, comments(11, [(5, 11), (4, 8)])).await.unwrap());
    assert_eq!(found(&*cache, space).await, comments(14, [(8, 14), (7, 13), (6, 12)]));
    cache.drop_comments(space, vec![list(1)]).await.unwrap();

    // What goes is the newest that was told: the greatest counts, not the last.
    let token = list_granted(&*cache, space, list(1)).await;
    add(&*cache, space, [(9, 5), (8, 6), (7, 7), (2, 14), (1, 3)]).await;
    assert!(!cache.fill_comments(space, list(1), token, comments(10, [(9, 5), (8, 6), (7, 7)])).await.unwrap());
}

pub(crate) async fn dropping_a_list_ends_its_lease<O>(open: impl AsyncFn(Limits) -> (Arc<dyn Tested>, O)) {
    let (cache, _outlives) = open(long()).await;
    let space = space();
    list_filled(&*cache, space, list(1), comments(1, [(1, 1)])).await;
    list_filled(&*cache, space, list(3), comments(1, [(1, 1)])).await;
    let token = list_granted(&*cache, space, list(2)).await;
    filled(&*cache, space, counts(1), value(1, "one")).await;
    cache.drop_comments(space, vec![list(1), list(2), list(4)]).await.unwrap();
    assert_eq!(cache.comments(space, list(1)).await.unwrap(), None);
    assert!(!cache.fill_comments(space, list(2), token, comments(1, [])).await.unwrap());
    let next = list_granted(&*cache, space, list(2)).await;
    assert!(!cache.fill_comments(space, list(2), token, comments(1, [])).await.unwrap(), "it is another's lease");
    assert!(cache.fill_comments(space, list(2), next, comments(2, [])).await.unwrap());
    assert_eq!(cache.comments(space, list(3)).await.unwrap(), Some(comments(1, [(1, 1)])), "another's list");
    assert_eq!(look_up(&*cache, space, counts(1)).await, Lookup::Found(value(1, "one")));
}

pub(crate) async fn one_of_a_thousand_gets_the_lease_of_a_list<O>(open: impl AsyncFn(Limits) -> (Arc<dyn Tested>, O)) {
    let (cache, _outlives) = open(long()).await;
    let space = space();
    let readers: Vec<_> = (0..1_000)
        .map(|_| {
            let cache = Arc::clone(&cache);
            tokio::spawn(async move { cache.look_up_comments(space, list(1)).await.unwrap() })
        })
        .collect();
    let mut leases = Vec::new();
    for reader in readers {
        match reader.await.unwrap() {
            Lookup::Granted(token) => leases.push(token),
            other => assert_eq!(other, Lookup::Taken),
        }
    }
    assert_eq!(leases.len(), 1);
    assert!(cache.fill_comments(space, list(1), leases[0], comments(1, [])).await.unwrap());
}

pub(crate) async fn large_lists_are_kept<O>(open: impl AsyncFn(Limits) -> (Arc<dyn Tested>, O)) {
    const MANY: u32 = 2_500;
    let (cache, _outlives) = open(Limits { kept: MANY as usize, ..long() }).await;
    let space = space();
    let large = |number: u32| {
        let mut random = [0; 10];
        random[..4].copy_from_slice(&number.to_be_bytes());
        let comment = CommentId::from_parts(Timestamp::from_millis(1), random);
        Item { comment, position: i64::from(number), bytes: Bytes::from(vec![b'x'; 1_000]) }
    };
    let newest_first = |numbers: std::ops::Range<u32>| numbers.rev().map(large).collect::<Vec<_>>();
    let loaded = Comments { version: i64::from(MANY), items: newest_first(0..MANY) };
    list_filled(&*cache, space, list(1), loaded.clone()).await;
    assert!(cache.comments(space, list(1)).await.unwrap() == Some(loaded));
    let news = MANY + 1..MANY + 501;
    cache.add_comments(space, vec![(list(1), news.map(large).collect())]).await.unwrap();
    let found = cache.comments(space, list(1)).await.unwrap().unwrap();
    let mut expected = newest_first(MANY + 1..MANY + 501);
    expected.extend(newest_first(500..MANY));
    assert!(found == Comments { version: i64::from(MANY + 500), items: expected });
}
