//! Clauses of `records`: how operators list revocations.

use std::collections::BTreeSet;

use tower_revoke_core::{
    Change, Cursor, Listed, RecordFilter, RecordPage, Records, Revocation, RevocationKey,
    RevocationRecord, Store, StoreError,
};

use super::{
    Ability, Fixture,
    world::{Node, World, key, lacks, lift, listed_rule, revocation, rule, subject, token, worked},
};

/// Returns the records, or `None` if the store has none, and checks that the fixture agrees.
pub(super) fn port<G: Fixture, S: Store>(node: &Node<S>) -> Option<&dyn Records> {
    let records = node.store.records();
    let lacks = lacks::<G>(Ability::Records);
    assert_eq!(records.is_none(), lacks, "`records` and LACKS say the same");
    records
}

pub(super) async fn page<S: Store>(
    node: &Node<S>,
    records: &dyn Records,
    wanted: &RecordFilter,
    after: Option<&Cursor>,
    at_most: usize,
) -> Result<RecordPage, StoreError> {
    let page = records.page(wanted, after, at_most);
    node.in_time("records().page", page).await
}

/// Returns all records that the filter selects, read in pages of at most `at_most`.
pub(super) async fn all_records<S: Store>(
    node: &Node<S>,
    records: &dyn Records,
    wanted: &RecordFilter,
    at_most: usize,
) -> Vec<RevocationRecord> {
    let mut all = Vec::new();
    let mut after = None;
    for _ in 0..20_000 {
        let answer = page(node, records, wanted, after.as_ref(), at_most).await;
        let mut page = worked("records().page", answer);
        let most = at_most.max(1);
        assert!(page.records.len() <= most, "{} a page", page.records.len());
        all.append(&mut page.records);
        after = page.next;
        if after.is_none() {
            return all;
        }
    }
    panic!("the records have no last page");
}

/// Pages of any size return every record once, even while others are revoked and lifted.
pub async fn each_record_is_returned_once_with_any_page_size<G: Fixture>() {
    let world = World::<G>::new().await;
    let node = world.node().await;
    let Some(records) = port::<G, _>(&node) else {
        return;
    };
    let nothing = all_records(&node, records, &RecordFilter::all(), 10).await;
    assert_eq!(nothing, [], "nothing was revoked");
    let revocations: Vec<_> = (0..100)
        .map(|number| revocation(number, Some(world.end())))
        .chain((0..20).map(|number| rule(subject(number), world.now())))
        .collect();
    node.revoke(&revocations).await;
    let keys: BTreeSet<_> = revocations.iter().map(|said| said.key().digest()).collect();
    for at_most in [1, 7, 119, 120, 121, 100_000, 0] {
        let all = all_records(&node, records, &RecordFilter::all(), at_most).await;
        assert_eq!(all.len(), 120, "in pages of {at_most}");
        let told: BTreeSet<_> = all.iter().map(|record| record.digest).collect();
        assert_eq!(told, keys, "in pages of {at_most}");
    }
    let (mut told, mut after, mut turn) = (Vec::new(), None, 0);
    loop {
        let answer = page(&node, records, &RecordFilter::all(), after.as_ref(), 9).await;
        let page = worked("records().page", answer);
        told.extend(page.records.into_iter().map(|record| record.digest));
        after = page.next;
        if after.is_none() {
            break;
        }
        let other = revocation(1_000 + turn, Some(world.end()));
        node.revoke(&[other]).await;
        if turn > 0 {
            assert!(node.lift(&lift(token(1_000 + turn - 1), world.now())).await);
        }
        turn += 1;
        assert!(turn < 500, "the records have no last page");
    }
    told.retain(|key| keys.contains(key));
    assert_eq!(told.len(), 120, "while others were revoked and lifted");
    assert_eq!(told.into_iter().collect::<BTreeSet<_>>(), keys);
}

/// A filter by key, reason, earliest time, or any combination of them selects exactly its records.
pub async fn records_match_the_filter<G: Fixture>() {
    let world = World::<G>::new().await;
    let node = world.node().await;
    let Some(records) = port::<G, _>(&node) else {
        return;
    };
    let reasons = ["lost", "stolen", "Lost", "lost "];
    let revocations: Vec<_> = (0..40_u64)
        .map(|number| {
            let said = match number % 2 {
                0 => revocation(number, Some(world.end())),
                _ => rule(subject(number), world.now()),
            };
            said.at(world.after(number / 4))
                .because(reasons[number as usize % 4])
        })
        .collect();
    node.revoke(&revocations).await;
    let since = world.after(6);
    for wanted in [
        RecordFilter::all().because("lost"),
        RecordFilter::all().because("los"),
        RecordFilter::all().because("LOST"),
        RecordFilter::all().since(since),
        RecordFilter::all().since(world.after(9)),
        RecordFilter::all().since(world.after(10)),
        RecordFilter::all().key(token(4)),
        RecordFilter::all().key(subject(5)),
        RecordFilter::all().key(token(5)),
        RecordFilter::all().key(token(4)).because("lost"),
        RecordFilter::all().key(token(4)).because("stolen"),
        RecordFilter::all().because("stolen").since(since),
        RecordFilter::all().key(token(4)).since(since),
    ] {
        let mut expected: Vec<_> = revocations
            .iter()
            .filter(|said| {
                let digest = said.key().digest();
                wanted.only_key().is_none_or(|key| *key == digest)
                    && wanted
                        .only_reason()
                        .is_none_or(|reason| reason == said.reason())
                    && wanted.earliest() <= said.time()
            })
            .map(|said| said.key().digest())
            .collect();
        expected.sort_unstable();
        for at_most in [1, 4, 100] {
            let found = all_records(&node, records, &wanted, at_most).await;
            let mut found: Vec<_> = found.into_iter().map(|record| record.digest).collect();
            found.sort_unstable();
            assert_eq!(found, expected, "{wanted:?}, in pages of {at_most}");
        }
    }
}

