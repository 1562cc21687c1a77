//! Previews and counts.

use super::*;

pub(crate) async fn a_cold_key_is_leased_to_one<O>(open: impl AsyncFn(Limits) -> (Arc<dyn Tested>, O)) {
    let (cache, _outlives) = open(long()).await;
    let space = space();
    for key in [preview(1), counts(1)] {
        assert_eq!(cache.values(space, &[key]).await.unwrap(), [None], "looking asks for no lease");
        let token = granted(&*cache, space, key).await;
        assert_eq!(look_up(&*cache, space, key).await, Lookup::Taken);
        assert_eq!(cache.values(space, &[key]).await.unwrap(), [None], "a lease is no value");
        assert!(!fill(&*cache, space, key, Token(token.0 ^ 1), value(1, "another's")).await);
        assert_eq!(look_up(&*cache, space, key).await, Lookup::Taken);
        assert!(fill(&*cache, space, key, token, value(1, "one")).await);
        assert_eq!(look_up(&*cache, space, key).await, Lookup::Found(value(1, "one")));
        assert_eq!(cache.values(space, &[key]).await.unwrap(), [Some(value(1, "one"))]);
        assert!(!fill(&*cache, space, key, token, value(2, "again")).await, "a lease is for one fill");
        assert_eq!(look_up(&*cache, space, key).await, Lookup::Found(value(1, "one")));
    }
}

pub(crate) async fn a_fill_takes_what_was_told_meanwhile<O>(open: impl AsyncFn(Limits) -> (Arc<dyn Tested>, O)) {
    let (cache, _outlives) = open(long()).await;
    let space = space();
    for (number, told, loaded, found) in [
        // What was told, what was loaded, and what is found then.
        (1, vec![value(5, "told")], value(3, "loaded"), value(5, "told")),
        (2, vec![value(2, "told")], value(3, "loaded"), value(3, "loaded")),
        (3, vec![value(3, "told")], value(3, "loaded"), value(3, "loaded")),
        (4, vec![value(5, "told"), value(4, "late"), value(5, "again")], value(3, "loaded"), value(5, "told")),
        (5, vec![value(4, "told"), value(6, "newer")], value(5, "loaded"), value(6, "newer")),
        (6, vec![value(4, "")], value(3, "loaded"), value(4, "")),
    ] {
        for key in [preview(number), counts(number)] {
            let token = granted(&*cache, space, key).await;
            for told in &told {
                cache.update(space, vec![(key, told.clone())]).await.unwrap();
                assert_eq!(look_up(&*cache, space, key).await, Lookup::Taken, "what was told only waits");
            }
            assert!(fill(&*cache, space, key, token, loaded.clone()).await, "an update ends no lease");
            assert_eq!(look_up(&*cache, space, key).await, Lookup::Found(found.clone()), "case {number}");
        }
    }
}

pub(crate) async fn what_is_not_there_is_not_made_by_an_update<O>(open: impl AsyncFn(Limits) -> (Arc<dyn Tested>, O)) {
    let (cache, _outlives) = open(long()).await;
    let space = space();
    cache.update(space, vec![(preview(1), value(1, "one")), (counts(1), value(1, "one"))]).await.unwrap();
    cache.add_comments(space, vec![(list(1), vec![item(1, 1)])]).await.unwrap();
    assert_eq!(cache.values(space, &[preview(1), counts(1)]).await.unwrap(), [None, None]);
    assert_eq!(cache.comments(space, list(1)).await.unwrap(), None);
    // Nor does it wait for a lease that comes later.
    let token = granted(&*cache, space, counts(1)).await;
    assert!(fill(&*cache, space, counts(1), token, value(0, "loaded")).await);
    assert_eq!(look_up(&*cache, space, counts(1)).await, Lookup::Found(value(0, "loaded")));
    list_filled(&*cache, space, list(1), comments(0, [])).await;
    assert_eq!(cache.comments(space, list(1)).await.unwrap(), Some(comments(0, [])));
}

