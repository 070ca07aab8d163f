/**
 * What does it cost to know ten thousand pods? Starts a bare API server, fills it, lets each candidate list the pods one after
 * another and then follow the same changes all at once, and prints what each of them cost. `make bench` runs it; bench/README.md says how to read it.
 */
import { cpus, totalmem } from "node:os";
import { parseArgs } from "node:util";
import { startApiServer, type ApiServer } from "../test/support/apiserver.ts";
import { startCandidate, type Candidate, type Cost } from "./reflector/candidate.ts";
import {
  buildCandidates,
  candidateSpec,
  CANDIDATES,
  DEFAULT_CANDIDATES,
  operatorFlags,
  type CandidateName,
} from "./reflector/candidates.ts";
import { clonePods, etcdUrlOf } from "./reflector/clones.ts";
import { createLoad, type Load } from "./reflector/load.ts";
import { podName } from "./reflector/pods.ts";
import { markdownTable, type Result } from "./reflector/table.ts";

const LIST_TIMEOUT_MS = 600_000;
const CHANGES_TIMEOUT_MS = 600_000;
/** So that what the last list left behind (connections, the server's own work) is over before the next begins. */
const SETTLE_MS = 3_000;

interface Settings {
  readonly pods: number;
  /** As many go through the API server; the rest are copies of them in etcd. */
  readonly made: number;
  readonly changes: number;
  readonly perSecond: number;
  readonly candidates: readonly CandidateName[];
  readonly flags: readonly string[];
}

function count(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 2) throw new Error(`--${name} must be a whole number of 2 or more`);
  return value;
}

function isCandidate(name: string): name is CandidateName {
  return (CANDIDATES as readonly string[]).includes(name);
}

function readSettings(): Settings {
  const { values } = parseArgs({
    options: {
      pods: { type: "string", default: "10000" },
      made: { type: "string", default: "10000" },
      changes: { type: "string", default: "20000" },
      rate: { type: "string", default: "500" },
      candidates: { type: "string", default: DEFAULT_CANDIDATES.join(",") },
      // Node's flags for our own candidate, instead of those of the operator's image.
      flags: { type: "string" },
    },
  });
  const candidates = values.candidates.split(",");
  const unknown = candidates.find((name) => !isCandidate(name));
  if (unknown !== undefined) throw new Error(`No candidate ${unknown}; there are ${CANDIDATES.join(", ")}`);
  return {
    pods: count("pods", values.pods),
    made: Math.min(count("made", values.made), count("pods", values.pods)),
    changes: count("changes", values.changes),
    perSecond: count("rate", values.rate),
    candidates: candidates.filter(isCandidate),
    flags: values.flags === undefined ? operatorFlags() : values.flags.split(" ").filter((flag) => flag !== ""),
  };
}

function say(text: string): void {
  process.stderr.write(`==> ${text}\n`);
}

function settle(): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, SETTLE_MS);
  });
}

/** Says how far something is, at each tenth. */
function tenths(total: number, what: string): (done: number) => void {
  const from = performance.now();
  const step = Math.max(1, Math.floor(total / 10));
  return (done) => {
    if (done % step === 0) say(`${done} of ${total} ${what}, ${Math.round((performance.now() - from) / 1000)} s`);
  };
}

async function fill(load: Load, server: ApiServer, { pods, made }: Settings): Promise<void> {
  await load.createPods(made, tenths(made, "pods"));
  if (pods > made) {
    say(`Copying them until there are ${pods}`);
    await clonePods(etcdUrlOf(server.etcdPid), made, pods);
    // The server's cache of watches hears of them from etcd.
    await settle();
  }
  say(`A pod has ${await load.podBytes(1)} bytes, the last one ${await load.podBytes(pods - 1)}`);
}

interface Listed {
  readonly candidate: Candidate;
  readonly start: Cost;
  readonly list: Cost;
  readonly listSeconds: number;
}

