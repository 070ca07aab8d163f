/** `oomscope investigate`: looks into a workload now, without waiting for a kill. */
import { investigationName } from "../api/identity.ts";
import type { TargetRef } from "../api/memoryinvestigation.ts";
import { type CommandSpec, type Given, UsageError } from "./arguments.ts";
import {
  askDryRun,
  CLUSTER_OPTIONS,
  type Cluster,
  createInvestigation,
  investigationNamed,
  investigationsIn,
  withCluster,
} from "./clustercommand.ts";
import { EXIT, Failed, type Command, type World } from "./command.ts";
import { type Format, formatOf, objectText, outputOption } from "./objecttext.ts";
import { shown } from "./text.ts";
import { follow, TIMEOUT, timeoutOf } from "./watchcommand.ts";
import { workloadOperand } from "./workloadname.ts";

const FORMATS: readonly Format[] = ["json", "yaml", "name"];

const spec: CommandSpec = {
  name: "investigate",
  summary: "Look into a workload of a cluster now, without waiting for a kill",
  usage: "KIND/NAME [--container NAME] [--watch] [-n NAMESPACE] [-o json|yaml|name]",
  about:
    "Makes a MemoryInvestigation, as an OOM kill would; the policy that selects the workload says how far it goes (oomscope explain shows it). A pod stands for the controller that made it. Where an investigation of the workload goes on already, none is made.",
  operands: ["KIND/NAME"],
  options: {
    ...CLUSTER_OPTIONS,
    container: { value: "NAME", help: "The container to look at. The default is all of the pod." },
    watch: { short: "w", help: "Tell it as it happens, as oomscope watch does, with its exit codes." },
    timeout: TIMEOUT,
    output: outputOption(FORMATS),
  },
  examples: [
    ["oomscope investigate deployment/thumbnail-svc -n media --watch", "Its memory grows, and nothing was killed yet."],
    ["oomscope investigate sts/db -o name", "For a script."],
  ],
};

async function run(given: Given, world: World): Promise<number> {
  const format = formatOf(given, FORMATS);
  const workload = workloadOperand(given);
  const container = given.text("container");
  const timeoutMs = timeoutOf(given);
  if (given.has("timeout") && !given.has("watch"))
    throw new UsageError("--timeout means nothing without --watch: give both");
  if (given.has("watch") && format !== "text")
    throw new UsageError("--watch and --output cannot both be meant: give one");
  return withCluster(
    given,
    world,
    (namespace) => `open an investigation of ${workload.kind} ${workload.name} in namespace ${namespace}`,
    async (cluster) => {
      const made = await open(cluster, world, workload, container);
      const { name = "", namespace = "" } = made.metadata;
      if (format === "json" || format === "yaml" || format === "name")
        world.terminal.print(await objectText(made, format));
      else
        world.terminal.print(`Investigation ${name} is opened; to follow it: oomscope watch ${name} -n ${namespace}\n`);
      return given.has("watch") ? follow(cluster, world, (at) => investigationNamed(at, name), timeoutMs) : EXIT.done;
    },
  );
}

async function open(
  cluster: Cluster,
  { clock, random }: World,
  asked: Pick<TargetRef, "kind" | "name">,
  container: string | undefined,
): Promise<Awaited<ReturnType<typeof createInvestigation>>> {
  const { workload, inForce } = await askDryRun(cluster, asked, { now: clock.now() });
  const { kind, name } = workload;
  const at = `-n ${cluster.namespace}`;
  if ("problem" in inForce)
    throw new Failed(
      `No investigation is made, because nothing would come of it: ${inForce.message}. Write a policy first (docs/spec/memorypolicy.md); oomscope explain ${kind.toLowerCase()}/${name} ${at} shows those that there are`,
    );
  const going = (await investigationsIn(cluster, cluster.namespace)).find((one) => {
    const { targetRef } = one["spec"] as { targetRef?: Partial<TargetRef> };
    const ended = (one["status"] as { result?: string } | undefined)?.result !== undefined;
    return targetRef?.kind === kind && targetRef.name === name && !ended;
  });
  if (going !== undefined) {
    const known = shown(going.metadata.name ?? "", 253);
    throw new Failed(`${known} looks into ${kind} ${name} already; to follow it: oomscope watch ${known} ${at}`);
  }
  const apiVersion = kind === "Pod" ? "v1" : kind === "Job" ? "batch/v1" : "apps/v1";
  return createInvestigation(cluster, investigationName(name, random.hex(8)), {
    targetRef: { apiVersion, kind, name },
    ...(container === undefined ? {} : { container }),
  });
}

export const investigateCommand: Command = { spec, run };