pub(crate) async fn only_a_newer_value_replaces_another<O>(open: impl AsyncFn(Limits) -> (Arc<dyn Tested>, O)) {
    let (cache, _outlives) = open(long()).await;
    let space = space();
    for key in [preview(1), counts(1)] {
        filled(&*cache, space, key, value(3, "three")).await;
        for late in [value(2, "two"), value(3, "another three"), value(-1, "")] {
            cache.update(space, vec![(key, late)]).await.unwrap();
            assert_eq!(look_up(&*cache, space, key).await, Lookup::Found(value(3, "three")));
        }
        cache.update(space, vec![(key, value(4, "four"))]).await.unwrap();
        assert_eq!(look_up(&*cache, space, key).await, Lookup::Found(value(4, "four")));
        // Nothing is shown, and that is known.
        cache.update(space, vec![(key, value(5, ""))]).await.unwrap();
        assert_eq!(look_up(&*cache, space, key).await, Lookup::Found(value(5, "")));
    }
}

pub(crate) async fn who_is_late_fills_nothing<O>(open: impl AsyncFn(Limits) -> (Arc<dyn Tested>, O)) {
    let (cache, _outlives) = open(long()).await;
    let space = space();
    for key in [preview(1), counts(1)] {
        let late = granted(&*cache, space, key).await;
        cache.forget(space, key).await;
        assert!(!fill(&*cache, space, key, late, value(1, "late")).await, "there is no lease");
        let token = granted(&*cache, space, key).await;
        assert_ne!(late, token);
        cache.update(space, vec![(key, value(2, "told"))]).await.unwrap();
        assert!(!fill(&*cache, space, key, late, value(1, "late")).await, "it is another's lease");
        assert!(fill(&*cache, space, key, token, value(1, "loaded")).await);
        assert_eq!(look_up(&*cache, space, key).await, Lookup::Found(value(2, "told")));
        cache.forget(space, key).await;
        cache.update(space, vec![(key, value(3, "told"))]).await.unwrap();
        assert_eq!(cache.values(space, &[key]).await.unwrap(), [None], "what is forgotten is gone");
    }
}

pub(crate) async fn keys_and_spaces_are_apart<O>(open: impl AsyncFn(Limits) -> (Arc<dyn Tested>, O)) {
    let (cache, _outlives) = open(long()).await;
    let here = space();
    let keys = [preview(1), counts(1), Key::Counts(Generation(2), post(1)), preview(2), counts(2)];
    let spaces = [here, Space { epoch: 1, ..here }, Space { log: LogId(!here.log.0), ..here }];
    for (number, space) in spaces.into_iter().enumerate() {
        for (place, key) in keys.into_iter().enumerate() {
            filled(&*cache, space, key, value(1, &format!("{number} {place}"))).await;
        }
        for generation in [1, 2] {
            let key = ListKey(Generation(generation), post(1));
            list_filled(&*cache, space, key, comments(i64::try_from(number).unwrap() + i64::from(generation), []))
                .await;
        }
    }
    for (number, space) in spaces.into_iter().enumerate() {
        let expected: Vec<_> = (0..keys.len()).map(|place| Some(value(1, &format!("{number} {place}")))).collect();
        assert_eq!(cache.values(space, &keys).await.unwrap(), expected);
        for generation in [1, 2] {
            let found = cache.comments(space, ListKey(Generation(generation), post(1))).await.unwrap().unwrap();
            assert_eq!(found.version, i64::try_from(number).unwrap() + i64::from(generation));
        }
    }
}

pub(crate) async fn versions_are_compared_exactly<O>(open: impl AsyncFn(Limits) -> (Arc<dyn Tested>, O)) {
    let (cache, _outlives) = open(long()).await;
    let space = space();
    let key = preview(1);
    let ascending = [i64::MIN, -2, -1, 0, 1, 9, 10, 99, 1 << 53, (1 << 53) + 1, (1 << 53) + 2, i64::MAX - 1, i64::MAX];
    filled(&*cache, space, key, value(i64::MIN, "")).await;
    for version in ascending {
        cache.update(space, vec![(key, value(version, ""))]).await.unwrap();
        assert_eq!(look_up(&*cache, space, key).await, Lookup::Found(value(version, "")));
        for older in ascending.into_iter().filter(|older| *older <= version) {
            cache.update(space, vec![(key, value(older, "late"))]).await.unwrap();
        }
        assert_eq!(look_up(&*cache, space, key).await, Lookup::Found(value(version, "")));
    }
    // Nothing is before the first.
    list_filled(&*cache, space, list(1), comments(-1, [])).await;
    for version in ascending.into_iter().filter(|version| *version >= 0) {
        cache.add_comments(space, vec![(list(1), vec![item(1, version)])]).await.unwrap();
        cache.add_comments(space, vec![(list(1), vec![item(2, version)])]).await.unwrap();
        assert_eq!(cache.comments(space, list(1)).await.unwrap().unwrap().version, version);
    }
}

