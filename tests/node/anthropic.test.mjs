// The official Anthropic client for Node, unmodified: only its base URL and its key are ours.
import assert from "node:assert/strict";
import { test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import { betaZodTool } from "@anthropic-ai/sdk/helpers/beta/zod";
import { z } from "zod";

import { key, model, ofTheGateway, url, weather } from "./gateway.mjs";

const client = new Anthropic({ baseURL: url, apiKey: key, maxRetries: 0 });
const user = (content) => [{ role: "user", content }];
const asks = (content, more = {}) => ({ model, max_tokens: 1000, messages: user(content), ...more });
const textOf = (message) => message.content.filter((block) => block.type === "text").map((block) => block.text).join("");
const tools = [{ name: "get_weather", description: "The weather now.", input_schema: weather }];

test("a message with its usage", async () => {
  const message = await client.messages.create(asks("Say hello.", { system: "Be brief." }));
  assert.ok(textOf(message));
  assert.equal(message.stop_reason, "end_turn");
  assert.ok(message.usage.input_tokens > 0 && message.usage.output_tokens > 0);
});

test("a stream, by the client's own helper", async () => {
  const stream = client.messages.stream(asks("Say hello."));
  let text = "";
  stream.on("text", (delta) => (text += delta));
  const message = await stream.finalMessage();
  assert.ok(text);
  assert.equal(textOf(message), text);
  assert.ok(message.usage.output_tokens > 0);
});

for (const [name, more] of Object.entries({
  disabled: { thinking: { type: "disabled" } },
  adaptive: { thinking: { type: "adaptive" } },
  max: { thinking: { type: "adaptive" }, output_config: { effort: "max" } },
})) {
  ofTheGateway(`thinking: ${name}`, async () => {
    const message = await client.messages.stream(asks("Say hello.", { max_tokens: 4000, ...more })).finalMessage();
    const thoughts = message.content.filter((block) => block.type === "thinking");
    assert.equal(thoughts.length > 0, name !== "disabled");
    assert.ok(thoughts.every((block) => block.thinking && typeof block.signature === "string"));
  });
}

for (const stream of [false, true]) {
  test(`a tool there and back${stream ? " in a stream" : ""}`, async () => {
    const ask = (body) => (stream ? client.messages.stream(body).finalMessage() : client.messages.create(body));
    const messages = user("What is the weather in Turku?");
    const first = await ask(asks("", { messages, tools }));
    assert.equal(first.stop_reason, "tool_use");
    const call = first.content.find((block) => block.type === "tool_use");
    assert.equal(typeof call.input.place, "string");
    messages.push({ role: "assistant", content: first.content }, { role: "user", content: [{ type: "tool_result", tool_use_id: call.id, content: "4 degrees, rain" }] });
    const second = await ask(asks("", { messages, tools }));
    assert.match(textOf(second), /rain/);
  });
}

test("the client's own tool runner goes the loop", async () => {
  const asked = [];
  const tool = betaZodTool({
    name: "get_weather",
    description: "The weather now.",
    inputSchema: z.object({ place: z.string() }),
    run: ({ place }) => (asked.push(place), "4 degrees, rain"),
  });
  const last = await client.beta.messages.toolRunner(asks("What is the weather in Turku?", { tools: [tool] }));
  assert.match(textOf(last), /rain/);
  assert.equal(asked.length, 1);
});

ofTheGateway("tokens are counted before they are paid", async () => {
  const short = await client.messages.countTokens({ model, messages: user("Say hello.") });
  const long = await client.messages.countTokens({ model, messages: user("Say hello. ".repeat(100)), tools });
  assert.ok(short.input_tokens > 0 && long.input_tokens > short.input_tokens);
});

ofTheGateway("a stream that is left leaves the client usable", async () => {
  const stream = client.messages.stream(asks("Tell a long story.\nanswer in 4000 words", { max_tokens: 8000 }));
  for await (const event of stream) {
    assert.ok(event.type);
    break;
  }
  stream.abort();
  assert.ok(textOf(await client.messages.create(asks("Say hello."))));
});

ofTheGateway("the classes of errors", async () => {
  const stranger = new Anthropic({ baseURL: url, apiKey: "tg_wrong", maxRetries: 0 });
  const type = (wanted) => (error) => error.error?.error?.type === wanted;
  await assert.rejects(stranger.messages.create(asks("Say hello.")), (error) => error instanceof Anthropic.AuthenticationError && type("authentication_error")(error));
  await assert.rejects(client.messages.create(asks("Say hello.", { model: "gpt-7" })), (error) => error instanceof Anthropic.BadRequestError && type("invalid_request_error")(error));
  await assert.rejects(client.messages.create(asks("Say hello."), { headers: { "x-tollgate-tags": "nonexistent-standard" } }), (error) => error instanceof Anthropic.PermissionDeniedError && type("permission_error")(error));
});
