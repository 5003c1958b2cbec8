//! Clauses of valid but unusual input: keys, texts and numbers at the limits of their ranges.

use tower_revoke_core::{
    Listed, RecordFilter, Revocation, RevocationKey, TokenId, UnixTime, UseId, UseOutcome,
};

use super::{
    Ability, Fixture,
    follower::Follower,
    records::all_records,
    world::{
        ISSUER, World, key, lacks, lift, listed_rule, new_use, revocation, rule, subject, token,
    },
};

/// Keys of any bytes work: none is truncated, normalized or mistaken for another.
pub async fn keys_of_any_bytes_are_distinct<G: Fixture>() {
    let world = World::<G>::new().await;
    let node = world.node().await;
    let mut keys: Vec<[u8; 16]> = [
        0x00, 0xff, 0x80, b'\'', b'"', b'%', b'\\', b'\n', b' ', b'a', b'A', b'{', b'*', b':',
    ]
    .map(|byte| [byte; 16])
    .to_vec();
    for at in [0, 7, 8, 15] {
        for byte in [0x00, 0xff] {
            let mut almost = [byte; 16];
            almost[at] ^= 0x01;
            keys.push(almost);
        }
    }
    let tokens: Vec<_> = keys.iter().copied().map(TokenId::from_bytes).collect();
    let until = |number: usize| world.end_plus(number as u64);
    let all = |listed: fn(Option<UnixTime>) -> Listed| -> Vec<_> {
        let numbers = 0..keys.len();
        numbers.map(|number| Some(listed(until(number)))).collect()
    };
    let digests: Vec<_> = tokens
        .iter()
        .map(|token| RevocationKey::from(*token).digest())
        .collect();
    for (number, token) in tokens.iter().enumerate() {
        let id = UseId::from_bytes(keys[keys.len() - 1 - number]);
        let mut own = new_use(*token, 0, 1, until(number));
        own.id = id;
        assert!(node.wins(&own).await, "{token:?}");
        assert!(node.wins(&own).await, "{token:?}, asked again");
        assert!(!node.wins(&new_use(*token, 9, 1, until(number))).await);
    }
    let spent = all(|until| Listed::Spent { until });
    assert_eq!(node.look_up(&digests).await, spent);
    let revocations: Vec<_> = tokens
        .iter()
        .enumerate()
        .map(|(number, token)| Revocation::of_token(*token, None).retained(until(number)))
        .collect();
    node.revoke(&revocations).await;
    let revoked = all(|until| Listed::Revoked { until });
    assert_eq!(node.look_up(&digests).await, revoked);
    if !lacks::<G>(Ability::Feed) {
        Follower::default().agrees(&node, &digests).await;
    }
    for (number, token) in tokens.iter().enumerate().step_by(2) {
        assert!(node.lift(&lift(*token, world.now())).await);
        let mut expected = revoked[number + 1..].to_vec();
        expected.insert(0, spent[number]);
        assert_eq!(node.look_up(&digests[number..]).await, expected);
    }
}

/// Texts of any length and any characters are stored, in keys, authors and reasons. Records return
/// them unchanged.
pub async fn texts_of_any_kind_are_stored<G: Fixture>() {
    let world = World::<G>::new().await;
    let node = world.node().await;
    let words = [
        String::new(),
        " ".to_owned(),
        "\0".to_owned(),
        "a\0b".to_owned(),
        "'; DROP TABLE revocations; --".to_owned(),
        "\"quoted\" \\ back\\\\slash % _ $1 ? :name {} `tick`".to_owned(),
        "line\r\nbreak\ttab".to_owned(),
        "😀 é e\u{301} \u{202e}right to left\u{fffd}\u{10ffff}".to_owned(),
        "NULL".to_owned(),
        "x".repeat(64 * 1_024),
        "😀".repeat(16 * 1_024),
    ];
    let mut revocations = Vec::new();
    for (number, word) in (0..).zip(&words) {
        let of_token = revocation(number, Some(world.end()));
        let keys = [
            RevocationKey::issuer(format!("{word}{number}")),
            RevocationKey::subject(word.clone(), number.to_string()),
            RevocationKey::subject(ISSUER, format!("{number}{word}")),
            RevocationKey::claim(ISSUER, format!("{word}{number}"), word.clone()),
        ];
        let rules = keys.into_iter().map(|key| rule(key, world.now()));
        let all = std::iter::once(of_token).chain(rules);
        revocations
            .extend(all.map(|said| said.by(word.clone()).because(word.clone()).at(world.now())));
    }
    for batch in revocations.chunks(5) {
        node.revoke(batch).await;
    }
    for said in &revocations {
        let listed = node.listed(said.key().clone()).await;
        assert!(listed.is_some(), "{}", shown(said));
    }
    if let Some(records) = super::records::port::<G, _>(&node) {
        for said in &revocations {
            let wanted = RecordFilter::all().key(said.key().clone());
            let found = all_records(&node, records, &wanted, 10).await;
            let same = matches!(&found[..], [one] if one.revocation().as_ref() == Some(said));
            assert!(same, "{} came back as {}", shown(said), shown(&found));
        }
        for word in words.iter().filter(|word| !word.is_empty()) {
            let wanted = RecordFilter::all().because(word.clone());
            let found = all_records(&node, records, &wanted, 3).await;
            assert_eq!(found.len(), 5, "because of {}", shown(word));
        }
    }
    for said in &revocations {
        let end = lift(said.key().clone(), world.now());
        let end = end.by(said.author()).because(said.reason());
        assert!(node.lift(&end).await, "{}", shown(said));
    }
}

