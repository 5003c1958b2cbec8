// Opens gRPC streams with grpc-js that the client never ends, without generated code. Reads a job as
// JSON, and writes the outcome of each call as JSON.

import grpc from "@grpc/grpc-js";

const TEA = Buffer.from("\x0a\x03tea\x10\x01"); // Line: article = "tea", quantity = 1
const NO_END = Buffer.from("\x0a\x03tea"); // WatchRequest: article = "tea", until the client leaves
const bytes = (value) => value;

function open(client, { kind, token }) {
  const path = `/orders.v1.Orders/${kind}`;
  const metadata = new grpc.Metadata();
  metadata.set("authorization", `Bearer ${token}`);
  const options = { deadline: Date.now() + 60_000 };
  return new Promise((done) => {
    let answers = 0;
    let stream;
    if (kind === "Import") {
      stream = client.makeClientStreamRequest(path, bytes, bytes, metadata, options, () => {});
    } else if (kind === "Watch") {
      stream = client.makeServerStreamRequest(path, bytes, bytes, NO_END, metadata, options);
    } else {
      stream = client.makeBidiStreamRequest(path, bytes, bytes, metadata, options);
    }
    stream.on("data", () => answers++);
    stream.on("error", () => {}); // The status is read below.
    stream.on("status", ({ code, details }) => done({ code, details, answers }));
    if (kind !== "Watch") stream.write(TEA);
  });
}

let text = "";
for await (const chunk of process.stdin) text += chunk;
const job = JSON.parse(text);
// No retries, and no proxy from the environment.
const client = new grpc.Client(job.at, grpc.credentials.createInsecure(), {
  "grpc.enable_retries": 0,
  "grpc.enable_http_proxy": 0,
});
const outcomes = await Promise.all(job.steps.map((step) => open(client, step)));
client.close();
console.log(JSON.stringify(outcomes));
