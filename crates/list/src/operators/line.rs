//! One revocation as a line of JSON, version 1. `RevocationList::export` describes the format.
//! Lines of earlier versions can always be read.

use serde::{Deserialize, Serialize};
use tower_revoke_core::{
    BoxError, Change, KeyDigest, Listed, Revocation, RevocationKey, RevocationRecord, TokenId,
    UnixTime,
};

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    v: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<Hex>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rule: Option<Rule>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<Hex>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    issued_at_or_before: Option<UnixTime>,
    /// Whether a token is revoked as spent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    spent: bool,
    until: Option<UnixTime>,
    at: UnixTime,
    #[serde(default)]
    by: String,
    #[serde(default)]
    reason: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    issuer: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    claim: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
}

/// The version, which is read first: the other fields depend on it.
#[derive(Deserialize)]
struct Version {
    v: u32,
}

/// 16 bytes as 32 hexadecimal digits.
#[derive(Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[derive(Clone, Copy)]
struct Hex([u8; 16]);

impl From<Hex> for String {
    fn from(hex: Hex) -> Self {
        format!("{:032x}", u128::from_be_bytes(hex.0))
    }
}

impl TryFrom<String> for Hex {
    type Error = &'static str;

    fn try_from(digits: String) -> Result<Self, Self::Error> {
        let is_hex = digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let number = u128::from_str_radix(&digits, 16).ok().filter(|_| is_hex);
        let number = number.ok_or("not 32 hexadecimal digits")?;
        Ok(Self(number.to_be_bytes()))
    }
}

/// The contents of a line.
pub(super) enum Entry {
    Revocation(Revocation),
    /// Only the digest of the key is known.
    Digest(Change),
}

pub(super) enum LineError {
    Version(u32),
    Malformed(BoxError),
}

pub(super) fn write(record: &RevocationRecord) -> Result<String, serde_json::Error> {
    let issued_at_or_before = match record.listed {
        Listed::Rule {
            issued_at_or_before,
            ..
        } => Some(issued_at_or_before),
        _ => None,
    };
    let (mut token, mut rule, mut digest) = (None, None, None);
    match (&record.key, issued_at_or_before) {
        (Some(RevocationKey::Token(id)), None) => token = Some(Hex(*id.as_bytes())),
        (Some(RevocationKey::Rule { issuer, claim }), Some(_)) => {
            let (claim, value) = claim.clone().unzip();
            rule = Some(Rule {
                issuer: issuer.clone(),
                claim: claim.map(Into::into),
                value,
            });
        }
        _ => digest = Some(Hex(*record.digest.as_bytes())),
    }
    let line = Line {
        v: VERSION,
        token,
        rule,
        digest,
        issued_at_or_before,
        spent: record.listed.is_spent(),
        until: record.listed.until(),
        at: record.at,
        by: record.by.clone(),
        reason: record.reason.clone(),
    };
    Ok(serde_json::to_string(&line)? + "\n")
}

pub(super) fn read(line: &str) -> Result<Entry, LineError> {
    let malformed = |error: serde_json::Error| LineError::Malformed(error.into());
    let Version { v } = serde_json::from_str(line).map_err(malformed)?;
    if v != VERSION {
        return Err(LineError::Version(v));
    }
    let line: Line = serde_json::from_str(line).map_err(malformed)?;
    entry(line).map_err(|error| LineError::Malformed(error.into()))
}

fn entry(line: Line) -> Result<Entry, &'static str> {
    let until = line.until;
    let listed = match (line.issued_at_or_before, line.spent) {
        (Some(_), true) => return Err("a rule with `spent`, which only tokens can be"),
        (Some(issued_at_or_before), false) => Listed::Rule {
            issued_at_or_before,
            until,
        },
        (None, true) => Listed::Spent { until },
        (None, false) => Listed::Revoked { until },
    };
    let is_rule = matches!(listed, Listed::Rule { .. });
    let key = match (line.token, line.rule, line.digest) {
        (Some(_), None, None) if is_rule => {
            return Err("a token with `issued_at_or_before`, which rules have");
        }
        (Some(token), None, None) => RevocationKey::Token(TokenId::from_bytes(token.0)),
        (None, Some(_), None) if !is_rule => return Err("a rule without `issued_at_or_before`"),
        (None, Some(rule), None) => match (rule.claim, rule.value) {
            (Some(claim), Some(value)) => RevocationKey::claim(rule.issuer, claim, value),
            (None, None) => RevocationKey::issuer(rule.issuer),
            _ => return Err("one of `claim` and `value` without the other"),
        },
        (None, None, Some(digest)) => {
            return Ok(Entry::Digest(Change::Listed {
                key: KeyDigest::from_bytes(digest.0),
                listed,
                at: line.at,
            }));
        }
        _ => return Err("not exactly one of `token`, `rule` and `digest`"),
    };
    let record = RevocationRecord {
        digest: key.digest(),
        key: Some(key),
        listed,
        at: line.at,
        by: line.by,
        reason: line.reason,
    };
    let revocation = record
        .revocation()
        .ok_or("the key of a token as a rule's")?;
    Ok(Entry::Revocation(revocation))
}
