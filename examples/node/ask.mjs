// Asks a Diptych server about an image: node ask.mjs HOST:PORT IMAGE QUESTION. Wants `npm install` in this folder.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

const [address, path, text] = process.argv.slice(2);
const files = ["diptych/v1/gateway.proto", "google/rpc/status.proto", "google/rpc/error_details.proto"];
const includeDirs = [process.env.DIPTYCH_PROTO ?? fileURLToPath(new URL("../../proto", import.meta.url))];
const definition = loadSync(files, { includeDirs, keepCase: true, enums: String, defaults: true });
const { GatewayService } = grpc.loadPackageDefinition(definition).diptych.v1;
const client = new GatewayService(address, grpc.credentials.createInsecure());

const question = (data, generation = {}) => ({
  question: { images: [{ data }], turns: [{ role: "ROLE_USER", text }], generation },
});
const image = readFileSync(path);
const after = (ms) => ({ deadline: Date.now() + ms });
const milliseconds = ({ seconds, nanos }) => (Number(seconds) * 1e3 + nanos / 1e6).toFixed(1);

const ask = (request, options) =>
  new Promise((resolve, reject) =>
    client.Ask(request, options, (error, reply) => (error ? reject(error) : resolve(reply.answer))),
  );

// The stable word for what went wrong, from google.rpc.Status.
function reasonOf(error) {
  const [bytes] = error.metadata.get("grpc-status-details-bin");
  const { details } = definition["google.rpc.Status"].deserialize(bytes);
  const info = details.find(({ type_url }) => type_url.endsWith("/google.rpc.ErrorInfo"));
  return definition["google.rpc.ErrorInfo"].deserialize(info.value).reason;
}

const answer = await ask(question(image), after(30_000));
const { timings, context_budget: budget } = answer;
console.log("answer:", answer.text);
console.log(`timings: vit ${milliseconds(timings.vit)} ms of ${milliseconds(timings.total)} ms`);
console.log(`budget: ${budget.image_tokens} image tokens, ${budget.remaining} of ${budget.window} left`);

process.stdout.write("streamed: ");
for await (const event of client.AskStream(question(image), after(30_000))) process.stdout.write(event.delta?.text ?? "");
console.log();

const long = client.AskStream(question(image, { max_new_tokens: 60, min_new_tokens: 60 }), after(30_000));
try {
  for await (const event of long) long.cancel();
} catch (error) {
  console.log("cancelled:", grpc.status[error.code]);
}
await ask(question(image), after(0.1)).catch((error) => console.log("deadline:", grpc.status[error.code]));
await ask(question(Buffer.from("no image")), after(30_000)).catch((error) =>
  console.log("refused:", grpc.status[error.code], reasonOf(error)),
);
client.close();
