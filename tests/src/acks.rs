//! What a store has acknowledged to a program that was killed, as the program said it.

use std::{fmt, num::NonZeroU32, str::FromStr};

use tower_revoke::{
    TokenId,
    core::{Claim, ClaimId},
};

/// One acknowledgement, about the token of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// It is revoked.
    Revoked(u64),
    /// This claim has its only use.
    Won(u64, u8),
    /// This claim came too late.
    Lost(u64, u8),
}

impl Ack {
    /// The token of a number; neighbours are far apart.
    pub fn token(number: u64) -> TokenId {
        TokenId::of_jwt("store-writer", &number.to_string())
    }

    /// A claim of the only use of a token.
    pub fn claim(number: u64, claim: u8) -> Claim {
        Claim::new(
            Self::token(number),
            ClaimId::from_bytes([claim; 16]),
            NonZeroU32::MIN,
            None,
        )
    }
}

impl fmt::Display for Ack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Revoked(number) => write!(f, "revoked {number}"),
            Self::Won(number, claim) => write!(f, "won {number} {claim}"),
            Self::Lost(number, claim) => write!(f, "lost {number} {claim}"),
        }
    }
}

impl FromStr for Ack {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let words: Vec<_> = line.split(' ').collect();
        let ack = match words[..] {
            ["revoked", number] => number.parse().ok().map(Self::Revoked),
            [what @ ("won" | "lost"), number, claim] => {
                let parsed = number.parse().ok().zip(claim.parse().ok());
                parsed.map(|(number, claim)| match what {
                    "won" => Self::Won(number, claim),
                    _ => Self::Lost(number, claim),
                })
            }
            _ => None,
        };
        ack.ok_or_else(|| format!("no acknowledgement: {line:?}"))
    }
}
