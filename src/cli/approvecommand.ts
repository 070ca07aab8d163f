/** `oomscope approve`: a person's leave for an action that an investigation proposes, bound to the finding that it was proposed for. */
import type { MemoryInvestigation } from "../api/memoryinvestigation.ts";
import type { CommandSpec } from "./arguments.ts";
import { actionOf, type Change, changeInvestigation, seeText } from "./change.ts";
import { CLUSTER_OPTIONS } from "./clustercommand.ts";
import { Failed, type Command } from "./command.ts";
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

/** What an approval would write. Pure. See {@link actionOf} for the parameters. */
export function approval(investigation: MemoryInvestigation, action?: string, read?: string): Change {
  const record = actionOf(investigation, "approve", action, read);
  const { metadata, spec: before, status } = investigation;
  const { approvedActions = [], deniedActions = [] } = before;
  const { name, namespace = "default" } = metadata;
  const { action: what, finding, state } = record;
  const told = (words: string): string =>
    `${[
      `${what} of ${name} ${words} for finding ${finding}: ${shown(status?.finding?.summary ?? "", 1024)}`,
      ...(record.command === undefined ? [] : [`It stands for: ${shown(record.command, 1024)}`]),
      `The operator takes it if its guards still allow it; see oomscope show ${name} -n ${namespace}`,
    ].join("\n")}\n`;
  if (deniedActions.some((one) => one.action === what && one.finding === finding))
    throw new Failed(
      `${what} was denied for finding ${finding}, which holds; it can be done by hand ${seeText(investigation)}`,
    );
  if (approvedActions.some((one) => one.action === what && one.finding === finding))
    return { text: told("was approved before") };
  if (state !== "Proposed")
    throw new Failed(
      `${what} does not wait for approval, it is ${state}: ${shown(record.message, 1024)} ${seeText(investigation)}`,
    );
  const others = approvedActions.filter((one) => one.action !== what);
  return { spec: { approvedActions: [...others, { action: what, finding }] }, text: told("is approved") };
}

export const approveCommand: Command = {
  spec,
  run: (given, world) =>
    changeInvestigation(given, world, (investigation) =>
      approval(investigation, given.operands[1], given.text("finding")),
    ),
};