/// Formats for a failure message, cut to a length that a log can take.
fn shown(what: &impl std::fmt::Debug) -> String {
    format!("{what:?}").chars().take(600).collect()
}

/// Times and counts at the limits of their ranges are stored. A store may extend a time that it
/// can't represent, and never shortens it.
pub async fn extreme_numbers_are_stored<G: Fixture>() {
    let world = World::<G>::new().await;
    let nodes = world.nodes(2).await;
    let node = &nodes[0];
    let reaches = |listed: Option<Listed>, until: UnixTime| {
        listed.is_some_and(|listed| listed.until().is_none_or(|end| end >= until))
    };
    // Beyond what an i64, an f64, a date up to the year 9999 and a u32 can represent.
    let far = [
        u64::MAX,
        u64::MAX - 1,
        1 << 63,
        (1 << 53) + 1,
        1 << 40,
        (1 << 32) + 1,
    ];
    for (number, secs) in (0..).zip(far) {
        let until = UnixTime::from_secs(secs);
        node.revoke(&[
            revocation(number, Some(until)).at(world.now()),
            rule(subject(number), until).retained(Some(until)),
        ])
        .await;
        let listed = nodes[1].listed(token(number)).await;
        assert!(reaches(listed, until), "until {secs}: {listed:?}");
        let listed = nodes[1].listed(subject(number)).await;
        let concerns = matches!(listed, Some(Listed::Rule { issued_at_or_before, .. })
            if issued_at_or_before >= until.min(UnixTime::from_secs(1 << 62)));
        assert!(reaches(listed, until) && concerns, "{secs}: {listed:?}");
        let own = new_use(token(100 + number), 1, 1, Some(until));
        assert!(node.wins(&own).await);
        let other = new_use(token(100 + number), 2, 1, Some(until));
        assert!(!nodes[1].wins(&other).await, "won twice, until {secs}");
        let listed = nodes[1].listed(token(100 + number)).await;
        assert!(reaches(listed, until), "spent until {secs}: {listed:?}");
    }
    // Revoked at the epoch, and a rule for tokens that were issued then.
    node.revoke(&[
        revocation(50, None).at(UnixTime::EPOCH),
        rule(subject(50), UnixTime::EPOCH).at(UnixTime::EPOCH),
    ])
    .await;
    assert!(node.listed(token(50)).await.is_some());
    let listed = node.listed(subject(50)).await;
    let from_epoch = Some(listed_rule(UnixTime::EPOCH, None));
    assert_eq!(listed, from_epoch);
    assert!(node.lift(&lift(token(50), UnixTime::EPOCH)).await);
    assert_eq!(node.listed(token(50)).await, None);
    // The largest limit of uses.
    for (id, left) in [(1, u32::MAX - 1), (2, u32::MAX - 2)] {
        let outcome = node.take_use(&world.new_use(token(51), id, u32::MAX)).await;
        assert_eq!(outcome, UseOutcome::Taken { left });
    }
    assert!(
        node.return_use(&world.new_use(token(51), 1, u32::MAX))
            .await
    );
    // An `until` in the past is valid: the entry stays until it is purged.
    node.revoke(&[revocation(52, Some(UnixTime::EPOCH))]).await;
    if !lacks::<G>(Ability::Feed) {
        let keys: Vec<_> = (0..6).chain(100..106).map(key).collect();
        Follower::default().agrees(node, &keys).await;
    }
}
