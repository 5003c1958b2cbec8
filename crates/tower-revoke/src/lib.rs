#![doc = include_str!("../README.md")]

pub mod guide;

#[cfg(feature = "bearer")]
#[doc(inline)]
pub use tower_revoke_bearer::{
    OnListError, ProtectedResourceMetadata, RequireBearer, RequireBearerFuture, RequireBearerLayer,
    RequireClaims, RequireClaimsLayer, ResourceError,
};
#[cfg(feature = "axum-08")]
#[doc(inline)]
pub use tower_revoke_core::ExtractRejection;
#[cfg(feature = "streams")]
#[doc(inline)]
pub use tower_revoke_core::TokenEnd;
#[doc(inline)]
pub use tower_revoke_core::{
    self as core, Authenticated, BearerToken, ClaimNames, Claims, Clock, GrpcRejections,
    HealthCheck, HealthSource, HealthStatus, Lift, Outcome, Reason, RecordFilter, Rejection,
    RejectionFormat, Revocation, RevocationKey, StoreError, TokenId, TokenKind, UnixTime,
    UsePermit, UsePermitError, VerifierSet, VerifierSetBuilder, VerifierSetError,
};
#[cfg(any(feature = "oauth", feature = "remote-keys"))]
#[doc(inline)]
pub use tower_revoke_core::{
    DiscoveryError, Endpoint, EndpointError, HttpClient, HttpClientError, MetadataFetchError,
};
#[cfg(feature = "drain")]
#[doc(inline)]
pub use tower_revoke_drain::{DrainUpload, DrainUploadBody, DrainUploadFuture, DrainUploadLayer};
#[cfg(feature = "endpoints")]
#[doc(inline)]
pub use tower_revoke_endpoints::{
    AdministrationEndpoint, AuthenticationError, AuthorizationServerMetadata, ClientAuthMethod,
    ClientAuthentication, ClientAuthenticator, ClientCredentials, ClientSecret,
    IntrospectionEndpoint, MetadataError, ResolveError, ResolvedToken, RevocationEndpoint,
    SecretError, SecretHash, StaticClients, TokenResolver,
};
#[cfg(feature = "https")]
#[doc(inline)]
pub use tower_revoke_http::{HttpsClient, HttpsClientError};
#[cfg(feature = "reqwest")]
#[doc(inline)]
pub use tower_revoke_http::{ReqwestClient, ReqwestClientError};
#[cfg(feature = "issued")]
#[doc(inline)]
pub use tower_revoke_issued::{
    IssueError, IssueTicket, IssuedTokens, IssuedTokensBuilder, IssuedTokensError, NewToken,
    OpaqueToken, OpaqueTokenVerifier, OpaqueTokenVerifierBuilder, OpaqueTokenVerifierError,
    TicketVerifier, Tickets, TicketsBuilder, TicketsError,
};
#[cfg(feature = "jwt")]
#[doc(inline)]
pub use tower_revoke_jwt::{
    Algorithm, IssuerError, JwtVerifier, JwtVerifierBuilder, JwtVerifierError, KeySetError,
};
#[cfg(feature = "remote-keys")]
#[doc(inline)]
pub use tower_revoke_jwt::{
    IssuerResolver, IssuerStats, IssuerTemplate, IssuerTemplateError, KeyFetchError, KeyStats,
    KeysUnavailable, TemplateResolver, TrustedIssuer,
};
#[cfg(feature = "list")]
#[doc(inline)]
pub use tower_revoke_list::{
    Export, ImportError, Inspection, ListStats, MemoryStore, MirrorSnapshot, MirrorState, Pages,
    RevocationList, RevocationListBuilder, RevocationListError, SnapshotError, SnapshotState,
};
#[cfg(feature = "monitor")]
#[doc(inline)]
pub use tower_revoke_monitor::{
    ByStatus, Classify, ClientMinute, ClientUsage, Composite, Counted, Counts, History, Latency,
    MethodUsage, Monitor, MonitorBody, MonitorBuilder, MonitorFuture, MonitorLayer, MonitorService,
    SeriesHistory, ServiceHistory, ServiceSnapshot, ServiceUsage, Snapshot, Span, Usage,
    UsageQuery, UsageSort,
};
#[cfg(feature = "dashboard")]
#[doc(inline)]
pub use tower_revoke_monitor::{MonitorDashboard, MonitorDashboardFuture, MonitorReports};
#[cfg(feature = "prometheus")]
#[doc(inline)]
pub use tower_revoke_monitor::{OPEN_METRICS_TYPE, PROMETHEUS_TYPE};
#[cfg(feature = "oauth")]
#[doc(inline)]
pub use tower_revoke_oauth::{
    CredentialsError, DeliveryFailure, IntrospectionError, IntrospectionVerifier,
    IntrospectionVerifierBuilder, IntrospectionVerifierError, RevocationClient,
    RevocationClientBuilder, RevocationClientError, RevocationClientStats, SettingError,
    ShutdownReport, SigningAlgorithm, SigningKey, SigningKeyError,
};
#[cfg(feature = "preserve")]
#[doc(inline)]
pub use tower_revoke_preserve::{
    ConfigError, HopByHop, HopByHopFuture, HopByHopLayer, OriginalAuthorization, Outbound,
    OutboundAuthorization, OutboundAuthorizationLayer, OutboundBody, PreserveAuthorization,
    PreserveAuthorizationLayer, PreserveForProxy, PreserveForProxyLayer, RejectAmbiguous,
    RejectAmbiguousLayer,
};
#[cfg(feature = "spend")]
#[doc(inline)]
pub use tower_revoke_spend::{
    CommitError, Condition, ConditionRequest, OnStoreError, PendingReport, PendingRevocations,
    ResponseHead, RevokeAfterResponse, RevokeAfterResponseLayer, SpendBody, SpendFuture, UseLimit,
    UseLimitLayer,
};
#[cfg(feature = "streams")]
#[doc(inline)]
pub use tower_revoke_streams::{
    RequestBodyLifetime, RequestBodyLifetimeLayer, TokenEndedError, TokenLifetime,
    TokenLifetimeBody, TokenLifetimeFuture, TokenLifetimeLayer, TokenLifetimeService,
};
