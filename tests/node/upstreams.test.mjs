// A server that others wrote as the host behind the gateway: npm's aimock, as an OpenAI-compatible
// host, at Azure's path and as Bedrock's Converse. It calls two tools at once, which each client must
// see as two, and their results must reach it again, each under its own call.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";

import { model, serve, weather } from "./gateway.mjs";
import { start } from "./aimock.mjs";

const bedrock = `extends = "bedrock"

[[offer]]
model = "${model}"
id = "deepseek.v4-pro"
snapshot = "0813"
context = 1_048_576
max_output = 131_072
capabilities = ["tools", "forced_tools", "thinking"]
regions = ["eu-north-1"]
source = "the test suite"
read = 2026-11-24

[[offer.tariff]]
name = "test"
kind = "list"
from = 2026-01-01T00:00:00Z
known = 2026-01-01T00:00:00Z
flat = { hit = "0.1", miss = "1", output = "2" }
source = "the test suite"
read = 2026-11-24
`;

const mock = await start();
after(() => mock.stop());
const gateway = await serve(
  {
    deepseek: [`${mock.url}/v1`, "DEEPSEEK_API_KEY", "sk-aimock"],
    fireworks: [`${mock.url}/inference/v1`, "FIREWORKS_API_KEY", "sk-aimock"],
    azure: [`${mock.url}/openai/v1`, "AZURE_API_KEY", "sk-aimock"],
    bedrock: [mock.url, "AWS_BEARER_TOKEN_BEDROCK", "sk-aimock"],
  },
  { "bedrock.toml": bedrock },
);
after(() => gateway.stop());

const openai = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: gateway.key, maxRetries: 0 });
const anthropic = new Anthropic({ baseURL: gateway.url, apiKey: gateway.key, maxRetries: 0 });
const towns = { Turku: "4 degrees, rain", Oulu: "-3 degrees, snow" };
const both = "What is the weather in Turku and in Oulu?";
const told = /4 degrees, rain.*-3 degrees, snow/;

// Each dialect: asks once, and goes the loop of tools; whole and in a stream.
const dialects = {
  async chat(model, content, stream) {
    const tools = [{ type: "function", function: { name: "get_weather", description: "The weather now.", parameters: weather } }];
    const messages = [{ role: "user", content }];
    const ask = async (more) => {
      const body = { model, messages, ...more };
      const answer = stream ? await openai.chat.completions.stream(body).finalChatCompletion() : await openai.chat.completions.create(body);
      return answer.choices[0].message;
    };
    if (content !== both) return { text: (await ask({})).content };
    const first = await ask({ tools });
    const places = first.tool_calls.map((call) => JSON.parse(call.function.arguments).place);
    messages.push({ role: "assistant", content: first.content, tool_calls: first.tool_calls.map(({ id, function: { name, arguments: given } }) => ({ id, type: "function", function: { name, arguments: given } })) });
    first.tool_calls.forEach((call, at) => messages.push({ role: "tool", tool_call_id: call.id, content: towns[places[at]] }));
    return { places, text: (await ask({ tools })).content };
  },

  async responses(model, content, stream) {
    const tools = [{ type: "function", name: "get_weather", description: "The weather now.", parameters: weather, strict: true }];
    const input = [{ role: "user", content }];
    const ask = (more) => {
      const body = { model, input, store: false, ...more };
      return stream ? openai.responses.stream(body).finalResponse() : openai.responses.create(body);
    };
    if (content !== both) return { text: (await ask({})).output_text };
    const first = await ask({ tools });
    const calls = first.output.filter((item) => item.type === "function_call");
    const places = calls.map((call) => JSON.parse(call.arguments).place);
    input.push(...first.output.map(({ parsed_arguments, ...item }) => item));
    calls.forEach((call, at) => input.push({ type: "function_call_output", call_id: call.call_id, output: towns[places[at]] }));
    return { places, text: (await ask({ tools })).output_text };
  },

  async messages(model, content, stream) {
    const tools = [{ name: "get_weather", description: "The weather now.", input_schema: weather }];
    const messages = [{ role: "user", content }];
    const ask = (more) => {
      const body = { model, max_tokens: 1000, messages, ...more };
      return stream ? anthropic.messages.stream(body).finalMessage() : anthropic.messages.create(body);
    };
    const text = (message) => message.content.filter((block) => block.type === "text").map((block) => block.text).join("");
    if (content !== both) return { text: text(await ask({})) };
    const first = await ask({ tools });
    const calls = first.content.filter((block) => block.type === "tool_use");
    messages.push({ role: "assistant", content: first.content });
    messages.push({ role: "user", content: calls.map((call) => ({ type: "tool_result", tool_use_id: call.id, content: towns[call.input.place] })) });
    return { places: calls.map((call) => call.input.place), text: text(await ask({ tools })) };
  },
};

// The path at which each host must have been asked.
const hosts = {
  deepseek: /^\/v1\/chat\/completions/,
  fireworks: /^\/inference\/v1\/chat\/completions/,
  azure: /^\/openai\/v1\/chat\/completions/,
  bedrock: /^\/model\/[^/]+\/converse(-stream)?$/,
};

for (const [host, path] of Object.entries(hosts)) {
  for (const [dialect, ask] of Object.entries(dialects)) {
    for (const stream of [false, true]) {
      test(`${dialect}${stream ? " in a stream" : ""} in front of aimock as ${host}`, async () => {
        // Novita has ids of the form `deepseek/deepseek-v4-pro`, so DeepSeek's own host is named otherwise.
        const named = host === "deepseek" ? "deepseek/deepseek-flash" : `${host}/${model}`;
        const before = mock.getRequests().length;
        const plain = await ask(named, "Say hello.", stream);
        assert.match(plain.text, /Hello from the mock/);
        const looped = await ask(named, both, stream);
        assert.deepEqual(looped.places, ["Turku", "Oulu"]);
        assert.match(looped.text, told);
        const paths = mock.getRequests().slice(before).map((request) => request.path);
        assert.equal(paths.length, 3);
        assert.ok(paths.every((one) => path.test(one)), paths.join(" "));
      });
    }
  }
}
