// The official OpenAI client for Node, unmodified: only its base URL and its key are ours.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI, { toFile } from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

import { anotherServer, key, model, ofTheGateway, url, weather } from "./gateway.mjs";

const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 });
const user = (content) => [{ role: "user", content }];
const tool = { type: "function", function: { name: "get_weather", description: "The weather now.", parameters: weather } };
const City = z.object({ name: z.string(), inhabitants: z.number().int() });

test("a plain answer with its usage", async () => {
  const answer = await client.chat.completions.create({ model, messages: user("Say hello.") });
  assert.ok(answer.choices[0].message.content);
  assert.equal(answer.choices[0].finish_reason, "stop");
  assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
});

test("a stream, by the client's own helper", async () => {
  const stream = client.chat.completions.stream({ model, messages: user("Say hello."), stream_options: { include_usage: true } });
  let text = "";
  stream.on("content", (delta) => (text += delta));
  const whole = await stream.finalChatCompletion();
  assert.ok(text);
  assert.equal(whole.choices[0].message.content, text);
  assert.ok(whole.usage.completion_tokens > 0);
});

test("the client's own tool runner goes the loop", async () => {
  const asked = [];
  const runner = client.chat.completions.runTools({
    model,
    messages: user("What is the weather in Turku?"),
    tools: [{ ...tool, function: { ...tool.function, parse: JSON.parse, function: ({ place }) => (asked.push(place), "4 degrees, rain") } }],
  });
  assert.match(await runner.finalContent(), /rain/);
  assert.equal(asked.length, 1);
});

test("a schema is parsed", async () => {
  const answer = await client.chat.completions.parse({ model, messages: user("Turku in JSON."), response_format: zodResponseFormat(City, "city") });
  City.parse(answer.choices[0].message.parsed);
});

test("JSON mode", async () => {
  const answer = await client.chat.completions.create({ model, messages: user("Answer in JSON."), response_format: { type: "json_object" } });
  assert.equal(typeof JSON.parse(answer.choices[0].message.content), "object");
});

for (const effort of ["none", "high", "max"]) {
  ofTheGateway(`thinking: ${effort}`, async () => {
    const answer = await client.chat.completions.create({ model, messages: user("Say hello."), reasoning_effort: effort });
    assert.equal(Boolean(answer.choices[0].message.reasoning_content), effort !== "none");
    const response = await client.responses.create({ model, input: "Say hello.", reasoning: { effort }, store: false });
    assert.equal(response.output.some((item) => item.type === "reasoning"), effort !== "none");
  });
}

test("a response", async () => {
  const response = await client.responses.create({ model, input: "Say hello.", store: false });
  assert.equal(response.status, "completed");
  assert.ok(response.output_text);
  assert.equal(response.usage.total_tokens, response.usage.input_tokens + response.usage.output_tokens);
});

test("a response in events, by the client's own helper", async () => {
  const stream = client.responses.stream({ model, input: "Say hello.", store: false });
  const kinds = [];
  for await (const event of stream) kinds.push(event.type);
  const final = await stream.finalResponse();
  assert.equal(kinds[0], "response.created");
  assert.equal(kinds.at(-1), "response.completed");
  assert.ok(final.output_text);
});

test("a response's tool there and back", async () => {
  const tools = [{ type: "function", name: "get_weather", description: "The weather now.", parameters: weather, strict: true }];
  const input = user("What is the weather in Turku?");
  const first = await client.responses.create({ model, input, tools, store: false, include: ["reasoning.encrypted_content"] });
  const call = first.output.find((item) => item.type === "function_call");
  assert.equal(call.name, "get_weather");
  assert.equal(typeof JSON.parse(call.arguments).place, "string");
  input.push(...first.output, { type: "function_call_output", call_id: call.call_id, output: "4 degrees, rain" });
  const second = await client.responses.create({ model, input, tools, store: false });
  assert.match(second.output_text, /rain/);
});

