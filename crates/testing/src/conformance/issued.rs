//! Clauses of `issued_tokens`: the opaque tokens that a server issues.

use std::collections::BTreeMap;

use serde_json::json;
use tower_revoke_core::{
    Cursor, IssuedToken, IssuedTokenPage, IssuedTokenStore, KeyDigest, Revocation, RevocationKey,
    Store, StoreError, TokenHash, TokenId, TokenKind, UnixTime, retention::MARGIN,
};

use super::{
    Ability, Fault, Fixture,
    world::{ISSUER, Node, World, at_once, lacks, lift, new_use, rule, worked},
};

/// Returns the issued tokens, or `None` if the store keeps none, and checks that the fixture agrees.
pub(super) fn port<G: Fixture, S: Store>(node: &Node<S>) -> Option<&dyn IssuedTokenStore> {
    let tokens = node.store.issued_tokens();
    let lacks = lacks::<G>(Ability::IssuedTokens);
    assert_eq!(
        tokens.is_none(),
        lacks,
        "`issued_tokens` and LACKS say the same"
    );
    tokens
}

/// Returns an access token of this number, of a subject and a grant of its own, that outlives the
/// clause.
pub(super) fn issued_token<G: Fixture>(number: u64, world: &World<G>) -> IssuedToken {
    let hash = TokenHash::of(&number.to_be_bytes());
    let at = world.now();
    let mut token = IssuedToken::new(hash, TokenKind::ACCESS, ISSUER, "shop", at);
    token.subject = Some(format!("subject {number}"));
    token.grant = Some(format!("grant {number}"));
    token.expires_at = Some(world.end());
    token
}

async fn try_insert<S: Store>(
    node: &Node<S>,
    port: &dyn IssuedTokenStore,
    token: &IssuedToken,
) -> Result<(), StoreError> {
    node.in_time("insert", port.insert(token)).await
}

pub(super) async fn insert<S: Store>(
    node: &Node<S>,
    port: &dyn IssuedTokenStore,
    token: &IssuedToken,
) {
    worked("insert", try_insert(node, port, token).await);
}

pub(super) async fn find<S: Store>(
    node: &Node<S>,
    port: &dyn IssuedTokenStore,
    hash: &TokenHash,
) -> Option<IssuedToken> {
    worked("find", node.in_time("find", port.find(hash)).await)
}

async fn try_page<S: Store>(
    node: &Node<S>,
    port: &dyn IssuedTokenStore,
    holder: &KeyDigest,
    after: Option<&Cursor>,
    at_most: usize,
) -> Result<IssuedTokenPage, StoreError> {
    node.in_time(
        "issued_tokens().page_of",
        port.page_of(holder, after, at_most),
    )
    .await
}

/// Returns all tokens of a holder by their hashes, read in pages of at most `at_most`.
async fn listed<S: Store>(
    node: &Node<S>,
    port: &dyn IssuedTokenStore,
    holder: impl Into<RevocationKey>,
    at_most: usize,
) -> BTreeMap<TokenHash, IssuedToken> {
    let holder = holder.into().digest();
    let mut all = BTreeMap::new();
    let mut after = None;
    for _ in 0..5_000 {
        let page = try_page(node, port, &holder, after.as_ref(), at_most).await;
        let page = worked("issued_tokens().page_of", page);
        assert!(
            page.tokens.len() <= at_most.max(1),
            "{} a page",
            page.tokens.len()
        );
        for token in page.tokens {
            let again = all.insert(token.hash, token);
            assert!(again.is_none(), "listed twice: {again:?}");
        }
        after = page.next;
        if after.is_none() {
            return all;
        }
    }
    panic!("the list has no last page");
}

fn by_hash(tokens: impl IntoIterator<Item = IssuedToken>) -> BTreeMap<TokenHash, IssuedToken> {
    let tokens = tokens.into_iter();
    tokens.map(|token| (token.hash, token)).collect()
}

