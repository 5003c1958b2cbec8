//! Tests that the rules give the same answers, events and rows as the memory store.

use std::{collections::BTreeMap, num::NonZeroU32};

use proptest::prelude::*;
use tower_revoke_core::{
    Change, ChangeFeed, KeyDigest, Lift, Listed, RecordFilter, Records, Revocation, RevocationKey,
    Store, StoreError, TokenId, UnixTime, Use, UseId, UseOutcome,
};
use tower_revoke_list::MemoryStore;

use super::*;
use crate::value::secs;

/// The database in its simplest form.
#[derive(Default)]
struct Tables {
    seq: i64,
    purged_before: Option<i64>,
    revoked: BTreeMap<Digest, Revoked>,
    lifted: BTreeMap<Digest, Lifted>,
    uses: BTreeMap<Digest, Uses>,
    held: BTreeMap<Held, ()>,
    events: Vec<Event>,
}

fn read<K: Copy + Ord, R: Clone + PartialEq>(
    table: &BTreeMap<K, R>,
    keys: &BTreeSet<K>,
) -> Rows<K, R> {
    let mut rows = Rows::default();
    for key in keys {
        if let Some(row) = table.get(key) {
            rows.found(*key, row.clone());
        }
    }
    rows
}

fn write<K: Copy + Ord, R: Clone + PartialEq>(table: &mut BTreeMap<K, R>, rows: &Rows<K, R>) {
    for key in rows.deleted() {
        assert!(table.remove(key).is_some(), "nothing to delete");
    }
    for (key, row) in rows.put_rows() {
        let old = table.insert(*key, row.clone());
        assert!(old.as_ref() != Some(row), "nothing has changed");
    }
}

impl Tables {
    fn apply(&mut self, ops: &[Op]) -> Vec<Answer> {
        let batch = Batch {
            mark: 7,
            ops: ops.iter().collect(),
        };
        let keys = Keys::of(&batch.ops);
        let mut known = Known {
            seq: self.seq,
            purged_before: self.purged_before,
            revoked: read(&self.revoked, &keys.listed),
            lifted: read(&self.lifted, &keys.listed),
            uses: read(&self.uses, &keys.uses),
            held: read(&self.held, &keys.held),
            issued: Rows::default(),
        };
        let done = known.apply(&batch);
        write(&mut self.revoked, &known.revoked);
        write(&mut self.lifted, &known.lifted);
        write(&mut self.uses, &known.uses);
        write(&mut self.held, &known.held);
        for event in &done.events {
            assert_eq!((event.seq, event.mark), (self.seq + 1, 7));
            self.seq = event.seq;
        }
        assert_eq!(known.seq, self.seq);
        self.events.extend(done.events);
        done.answers
    }

    fn purge(&mut self, before: UnixTime) {
        self.purged_before = self.purged_before.max(Some(secs(before)));
        let stays = |until| !retention::ended_before(until, before);
        self.revoked.retain(|_, row| stays(row.listed.until()));
        self.lifted.retain(|_, row| stays(row.until));
        self.uses.retain(|_, row| stays(row.count.until));
        self.held.retain(|key, ()| self.uses.contains_key(&key.0));
    }
}

#[derive(Clone, Debug)]
enum Ask {
    Revoke(Revocation),
    Lift(Lift),
    Restore(Change),
    TakeUse(Use),
    ReturnUse(Use),
}

impl Ask {
    fn op(&self) -> Option<Op> {
        match self {
            Self::Revoke(said) => Some(Op::revoke(said)),
            Self::Lift(lift) => Some(Op::lift(lift)),
            Self::Restore(known) => Op::restore(known),
            Self::TakeUse(use_) => Some(Op::take_use(use_)),
            Self::ReturnUse(use_) => Some(Op::return_use(use_)),
        }
    }

