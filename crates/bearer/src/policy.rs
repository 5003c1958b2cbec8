//! Which requests a layer admits, by what its verifier says.

use std::sync::Arc;

use bytes::Bytes;
use http::{Extensions, Request, Response};
use http_body_util::Full;
use tower_revoke_core::{
    Authenticated, BearerToken, IdentitySlot, Reason, Rejection, RejectionFormat,
    end::RequestShape, internal,
};

use crate::{metadata::Resource, requirement::Requirement, source::Sources};

#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    pub(crate) mode: Mode,
    pub(crate) on_list_error: OnListError,
    pub(crate) sources: Sources,
    pub(crate) requirement: Requirement,
    pub(crate) resource: Option<Resource>,
    pub(crate) forbids_forwarding: bool,
    pub(crate) format: Arc<RejectionFormat>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    #[default]
    Require,
    Optional,
    Observe,
}

/// What becomes of a request whose token is valid as far as is known, while the revocation list can't
/// answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnListError {
    /// The request is rejected with 503.
    #[default]
    Reject,
    /// The request is admitted, logged and counted. See
    /// [`RequireBearerLayer::on_list_error`](crate::RequireBearerLayer::on_list_error) for what that
    /// costs.
    Admit,
}

impl Policy {
    /// Admits the token of which only the list can't say whether it was revoked, if so configured. An
    /// answer about several tokens names none.
    pub(crate) fn despite_the_list(
        &self,
        answer: Result<Authenticated, Rejection>,
        token: Option<&BearerToken>,
    ) -> Result<Authenticated, Rejection> {
        let admits = token.is_some() && self.on_list_error == OnListError::Admit;
        answer.or_else(|rejection| match rejection.unchecked_token() {
            Some(unchecked) if admits => {
                internal::log_admitted(&self.format, &rejection);
                Ok(Authenticated::new(unchecked.clone()))
            }
            _ => Err(rejection),
        })
    }

    /// Admits a request with this token, with or without a caller in its extensions, or returns why
    /// not. `Ok(None)`: no token came. The guard is to be dropped when the head of the response
    /// passes.
    pub(crate) fn admit(
        &self,
        answer: Result<Option<Authenticated>, Rejection>,
        token: Option<BearerToken>,
        extensions: &mut Extensions,
    ) -> Result<internal::HeadGuard, Rejection> {
        let caller = match self.caller(answer, extensions) {
            Err(rejection) if self.mode == Mode::Observe => {
                internal::log_observed(&self.format, &rejection);
                None
            }
            caller => caller?,
        };
        if self.forbids_forwarding {
            extensions.insert(internal::ForwardingForbidden);
        }
        let observer = match caller {
            Some(_) => internal::take_stream_observer(extensions),
            None => internal::stream_observer(extensions).cloned(),
        };
        let context = internal::observed_context(self.format.clone(), token, observer);
        let head = internal::head_guard(&context);
        match caller {
            Some(caller) => drop(extensions.insert(caller.with_context(context))),
            None => {
                // What another bearer layer let through has not been found good by this one.
                extensions.remove::<Authenticated>();
                extensions.insert(context);
            }
        }
        Ok(head)
    }

    /// The caller, if there is one and this layer's mode and requirement are met.
    fn caller(
        &self,
        answer: Result<Option<Authenticated>, Rejection>,
        extensions: &mut Extensions,
    ) -> Result<Option<Authenticated>, Rejection> {
        let Some(caller) = answer? else {
            return match self.mode {
                Mode::Optional => Ok(None),
                Mode::Require | Mode::Observe => Err(Reason::NoToken.into()),
            };
        };
        // The first caller stays in it, whichever bearer layers follow.
        if let Some(slot) = extensions.get::<IdentitySlot>() {
            slot.fill(caller.clone());
        }
        self.requirement.check(&caller)?;
        Ok(Some(caller))
    }

    pub(crate) fn reject<B>(
        &self,
        rejection: Rejection,
        request: &Request<B>,
    ) -> Response<Full<Bytes>> {
        internal::respond(&self.format, rejection, RequestShape::of(request))
    }
}
