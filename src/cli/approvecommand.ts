/** `oomscope approve`: a person's leave for an action that an investigation proposes, bound to the finding that it was proposed for. */
import type { MemoryInvestigation } from "../api/memoryinvestigation.ts";
import type { MitigationRecord } from "../api/mitigation.ts";
import { type CommandSpec, type Given, UsageError } from "./arguments.ts";
import { CLUSTER_OPTIONS, investigationNamed, patchSpec, withCluster } from "./clustercommand.ts";
import { EXIT, Failed, type Command, type World } from "./command.ts";
import { nameOf, understood } from "./showcommand.ts";
import { shown } from "./text.ts";

const spec: CommandSpec = {
  name: "approve",
  summary: "Let an investigation of a cluster do what it proposes",
  usage: "NAME [ACTION] [--finding ID] [-n NAMESPACE]",
  about:
    "Adds the action to spec.approvedActions for the finding that the investigation has now, so that the operator takes it if its guards still allow it. The approval is void when the finding changes. With --finding, nothing is approved for any other finding than the one that you have read.",
  operands: ["NAME", "[ACTION]"],
  options: {
    ...CLUSTER_OPTIONS,
    finding: { value: "ID", help: "The finding that was read; oomscope show prints it." },
  },
  examples: [
    ["oomscope approve thumbnail-svc-5f2f2632 -n media", "The one action that is proposed."],
    ["oomscope approve NAME Rollback --finding 3f9c0a1b2c4d", "This action, for this finding and no other."],
  ],
};

async function run(given: Given, world: World): Promise<number> {
  const name = nameOf(given);
  await withCluster(
    given,
    world,
    (namespace) => `change memoryinvestigation ${name} in namespace ${namespace}`,
    async (cluster) => {
      const investigation = await understood(await investigationNamed(cluster, name));
      const { record, approvedActions } = approval(investigation, given.operands[1], given.text("finding"));
      if (approvedActions !== undefined) await patchSpec(cluster, investigation, { approvedActions });
      world.terminal.print(approvedText(investigation, record, approvedActions === undefined));
    },
  );
  return EXIT.done;
}

export interface Approval {
  readonly record: MitigationRecord;
  /** What `spec.approvedActions` becomes; absent where the approval stands there already. */
  readonly approvedActions?: NonNullable<MemoryInvestigation["spec"]["approvedActions"]>;
}

/**
 * What an approval would write. Pure.
 * @param action default: the only one that is proposed
 * @param read the finding that the person has read; absent: the one of now
 */
export function approval(
  { metadata, spec: { approvedActions = [] }, status = {} }: MemoryInvestigation,
  action?: string,
  read?: string,
): Approval {
  const { finding, mitigations = [] } = status;
  const see = `(oomscope show ${metadata.name} -n ${metadata.namespace ?? "default"})`;
  if (finding === undefined)
    throw new Failed(`${metadata.name} has no finding yet, so there is nothing to approve ${see}`);
  if (read !== undefined && read !== finding.id)
    throw new Failed(`The finding is ${finding.id} by now and not ${shown(read)}: read it before you approve ${see}`);
  const record = chosen(mitigations, action, see);
  if (record.finding !== finding.id)
    throw new Failed(`${record.action} was proposed for an earlier finding; wait until it is judged anew ${see}`);
  if (approvedActions.some((one) => one.action === record.action && one.finding === finding.id)) return { record };
  if (record.state !== "Proposed")
    throw new Failed(
      `${record.action} does not wait for approval, it is ${record.state}: ${shown(record.message, 1024)} ${see}`,
    );
  const others = approvedActions.filter((one) => one.action !== record.action);
  return { record, approvedActions: [...others, { action: record.action, finding: finding.id }] };
}

function chosen(mitigations: readonly MitigationRecord[], action: string | undefined, see: string): MitigationRecord {
  const names = (records: readonly MitigationRecord[]): string => records.map((one) => one.action).join(", ");
  if (mitigations.length === 0) throw new Failed(`It proposes no action, so there is nothing to approve ${see}`);
  if (action !== undefined) {
    const named = mitigations.find((one) => one.action.toLowerCase() === action.toLowerCase());
    if (named !== undefined) return named;
    throw new UsageError(`It has no action ${shown(action)}; it has ${names(mitigations)} ${see}`);
  }
  const proposed = mitigations.filter(({ state }) => state === "Proposed");
  const [only] = proposed.length === 0 ? mitigations : proposed;
  if (only === undefined || proposed.length > 1)
    throw new UsageError(`More than one action is proposed (${names(proposed)}): name the one that you mean ${see}`);
  return only;
}

function approvedText({ metadata, status }: MemoryInvestigation, record: MitigationRecord, before: boolean): string {
  const { name, namespace = "default" } = metadata;
  const { id = "", summary = "" } = status?.finding ?? {};
  const lines = [
    `${record.action} of ${name} ${before ? "was approved before" : "is approved"} for finding ${id}: ${shown(summary, 1024)}`,
    ...(record.command === undefined ? [] : [`It stands for: ${shown(record.command, 1024)}`]),
    `The operator takes it if its guards still allow it; see oomscope show ${name} -n ${namespace}`,
  ];
  return `${lines.join("\n")}\n`;
}

export const approveCommand: Command = { spec, run };