    /// Runs the operation on the memory store, and returns the answer in the tables' form.
    async fn of(&self, store: &MemoryStore) -> Answer {
        match self {
            Self::Revoke(said) => {
                store
                    .revoke(std::slice::from_ref(said))
                    .await
                    .expect("room");
                Answer::Done
            }
            Self::Restore(known) => {
                store.restore(&[*known]).await.expect("room");
                Answer::Done
            }
            Self::Lift(lift) => Answer::Found(store.lift(lift).await.expect("an answer")),
            Self::ReturnUse(use_) => {
                Answer::Found(store.return_use(use_).await.expect("an answer"))
            }
            Self::TakeUse(use_) => match store.take_use(use_, UnixTime::EPOCH).await {
                Ok(outcome) => Answer::Use(outcome),
                Err(StoreError::LimitMismatch { stored, .. }) => Answer::LimitMismatch(stored),
                Err(StoreError::Expired) => Answer::Expired,
                Err(error) => panic!("{error}"),
            },
        }
    }
}

fn token(number: u8) -> TokenId {
    TokenId::from_bytes([number; 16])
}

/// Keys 0 and 1 are of tokens, 2 is of a rule.
fn key(number: u8) -> RevocationKey {
    match number {
        0 | 1 => RevocationKey::Token(token(number)),
        _ => RevocationKey::subject("https://id.example.com", "alice"),
    }
}

fn end(until: Option<u64>) -> Option<UnixTime> {
    until.map(UnixTime::from_secs)
}

fn asks() -> impl Strategy<Value = Vec<Ask>> {
    let key_of = 0..3_u8;
    let at = || 0..6_u64;
    let until = || prop::option::weighted(0.8, 1..5_u64);
    let words = || prop_oneof![Just(""), Just("bob"), Just("eve")];
    let listed = (key_of.clone(), at(), until(), at(), any::<bool>()).prop_map(
        |(number, at, until, issued, spent)| {
            let until = end(until);
            let listed = match number {
                2 => Listed::Rule {
                    issued_at_or_before: UnixTime::from_secs(issued),
                    until,
                },
                _ if spent => Listed::Spent { until },
                _ => Listed::Revoked { until },
            };
            let at = UnixTime::from_secs(at);
            let key = key(number).digest();
            Ask::Restore(Change::Listed { key, listed, at })
        },
    );
    let revoke = (
        key_of.clone(),
        at(),
        until(),
        at(),
        words(),
        words(),
        any::<bool>(),
    )
        .prop_map(|(number, at, until, issued, by, why, spent)| {
            let said = match key(number) {
                RevocationKey::Token(token) if spent => Revocation::of_spent_token(token, None),
                RevocationKey::Token(token) => Revocation::of_token(token, None),
                rule => Revocation::rule(rule, UnixTime::from_secs(issued)).expect("a rule"),
            };
            let said = said.at(UnixTime::from_secs(at)).by(by).because(why);
            Ask::Revoke(match end(until) {
                Some(until) => said.retained(Some(until)),
                None => said,
            })
        });
    let lift = (key_of.clone(), at(), words()).prop_map(|(number, at, by)| {
        Ask::Lift(
            Lift::new(key(number))
                .at(UnixTime::from_secs(at))
                .by(by)
                .because("wrong"),
        )
    });
    let lifted = (key_of, 0..9_u64, until()).prop_map(|(number, at, until)| {
        Ask::Restore(Change::Lifted {
            key: key(number).digest(),
            at: UnixTime::from_secs(at),
            until: end(until),
        })
    });
    let used_up = (0..2_u8, until()).prop_map(|(number, until)| {
        Ask::Restore(Change::UsedUp {
            key: key(number).digest(),
            until: end(until),
        })
    });
    let new_use = || {
        (0..2_u8, 0..4_u8, until(), 0..16_u8).prop_map(|(number, id, until, other)| {
            let limit = NonZeroU32::new(u32::from(number) + 1 + u32::from(other == 0));
            let (id, limit) = (UseId::from_bytes([id; 16]), limit.expect("some"));
            let mut use_ = Use::new(token(number), id, limit, None);
            use_.until = end(until);
            use_
        })
    };
    let returned = Ask::Restore(Change::Returned {
        key: KeyDigest::of_token(token(0)),
    });
    let ask = prop_oneof![
        4 => revoke,
        3 => lift,
        2 => listed,
        1 => used_up,
        2 => lifted,
        6 => new_use().prop_map(Ask::TakeUse),
        3 => new_use().prop_map(Ask::ReturnUse),
        1 => Just(returned),
    ];
    prop::collection::vec(ask, 1..8)
}

