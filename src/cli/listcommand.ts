/** `oomscope list`: the investigations of a cluster. */
import { type CommandSpec, type Given, UsageError } from "./arguments.ts";
import { CLUSTER_OPTIONS, investigationsIn, withCluster } from "./clustercommand.ts";
import { EXIT, type Command, type World } from "./command.ts";
import { type Format, formatOf, objectText, outputOption } from "./objecttext.ts";

const FORMATS: readonly Format[] = ["json", "yaml", "wide", "name"];

const spec: CommandSpec = {
  name: "list",
  summary: "List a cluster's investigations: stage, result, verdict, kills",
  usage: "[-n NAMESPACE | -A] [-o json|yaml|wide|name]",
  about:
    "Asks the cluster of your kubeconfig for its MemoryInvestigations and prints them with the columns of kubectl get memi. It only reads.",
  options: {
    ...CLUSTER_OPTIONS,
    "all-namespaces": { short: "A", help: "All namespaces." },
    output: outputOption(FORMATS),
  },
  examples: [
    ["oomscope list -A", "What was killed in the cluster, what it is, and how sure."],
    ["kubectl oomscope list -n media -o wide", "Also the kept pod, its node, the policy and the summary."],
    ["oomscope list -n media -o name", "For a script."],
  ],
};

async function run(given: Given, world: World): Promise<number> {
  const format = formatOf(given, FORMATS);
  const all = given.has("all-namespaces");
  if (all && given.has("namespace"))
    throw new UsageError("--all-namespaces and --namespace cannot both be meant: give one");
  const where = (namespace: string): string => (all ? "all namespaces" : `namespace ${namespace}`);
  const { items, namespace } = await withCluster(
    given,
    world,
    (name) => `list memoryinvestigations in ${where(name)}`,
    async (cluster) => ({
      items: await investigationsIn(cluster, all ? undefined : cluster.namespace),
      namespace: cluster.namespace,
    }),
  );
  const { terminal, clock } = world;
  if (format !== "text" && format !== "wide") terminal.print(await objectText(items, format));
  else if (items.length === 0) terminal.tell(`No investigations in ${where(namespace)}.\n`);
  else {
    const { listText } = await import("./listtext.ts");
    terminal.print(listText(items, { namespaces: all, wide: format === "wide", now: clock.now() }));
  }
  return EXIT.done;
}

export const listCommand: Command = { spec, run };