/// An acknowledged insert is found by every handle, also by one that found no such token before. A
/// hash that was never inserted is found by none.
pub async fn an_issued_token_is_found_by_every_handle<G: Fixture>() {
    let world = World::<G>::new().await;
    let nodes = world.nodes(2).await;
    let Some(issuing) = port::<G, _>(&nodes[0]) else {
        return;
    };
    let token = issued_token(1, &world);
    let near = {
        let mut bytes = *token.hash.as_bytes();
        bytes[31] ^= 1;
        TokenHash::from_bytes(bytes)
    };
    for node in &nodes {
        let port = port::<G, _>(node).expect("as the other handle");
        assert_eq!(find(node, port, &token.hash).await, None);
    }
    insert(&nodes[0], issuing, &token).await;
    for node in nodes.iter().chain([&world.node().await]) {
        let port = port::<G, _>(node).expect("as the other handle");
        assert_eq!(find(node, port, &token.hash).await.as_ref(), Some(&token));
        assert_eq!(find(node, port, &near).await, None, "another hash");
    }
}

/// Issued tokens survive a restart, and are listed afterwards.
pub async fn issued_tokens_survive_a_restart<G: Fixture>() {
    if lacks::<G>(Ability::Restart) {
        return;
    }
    let world = World::<G>::alone().await;
    let tokens: Vec<_> = (1..6).map(|number| issued_token(number, &world)).collect();
    {
        let node = world.node().await;
        let Some(port) = port::<G, _>(&node) else {
            return;
        };
        for token in &tokens {
            insert(&node, port, token).await;
        }
    }
    world.inject(Fault::Restart).await;
    let node = world.node().await;
    let port = port::<G, _>(&node).expect("as before");
    for token in &tokens {
        assert_eq!(find(&node, port, &token.hash).await.as_ref(), Some(token));
        let grant = token.grant_key().expect("it has one");
        let expected = by_hash([token.clone()]);
        assert_eq!(listed(&node, port, grant, 9).await, expected);
    }
}

/// A second insert under one hash fails with `AlreadyIssued`, whatever the row says, and leaves the
/// first row and its lists as they are.
pub async fn a_token_is_issued_once<G: Fixture>() {
    let world = World::<G>::new().await;
    let nodes = world.nodes(2).await;
    let (Some(port), Some(other)) = (port::<G, _>(&nodes[0]), port::<G, _>(&nodes[1])) else {
        return;
    };
    let first = issued_token(1, &world);
    insert(&nodes[0], port, &first).await;
    let mut second = issued_token(2, &world);
    second.hash = first.hash;
    second.client = "another".to_owned();
    for (node, port, token) in [
        (&nodes[0], port, &first),
        (&nodes[0], port, &second),
        (&nodes[1], other, &second),
    ] {
        let again = try_insert(node, port, token).await;
        let is_rejected = matches!(again, Err(StoreError::AlreadyIssued));
        assert!(is_rejected, "{again:?}");
    }
    for (node, port) in [(&nodes[0], port), (&nodes[1], other)] {
        assert_eq!(find(node, port, &first.hash).await.as_ref(), Some(&first));
        let of_first = listed(node, port, first.subject_key().expect("it has one"), 9).await;
        assert_eq!(of_first, by_hash([first.clone()]));
        let of_second = listed(node, port, second.subject_key().expect("it has one"), 9).await;
        assert_eq!(of_second, BTreeMap::new());
    }
}