type Said = (Option<RevocationKey>, Listed, UnixTime, String, String);

async fn said(store: &MemoryStore) -> BTreeMap<Digest, Said> {
    let page = store
        .page(&RecordFilter::all(), None, 100)
        .await
        .expect("a page");
    let said = page.records.into_iter().map(|record| {
        let what = (
            record.key,
            record.listed,
            record.at,
            record.by,
            record.reason,
        );
        (*record.digest.as_bytes(), what)
    });
    said.collect()
}

fn said_in(tables: &Tables) -> BTreeMap<Digest, Said> {
    let said = tables.revoked.iter().map(|(digest, row)| {
        let details = row.details.clone().unwrap_or_default();
        let key = match row.listed {
            Listed::Rule { .. } => details.rule.clone(),
            _ => Some(RevocationKey::Token(TokenId::from_bytes(*digest))),
        };
        let what = (key, row.listed, row.at, details.by, details.reason);
        (*digest, what)
    });
    said.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn batches_are_answered_as_the_memory_store_answers_single_calls(
        batches in prop::collection::vec((asks(), prop::option::weighted(0.2, 0..4_u64)), 1..8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let store = MemoryStore::new();
            let start = store.changes(None).await.expect("an empty load").next;
            let mut tables = Tables::default();
            for (asks, purged) in batches {
                let asks: Vec<_> =
                    asks.iter().filter_map(|ask| Some((ask, ask.op()?))).collect();
                let ops: Vec<_> = asks.iter().map(|(_, op)| op.clone()).collect();
                let answers = tables.apply(&ops);
                for ((ask, _), answer) in asks.iter().zip(answers) {
                    prop_assert_eq!(answer, ask.of(&store).await, "{:?}", ask);
                }
                prop_assert_eq!(said_in(&tables), said(&store).await);
                if let Some(before) = end(purged) {
                    tables.purge(before);
                    store.purge(before).await.expect("an answer");
                }
            }
            let told = store.changes(Some(&start)).await.expect("the feed").changes;
            let events = tables.events.iter().map(|event| event.change().expect("a change"));
            prop_assert_eq!(events.collect::<Vec<_>>(), told);
            Ok(())
        })?;
    }
}

#[test]
fn what_changes_nothing_is_not_written() {
    let use_ = Use::new(token(1), UseId::from_bytes([1; 16]), NonZeroU32::MIN, None);
    let said = Revocation::of_token(token(0), None).by("bob");
    let ops = [Op::revoke(&said), Op::take_use(&use_)];
    let mut tables = Tables::default();
    tables.apply(&ops);
    let batch = Batch {
        mark: 8,
        ops: ops.iter().collect(),
    };
    let keys = Keys::of(&batch.ops);
    let mut known = Known {
        seq: tables.seq,
        revoked: read(&tables.revoked, &keys.listed),
        uses: read(&tables.uses, &keys.uses),
        ..Known::default()
    };
    let done = known.apply(&batch);
    let taken = Answer::Use(UseOutcome::Taken { left: 0 });
    assert_eq!(done.answers, [Answer::Done, taken]);
    assert!(done.events.is_empty());
    assert_eq!(known.revoked.put_rows().count(), 0);
    assert_eq!(known.uses.put_rows().count(), 0);
    assert!(keys.held.is_empty(), "a single use needs no holder look-up");
}
