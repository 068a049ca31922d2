// An independent server of every dialect, npm's aimock, that answers as the emulated hosts do: it
// calls the first tool that is offered (twice where both Turku and Oulu are asked about), speaks JSON
// where that is asked, and otherwise repeats. Prints `{"url": ...}` when it listens.
import { LLMock } from "@copilotkit/aimock";

const text = (content) =>
  typeof content === "string" ? content : (content ?? []).map((part) => part.text ?? "").join("\n");

// A value of a JSON schema.
function sample(schema = {}, root = schema) {
  if (schema.$ref) return sample(root.$defs[schema.$ref.split("/").at(-1)], root);
  if (schema.enum) return schema.enum[0];
  if (schema.anyOf) return sample(schema.anyOf[0], root);
  switch (Array.isArray(schema.type) ? schema.type[0] : schema.type) {
    case "object":
      return Object.fromEntries(Object.entries(schema.properties ?? {}).map(([name, of]) => [name, sample(of, root)]));
    case "array":
      return [sample(schema.items, root)];
    case "integer":
    case "number":
      return 1;
    case "boolean":
      return true;
    default:
      return "Turku";
  }
}

export function answer(request) {
  const last = request.messages.at(-1);
  const asked = text(request.messages.filter((message) => message.role === "user").at(-1)?.content);
  const usage = {
    prompt_tokens: 20, completion_tokens: 10, total_tokens: 30, input_tokens: 20, output_tokens: 10,
  };
  const tool = request.tools?.[0]?.function;
  if (tool && last.role === "user" && request.tool_choice !== "none") {
    const places = /Oulu/.test(asked) ? ["Turku", "Oulu"] : ["Turku"];
    const toolCalls = places.map((place) => {
      const value = sample(tool.parameters);
      return { name: tool.name, arguments: JSON.stringify("place" in value ? { ...value, place } : value) };
    });
    return { toolCalls, usage, reasoning: "A tool will tell." };
  }
  const format = request.response_format ?? request.text?.format;
  if (format?.type === "json_object") return { content: JSON.stringify({ answer: 42 }), usage };
  if (format?.type === "json_schema") return { content: JSON.stringify(sample(format.json_schema?.schema ?? format.schema)), usage };
  // Formats of other dialects than chat do not reach here.
  if (/in JSON/.test(asked)) return { content: JSON.stringify({ name: "Turku", inhabitants: 1 }), usage };
  const results = request.messages.filter((message) => message.role === "tool").map((message) => text(message.content));
  const content = results.length ? `The tools said: ${results.join("; ")}` : `Hello from the mock. You said: ${asked.slice(0, 80)}`;
  return { content, usage, reasoning: "A mock does not think." };
}

export async function start(port = 0) {
  const mock = new LLMock({ port, logLevel: "silent" });
  mock.on({}, answer);
  await mock.start();
  return mock;
}

if (process.argv[1] === import.meta.filename) {
  const mock = await start(Number(process.argv[2] ?? 0));
  console.log(JSON.stringify({ url: mock.url }));
  process.on("SIGTERM", () => mock.stop().then(() => process.exit(0)));
}
