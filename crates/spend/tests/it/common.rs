//! A caller with a token, a list over a store that can be told to fail, and a service.

use std::{convert::Infallible, sync::Arc};

use http::{Request, Response};
use serde_json::{Value, json};
use tower_revoke_core::{
    Authenticated, BearerChecked, BearerToken, Claims, RejectionFormat, Revocations, Standing,
    TokenId, VerifiedToken,
};
use tower_revoke_list::{MemoryStore, RevocationList};
use tower_revoke_testing::{ScriptedBody, ScriptedStore, StoreScript};

pub(crate) struct Caller {
    pub(crate) list: Arc<dyn Revocations>,
    pub(crate) store: StoreScript,
    pub(crate) token: Arc<VerifiedToken>,
}

impl Caller {
    pub(crate) fn new() -> Self {
        Self::with(json!({}))
    }

    /// A caller whose token carries these claims beside its own.
    pub(crate) fn with(more: Value) -> Self {
        let mut claims = json!({
            "iss": "https://id.example.com", "sub": "ann", "jti": "1", "exp": 4_000_000_000_u64,
        });
        let Value::Object(more) = more else {
            panic!("claims are an object");
        };
        claims.as_object_mut().expect("an object").extend(more);
        let (store, script) = ScriptedStore::over(MemoryStore::new());
        let list: Arc<dyn Revocations> = RevocationList::over(store).into();
        let token = VerifiedToken::new(
            TokenId::of_jwt("https://id.example.com", "1"),
            Claims::from_value(claims).expect("claims"),
            std::time::Duration::from_secs(30),
        )
        .with_revocations(list.clone());
        Self {
            list,
            store: script,
            token: Arc::new(token),
        }
    }

    pub(crate) fn request(&self) -> Request<()> {
        let token = BearerToken::new("e30.e30.c2ln").expect("a token");
        let mut request = Request::new(());
        let extensions = request.extensions_mut();
        extensions.insert(BearerChecked::new(
            Arc::new(RejectionFormat::default()),
            Some(token),
        ));
        extensions.insert(Authenticated::new(self.token.clone()));
        request
    }

    pub(crate) async fn standing(&self) -> Standing {
        self.list.check(&self.token).await.expect("an answer")
    }
}

pub(crate) async fn hello(_: Request<()>) -> Result<Response<ScriptedBody>, Infallible> {
    Ok(Response::new(ScriptedBody::new().data("hello")))
}
