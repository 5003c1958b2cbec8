//! Tests the example MCP server with unmodified clients of MCP, which get their tokens from a real
//! authorization server.

use http::{Request, StatusCode, header};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};
use tower_revoke::RevocationList;
use tower_revoke_tests::{
    Client, Wire, get,
    servers::{OidcProvider, mcp_sdk_js, mcp_sdk_python},
};

/// Two agents, each with its own client credentials. `seen` are the calls of the first one until it has
/// listed the tools.
const JAVASCRIPT: &str = r"
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { ClientCredentialsProvider } from '@modelcontextprotocol/sdk/client/auth-extensions.js';
import fs from 'node:fs';
const job = JSON.parse(fs.readFileSync(0));
const calls = [];
const recorded = async (url, init) => {
  const response = await fetch(url, init);
  calls.push(`${init?.method ?? 'GET'} ${new URL(url).pathname} ${response.status}`);
  return response;
};
const credentials = (id) =>
  new ClientCredentialsProvider({ clientId: id, clientSecret: id, scope: 'forecast', expectedIssuer: job.issuer });
const open = [];
const connect = async (options) => {
  const client = new Client({ name: 'test', version: '1' });
  const transport = new StreamableHTTPClientTransport(new URL(job.url), { fetch: recorded, ...options });
  open.push(client);
  await client.connect(transport);
  return { client, transport };
};
const call = async ({ client }, name) => (await client.callTool({ name, arguments: {} })).content[0].text;
const within = (sessionId, token) =>
  connect({ sessionId, requestInit: { headers: { authorization: `Bearer ${token}` } } });
const refused = async (session) => {
  try {
    return await call(await session, 'forecast');
  } catch (error) {
    return error.code;
  }
};
const agent = credentials('agent');
const mine = await connect({ authProvider: agent });
const tools = (await mine.client.listTools()).tools.map((tool) => tool.name).sort();
const seen = [...calls];
const cities = await call(mine, 'cities');
const paid = agent.tokens().access_token;
const first = await call(mine, 'forecast');
const { sessionId } = mine.transport;
const again = await refused(within(sessionId, paid));
const with_another_token = await call(mine, 'forecast');
const is_another = agent.tokens().access_token !== paid && mine.transport.sessionId === sessionId;
const other = credentials('other-agent');
await connect({ authProvider: other });
const stolen = await refused(within(sessionId, other.tokens().access_token));
for (const client of open) await client.close();
const result = { tools, seen, cities, first, again, with_another_token, is_another, stolen };
console.log(JSON.stringify(result));
";

const PYTHON: &str = r"
import asyncio, json, sys
import httpx2
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
job = json.load(sys.stdin)
class Storage:
    tokens = info = None
    async def get_tokens(self):
        return self.tokens
    async def set_tokens(self, tokens):
        self.tokens = tokens
    async def get_client_info(self):
        return self.info
    async def set_client_info(self, info):
        self.info = info
def http(calls, **options):
    async def record(response):
        request = response.request
        calls.append(f'{request.method} {request.url.path} {response.status_code}')
    return httpx2.AsyncClient(event_hooks={'response': [record]}, timeout=30, **options)
async def main():
    calls, later, storage = [], [], Storage()
    auth = ClientCredentialsOAuthProvider(
        server_url=job['url'], storage=storage, client_id='agent', client_secret='agent', issuer=job['issuer'])
    async with http(calls, auth=auth) as client:
        async with Client(streamable_http_client(job['url'], http_client=client)) as session:
            tools = sorted(tool.name for tool in (await session.list_tools()).tools)
            seen = list(calls)
            cities = (await session.call_tool('cities', {})).content[0].text
            paid = storage.tokens.access_token
            first = (await session.call_tool('forecast', {})).content[0].text
            with_another_token = (await session.call_tool('forecast', {})).content[0].text
    is_another = storage.tokens.access_token != paid
    again = 200
    async with http(later, headers={'authorization': f'Bearer {paid}'}) as client:
        try:
            async with Client(streamable_http_client(job['url'], http_client=client)) as session:
                await session.call_tool('forecast', {})
        except Exception:
            again = 401 if later and all(call.endswith(' 401') for call in later) else later
    return dict(tools=tools, seen=seen, cities=cities, first=first, again=again,
        with_another_token=with_another_token, is_another=is_another)
