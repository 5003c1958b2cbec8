//! Tests the encoding of rows. A change of the encoding needs a new version of the schema.

use std::num::NonZeroU32;

use tower_revoke_core::{
    KeyDigest, Lift, Revocation, RevocationKey, TokenId, UnixTime,
    internal::merge::{KeyState, UseCount},
};

use crate::rows::{Row, Uses, read, write};

const fn at(secs: u64) -> UnixTime {
    UnixTime::from_secs(secs)
}

fn is_written_as(row: &Row, expected: &[u8]) {
    let written = write(row).unwrap();
    assert_eq!(written, expected);
    assert_eq!(read::<Row>(&written).unwrap(), *row);
}

#[test]
fn the_encoding_of_rows_is_unchanged() {
    let key = RevocationKey::subject("i", "s");
    let mut state = KeyState::default();
    let rule = Revocation::rule(key.clone(), at(7)).unwrap();
    let rule = rule.at(at(5)).retained(Some(at(9))).by("b").because("r");
    state.revoke(key.digest(), (&rule).into());
    let revoked = [
        2, 7, 1, 9, 5, 1, 1, 1, 1, b'i', 1, 3, b's', b'u', b'b', 1, b's', 1, b'b', 1, b'r',
    ];
    let row = Row {
        state: state.clone(),
        uses: None,
    };
    is_written_as(&row, &[&[1][..], &revoked, &[0, 0]].concat());
    state.lift(&Lift::new(key.clone()).at(at(8)).by("c"));
    let row = Row { state, uses: None };
    is_written_as(&row, &[0, 1, 8, 1, 9, 1, 0, 1, b'c', 0, 0]);
    let mut state = KeyState::default();
    let token = TokenId::from_bytes([3; 16]);
    let revocation = Revocation::of_token(token, None).at(at(5));
    state.revoke(KeyDigest::of_token(token), (&revocation).into());
    is_written_as(&Row { state, uses: None }, &[1, 0, 0, 5, 0, 0, 0]);
    let count = UseCount {
        limit: NonZeroU32::MIN,
        taken: 1,
        until: Some(at(300)),
    };
    let row = Row {
        uses: Some(Uses {
            count,
            only: Some([6; 16]),
        }),
        ..Row::default()
    };
    is_written_as(
        &row,
        &[&[0, 0, 1, 1, 1, 1, 172, 2, 1][..], &[6; 16]].concat(),
    );
}
