// Calls a gRPC method with grpc-js, without generated code. Reads a job as JSON, and writes the
// outcome of each call as JSON. Every call is a client stream with one response.

import grpc from "@grpc/grpc-js";

const bytes = (value) => value;

function call(client, { path, token, messages, size }) {
  const metadata = new grpc.Metadata();
  metadata.set("authorization", `Bearer ${token}`);
  const deadline = Date.now() + 60_000;
  return new Promise((done) => {
    const stream = client.makeClientStreamRequest(
      path, bytes, bytes, metadata, { deadline },
      (error) => done({ code: error?.code ?? 0, details: error?.details ?? "" }),
    );
    // Sequentially: each starts once the previous one is written.
    const write = (left) =>
      left ? stream.write(Buffer.alloc(size), () => write(left - 1)) : stream.end();
    write(messages);
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
const outcomes = [];
for (let times = job.times; times > 0; times--) outcomes.push(await call(client, job));
client.close();
console.log(JSON.stringify(outcomes));
