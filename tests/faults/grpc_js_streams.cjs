// Streams answers with Node's gRPC client: grpc_js_streams.cjs HOST:PORT STREAMS AT_ONCE. Prints for each, in order, a line of JSON: its text, or
// its status' code.
const path = require("node:path");
const root = path.resolve(__dirname, "../..");
const modules = path.join(root, ".deps/grpc_node/node_modules");
const grpc = require(path.join(modules, "@grpc/grpc-js"));
const loader = require(path.join(modules, "@grpc/proto-loader"));

const [address, streams, atOnce] = process.argv.slice(2);
const definition = loader.loadSync("diptych/v1/gateway.proto", { includeDirs: [path.join(root, "proto")], keepCase: true, enums: String });
const { GatewayService } = grpc.loadPackageDefinition(definition).diptych.v1;
const client = new GatewayService(address, grpc.credentials.createInsecure());

const answer = (number) =>
  new Promise((resolve) => {
    const generation = { max_new_tokens: 80, min_new_tokens: 80 };
    const call = client.AskStream({ question: { prompt: `What is number ${number}?`, generation } }, { deadline: Date.now() + 60_000 });
    let text = "";
    call.on("data", ({ delta }) => (text += delta ? delta.text : ""));
    call.on("error", ({ code }) => resolve({ code }));
    call.on("end", () => resolve({ text }));
  });

const answers = [];
let next = 0;
async function worker() {
  while (next < Number(streams)) {
    const number = next++;
    answers[number] = await answer(number);
  }
}
Promise.all(Array.from({ length: Number(atOnce) }, worker)).then(() => {
  for (const outcome of answers) console.log(JSON.stringify(outcome));
  client.close();
});