pub(crate) async fn any_bytes_are_kept<O>(open: impl AsyncFn(Limits) -> (Arc<dyn Tested>, O)) {
    let (cache, _outlives) = open(long()).await;
    let space = space();
    let all: Vec<u8> = (0..=255).cycle().take(4_096).collect();
    let large = [b'=', 0, b'\r', b'\n'].repeat(1 << 20);
    for (number, bytes) in (0..).zip([Vec::new(), all, b"?00000000000000000001".to_vec(), large]) {
        let bytes = Bytes::from(bytes);
        for key in [preview(number), counts(number)] {
            let token = granted(&*cache, space, key).await;
            cache.update(space, vec![(key, Value { version: 2, bytes: bytes.clone() })]).await.unwrap();
            assert!(fill(&*cache, space, key, token, Value { version: 1, bytes: Bytes::new() }).await);
            let waited = look_up(&*cache, space, key).await;
            assert!(waited == Lookup::Found(Value { version: 2, bytes: bytes.clone() }), "value {number}");
            cache.update(space, vec![(key, Value { version: 3, bytes: bytes.clone() })]).await.unwrap();
            assert!(look_up(&*cache, space, key).await == Lookup::Found(Value { version: 3, bytes: bytes.clone() }));
        }
        let comment = Item { bytes, ..item(1, 5) };
        list_filled(&*cache, space, list(number), Comments { version: 5, items: vec![comment.clone()] }).await;
        assert!(cache.comments(space, list(number)).await.unwrap().unwrap().items == [comment]);
    }
}

pub(crate) async fn batches_may_be_empty_or_huge<O>(open: impl AsyncFn(Limits) -> (Arc<dyn Tested>, O)) {
    const MANY: u32 = 6_000;
    let (cache, _outlives) = open(long()).await;
    let space = space();
    assert_eq!(cache.values(space, &[]).await.unwrap(), []);
    assert_eq!(cache.look_up(space, &[]).await.unwrap(), []);
    assert!(cache.fill(space, Vec::new()).await.unwrap().is_empty());
    cache.update(space, Vec::new()).await.unwrap();
    cache.add_comments(space, Vec::new()).await.unwrap();
    cache.drop_comments(space, Vec::new()).await.unwrap();

    // A third is there, a third is leased.
    let key = |number| if number % 2 == 0 { preview(number) } else { counts(number) };
    let keys: Vec<Key> = (0..MANY).map(key).collect();
    let told = |number: u32| value(i64::from(number), &number.to_string());
    let (there, leased): (Vec<u32>, Vec<u32>) =
        (0..MANY).filter(|number| number % 3 > 0).partition(|number| number % 3 == 1);
    let leases = cache.look_up(space, &there.iter().map(|number| key(*number)).collect::<Vec<_>>()).await.unwrap();
    let mut fills = Vec::new();
    for (number, lease) in there.iter().zip(leases) {
        let Lookup::Granted(token) = lease else { panic!("{lease:?}") };
        // Every fifth is another's.
        let token = if number % 5 == 0 { Token(token.0 ^ 1) } else { token };
        fills.push((key(*number), token, told(*number)));
    }
    let counted = cache.fill(space, fills).await.unwrap();
    assert_eq!(counted, there.iter().map(|number| number % 5 > 0).collect::<Vec<_>>());
    cache.look_up(space, &leased.iter().map(|number| key(*number)).collect::<Vec<_>>()).await.unwrap();

    let is_there = |number: u32| number % 3 == 1 && !number.is_multiple_of(5);
    let expected: Vec<_> = (0..MANY).map(|number| is_there(number).then(|| told(number))).collect();
    assert!(cache.values(space, &keys).await.unwrap() == expected);
    for (number, lookup) in (0..).zip(cache.look_up(space, &keys).await.unwrap()) {
        match lookup {
            Lookup::Found(value) => assert!(is_there(number) && value == told(number), "{number}"),
            Lookup::Taken => assert!(number % 3 > 0 && !is_there(number), "{number}"),
            Lookup::Granted(_) => assert_eq!(number % 3, 0, "{number}"),
        }
    }
    cache.update(space, (0..MANY).map(|number| (key(number), value(i64::MAX, "new"))).collect()).await.unwrap();
    let expected: Vec<_> = (0..MANY).map(|number| is_there(number).then(|| value(i64::MAX, "new"))).collect();
    assert!(cache.values(space, &keys).await.unwrap() == expected);
}

