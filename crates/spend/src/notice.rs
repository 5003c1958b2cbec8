//! The notice that authorization servers get when a token has ended here.

use std::sync::Arc;

use http::Request;
use tower_revoke_core::{
    BearerContext, Reason, Rejection, RemoteRevocation, RemoteSlot, TokenCopy, VerifiedToken,
};

/// The authorization servers that are told, beside the list.
pub(crate) type Servers = Arc<[Arc<dyn RemoteRevocation>]>;

/// A token that may end, and the slots that are reserved for it in the queues to the authorization
/// servers.
#[derive(Debug)]
pub(crate) struct Notice {
    token: TokenCopy,
    slots: Vec<RemoteSlot>,
}

impl Notice {
    /// `None` without servers, and if what was presented is not the token but stands for it. Boxed,
    /// since most calls have none.
    pub(crate) fn reserve<B>(
        servers: &Servers,
        request: &Request<B>,
        token: &VerifiedToken,
    ) -> Result<Option<Box<Self>>, Rejection> {
        if servers.is_empty() || token.is_single_use() {
            return Ok(None);
        }
        let presented = BearerContext::of(request.extensions())
            .and_then(BearerContext::token)
            .ok_or_else(|| Rejection::layer_missing("RequireBearerLayer"))?;
        let (id, holder) = (token.id(), token.holder());
        let slots = servers
            .iter()
            .map(|server| server.clone().reserve(id, holder))
            .collect::<Result<_, _>>()
            .map_err(|full| Rejection::new(Reason::Busy).source(full).token(id))?;
        Ok(Some(Box::new(Self {
            token: TokenCopy::from(presented),
            slots,
        })))
    }

    pub(crate) fn send(self) {
        for slot in self.slots {
            slot.send(self.token.clone());
        }
    }
}