test("a response in a schema", async () => {
  const response = await client.responses.parse({ model, input: "Turku in JSON.", text: { format: zodTextFormat(City, "city") }, store: false });
  City.parse(response.output_parsed);
});

ofTheGateway("a response that is kept is gone on from, retrieved and deleted", async () => {
  const first = await client.responses.create({ model, input: "My name is Aino." });
  const second = await client.responses.create({ model, input: "What is my name?", previous_response_id: first.id });
  assert.equal(second.previous_response_id, first.id);
  assert.equal((await client.responses.retrieve(first.id)).output_text, first.output_text);
  await client.responses.delete(first.id);
  await assert.rejects(client.responses.retrieve(first.id), OpenAI.NotFoundError);
});

ofTheGateway("a text is completed, also towards a suffix, also in a stream", async () => {
  const answer = await client.completions.create({ model, prompt: "def add(a, b):\n", suffix: "    return total\n", max_tokens: 40 });
  assert.ok(answer.choices[0].text);
  let text = "";
  for await (const chunk of await client.completions.create({ model, prompt: "Once upon a time", max_tokens: 40, stream: true })) {
    text += chunk.choices[0]?.text ?? "";
  }
  assert.ok(text);
});

ofTheGateway("a batch is answered line by line", async () => {
  const lines = [0, 1].map((n) => JSON.stringify({ custom_id: `r${n}`, method: "POST", url: "/v1/chat/completions", body: { model, messages: user("Say hello.") } }));
  const file = await client.files.create({ file: await toFile(Buffer.from(`${lines.join("\n")}\n`), "requests.jsonl"), purpose: "batch" });
  let batch = await client.batches.create({ input_file_id: file.id, endpoint: "/v1/chat/completions", completion_window: "24h" });
  const until = Date.now() + 60_000;
  while (!["completed", "failed", "expired", "cancelled"].includes(batch.status)) {
    assert.ok(Date.now() < until, JSON.stringify(batch));
    await new Promise((wake) => setTimeout(wake, 100));
    batch = await client.batches.retrieve(batch.id);
  }
  assert.equal(batch.status, "completed", JSON.stringify(batch));
  const answers = (await (await client.files.content(batch.output_file_id)).text()).trim().split("\n").map(JSON.parse);
  assert.deepEqual(answers.map((answer) => answer.custom_id).sort(), ["r0", "r1"]);
  assert.ok(answers.every((answer) => answer.response.status_code === 200));
});

test("the models", async () => {
  const models = [];
  for await (const one of client.models.list()) models.push(one.id);
  assert.ok(models.length > 0);
  if (!anotherServer) assert.ok(models.includes(model));
});

ofTheGateway("a stream that is left leaves the client usable", async () => {
  const stream = await client.chat.completions.create({ model, messages: user("Tell a long story.\nanswer in 4000 words"), stream: true });
  for await (const chunk of stream) {
    assert.ok(chunk.id);
    break;
  }
  assert.ok((await client.chat.completions.create({ model, messages: user("Say hello.") })).choices.length);
});

ofTheGateway("the classes of errors", async () => {
  const stranger = new OpenAI({ baseURL: `${url}/v1`, apiKey: "tg_wrong", maxRetries: 0 });
  const chat = (of, more = {}, options) => of.chat.completions.create({ model, messages: user("Say hello."), ...more }, options);
  const responses = (of, more = {}, options) => of.responses.create({ model, input: "Say hello.", store: false, ...more }, options);
  for (const ask of [chat, responses]) {
    await assert.rejects(ask(stranger), (error) => error instanceof OpenAI.AuthenticationError && error.code === "invalid_key");
    await assert.rejects(ask(client, { model: "gpt-7" }), (error) => error instanceof OpenAI.BadRequestError && error.param === "model");
    await assert.rejects(ask(client, {}, { headers: { "x-tollgate-tags": "nonexistent-standard" } }), (error) => error instanceof OpenAI.PermissionDeniedError && error.code === "no_certified_backend");
  }
});
