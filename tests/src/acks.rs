//! The acknowledgements that a killed program printed before it died.

use std::{fmt, num::NonZeroU32, str::FromStr};

use tower_revoke::{
    TokenId,
    core::{Use, UseId},
};

/// One acknowledgement, for the token with this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// The token is revoked.
    Revoked(u64),
    /// This use took the only use.
    Won(u64, u8),
    /// This use was too late.
    Lost(u64, u8),
}

impl Ack {
    /// Returns the token with a number. Neighbouring numbers have distant ids.
    pub fn token(number: u64) -> TokenId {
        TokenId::of_jwt("store-writer", &number.to_string())
    }

    /// Returns a use of a single-use token.
    pub fn new_use(number: u64, use_: u8) -> Use {
        Use::new(
            Self::token(number),
            UseId::from_bytes([use_; 16]),
            NonZeroU32::MIN,
            None,
        )
    }
}

impl fmt::Display for Ack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Revoked(number) => write!(f, "revoked {number}"),
            Self::Won(number, use_) => write!(f, "won {number} {use_}"),
            Self::Lost(number, use_) => write!(f, "lost {number} {use_}"),
        }
    }
}

impl FromStr for Ack {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let words: Vec<_> = line.split(' ').collect();
        let ack = match words[..] {
            ["revoked", number] => number.parse().ok().map(Self::Revoked),
            [what @ ("won" | "lost"), number, use_] => {
                let parsed = number.parse().ok().zip(use_.parse().ok());
                parsed.map(|(number, use_)| match what {
                    "won" => Self::Won(number, use_),
                    _ => Self::Lost(number, use_),
                })
            }
            _ => None,
        };
        ack.ok_or_else(|| format!("no acknowledgement: {line:?}"))
    }
}