/** Starts a candidate and waits until it knows every pod. */
async function listWith(name: CandidateName, server: ApiServer, settings: Settings): Promise<Listed> {
  const { namespace, name: pod } = podName(0);
  const candidate = startCandidate(candidateSpec(name, server, `${namespace}/${pod}`, settings.flags));
  try {
    const what = await candidate.expect("ready", LIST_TIMEOUT_MS);
    const start = candidate.cost();
    const from = performance.now();
    candidate.say("go");
    const pods = Number(await candidate.expect("synced", LIST_TIMEOUT_MS));
    const listSeconds = (performance.now() - from) / 1000;
    if (pods !== settings.pods) throw new Error(`${name} listed ${pods} pods of ${settings.pods}`);
    await settle();
    const list = candidate.cost();
    say(`${what}: listed ${pods} pods in ${listSeconds.toFixed(1)} s`);
    return { candidate, start, list, listSeconds };
  } catch (error) {
    await candidate.stop();
    throw error;
  }
}

/** Waits until a candidate has seen the last change. */
async function finish(listed: Listed, idle: Cost): Promise<Result> {
  const { candidate, start, list, listSeconds } = listed;
  const changes = Number(await candidate.expect("changed", CHANGES_TIMEOUT_MS));
  // The collector of garbage may still be at work for the last of them.
  await settle();
  const end = candidate.cost();
  candidate.say("digest");
  const digest = await candidate.expect("digest", CHANGES_TIMEOUT_MS);
  return { name: candidate.name, start, list, idle, end, listSeconds, changes, digest };
}

async function measure(server: ApiServer, load: Load, settings: Settings): Promise<readonly Result[]> {
  const running: Listed[] = [];
  const failed: string[] = [];
  try {
    for (const name of settings.candidates) {
      await listWith(name, server, settings).then(
        (listed) => running.push(listed),
        (error: unknown) => failed.push(String(error)),
      );
    }
    // What they used while they waited for the others is nobody's change.
    const idle = new Map(running.map(({ candidate }) => [candidate, candidate.cost()]));
    const seconds = await load.change(
      settings.pods,
      settings.changes,
      settings.perSecond,
      tenths(settings.changes, "changes"),
    );
    say(`${settings.changes} changes in ${seconds.toFixed(1)} s`);
    return await Promise.all(running.map((listed) => finish(listed, idle.get(listed.candidate) ?? listed.list)));
  } finally {
    await Promise.all(running.map(({ candidate }) => candidate.stop()));
    for (const why of failed) say(why);
    if (failed.length > 0) process.exitCode = 1;
  }
}

/** Throws when somebody missed a change: cheap and wrong is no result. */
function check(results: readonly Result[], changes: number): void {
  const digests = new Set(results.map(({ digest }) => digest));
  if (digests.size > 1) throw new Error("The candidates do not hold the same pods at the end");
  for (const { name, changes: seen } of results) {
    if (seen !== changes) say(`${name} told of ${seen} changes instead of ${changes}: it listed again in between`);
  }
}

const settings = readSettings();
say("Building the candidates");
buildCandidates();
say("Starting etcd and kube-apiserver");
const server = await startApiServer({
  etcdArgs: ["--quota-backend-bytes=8589934592"],
  apiServerArgs: [
    // No controller makes service accounts here.
    "--disable-admission-plugins=ServiceAccount",
    "--max-requests-inflight=1000",
    "--max-mutating-requests-inflight=1000",
  ],
});
const load = createLoad(server.url, server.ca, server.adminToken, settings.made);
const stop = async (): Promise<void> => {
  await load.close();
  await server.stop();
};
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));
try {
  await fill(load, server, settings);
  const results = await measure(server, load, settings);
  console.log(
    `${settings.pods} pods, ${settings.changes} changes at ${settings.perSecond}/s; ${cpus().length} CPUs (${cpus()[0]?.model}), ${Math.round(totalmem() / 2 ** 30)} GiB, Linux; Node ${process.version} with ${settings.flags.join(" ")}\n`,
  );
  console.log(markdownTable(results));
  check(results, settings.changes);
} finally {
  await stop();
}
