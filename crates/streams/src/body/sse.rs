//! Where the events of `text/event-stream` end (HTML, section 9.2.5).

/// The last bytes of a stream of events. An event ends with an empty line, and a line with CR, LF or
/// both.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Events {
    last: [u8; 3],
    has_begun: bool,
}

impl Events {
    pub(super) fn passed(&mut self, data: &[u8]) {
        let tail = &data[data.len().saturating_sub(self.last.len())..];
        tail.iter().for_each(|byte| self.push(*byte));
    }

    fn push(&mut self, byte: u8) {
        let [_, second, third] = self.last;
        self.last = [second, third, byte];
        self.has_begun = true;
    }

    pub(super) fn is_midway(&self) -> bool {
        let ended = matches!(
            self.last,
            [_, b'\n', b'\n' | b'\r'] | [_, b'\r', b'\r'] | [b'\n' | b'\r', b'\r', b'\n']
        );
        self.has_begun && !ended
    }

    pub(super) fn finish(&mut self, data: &[u8]) -> usize {
        for (at, byte) in data.iter().enumerate() {
            if !self.is_midway() {
                return at;
            }
            self.push(*byte);
        }
        data.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(parts: &[&str]) -> Events {
        let mut events = Events::default();
        parts.iter().for_each(|part| events.passed(part.as_bytes()));
        events
    }

    #[test]
    fn an_event_ends_with_an_empty_line_of_any_kind() {
        for (parts, is_midway) in [
            (&[][..], false),
            (&["data: 1\n\n"], false),
            (&["data: 1\r\n\r\n"], false),
            (&["data: 1\r\r"], false),
            (&["data: 1\n\r\n"], false),
            (&["data: 1\r\r\n"], false),
            (&["data: 1\n", "\n"], false),
            (&["data: 1\r", "\n", "\r", "\n"], false),
            (&[":\n\n", "", ""], false),
            (&["data: 1"], true),
            (&["data: 1\n"], true),
            (&["data: 1\r\n"], true),
            (&["data: 1\n\nd"], true),
            (&["data: 1\n", "data: 2\n"], true),
        ] {
            assert_eq!(after(parts).is_midway(), is_midway, "{parts:?}");
        }
    }

    #[test]
    fn the_rest_of_an_event_is_found_in_the_data() {
        for (before, data, length) in [
            ("data: 1", "2\n\ndata: 3\n\n", 3),
            ("data: 1\n", "\ndata: 3\n\n", 1),
            // The line is over with its CR, whatever follows.
            ("data: 1\r", "\n\r\ndata: 3", 2),
            ("data: 1", "2", 1),
            ("data: 1\n\n", "data: 2\n\n", 0),
        ] {
            assert_eq!(
                after(&[before]).finish(data.as_bytes()),
                length,
                "{before:?}"
            );
        }
    }
}