/// Of many concurrent inserts under one hash by several handles, exactly one succeeds, and it is the
/// one whose row is kept.
pub async fn one_of_many_concurrent_inserts_succeeds<G: Fixture>() {
    let world = World::<G>::new().await;
    let nodes = world.nodes(2).await;
    if port::<G, _>(&nodes[0]).is_none() {
        return;
    }
    for round in 0..5 {
        let tokens = (0..20).map(|number| {
            let mut token = issued_token(round, &world);
            token.client = format!("client {number}");
            token
        });
        let tokens: Vec<_> = tokens.collect();
        let inserts = tokens.iter().zip(0..).map(|(token, number)| {
            let (node, token) = (nodes[number % 2].clone(), token.clone());
            async move {
                let port = node.store.issued_tokens().expect("as before");
                (try_insert(&node, port, &token).await, token)
            }
        });
        let mut winners = Vec::new();
        for (outcome, token) in at_once(inserts.collect::<Vec<_>>()).await {
            match outcome {
                Ok(()) => winners.push(token),
                Err(StoreError::AlreadyIssued) => {}
                Err(error) => panic!("`insert` failed: {error} ({error:?})"),
            }
        }
        assert_eq!(winners.len(), 1, "{winners:?}");
        for node in &nodes {
            let port = port::<G, _>(node).expect("as before");
            let kept = find(node, port, &winners[0].hash).await;
            assert_eq!(kept.as_ref(), Some(&winners[0]));
        }
    }
}

/// Every field is returned unchanged, whatever is in it: by `find` and in lists.
pub async fn issued_tokens_are_returned_unchanged<G: Fixture>() {
    let world = World::<G>::new().await;
    let nodes = world.nodes(2).await;
    let (Some(writes), Some(reads)) = (port::<G, _>(&nodes[0]), port::<G, _>(&nodes[1])) else {
        return;
    };
    let texts = [
        String::new(),
        "a\0b".to_owned(),
        "'; DROP TABLE issued_tokens; -- \" \\ % _ {} \r\n".to_owned(),
        "ä\u{1F980}\u{0301} \u{feff}\u{200b}".to_owned(),
        "x".repeat(60_001),
    ];
    let mut all = Vec::new();
    for (number, text) in (10..).zip(&texts) {
        let mut token = issued_token(number, &world);
        token.kind = TokenKind::new(text.clone());
        token.client.clone_from(text);
        token.subject = Some(text.clone());
        token.scopes = vec![text.clone(), "b".to_owned()];
        token.audience = vec!["a".to_owned(), text.clone()];
        token.session = Some(text.clone());
        let value = json!({ "name": text, "list": [null, true, -1, 0.5, u64::MAX, {}] });
        token.claims.insert(text.clone(), value);
        all.push(token);
    }
    let mut bare = IssuedToken::new(
        TokenHash::from_bytes([0; 32]),
        TokenKind::REFRESH,
        "",
        "",
        UnixTime::EPOCH,
    );
    all.push(bare.clone());
    bare.hash = TokenHash::from_bytes([0xff; 32]);
    bare.subject = Some("bare".to_owned());
    bare.issued_at = UnixTime::from_secs(u64::MAX);
    bare.expires_at = Some(UnixTime::from_secs(u64::MAX));
    bare.keys = (0..12)
        .map(|byte| KeyDigest::from_bytes([byte; 16]))
        .collect();
    all.push(bare);
    for token in &all {
        insert(&nodes[0], writes, token).await;
    }
    for token in &all {
        let found = find(&nodes[1], reads, &token.hash).await;
        assert_eq!(found.as_ref(), Some(token));
        if let Some(subject) = token.subject_key() {
            let listed = listed(&nodes[1], reads, subject, 9).await;
            assert_eq!(listed, by_hash([token.clone()]));
        }
    }
}

