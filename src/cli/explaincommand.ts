/** `oomscope explain`: which policy a workload has, and what would be done about it now. */
import { VERDICTS } from "../api/verdicts.ts";
import type { Verdict } from "../api/memoryinvestigation.ts";
import { type CommandSpec, type Given, nearest, UsageError } from "./arguments.ts";
import { askDryRun, CLUSTER_OPTIONS, withCluster } from "./clustercommand.ts";
import { EXIT, type Command, type World } from "./command.ts";
import { dataText, type Format, formatOf, outputOption } from "./objecttext.ts";
import { shown } from "./text.ts";
import { workloadOperand } from "./workloadname.ts";

const FORMATS: readonly Format[] = ["json", "yaml"];

const spec: CommandSpec = {
  name: "explain",
  summary: "Say which policy a workload has, and what would be done about it now",
  usage: "KIND/NAME [--verdict VERDICT] [--confidence PERCENT] [-n NAMESPACE] [-o json|yaml]",
  about:
    "A dry run: which policies are for the workload and why one of them is in force, what the cluster's policies narrow, what an OOM kill would lead to, which pod would be kept and measured, and for each action what every guard says as of now. The answer comes from the code by which the operator decides. It only reads.",
  operands: ["KIND/NAME"],
  options: {
    ...CLUSTER_OPTIONS,
    verdict: {
      value: "VERDICT",
      help: "Ask the guards for this verdict instead of what was found, such as AnonHeapLeak.",
    },
    confidence: { value: "PERCENT", help: "How sure the verdict of --verdict is. The default is 100." },
    output: outputOption(FORMATS),
  },
  examples: [
    ["oomscope explain deployment/thumbnail-svc -n media", "Before you trust a policy: what would it do?"],
    ["oomscope explain sts/db --verdict AnonHeapLeak --confidence 85", "And for this finding?"],
    ["kubectl oomscope explain deploy/api -o json | jq .now.actions", "For a script."],
  ],
};

async function run(given: Given, world: World): Promise<number> {
  const format = formatOf(given, FORMATS);
  const workload = workloadOperand(given);
  const suppose = supposed(given);
  const now = world.clock.now();
  const answer = await withCluster(
    given,
    world,
    (namespace) => `read ${workload.kind} ${workload.name} and its pods in namespace ${namespace}`,
    (cluster) => askDryRun(cluster, workload, { now, ...(suppose === undefined ? {} : { suppose }) }),
  );
  if (format === "json" || format === "yaml") world.terminal.print(await dataText(answer, format));
  else {
    const { explainText } = await import("./explaintext.ts");
    world.terminal.print(explainText(answer));
  }
  return EXIT.done;
}

function supposed(given: Given): { readonly verdict: Verdict; readonly confidencePercent: number } | undefined {
  const asked = given.text("verdict");
  const percent = given.text("confidence") ?? "100";
  if (asked === undefined) {
    if (given.has("confidence")) throw new UsageError("--confidence means nothing without --verdict: give both");
    return undefined;
  }
  const names = Object.keys(VERDICTS) as Verdict[];
  const verdict = names.find((name) => name.toLowerCase() === asked.toLowerCase());
  if (verdict === undefined) {
    const near = nearest(asked, names);
    throw new UsageError(
      `${shown(asked)} is no verdict${near === undefined ? "" : `; did you mean ${near}?`} (docs/verdicts.md lists them)`,
    );
  }
  if (!/^\d{1,3}$/.test(percent) || Number(percent) > 100)
    throw new UsageError(`--confidence ${shown(percent)} is no percentage: write a whole number from 0 to 100`);
  return { verdict, confidencePercent: Number(percent) };
}

export const explainCommand: Command = { spec, run };