pub(crate) async fn one_of_a_thousand_gets_the_lease<O>(open: impl AsyncFn(Limits) -> (Arc<dyn Tested>, O)) {
    let (cache, _outlives) = open(long()).await;
    let space = space();
    for key in [preview(1), counts(1)] {
        let readers: Vec<_> = (0..1_000)
            .map(|_| {
                let cache = Arc::clone(&cache);
                tokio::spawn(async move { look_up(&*cache, space, key).await })
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
        assert!(fill(&*cache, space, key, leases[0], value(1, "one")).await);
    }
}

pub(crate) async fn one_of_a_hundred_fills_counts<O>(open: impl AsyncFn(Limits) -> (Arc<dyn Tested>, O)) {
    let (cache, _outlives) = open(long()).await;
    let space = space();
    let token = granted(&*cache, space, preview(1)).await;
    let fillers: Vec<_> = (0..100)
        .map(|number| {
            let cache = Arc::clone(&cache);
            let text = number.to_string();
            tokio::spawn(async move { fill(&*cache, space, preview(1), token, value(number, &text)).await })
        })
        .collect();
    let mut counted = Vec::new();
    for (number, filler) in (0..).zip(fillers) {
        if filler.await.unwrap() {
            counted.push(number);
        }
    }
    assert_eq!(counted.len(), 1);
    let found = value(counted[0], &counted[0].to_string());
    assert_eq!(look_up(&*cache, space, preview(1)).await, Lookup::Found(found));
}

pub(crate) async fn the_newest_of_many_updates_stays<O>(open: impl AsyncFn(Limits) -> (Arc<dyn Tested>, O)) {
    let (cache, _outlives) = open(long()).await;
    let space = space();
    filled(&*cache, space, counts(1), value(0, "0")).await;
    let token = granted(&*cache, space, counts(2)).await;
    let updaters: Vec<_> = (0..50_i64)
        .map(|updater| {
            let cache = Arc::clone(&cache);
            tokio::spawn(async move {
                for step in 0..20 {
                    let version = (updater * 37 + step * 61) % 1_000;
                    let told = value(version, &version.to_string());
                    cache.update(space, vec![(counts(1), told.clone()), (counts(2), told)]).await.unwrap();
                }
            })
        })
        .collect();
    for updater in updaters {
        updater.await.unwrap();
    }
    assert!(fill(&*cache, space, counts(2), token, value(1, "1")).await);
    let newest = (0..50).flat_map(|updater| (0..20).map(move |step| (updater * 37 + step * 61) % 1_000)).max().unwrap();
    let newest = Some(value(newest, &newest.to_string()));
    assert_eq!(cache.values(space, &[counts(1), counts(2)]).await.unwrap(), [newest.clone(), newest]);
}

const SHORT: Duration = Duration::from_millis(300);

pub(crate) async fn values_end<O>(open: impl AsyncFn(Limits) -> (Arc<dyn Tested>, O)) {
    let (cache, _outlives) = open(Limits { preview: SHORT, counts: SHORT, ..long() }).await;
    let space = space();
    filled(&*cache, space, preview(1), value(1, "one")).await;
    filled(&*cache, space, counts(1), value(1, "one")).await;
    // Counts end though they are read.
    until("the end of the counts", async || cache.values(space, &[counts(1)]).await.unwrap() == [None]).await;
    // A preview that nobody asks for ends: how long it takes to see it is not known without asking.
    let mut pause = SHORT;
    while cache.values(space, &[preview(1)]).await.unwrap() != [None] {
        pause *= 2;
        assert!(pause < PATIENCE, "the preview does not end");
        tokio::time::sleep(pause).await;
    }
    let token = granted(&*cache, space, preview(1)).await;
    assert!(fill(&*cache, space, preview(1), token, value(0, "older than what has ended")).await);
}

pub(crate) async fn previews_that_are_asked_for_live_on<O>(open: impl AsyncFn(Limits) -> (Arc<dyn Tested>, O)) {
    const LIFE: Duration = Duration::from_secs(4);
    let (cache, _outlives) = open(Limits { preview: LIFE, counts: LIFE, jitter_percent: 0, ..long() }).await;
    let space = space();
    // Of the same life, and the counts after the previews.
    filled(&*cache, space, preview(1), value(1, "one")).await;
    filled(&*cache, space, preview(2), value(1, "one")).await;
    filled(&*cache, space, counts(1), value(1, "one")).await;
    until("the end of the counts", async || {
        let by_values = cache.values(space, &[preview(1), counts(1)]).await.unwrap();
        assert_eq!(by_values[0], Some(value(1, "one")), "the preview ended though it was asked for");
        assert_eq!(look_up(&*cache, space, preview(2)).await, Lookup::Found(value(1, "one")));
        by_values[1].is_none()
    })
    .await;
}

pub(crate) async fn leases_end<O>(open: impl AsyncFn(Limits) -> (Arc<dyn Tested>, O)) {
    let (cache, _outlives) = open(Limits { lease: SHORT, ..long() }).await;
    let space = space();
    for key in [preview(1), counts(1)] {
        let first = granted(&*cache, space, key).await;
        // Neither who asks nor who tells lets it live longer.
        until("the end of the lease", async || {
            cache.update(space, vec![(key, value(7, "told"))]).await.unwrap();
            match look_up(&*cache, space, key).await {
                Lookup::Granted(token) => token != first,
                other => {
                    assert_eq!(other, Lookup::Taken);
                    false
                }
            }
        })
        .await;
        assert!(!fill(&*cache, space, key, first, value(1, "late")).await);
        assert_eq!(cache.values(space, &[key]).await.unwrap(), [None]);
    }
    let first = list_granted(&*cache, space, list(1)).await;
    until("the end of the list's lease", async || {
        cache.add_comments(space, vec![(list(1), vec![item(1, 1)])]).await.unwrap();
        matches!(cache.look_up_comments(space, list(1)).await.unwrap(), Lookup::Granted(token) if token != first)
    })
    .await;
    assert!(!cache.fill_comments(space, list(1), first, comments(1, [])).await.unwrap());
    assert_eq!(cache.comments(space, list(1)).await.unwrap(), None);
}

pub(crate) async fn lists_end_unless_they_change<O>(open: impl AsyncFn(Limits) -> (Arc<dyn Tested>, O)) {
    const LIFE: Duration = Duration::from_secs(4);
    let (cache, _outlives) = open(Limits { comments: LIFE, jitter_percent: 0, ..long() }).await;
    let space = space();
    list_filled(&*cache, space, list(1), comments(0, [])).await;
    list_filled(&*cache, space, list(2), comments(0, [])).await;
    let position = std::cell::Cell::new(0);
    until("the end of the list that is only read", async || {
        position.set(position.get() + 1);
        cache.add_comments(space, vec![(list(1), vec![item(1, position.get())])]).await.unwrap();
        // What changes nothing is no change.
        cache.add_comments(space, vec![(list(2), vec![item(1, 0)])]).await.unwrap();
        let found = cache.comments(space, list(1)).await.unwrap().expect("the list ended though it changes");
        assert_eq!(found.version, position.get());
        cache.comments(space, list(2)).await.unwrap().is_none()
    })
    .await;
}