/// Lists have exactly the tokens of the subject or grant: not those of another issuer, nor of one
/// whose name differs only in case, in trailing spaces or in what it names.
pub async fn issued_tokens_are_listed_by_subject_and_grant<G: Fixture>() {
    let world = World::<G>::new().await;
    let node = world.node().await;
    let Some(port) = port::<G, _>(&node) else {
        return;
    };
    let names = ["ann", "Ann", "ann ", "anna", "", "g"];
    let mut all = Vec::new();
    for (issuer, issuer_name) in (0..).zip([ISSUER, "https://id.example.org"]) {
        for (number, name) in (0..).zip(names) {
            let mut token = issued_token(100 * issuer + 2 * number, &world);
            token.issuer = issuer_name.to_owned();
            token.subject = Some(name.to_owned());
            token.grant = (number > 2).then(|| "ann".to_owned());
            token.session = Some("g".to_owned());
            all.push(token.clone());
            token.hash = TokenHash::of(&[issuer as u8, number as u8]);
            token.kind = TokenKind::REFRESH;
            (token.subject, token.grant) = (None, Some(name.to_owned()));
            all.push(token);
        }
    }
    for token in &all {
        insert(&node, port, token).await;
    }
    for issuer in [ISSUER, "https://id.example.org", "https://id.example.net"] {
        for name in names {
            for key in [
                RevocationKey::subject(issuer, name),
                RevocationKey::grant(issuer, name),
                RevocationKey::session(issuer, name),
                RevocationKey::client(issuer, name),
            ] {
                let expected = all.iter().filter(|token| {
                    [token.subject_key(), token.grant_key()].contains(&Some(key.clone()))
                });
                let listed = listed(&node, port, key.clone(), 2).await;
                assert_eq!(listed, by_hash(expected.cloned()), "{key:?}");
            }
        }
    }
}

/// Pages of any size return every token of a subject once, even while others are issued.
pub async fn each_issued_token_is_listed_once_with_any_page_size<G: Fixture>() {
    let world = World::<G>::new().await;
    let node = world.node().await;
    let Some(port) = port::<G, _>(&node) else {
        return;
    };
    let of_ann = |number| {
        let mut token = issued_token(number, &world);
        token.subject = Some("ann".to_owned());
        token
    };
    let tokens: Vec<_> = (0..120).map(of_ann).collect();
    let ann = RevocationKey::subject(ISSUER, "ann");
    let inserts = tokens.iter().cloned().map(|token| {
        let node = node.clone();
        async move {
            let port = node.store.issued_tokens().expect("as before");
            insert(&node, port, &token).await;
        }
    });
    at_once(inserts.collect::<Vec<_>>()).await;
    let expected = by_hash(tokens);
    for at_most in [1, 7, 119, 120, 121, 100_000, 0] {
        let listed = listed(&node, port, ann.clone(), at_most).await;
        assert_eq!(listed, expected, "in pages of {at_most}");
    }
    let (mut told, mut after, mut number) = (Vec::new(), None, 1_000);
    let holder = ann.digest();
    loop {
        let page = try_page(&node, port, &holder, after.as_ref(), 9).await;
        let page = worked("issued_tokens().page_of", page);
        told.extend(page.tokens);
        after = page.next;
        if after.is_none() {
            break;
        }
        insert(&node, port, &of_ann(number)).await;
        number += 1;
        assert!(number < 5_000, "the list has no last page");
    }
    told.retain(|token| expected.contains_key(&token.hash));
    assert_eq!(told.len(), 120, "while others were issued");
    assert_eq!(by_hash(told), expected);
}

/// A cursor that the store didn't make fails with `ForeignCursor`.
pub async fn lists_of_issued_tokens_reject_a_foreign_cursor<G: Fixture>() {
    let world = World::<G>::new().await;
    let node = world.node().await;
    let Some(port) = port::<G, _>(&node) else {
        return;
    };
    let token = issued_token(1, &world);
    insert(&node, port, &token).await;
    let holder = token.subject_key().expect("it has one").digest();
    for bytes in [vec![], vec![0], vec![0xff; 3], vec![b'9'; 1_000]] {
        let cursor = Cursor::new(bytes);
        let answer = try_page(&node, port, &holder, Some(&cursor), 9).await;
        let rejected = matches!(answer, Err(StoreError::ForeignCursor));
        assert!(rejected, "{cursor:?}: {answer:?}");
    }
}