print(json.dumps(asyncio.run(main())))
";

struct McpServer {
    provider: OidcProvider,
    url: String,
    task: JoinHandle<std::io::Result<()>>,
}

impl McpServer {
    async fn start() -> Self {
        let provider = OidcProvider::start().await;
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/mcp", socket.local_addr().expect("an address"));
        let list = RevocationList::in_memory();
        let app = mcp_server::app(&provider.issuer.name, &url, list).expect("the example");
        let task = tokio::spawn(async move { axum::serve(socket, app).await });
        Self {
            provider,
            url,
            task,
        }
    }

    async fn driven_by(&self, run: impl AsyncFn(&str, &Value) -> Value, script: &str) -> Value {
        let job = json!({ "url": self.url, "issuer": self.provider.issuer.name });
        let mut told = run(script, &job).await;
        let expected = json!({
            "tools": ["cities", "forecast"],
            "cities": "Bergen, Genoa",
            "first": "rain",
            "again": 401,
            "with_another_token": "rain",
            "is_another": true,
        });
        let members = told.as_object_mut().expect("an object");
        let seen = members.remove("seen");
        let stolen = members.remove("stolen");
        assert_eq!(told, expected);
        let seen: Vec<String> =
            serde_json::from_value(seen.unwrap_or_default()).expect("a list of calls");
        // From the challenge to the metadata, from there to the issuer, and back with a token.
        let mut calls = seen.iter().map(String::as_str);
        assert_eq!(calls.next(), Some("POST /mcp 401"), "{seen:?}");
        let metadata = "GET /.well-known/oauth-protected-resource/mcp 200";
        assert_eq!(calls.next(), Some(metadata), "{seen:?}");
        assert!(calls.any(|call| call == "POST /token 200"), "{seen:?}");
        assert!(calls.all(|call| call.contains(" /mcp ")), "{seen:?}");
        stolen.unwrap_or_default()
    }
}

impl Drop for McpServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn mcp_the_typescript_sdk_is_served() {
    let server = McpServer::start().await;
    let stolen = server.driven_by(mcp_sdk_js, JAVASCRIPT).await;
    assert_eq!(stolen, 404, "the session of another client");
}

#[tokio::test]
async fn mcp_the_python_sdk_is_served() {
    let server = McpServer::start().await;
    server.driven_by(mcp_sdk_python, PYTHON).await;
}

#[tokio::test]
async fn mcp_only_tokens_for_this_server_in_the_header_are_accepted() {
    let server = McpServer::start().await;
    let token = |resource: String| {
        let issuer = &server.provider.issuer;
        async move {
            let parameters = [("resource", &*resource), ("scope", "forecast")];
            issuer.token(OidcProvider::AGENT, &parameters).await
        }
    };
    let mine = token(server.url.clone()).await;
    let anothers = token("http://127.0.0.1:1/mcp".to_owned()).await;
    let address = server.url.trim_start_matches("http://");
    let address = address
        .trim_end_matches("/mcp")
        .parse()
        .expect("an address");
    let mut client = Client::connect(address, Wire::Http1).await;
    let in_query = Request::get(format!("/mcp?access_token={mine}"));
    let in_query = in_query
        .body(http_body_util::Empty::new())
        .expect("a request");
    for (request, verdict, code) in [
        (get("/mcp", &anothers), "401 invalid_token", true),
        (in_query, "401", false),
        // It is passed on, and this is no request of MCP.
        (get("/mcp", &mine), "406", false),
    ] {
        let mut request = request;
        let host = http::HeaderValue::from_static("127.0.0.1");
        request.headers_mut().insert(header::HOST, host);
        let answer = client.send(request).await.expect("an answer");
        assert_eq!(answer.verdict(), verdict);
        let challenge = answer.headers.get(header::WWW_AUTHENTICATE);
        let challenge = challenge.map_or("", |value| value.to_str().expect("text"));
        assert_eq!(challenge.contains("invalid_token"), code, "{challenge}");
        let is_named = challenge.contains("scope=\"forecast\", resource_metadata=\"http://127.");
        assert_eq!(is_named, answer.status == StatusCode::UNAUTHORIZED);
    }
}
