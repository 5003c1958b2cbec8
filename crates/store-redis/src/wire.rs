//! The encoding of scripts' arguments, values and events; `lua/prelude.lua` is its counterpart.

use redis::Cmd;
use tower_revoke_core::{
    Change, KeyDigest, Lift, LiftRecord, Listed, Revocation, RevocationKey, UnixTime, Use,
};

/// The highest score that is exact; later expiries share it.
const LAST_SCORE: u64 = (1 << 53) - 1;

pub(crate) fn time(time: UnixTime) -> [u8; 8] {
    time.as_secs().to_be_bytes()
}

/// An expiry: a byte that is 1 for none, and a time.
pub(crate) fn till(until: Option<UnixTime>) -> [u8; 9] {
    let mut bytes = [0; 9];
    match until {
        Some(until) => bytes[1..].copy_from_slice(&time(until)),
        None => bytes[0] = 1,
    }
    bytes
}

/// An expiry as the score of an index.
pub(crate) fn score(until: Option<UnixTime>) -> String {
    match until {
        Some(until) => until.as_secs().min(LAST_SCORE).to_string(),
        None => "+inf".to_owned(),
    }
}

/// The value of a token after its first use.
fn first(use_: &Use) -> [u8; 33] {
    let mut bytes = [0; 33];
    bytes[..4].copy_from_slice(&use_.limit.get().to_be_bytes());
    bytes[7] = 1;
    bytes[8..17].copy_from_slice(&till(use_.until));
    bytes[17..].copy_from_slice(use_.id.as_bytes());
    bytes
}

/// Adds the arguments of `take_use.lua` for the uses, which are sorted by expiry.
pub(crate) fn push_uses(call: &mut Cmd, uses: &[Use]) {
    let mut spent = Vec::with_capacity(uses.len() * 30);
    for group in uses.chunk_by(|one, next| one.until == next.until) {
        spent.push(b'G');
        spent.extend((group.len() as u32).to_be_bytes());
        spent.extend(till(group[0].until));
        spent.extend(group.iter().flat_map(|use_| *use_.token.as_bytes()));
    }
    call.arg(spent);
    let earliest = uses.iter().filter_map(|use_| use_.until).min();
    call.arg(earliest.map_or(LAST_SCORE, |until| until.as_secs().min(LAST_SCORE)));
    for use_ in uses {
        call.arg(&use_.token.as_bytes()[..]).arg(&first(use_)[..]);
    }
}

/// A command of `revoke.lua`, with the details of the revocation.
pub(crate) struct Update {
    pub(crate) key: KeyDigest,
    pub(crate) command: Vec<u8>,
    pub(crate) details: Vec<u8>,
}

impl Update {
    pub(crate) fn revoke(revocation: &Revocation) -> Self {
        let key = revocation.key().digest();
        let at = revocation.time().unwrap_or(UnixTime::EPOCH);
        Self {
            key,
            command: list(b'R', key, revocation.into(), at),
            details: Details::of(revocation).encode(),
        }
    }

    pub(crate) fn lift(lift: &Lift) -> Self {
        let key = lift.key().digest();
        let mut command = start(b'L', key);
        command.extend(time(lift.time().unwrap_or(UnixTime::EPOCH)));
        let details = Details {
            by: lift.author().to_owned(),
            reason: lift.reason().to_owned(),
            rule: None,
        };
        Self {
            key,
            command,
            details: details.encode(),
        }
    }

    /// `None` if the change can't be restored.
    pub(crate) fn restore(change: &Change) -> Option<Self> {
        match *change {
            Change::Listed { key, listed, at } => {
                Some(Self::silent(key, list(b'B', key, listed, at)))
            }
            // Later than any lift, as every new revocation is.
            Change::UsedUp { key, until } => {
                let listed = Listed::Spent { until };
                Some(Self::silent(key, list(b'R', key, listed, UnixTime::EPOCH)))
            }
            Change::Lifted { key, at, until } => {
                let mut command = start(b'D', key);
                command.extend(time(at));
                command.extend(till(until));
                Some(Self::silent(key, command))
            }
            _ => None,
        }
    }

    fn silent(key: KeyDigest, command: Vec<u8>) -> Self {
        Self {
            key,
            command,
            details: Vec::new(),
        }
    }
}

fn start(letter: u8, key: KeyDigest) -> Vec<u8> {
    let mut command = Vec::with_capacity(64);
    command.push(letter);
    command.extend(key.as_bytes());
    command
}

fn list(letter: u8, key: KeyDigest, listed: Listed, at: UnixTime) -> Vec<u8> {
    let mut command = start(letter, key);
    let (kind, rule) = match listed {
        Listed::Rule {
            issued_at_or_before,
            ..
        } => (b'U', Some(issued_at_or_before)),
        Listed::Spent { .. } => (b'V', None),
        _ => (b'T', None),
    };
    command.push(kind);
    command.extend(till(listed.until()));
    command.extend(time(at));
    command.extend(rule.map(time).into_iter().flatten());
    command
}

/// Reads bytes from the front; `None` where they end too soon.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn letter(&mut self) -> Option<u8> {
        self.take::<1>().map(|[letter]| letter)
    }

    fn key(&mut self) -> Option<KeyDigest> {
        self.take().map(KeyDigest::from_bytes)
    }

    fn time(&mut self) -> Option<UnixTime> {
        let secs = u64::from_be_bytes(self.take()?);
        Some(UnixTime::from_secs(secs))
    }

    fn till(&mut self) -> Option<Option<UnixTime>> {
        let for_ever = self.letter()? == 1;
        let time = self.time()?;
        Some((!for_ever).then_some(time))
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(u32::from_be_bytes(self.take()?)).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(text)
    }

    fn string(&mut self) -> Option<String> {
        Some(String::from_utf8_lossy(self.text()?).into_owned())
    }
}

