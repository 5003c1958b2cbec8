//! TLS to the servers, by rustls on aws-lc-rs, whatever else the process has set up.

use std::{fmt, io, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use rustls_platform_verifier::Verifier;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::error::RedisStoreError;

/// What a user gives for TLS, as PEM.
#[derive(Clone, Default)]
pub(crate) struct Pem {
    pub(crate) roots: Option<Vec<u8>>,
    pub(crate) client: Option<(Vec<u8>, Vec<u8>)>,
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pem")
            .field("own_roots", &self.roots.is_some())
            .field("client_certificate", &self.client.is_some())
            .finish()
    }
}

#[derive(Clone)]
pub(crate) struct Tls(TlsConnector);

impl Tls {
    pub(crate) fn new(pem: &Pem) -> Result<Self, RedisStoreError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(failed)?;
        let config = match &pem.roots {
            Some(pem) => {
                let mut roots = RootCertStore::empty();
                for root in certificates(pem)? {
                    roots.add(root).map_err(failed)?;
                }
                config.with_root_certificates(roots)
            }
            None => {
                let verifier = Verifier::new(provider).map_err(failed)?;
                config
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::new(verifier))
            }
        };
        let config = match &pem.client {
            Some((chain, key)) => {
                let key = PrivateKeyDer::from_pem_slice(key).map_err(failed)?;
                config
                    .with_client_auth_cert(certificates(chain)?, key)
                    .map_err(failed)?
            }
            None => config.with_no_client_auth(),
        };
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    pub(crate) async fn wrap(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        self.0.connect(name, stream).await
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, RedisStoreError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    if certificates.is_empty() {
        return Err(RedisStoreError::Setting(
            "there is no certificate in the PEM",
        ));
    }
    Ok(certificates)
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> RedisStoreError {
    RedisStoreError::Tls(Arc::new(error))
}
