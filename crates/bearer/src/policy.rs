//! What a layer makes of a verifier's answer.

use std::sync::Arc;

use bytes::Bytes;
use http::{Extensions, HeaderMap, Response};
use http_body_util::Full;
use tower_revoke_core::{
    Authenticated, IdentitySlot, Reason, Rejection, RejectionFormat, end::is_grpc,
};

use crate::{requirement::Requirement, source::Sources};

#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    pub(crate) mode: Mode,
    pub(crate) sources: Sources,
    pub(crate) requirement: Requirement,
    pub(crate) format: Arc<RejectionFormat>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    #[default]
    Require,
    Optional,
    Observe,
}

impl Policy {
    /// Lets a request pass, with or without a caller in its extensions, or says why not.
    /// `Ok(None)`: no token came.
    pub(crate) fn admit(
        &self,
        answer: Result<Option<Authenticated>, Rejection>,
        extensions: &mut Extensions,
    ) -> Result<(), Rejection> {
        match self.judge(answer, extensions) {
            Err(rejection) if self.mode == Mode::Observe => {
                log_unenforced(&rejection);
                Ok(())
            }
            verdict => verdict,
        }
    }

    fn judge(
        &self,
        answer: Result<Option<Authenticated>, Rejection>,
        extensions: &mut Extensions,
    ) -> Result<(), Rejection> {
        let Some(caller) = answer? else {
            return match self.mode {
                Mode::Optional => Ok(()),
                Mode::Require | Mode::Observe => Err(Reason::NoToken.into()),
            };
        };
        if let Some(slot) = extensions.get::<IdentitySlot>() {
            slot.fill(caller.clone());
        }
        self.requirement.check(&caller)?;
        extensions.insert(caller);
        Ok(())
    }

    pub(crate) fn refuse(
        &self,
        rejection: Rejection,
        headers: &HeaderMap,
    ) -> Response<Full<Bytes>> {
        self.format.respond(rejection, is_grpc(headers))
    }
}

fn log_unenforced(rejection: &Rejection) {
    let reason = rejection.reason().label();
    let token = rejection.token_id().map(tracing::field::display);
    let source = std::error::Error::source(rejection);
    tracing::info!(reason, token, source, "would be refused: {rejection}");
}
