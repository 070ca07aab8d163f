/** `oomscope doctor`: is this cluster ready, and if not, what to do? */
import type { Check } from "../cluster/checkup.ts";
import type { CommandSpec, Given } from "./arguments.ts";
import { askCheckUp, CLUSTER_OPTIONS, withCluster } from "./clustercommand.ts";
import { EXIT, type Command, type World } from "./command.ts";
import { dataText, type Format, formatOf, outputOption } from "./objecttext.ts";
import { hanging, printable } from "./storytext.ts";

const FORMATS: readonly Format[] = ["json", "yaml"];
/** Columns to which sentences are broken. */
const WIDTH = 118;

const spec: CommandSpec = {
  name: "doctor",
  summary: "Check whether a cluster is ready for oomscope, and say what to do",
  usage: "[-n NAMESPACE] [-o json|yaml]",
  about:
    "Looks at the API server, the kinds, the operator and its lease, its rights, the nodes, the metrics API, the namespaces, the evidence volume and the policies. Each line is ok, a warning (it works with less), a problem (it does not work as it should) or unknown (you may not look), with what to do. Exit code 1 where there is a problem. It only reads. Seeing that the lease is renewed takes a few seconds.",
  options: { ...CLUSTER_OPTIONS, output: outputOption(FORMATS) },
  examples: [
    ["oomscope doctor", "After an install or an upgrade, and whenever nothing seems to happen."],
    ["oomscope doctor -o json | jq '.checks[] | select(.level != \"Ok\")'", "For a script."],
  ],
};

async function run(given: Given, world: World): Promise<number> {
  const format = formatOf(given, FORMATS);
  const checks = await withCluster(
    given,
    world,
    () => "look at the cluster",
    (cluster) => askCheckUp(cluster, world),
  );
  const healthy = !checks.some(({ level }) => level === "Problem");
  const { terminal } = world;
  terminal.print(
    format === "json" || format === "yaml" ? await dataText({ healthy, checks }, format) : checksText(checks),
  );
  return healthy ? EXIT.done : EXIT.failed;
}

/** One line for each, with what to do below it, and a last line that counts. */
export function checksText(checks: readonly Check[]): string {
  const named = Math.max(...checks.map(({ id }) => id.length));
  const lines = checks.flatMap((check) => {
    const { id, level, says, advice } = printable(check);
    const lead = `${level.toLowerCase().padEnd(7)}  ${id.padEnd(named)}  `;
    return [
      ...hanging(lead, says, WIDTH),
      // A command stays whole, to be copied.
      ...(advice === undefined ? [] : [`${" ".repeat(lead.length)}-> ${advice}`]),
    ];
  });
  const count = (level: Check["level"]): number => checks.filter((check) => check.level === level).length;
  const words = (["Problem", "Warning", "Unknown"] as const)
    .filter((level) => count(level) > 0)
    .map((level) => `${count(level)} ${level.toLowerCase()}${count(level) === 1 || level === "Unknown" ? "" : "s"}`);
  return `${[...lines, "", words.length === 0 ? "All is well." : `${words.join(", ")}.`].join("\n")}\n`;
}

export const doctorCommand: Command = { spec, run };
