// Claude through Skillgate with Anthropic's official TypeScript SDK: only the address and the key differ.
//   SKILLGATE_URL=http://127.0.0.1:8000 SKILLGATE_KEY=sg_live_… npm start
import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic({
  baseURL: process.env.SKILLGATE_URL,
  apiKey: process.env.SKILLGATE_KEY,
});

const message = await client.messages.create({
  model: "claude-sonnet-5",
  max_tokens: 300,
  messages: [{ role: "user", content: "Say hello in one sentence." }],
});
for (const block of message.content) {
  if (block.type === "text") console.log(block.text);
}
console.log(`${message.usage.input_tokens} tokens read, ${message.usage.output_tokens} written`);

const stream = client.messages.stream({
  model: "claude-sonnet-5",
  max_tokens: 300,
  messages: [{ role: "user", content: "Count to five." }],
});
stream.on("text", (text) => process.stdout.write(text));
const last = await stream.finalMessage();
console.log(`\nstopped by ${last.stop_reason}`);

try {
  await client.messages.create({ model: "no-such-model", max_tokens: 10, messages: [{ role: "user", content: "Hi" }] });
} catch (error) {
  if (!(error instanceof Anthropic.NotFoundError)) throw error;
  console.log(`refused as it should be: ${error.status} ${error.message}`);
}
