// What the suites talk to: the demonstration that `tests/run` started (GATEWAY_URL, GATEWAY_KEY), and
// gateways of their own. ANOTHER_SERVER=1 says that GATEWAY_URL is another server of the dialects, for
// trying the suites themselves: then what only a gateway does is left out.
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

function named(variable) {
  const value = process.env[variable];
  if (!value) throw new Error(`${variable} is not set: run the suites with tests/run`);
  return value;
}

export const url = named("GATEWAY_URL");
export const key = named("GATEWAY_KEY");
export const model = "deepseek-v4-pro";
export const anotherServer = process.env.ANOTHER_SERVER === "1";

// A test of what only the gateway does.
export const ofTheGateway = (name, run) => test(name, { skip: anotherServer && "another server" }, run);

export const weather = {
  type: "object",
  properties: { place: { type: "string", description: "A town." } },
  required: ["place"],
  additionalProperties: false,
};

const patience = 60_000;

// `tollgate serve` with accounts at these hosts and no other: {host: [base URL, variable, key]}.
export async function serve(accounts, deployments = {}) {
  const binary = named("TOLLGATE_BIN");
  const folder = mkdtempSync(join(tmpdir(), "tollgate-node-"));
  const shipped = join(import.meta.dirname, "../../config/catalog");
  mkdirSync(join(folder, "deployments"));
  for (const [name, toml] of Object.entries(deployments)) writeFileSync(join(folder, "deployments", name), toml);
  let config = `data = "data"\nlisten = "127.0.0.1:0"\ncatalog = ["${shipped}", "deployments"]\n`;
  const env = { PATH: process.env.PATH, HOME: folder };
  for (const [host, [base, variable, secret]] of Object.entries(accounts)) {
    config += `\n[[account]]\nhost = "${host}"\nkey_env = "${variable}"\nbase_url = "${base}"\n`;
    env[variable] = secret;
  }
  writeFileSync(join(folder, "tollgate.toml"), config);
  const child = spawn(binary, ["--config", "tollgate.toml", "serve"], { cwd: folder, env, stdio: ["ignore", "pipe", "pipe"] });
  let log = "";
  const listening = new Promise((resolve, reject) => {
    const read = (data) => {
      log += data;
      const found = log.match(/listening on (http:\/\/\S+)\s/);
      if (found) resolve(found[1]);
    };
    child.stdout.on("data", read);
    child.stderr.on("data", read);
    child.on("exit", (status) => reject(new Error(`the gateway ended (${status}):\n${log}`)));
    setTimeout(() => reject(new Error(`the gateway does not start:\n${log}`)), patience).unref();
  });
  const ended = new Promise((resolve) => child.on("exit", resolve));
  const at = await listening;
  const done = spawnSync(binary, ["--config", "tollgate.toml", "key", "create", "--team", "node", "--json"], { cwd: folder, env });
  if (done.status !== 0) throw new Error(String(done.stderr));
  return {
    url: at,
    key: JSON.parse(done.stdout).key,
    log: () => log,
    async stop() {
      child.kill("SIGTERM");
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

// The same, stopped when the file's tests are over.
export async function served(...of) {
  const gateway = await serve(...of);
  after(() => gateway.stop());
  return gateway;
}
