/** `oomscope watch`: an investigation while it goes on, told once as it happens, until its end. */
import type { MemoryInvestigation } from "../api/memoryinvestigation.ts";
import type { ApiObject } from "../cluster/api.ts";
import { type CommandSpec, durationOf, type Given } from "./arguments.ts";
import {
  CLUSTER_OPTIONS,
  type Cluster,
  investigationNamed,
  investigationsIn,
  looks,
  withCluster,
} from "./clustercommand.ts";
import { EXIT, Failed, type Command, type World } from "./command.ts";
import { nameOf, understood } from "./showcommand.ts";
import { collecting, endText, happened } from "./watchtext.ts";
import { workloadOperand } from "./workloadname.ts";

export const TIMEOUT = { value: "TIME", help: "Give up after this time: exit code 124. The default is 1h." } as const;

const spec: CommandSpec = {
  name: "watch",
  summary: "Tell an investigation of a cluster as it happens, until its end",
  usage: "[NAME | KIND/NAME] [-n NAMESPACE] [--timeout TIME]",
  about:
    "Follows one investigation: kills, the pod that is kept, the collection with its progress, the finding, what is done about it. Without a name it is the newest of the namespace, with KIND/NAME the newest of that workload; where there is none yet, it waits for one. Ends with it: 0 for a result, 4 for Inconclusive, 1 for Failed. It only reads.",
  operands: ["[NAME]"],
  options: { ...CLUSTER_OPTIONS, timeout: TIMEOUT },
  examples: [
    ["oomscope watch -n media", "The newest one, or the next that is opened."],
    [
      "oomscope watch deployment/thumbnail-svc -n media --timeout 15m",
      "In a pipeline: the exit code tells the result.",
    ],
  ],
};

async function run(given: Given, world: World): Promise<number> {
  const timeoutMs = timeoutOf(given);
  const find = finder(given);
  return withCluster(
    given,
    world,
    (namespace) => `read memoryinvestigations in namespace ${namespace}`,
    (cluster) => follow(cluster, world, find, timeoutMs),
  );
}

export function timeoutOf(given: Given): number {
  return durationOf(given, "timeout", "1h", { least: "1s", most: "24h" });
}

type Find = (cluster: Cluster) => Promise<ApiObject | undefined>;

function finder(given: Given): Find {
  const name = nameOf(given);
  if (name !== "" && !name.includes("/")) return (cluster) => investigationNamed(cluster, name);
  const workload = name === "" ? undefined : workloadOperand(given);
  return async (cluster) => {
    const all = await investigationsIn(cluster, cluster.namespace);
    return all
      .filter(({ spec: of }) => {
        const { targetRef } = of as { targetRef?: { kind?: string; name?: string } };
        return workload === undefined || (targetRef?.kind === workload.kind && targetRef.name === workload.name);
      })
      .toSorted((a, b) => (a.metadata.creationTimestamp ?? "").localeCompare(b.metadata.creationTimestamp ?? ""))
      .at(-1);
  };
}

/** Tells what happens until the investigation has ended. Returns an exit code; throws Failed when it is deleted meanwhile. */
export async function follow(cluster: Cluster, world: World, find: Find, timeoutMs: number): Promise<number> {
  const { terminal, clock } = world;
  const began = clock.monotonicMs();
  const teller = createTeller(world, began);
  let name: string | undefined;
  for await (const raw of looks(world, () => (name === undefined ? find(cluster) : again(cluster, name)))) {
    if (raw !== undefined) {
      name = raw.metadata.name ?? "";
      const investigation = await understood(raw);
      teller.tell(investigation);
      const result = investigation.status?.result;
      if (result !== undefined) {
        terminal.transient("");
        terminal.print(endText(investigation));
        return result === "Failed" ? EXIT.failed : result === "Inconclusive" ? EXIT.inconclusive : EXIT.done;
      }
    }
    if (clock.monotonicMs() - began >= timeoutMs) break;
    if (raw === undefined) terminal.transient(`waiting for an investigation in namespace ${cluster.namespace}`);
  }
  terminal.transient("");
  terminal.tell(
    name === undefined
      ? `No investigation was opened in namespace ${cluster.namespace} in the time that --timeout gives\n`
      : `${name} has not ended in the time that --timeout gives; it goes on in the cluster\n`,
  );
  return EXIT.timedOut;
}

/** Once it was there, that it is not there any more means something else. */
async function again(cluster: Cluster, name: string): Promise<ApiObject> {
  try {
    return await investigationNamed(cluster, name);
  } catch (error) {
    if (error instanceof Failed)
      throw new Failed(`Investigation ${name} was deleted while it was watched`, { cause: error });
    throw error;
  }
}

/** Tells each thing once, with the time since the watch began; progress in place on a terminal, and by quarters elsewhere. */
function createTeller(
  { terminal, clock }: World,
  began: number,
): { tell: (investigation: MemoryInvestigation) => void } {
  const told = new Set<string>();
  const line = (id: string, text: string): void => {
    if (told.has(id)) return;
    told.add(id);
    const seconds = Math.round((clock.monotonicMs() - began) / 1000);
    terminal.transient("");
    terminal.print(`  +${String(seconds).padStart(3)}s  ${text}\n`);
  };
  return {
    tell: (investigation) => {
      for (const { id, text } of happened(investigation)) line(id, text);
      const progress = collecting(investigation);
      if (progress === undefined) return;
      if (terminal.live) terminal.transient(`  ${progress.text}`);
      else if (progress.percent > 0) line(`${progress.id} ${Math.floor(progress.percent / 25)}`, `  ${progress.text}`);
    },
  };
}

export const watchCommand: Command = { spec, run };