/// Reads how a key is listed, and since when.
pub(crate) fn listed(value: &[u8]) -> Option<(Listed, UnixTime)> {
    let mut from = Reader(value);
    let letter = from.letter()?;
    listed_as(letter, &mut from)
}

fn listed_as(letter: u8, from: &mut Reader<'_>) -> Option<(Listed, UnixTime)> {
    let until = from.till()?;
    let at = from.time()?;
    let listed = match letter {
        b'T' => Listed::Revoked { until },
        b'U' => Listed::Rule {
            issued_at_or_before: from.time()?,
            until,
        },
        b'V' => Listed::Spent { until },
        _ => return None,
    };
    Some((listed, at))
}

/// Reads the last lift of a key.
pub(crate) fn lift(value: &[u8]) -> Option<LiftRecord> {
    let mut from = Reader(value);
    let at = from.time()?;
    let until = from.till()?;
    let Details { by, reason, .. } = Details::decode(from.0);
    Some(LiftRecord {
        at,
        by,
        reason,
        until,
    })
}

/// `Some(None)` if uses are left.
pub(crate) fn spent(value: &[u8]) -> Option<Option<Listed>> {
    let mut from = Reader(value);
    let limit = u32::from_be_bytes(from.take()?);
    let count = u32::from_be_bytes(from.take()?);
    let until = from.till()?;
    Some((count >= limit).then_some(Listed::Spent { until }))
}

/// Adds the changes of one entry of the feed; `None` if they can't be read.
pub(crate) fn read_changes(bytes: &[u8], into: &mut Vec<Change>) -> Option<()> {
    let mut from = Reader(bytes);
    while let Some(letter) = from.letter() {
        if letter == b'G' {
            let count = u32::from_be_bytes(from.take()?);
            let until = from.till()?;
            for _ in 0..count {
                let key = from.key()?;
                into.push(Change::UsedUp { key, until });
            }
            continue;
        }
        let key = from.key()?;
        into.push(match letter {
            b'S' | b'A' => {
                let until = from.till()?;
                Change::UsedUp { key, until }
            }
            b'F' => Change::Returned { key },
            b'L' => {
                let until = from.till()?;
                let at = from.time()?;
                Change::Lifted { key, at, until }
            }
            letter => {
                let (listed, at) = listed_as(letter, &mut from)?;
                Change::Listed { key, listed, at }
            }
        });
    }
    Some(())
}

/// The details of a revocation or lift, readable for operators.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Details {
    pub(crate) by: String,
    pub(crate) reason: String,
    /// The key of a rule; that of a token is its digest.
    pub(crate) rule: Option<RevocationKey>,
}

impl Details {
    fn of(revocation: &Revocation) -> Self {
        let key = revocation.key();
        Self {
            by: revocation.author().to_owned(),
            reason: revocation.reason().to_owned(),
            rule: key.is_rule().then(|| key.clone()),
        }
    }

    /// Each text after its length; empty if there are no details.
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if *self == Self::default() {
            return bytes;
        }
        let mut push = |text: &str| {
            // A text of 4 GiB is more than a server takes in one value.
            let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
            bytes.extend(length.to_be_bytes());
            bytes.extend(&text.as_bytes()[..length as usize]);
        };
        push(&self.by);
        push(&self.reason);
        if let Some(RevocationKey::Rule { issuer, claim }) = &self.rule {
            push(issuer);
            if let Some((name, value)) = claim {
                push(name);
                push(value);
            }
        }
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Self {
        let mut from = Reader(bytes);
        let by = from.string().unwrap_or_default();
        let reason = from.string().unwrap_or_default();
        let rule = from.string().map(|issuer| match from.string() {
            Some(name) => RevocationKey::claim(issuer, name, from.string().unwrap_or_default()),
            None => RevocationKey::issuer(issuer),
        });
        Self { by, reason, rule }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: UnixTime = UnixTime::from_secs(1_000);

    #[test]
    fn details_round_trip() {
        for revocation in [
            Revocation::rule(RevocationKey::issuer("iss"), AT).unwrap(),
            Revocation::rule(RevocationKey::subject("i\0{}\r\n", "ann \u{1f511}"), AT)
                .unwrap()
                .by("")
                .because("laptop lost"),
        ] {
            let details = Details::of(&revocation);
            assert_eq!(Details::decode(&details.encode()), details);
        }
        assert_eq!(Details::decode(&[]), Details::default());
    }

    #[test]
    fn listed_values_round_trip() {
        let key = KeyDigest::from_bytes([7; 16]);
        for until in [None, Some(AT), Some(UnixTime::from_secs(u64::MAX))] {
            for listed in [
                Listed::Revoked { until },
                Listed::Spent { until },
                Listed::Rule {
                    issued_at_or_before: UnixTime::from_secs(u64::MAX),
                    until,
                },
            ] {
                let command = list(b'R', key, listed, AT);
                assert_eq!(super::listed(&command[17..]), Some((listed, AT)));
            }
        }
    }

    #[test]
    fn a_malformed_change_is_rejected() {
        let mut changes = Vec::new();
        assert_eq!(read_changes(b"F0123456789abcde", &mut changes), None);
        assert_eq!(
            read_changes(b"G\0\0\0\x02\x01--------0123456789abcdef", &mut vec![]),
            None
        );
        assert_eq!(read_changes(b"?0123456789abcdef", &mut changes), None);
        assert_eq!(read_changes(b"", &mut changes), Some(()));
        assert!(changes.is_empty());
    }
}
