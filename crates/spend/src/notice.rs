//! The notice that authorization servers get when a token has ended here.

use std::sync::Arc;

use futures_util::future::join_all;
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
        let slots = servers.iter().map(|server| server.clone().reserve(token));
        let slots = slots.collect::<Result<_, _>>();
        let slots =
            slots.map_err(|full| Rejection::new(Reason::Busy).source(full).token(token.id()))?;
        Ok(Some(Box::new(Self {
            token: TokenCopy::from(presented),
            slots,
        })))
    }

    /// Queues the token for all servers. The future ends once the revocations are kept there.
    pub(crate) fn send(self) -> impl Future<Output = ()> + Send + use<> {
        let token = self.token;
        let kept = join_all(self.slots.into_iter().map(|slot| slot.send(token.clone())));
        async move { drop(kept.await) }
    }
}
