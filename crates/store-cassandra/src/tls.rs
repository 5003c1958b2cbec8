//! TLS to the nodes, by rustls on aws-lc-rs, whatever else the process has set up.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use rustls_platform_verifier::Verifier;
use tower_revoke_core::BoxError;

use crate::error::CassandraStoreError;

/// The roots that vouch for the nodes (`None`: those that the machine trusts), and our own
/// certificate and key.
#[derive(Clone, Default)]
pub(crate) struct Pem {
    pub(crate) roots: Option<Vec<u8>>,
    pub(crate) client: Option<(Vec<u8>, Vec<u8>)>,
}

impl Pem {
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>, CassandraStoreError> {
        let config = self.client_config();
        config.map(Arc::new).map_err(CassandraStoreError::Tls)
    }

    fn client_config(&self) -> Result<ClientConfig, BoxError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let config = match &self.roots {
            Some(pem) => {
                let mut roots = RootCertStore::empty();
                for root in certificates(pem)? {
                    roots.add(root)?;
                }
                config.with_root_certificates(roots)
            }
            None => config
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Verifier::new(provider)?)),
        };
        Ok(match &self.client {
            Some((chain, key)) => config
                .with_client_auth_cert(certificates(chain)?, PrivateKeyDer::from_pem_slice(key)?)?,
            None => config.with_no_client_auth(),
        })
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, BoxError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>()?;
    if certificates.is_empty() {
        return Err("the PEM contains no certificate".into());
    }
    Ok(certificates)
}
