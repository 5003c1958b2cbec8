//! The scripts that run in the server, and the names of their keys.

use std::sync::LazyLock;

use redis::{Cmd, Script, cmd};

/// A script, and the hash by which servers know it.
pub(crate) struct Lua {
    text: String,
    hash: String,
}

impl Lua {
    /// Concatenates a script from its parts.
    fn of(parts: &[&str]) -> Self {
        let text = parts.concat();
        let hash = Script::new(&text).get_hash().to_owned();
        Self { text, hash }
    }

    /// A call with these keys, to which the arguments are added.
    pub(crate) fn on(&self, keys: &[&str]) -> Cmd {
        let mut call = cmd("EVALSHA");
        call.arg(&self.hash).arg(keys.len()).arg(keys);
        call
    }
}

pub(crate) struct Scripts {
    pub(crate) take_use: Lua,
    pub(crate) return_use: Lua,
    pub(crate) revoke: Lua,
    pub(crate) purge: Lua,
    pub(crate) issue: Lua,
    pub(crate) hold: Lua,
    pub(crate) load: Lua,
    pub(crate) feed: Lua,
    pub(crate) takes_writes: Lua,
    pub(crate) mark: Lua,
}

pub(crate) static SCRIPTS: LazyLock<Scripts> = LazyLock::new(|| {
    let first = include_str!("lua/first.lua");
    let prelude = include_str!("lua/prelude.lua");
    Scripts {
        take_use: Lua::of(&[first, prelude, include_str!("lua/take_use.lua")]),
        return_use: Lua::of(&[prelude, include_str!("lua/return_use.lua")]),
        revoke: Lua::of(&[prelude, include_str!("lua/revoke.lua")]),
        purge: Lua::of(&[prelude, include_str!("lua/purge.lua")]),
        issue: Lua::of(&[include_str!("lua/issue.lua")]),
        hold: Lua::of(&[include_str!("lua/hold.lua")]),
        load: Lua::of(&[prelude, include_str!("lua/load.lua")]),
        feed: Lua::of(&[prelude, include_str!("lua/feed.lua")]),
        takes_writes: Lua::of(&[prelude, include_str!("lua/takes_writes.lua")]),
        mark: Lua::of(&[include_str!("lua/mark.lua")]),
    }
});

/// The commands that load all scripts into a server.
pub(crate) fn load_all() -> impl Iterator<Item = Cmd> {
    let all = &*SCRIPTS;
    let scripts = [
        &all.take_use,
        &all.return_use,
        &all.revoke,
        &all.purge,
        &all.issue,
        &all.hold,
        &all.load,
        &all.feed,
        &all.takes_writes,
        &all.mark,
    ];
    scripts.into_iter().map(|script| {
        let mut load = cmd("SCRIPT");
        load.arg("LOAD").arg(&script.text);
        load
    })
}

/// The names of the keys of one hash tag. None has a time to live: only `purge.lua` removes entries.
#[derive(Debug)]
pub(crate) struct Keys {
    /// Hash, key → kind, expiry, time; of a rule also issued at or before.
    pub(crate) listed: String,
    /// Hash, key → details for operators.
    pub(crate) details: String,
    /// Hash, key → time, expiry, details for operators.
    pub(crate) lifted: String,
    /// Hash, token → limit, count, expiry; of a single use also the id of the use. Also the time of
    /// the last purge, as a score.
    pub(crate) uses: String,
    /// Sorted set of token and use id, for tokens with several uses.
    pub(crate) held: String,
    /// Sorted sets of keys by expiry.
    pub(crate) listed_index: String,
    pub(crate) lifted_index: String,
    /// A member has one or many keys that expire together. A key whose use was prolonged is in two
    /// members.
    pub(crate) uses_index: String,
    /// Hash, hash of an issued token → its row.
    pub(crate) issued: String,
    /// Sorted set of these hashes by expiry.
    pub(crate) issued_index: String,
    /// Sorted set of places: a holder and the hash of one of its tokens.
    pub(crate) holders: String,
    /// The same by expiry.
    pub(crate) holders_index: String,
    /// Stream of changes: those of one write, and a random stamp.
    pub(crate) feed: String,
    /// Hash: the layout, the id of the store, up to where the feed is trimmed, up to where its uses are
    /// indexed, and the number of changes in the indexed part.
    pub(crate) meta: String,
}

impl Keys {
    pub(crate) fn new(prefix: &str, tag: usize) -> Self {
        let key = |name: &str| format!("{{{prefix}:{tag}}}:{name}");
        Self {
            listed: key("listed"),
            details: key("details"),
            lifted: key("lifted"),
            uses: key("uses"),
            held: key("held"),
            listed_index: key("listed-by-end"),
            lifted_index: key("lifted-by-end"),
            uses_index: key("uses-by-end"),
            issued: key("issued"),
            issued_index: key("issued-by-end"),
            holders: key("holders"),
            holders_index: key("holders-by-end"),
            feed: key("feed"),
            meta: key("meta"),
        }
    }

    /// Returns the keys that scripts take, in their order. Those of issued tokens follow for a purge.
    pub(crate) fn all(&self) -> [&str; 10] {
        [
            &self.uses,
            &self.feed,
            &self.meta,
            &self.held,
            &self.uses_index,
            &self.listed,
            &self.details,
            &self.lifted,
            &self.listed_index,
            &self.lifted_index,
        ]
    }

    /// Returns the keys of issued tokens.
    pub(crate) fn of_issued(&self) -> [&str; 4] {
        [
            &self.issued,
            &self.issued_index,
            &self.holders,
            &self.holders_index,
        ]
    }
}

/// The tag of a key or hash with this first byte, out of so many.
pub(crate) fn tag_of(first: u8, tags: usize) -> usize {
    usize::from(first) % tags
}
