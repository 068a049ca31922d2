// Vercel's AI SDK, unmodified, by each of its providers: chat completions, Responses and Messages.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

import { key, model, ofTheGateway, url } from "./gateway.mjs";

const openai = createOpenAI({ baseURL: `${url}/v1`, apiKey: key });
const compatible = createOpenAICompatible({ name: "tollgate", baseURL: `${url}/v1`, apiKey: key, includeUsage: true, supportsStructuredOutputs: true });
const anthropic = createAnthropic({ baseURL: `${url}/v1`, apiKey: key });
const models = {
  "@ai-sdk/openai, chat completions": openai.chat(model),
  "@ai-sdk/openai, Responses": openai.responses(model),
  "@ai-sdk/openai-compatible": compatible(model),
  "@ai-sdk/anthropic": anthropic(model),
};
const store = { providerOptions: { openai: { store: false } } };
const City = z.object({ name: z.string(), inhabitants: z.number().int() });

for (const [name, of] of Object.entries(models)) {
  const asks = (prompt, more = {}) => ({ model: of, prompt, maxRetries: 0, maxOutputTokens: 1000, ...store, ...more });
  const weather = (asked) => ({
    get_weather: tool({
      description: "The weather at a place now.",
      inputSchema: z.object({ place: z.string() }),
      execute: async ({ place }) => (asked.push(place), "4 degrees, rain"),
    }),
  });

  test(`${name}: a text`, async () => {
    const answer = await generateText(asks("Say hello."));
    assert.ok(answer.text);
    assert.equal(answer.finishReason, "stop");
    assert.ok(answer.usage.inputTokens > 0 && answer.usage.outputTokens > 0);
  });

  test(`${name}: a stream`, async () => {
    const answer = streamText(asks("Say hello.", { onError: ({ error }) => { throw error; } }));
    const pieces = [];
    for await (const piece of answer.textStream) pieces.push(piece);
    assert.ok(pieces.length > 1);
    assert.equal(await answer.finishReason, "stop");
    assert.ok((await answer.usage).outputTokens > 0);
  });

  test(`${name}: a loop of tools`, async () => {
    const asked = [];
    const answer = await generateText(asks("What is the weather in Turku?", { tools: weather(asked), stopWhen: stepCountIs(3) }));
    assert.equal(asked.length, 1);
    assert.equal(answer.steps.length, 2);
    assert.match(answer.text, /rain/);
  });

  test(`${name}: a loop of tools in a stream`, async () => {
    const asked = [];
    const answer = streamText(asks("What is the weather in Turku?", { tools: weather(asked), stopWhen: stepCountIs(3) }));
    for await (const part of answer.fullStream) if (part.type === "error") throw part.error;
    assert.equal(asked.length, 1);
    assert.match(await answer.text, /rain/);
  });

  ofTheGateway(`${name}: a value of a schema`, async () => {
    const answer = await generateText(asks("Turku in JSON.", { output: Output.object({ schema: City }) }));
    City.parse(answer.output);
  });

  ofTheGateway(`${name}: a wrong key is told`, async () => {
    const strangers = {
      "@ai-sdk/openai, chat completions": createOpenAI({ baseURL: `${url}/v1`, apiKey: "tg_wrong" }).chat(model),
      "@ai-sdk/openai, Responses": createOpenAI({ baseURL: `${url}/v1`, apiKey: "tg_wrong" }).responses(model),
      "@ai-sdk/openai-compatible": createOpenAICompatible({ name: "tollgate", baseURL: `${url}/v1`, apiKey: "tg_wrong" })(model),
      "@ai-sdk/anthropic": createAnthropic({ baseURL: `${url}/v1`, apiKey: "tg_wrong" })(model),
    };
    await assert.rejects(generateText(asks("Say hello.", { model: strangers[name] })), (error) => error.statusCode === 401);
  });

  ofTheGateway(`${name}: reasoning is told as reasoning`, async () => {
    const answer = await generateText(asks("Say hello."));
    // The OpenAI chat provider knows no reasoning text, only its count.
    if (name.endsWith("chat completions")) assert.ok(answer.usage.outputTokenDetails.reasoningTokens > 0);
    else if (name === "@ai-sdk/openai-compatible") assert.ok(answer.reasoningText);
  });
}
