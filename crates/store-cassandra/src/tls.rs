//! TLS to the nodes, by rustls on aws-lc-rs, whatever else the process has set up.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};
use rustls_platform_verifier::Verifier;
use tower_revoke_core::BoxError;

use crate::CassandraStoreError;

/// Who may vouch for the nodes, in PEM; `None`: whom the machine trusts.
#[derive(Clone)]
pub(crate) struct Trust(pub(crate) Option<Vec<u8>>);

impl Trust {
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>, CassandraStoreError> {
        let config = match &self.0 {
            Some(pem) => only(pem),
            None => platform(),
        };
        config.map(Arc::new).map_err(CassandraStoreError::Tls)
    }
}

fn only(pem: &[u8]) -> Result<ClientConfig, BoxError> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(pem) {
        roots.add(root?)?;
    }
    if roots.is_empty() {
        return Err("there is no certificate in the PEM".into());
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    Ok(config.with_no_client_auth())
}

fn platform() -> Result<ClientConfig, BoxError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier::new(provider)?));
    Ok(config.with_no_client_auth())
}