/// What is revoked, lifted or used up has its row as before, and an inserted row lists no key.
pub async fn revocations_leave_issued_tokens_alone<G: Fixture>() {
    let world = World::<G>::new().await;
    let node = world.node().await;
    let Some(port) = port::<G, _>(&node) else {
        return;
    };
    let token = issued_token(1, &world);
    insert(&node, port, &token).await;
    let id = TokenId::of_opaque(ISSUER, &token.hash);
    let (subject, grant) = (token.subject_key(), token.grant_key());
    let subject = subject.expect("it has one");
    let grant = grant.expect("it has one");
    let keys = [id.into(), subject.clone(), grant.clone()].map(|key: RevocationKey| key.digest());
    assert_eq!(node.look_up(&keys).await, [None; 3]);
    let until = Some(world.end());
    node.revoke(&[
        Revocation::of_token(id, token.expires_at),
        rule(subject.clone(), world.now()),
        rule(grant, world.now()).retained(until),
    ])
    .await;
    assert!(node.wins(&new_use(id, 1, 1, until)).await);
    for _ in 0..2 {
        assert_eq!(find(&node, port, &token.hash).await.as_ref(), Some(&token));
        let listed = listed(&node, port, subject.clone(), 9).await;
        assert_eq!(listed, by_hash([token.clone()]));
        node.lift(&lift(id, world.now())).await;
        node.lift(&lift(subject.clone(), world.now())).await;
    }
}

/// Keeps tokens until the margin after their expiry has passed, and those that never expire.
pub async fn purging_keeps_unexpired_issued_tokens<G: Fixture>() {
    let world = World::<G>::new().await;
    let nodes = world.nodes(2).await;
    let Some(writes) = port::<G, _>(&nodes[0]) else {
        return;
    };
    let expires_at = [Some(world.after(3_600)), Some(world.after(3_601)), None];
    let mut tokens = Vec::new();
    for (number, expires_at) in (1..).zip(expires_at) {
        let mut token = issued_token(number, &world);
        token.expires_at = expires_at;
        insert(&nodes[0], writes, &token).await;
        tokens.push(token);
    }
    let before = world.after(3_600).saturating_add(MARGIN);
    assert_eq!(nodes[0].purge(before).await, 0, "nothing has ended");
    for node in &nodes {
        let port = port::<G, _>(node).expect("as the other handle");
        for token in &tokens {
            assert_eq!(find(node, port, &token.hash).await.as_ref(), Some(token));
            let subject = token.subject_key().expect("it has one");
            let expected = by_hash([token.clone()]);
            assert_eq!(listed(node, port, subject, 9).await, expected);
        }
    }
    nodes[0].purge(UnixTime::from_secs(u64::MAX)).await;
    let last = &tokens[2];
    assert_eq!(
        find(&nodes[0], writes, &last.hash).await.as_ref(),
        Some(last)
    );
}

/// Purges expired tokens, also from the lists, and says how many.
pub async fn purging_deletes_expired_issued_tokens<G: Fixture>() {
    if lacks::<G>(Ability::Purge) {
        return;
    }
    let world = World::<G>::new().await;
    let nodes = world.nodes(2).await;
    let Some(writes) = port::<G, _>(&nodes[0]) else {
        return;
    };
    let mut tokens = Vec::new();
    for number in 1..8 {
        let mut token = issued_token(number, &world);
        token.subject = Some("ann".to_owned());
        token.expires_at = Some(world.after(if number < 6 { 3_600 } else { 3_601 }));
        insert(&nodes[0], writes, &token).await;
        tokens.push(token);
    }
    let before = world.after(3_601).saturating_add(MARGIN);
    let (gone, kept) = tokens.split_at(5);
    let deleted = nodes[0].purge(before).await;
    assert!(deleted >= 5, "it says that {deleted} were deleted");
    for node in &nodes {
        let port = port::<G, _>(node).expect("as the other handle");
        for token in gone {
            assert_eq!(find(node, port, &token.hash).await, None);
            let grant = token.grant_key().expect("it has one");
            assert_eq!(listed(node, port, grant, 9).await, BTreeMap::new());
        }
        let ann = RevocationKey::subject(ISSUER, "ann");
        let expected = by_hash(kept.iter().cloned());
        assert_eq!(listed(node, port, ann, 1).await, expected);
    }
    assert_eq!(nodes[0].purge(before).await, 0, "all was deleted before");
}
