// Every round trip of the Messages API with the official TypeScript SDK; says what it saw as JSON.
import Anthropic from "@anthropic-ai/sdk";

const options = { baseURL: process.env.SKILLGATE_URL, maxRetries: 0 };
const client = new Anthropic({ ...options, apiKey: process.env.SKILLGATE_KEY });
const model = "claude-opus-5";
const hello = [{ role: "user", content: "Hello there" }];
const seen = {};

const message = await client.messages.create({ model, max_tokens: 100, messages: hello });
seen.create = message.content[0].type;

const kinds = [];
for await (const event of await client.messages.create({ model, max_tokens: 100, messages: hello, stream: true })) {
  kinds.push(event.type);
}
seen.stream = [kinds.at(0), kinds.at(-1)];

const tools = [
  {
    name: "get_weather",
    description: "Current weather of a city",
    input_schema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
];
const asked = { role: "user", content: "get_weather, city: Bern" };
const chosen = await client.messages
  .stream({ model, max_tokens: 500, messages: [asked], tools, tool_choice: { type: "any" } })
  .finalMessage();
const used = chosen.content.find((block) => block.type === "tool_use");
seen.tool = used.input;
const result = { role: "user", content: [{ type: "tool_result", tool_use_id: used.id, content: "17 degrees" }] };
const turns = [asked, { role: "assistant", content: chosen.content }, result];
seen.toolAnswer = (await client.messages.create({ model, max_tokens: 500, messages: turns, tools })).stop_reason;

const thinking = { type: "enabled", budget_tokens: 1024, display: "summarized" };
const thought = await client.messages.create({ model, max_tokens: 3000, messages: hello, thinking });
seen.thinking = thought.content.map((block) => block.type);

const document = {
  type: "document",
  title: "Rivers",
  source: { type: "text", media_type: "text/plain", data: "The Rhine is long. The Danube flows east." },
  citations: { enabled: true },
};
const question = { type: "text", text: "Which river flows east?" };
const cited = await client.messages
  .stream({ model, max_tokens: 900, messages: [{ role: "user", content: [document, question] }] })
  .finalMessage();
seen.cited = cited.content.flatMap((block) => block.citations ?? [])[0].document_title;

const schema = {
  type: "object",
  properties: { name: { type: "string" } },
  required: ["name"],
  additionalProperties: false,
};
const format = { type: "json_schema", schema };
const formed = await client.messages.create({ model, max_tokens: 500, messages: hello, output_config: { format } });
seen.parsed = typeof JSON.parse(formed.content[0].text).name;

const counted = await client.messages.countTokens({ model, messages: hello });
seen.counted = counted.input_tokens === message.usage.input_tokens;

const ids = [];
for await (const one of client.models.list({ limit: 3 })) ids.push(one.id);
seen.models = ids.length > 3 && ids.includes(model) && (await client.models.retrieve(model)).id === model;

async function refusal(work) {
  try {
    await work();
  } catch (error) {
    return [error.constructor.name, error.status ?? null, error.error?.error?.type ?? error.type];
  }
  return "no refusal";
}
const faulty = (fault) => [{ role: "user", content: `[[emulator:${fault}]]` }];
seen.errors = {};
for (const fault of ["http_400", "http_429", "http_500", "http_529"]) {
  seen.errors[fault] = await refusal(() =>
    client.messages.create({ model, max_tokens: 50, messages: faulty(fault) }),
  );
}
const stranger = new Anthropic({ ...options, apiKey: "nobody" });
seen.errors.unauthorized = await refusal(() => stranger.messages.create({ model, max_tokens: 50, messages: hello }));
seen.errors.midstream = await refusal(() =>
  client.messages.stream({ model, max_tokens: 50, messages: faulty("error_event") }).finalMessage(),
);

console.log(JSON.stringify(seen));
