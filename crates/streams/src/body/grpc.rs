//! Where the messages of gRPC end: each has a flag, a length of four bytes, and its bytes.

const PREFIX: usize = 5;

/// What is left of the message that has begun.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Messages {
    prefix: [u8; PREFIX],
    /// How many bytes of the prefix have passed. 0 between messages, and while a payload passes.
    prefix_len: u8,
    /// How many bytes of the payload are still to pass.
    payload: u32,
}

impl Messages {
    pub(super) fn passed(&mut self, data: &[u8]) {
        let mut rest = data;
        while !rest.is_empty() {
            rest = &rest[self.step(rest)..];
        }
    }

    pub(super) fn is_midway(&self) -> bool {
        self.prefix_len > 0 || self.payload > 0
    }

    pub(super) fn finish(&mut self, data: &[u8]) -> usize {
        let mut length = 0;
        while self.is_midway() && length < data.len() {
            length += self.step(&data[length..]);
        }
        length
    }

    /// Takes a part of the message, and returns its length. `data` is not empty.
    fn step(&mut self, data: &[u8]) -> usize {
        if self.payload > 0 {
            let taken = data.len().min(self.payload as usize);
            // It is no more than `payload`, which fits.
            self.payload -= u32::try_from(taken).unwrap_or(self.payload);
            return taken;
        }
        let have = usize::from(self.prefix_len);
        let taken = data.len().min(PREFIX - have);
        self.prefix[have..have + taken].copy_from_slice(&data[..taken]);
        self.prefix_len = 0;
        if have + taken == PREFIX {
            let [_, length @ ..] = self.prefix;
            self.payload = u32::from_be_bytes(length);
        } else {
            self.prefix_len = u8::try_from(have + taken).unwrap_or(0);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).expect("small").to_be_bytes();
        [&[0][..], &length, &vec![7; payload]].concat()
    }

    proptest! {
        #[test]
        fn boundaries_are_found_wherever_frames_are_cut(
            payloads in prop::collection::vec(0_usize..9, 1..6),
            cuts in prop::collection::vec(0_usize..60, 0..8),
        ) {
            let all: Vec<_> = payloads.iter().flat_map(|payload| message(*payload)).collect();
            let mut ends: Vec<usize> = vec![0];
            for payload in &payloads {
                ends.push(ends.last().unwrap_or(&0) + PREFIX + payload);
            }
            let mut cuts: Vec<_> = cuts.into_iter().filter(|cut| *cut <= all.len()).collect();
            cuts.sort_unstable();
            let mut messages = Messages::default();
            let mut from = 0;
            for cut in cuts {
                messages.passed(&all[from..cut]);
                prop_assert_eq!(messages.is_midway(), !ends.contains(&cut));
                let end = ends.iter().find(|end| **end >= cut).copied().unwrap_or(cut);
                prop_assert_eq!(messages.clone().finish(&all[cut..]), end - cut);
                from = cut;
            }
        }
    }
}