/// A record returns the key, `until`, time, author and reason of a revocation unchanged. Lifted,
/// purged and merely spent entries have no record.
pub async fn records_return_revocations_unchanged<G: Fixture>() {
    let world = World::<G>::new().await;
    let nodes = world.nodes(2).await;
    let node = &nodes[1];
    let Some(records) = port::<G, _>(node) else {
        return;
    };
    let now = world.now();
    let said = [
        revocation(1, Some(world.end()))
            .at(now)
            .by("ann@example.com")
            .because("laptop lost"),
        revocation(2, None).at(world.after(1)),
        rule(RevocationKey::issuer(ISSUER_OF_OTHERS), now)
            .at(world.after(2))
            .by("bob"),
        rule(subject(3), world.after(9))
            .retained(Some(world.end()))
            .at(world.after(3))
            .because("left the company"),
        rule(RevocationKey::claim(ISSUER_OF_OTHERS, "tenant", "7"), now).at(world.after(4)),
        Revocation::of_spent_token(token(7), None)
            .at(world.after(5))
            .because("response delivered"),
    ];
    let gone = [
        revocation(4, Some(world.end())),
        rule(subject(4), now),
        revocation(5, Some(now)),
    ];
    nodes[0].revoke(&said).await;
    nodes[0].revoke(&gone).await;
    assert!(nodes[0].lift(&lift(token(4), now)).await);
    assert!(nodes[0].lift(&lift(subject(4), now)).await);
    assert!(nodes[0].wins(&world.new_use(token(6), 1, 1)).await);
    let is_purged = !lacks::<G>(Ability::Purge);
    if is_purged {
        nodes[0].purge(world.after(1)).await;
    }
    let mut found = all_records(node, records, &RecordFilter::all(), 2).await;
    found.retain(|record| is_purged || record.digest != key(5));
    found.sort_by_key(|record| record.at);
    for (record, said) in found.iter().zip(&said) {
        assert_eq!(record.digest, said.key().digest());
        assert_eq!(record.key.as_ref(), Some(said.key()));
        assert_eq!(record.listed, Listed::from(said));
        assert_eq!(Some(record.at), said.time());
        assert_eq!(record.by, said.author());
        assert_eq!(record.reason, said.reason());
        assert_eq!(record.revocation().as_ref(), Some(said));
    }
    assert_eq!(found.len(), said.len(), "{found:?}");
}

const ISSUER_OF_OTHERS: &str = "https://login.example.org/tenant?a=b&c=d";

/// A restored revocation has a record without author and reason.
///
/// The feed carries only digests, so the key of a restored rule is unknown; the key of a token is
/// its digest. Restoring again keeps the details of an existing record.
pub async fn restored_revocations_have_records_without_details<G: Fixture>() {
    let Some(world) = World::<G>::with_feed().await else {
        return;
    };
    let node = world.node().await;
    let Some(records) = port::<G, _>(&node) else {
        return;
    };
    let (now, until) = (world.now(), Some(world.end()));
    let revoked = Listed::Revoked { until };
    let ruled = listed_rule(now, None);
    let digest = subject(1).digest();
    let back = |key, listed| Change::Listed {
        key,
        listed,
        at: now,
    };
    let known = [back(key(1), revoked), back(digest, ruled)];
    node.restore(&known).await;
    let without_words = |digest, key, listed| RevocationRecord {
        digest,
        key,
        listed,
        at: now,
        by: String::new(),
        reason: String::new(),
    };
    let all = [
        without_words(key(1), Some(token(1).into()), revoked),
        without_words(digest, None, ruled),
    ];
    for expected in all {
        let found = all_records(&node, records, &RecordFilter::all(), 1).await;
        assert!(found.contains(&expected), "{expected:?} in {found:?}");
    }
    let of_rule = RecordFilter::all().key(subject(1));
    let found = all_records(&node, records, &of_rule, 9).await;
    assert_eq!(found.len(), 1, "found by its key all the same");
    assert_eq!(found[0].revocation(), None);
    // Revokes it with details, then restores it again.
    let said = rule(subject(1), now).at(now).by("ann").because("lost");
    node.revoke(std::slice::from_ref(&said)).await;
    node.restore(&known).await;
    let found = all_records(&node, records, &of_rule, 9).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].revocation(), Some(said));
}

/// A records cursor that the store didn't make fails with `ForeignCursor`.
pub async fn records_reject_a_foreign_cursor<G: Fixture>() {
    let world = World::<G>::new().await;
    let node = world.node().await;
    let Some(records) = port::<G, _>(&node) else {
        return;
    };
    node.revoke(&[revocation(1, None)]).await;
    for bytes in [vec![], vec![0], vec![0xff; 3], vec![b'9'; 1_000]] {
        let cursor = Cursor::new(bytes);
        let answer = page(&node, records, &RecordFilter::all(), Some(&cursor), 9).await;
        let rejected = matches!(answer, Err(StoreError::ForeignCursor));
        assert!(rejected, "{cursor:?}: {answer:?}");
    }
}
