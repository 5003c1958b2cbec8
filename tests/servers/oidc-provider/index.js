// An authorization server on a free loopback port, with three kinds of tokens, selected by the
// requested `resource`. Prints its address. Its argument are the keys of the client `signer`.
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const jwk = (kid, alg, { privateKey }) => ({ ...privateKey.export({ format: 'jwk' }), kid, alg, use: 'sig' });

const lives = { audience: 'api', scope: 'read OTT', accessTokenTTL: 600 };
const resources = {
  'https://api.example.com/rs256': { ...lives, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256' } } },
  'https://api.example.com/es256': { ...lives, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } },
  'https://api.example.com/opaque': { ...lives, accessTokenFormat: 'opaque' },
};

// Any MCP server of a test is a resource.
const mcp = /^http:\/\/127\.0\.0\.1:\d+\/mcp$/;
const mcpServer = (resource) => ({
  audience: resource,
  scope: 'forecast',
  accessTokenTTL: 600,
  accessTokenFormat: 'jwt',
  jwt: { sign: { alg: 'RS256' } },
});

// A client by its id, which is also its secret.
const client = (id, settings) => ({
  client_id: id,
  client_secret: id,
  grant_types: ['client_credentials'],
  redirect_uris: [],
  response_types: [],
  ...settings,
});

const configuration = {
  clients: [
    client('agent'),
    client('other-agent'),
    client('poster', { token_endpoint_auth_method: 'client_secret_post' }),
    client('signer', {
      client_secret: undefined,
      token_endpoint_auth_method: 'private_key_jwt',
      jwks: JSON.parse(process.argv[2]),
    }),
    {
      client_id: 'shop',
      client_secret: "shop's secret: 100 % & more",
      grant_types: ['client_credentials', 'refresh_token', 'user'],
      redirect_uris: [],
      response_types: [],
    },
  ],
  scopes: ['read', 'OTT', 'forecast', 'offline_access'],
  jwks: {
    keys: [
      jwk('rsa', 'RS256', generateKeyPairSync('rsa', { modulusLength: 2048 })),
      jwk('ec', 'ES256', generateKeyPairSync('ec', { namedCurve: 'P-256' })),
    ],
  },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    dPoP: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo(ctx, resource) {
        const info = mcp.test(resource) ? mcpServer(resource) : resources[resource];
        if (!info) throw new Error(`no such resource: ${resource}`);
        return info;
      },
    },
  },
};

// The issuer's name contains the port, so the server listens first.
const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, configuration);
  // An opaque access token and a refresh token of a user, without a browser.
  provider.registerGrantType('user', async (ctx) => {
    const { client, params } = ctx.oidc;
    const resource = 'https://api.example.com/opaque';
    const grant = new provider.Grant({ accountId: params.username, clientId: client.clientId });
    grant.addResourceScope(resource, 'read');
    const of = { accountId: params.username, client, grantId: await grant.save(), gty: 'user', scope: 'read' };
    const access = new provider.AccessToken(of);
    access.resourceServer = new provider.ResourceServer(resource, resources[resource]);
    const refresh = new provider.RefreshToken(of);
    ctx.body = {
      access_token: await access.save(),
      refresh_token: await refresh.save(),
      token_type: access.tokenType,
    };
  }, ['username']);
  server.on('request', provider.callback());
  console.log(`listening on ${issuer}`);
});
