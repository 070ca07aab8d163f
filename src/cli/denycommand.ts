/** `oomscope deny`: a person's no to an action that an investigation proposes or waits to take, bound to the finding that it was for. */
import type { MemoryInvestigation } from "../api/memoryinvestigation.ts";
import type { CommandSpec } from "./arguments.ts";
import { actionOf, type Change, changeInvestigation, seeText } from "./change.ts";
import { CLUSTER_OPTIONS } from "./clustercommand.ts";
import { Failed, type Command } from "./command.ts";
import { shown } from "./text.ts";

const spec: CommandSpec = {
  name: "deny",
  summary: "Say no to what an investigation of a cluster proposes",
  usage: "NAME [ACTION] [--finding ID] [-n NAMESPACE]",
  about:
    "Adds the action to spec.deniedActions for the finding that the investigation has now: the operator refuses it, also where the policy would let it wait and then take it, and goes on to the policy's next action. A no holds for that finding for good; an approval that was given is taken back with it. What has been begun is not stopped by it.",
  operands: ["NAME", "[ACTION]"],
  options: {
    ...CLUSTER_OPTIONS,
    finding: { value: "ID", help: "The finding that was read; oomscope show prints it." },
  },
  examples: [
    ["oomscope deny thumbnail-svc-5f2f2632 -n media", "The one action that is proposed."],
    ["oomscope deny NAME Rollback --finding 3f9c0a1b2c4d", "This action, for this finding and no other."],
  ],
};

/** What a denial would write. Pure. See {@link actionOf} for the parameters. */
export function denial(investigation: MemoryInvestigation, action?: string, read?: string): Change {
  const record = actionOf(investigation, "deny", action, read);
  const { metadata, spec: before } = investigation;
  const { approvedActions, deniedActions = [] } = before;
  const { action: what, finding, state, undoCommand } = record;
  const next = `see oomscope show ${metadata.name} -n ${metadata.namespace ?? "default"}`;
  if (deniedActions.some((one) => one.action === what && one.finding === finding))
    return { text: `${what} of ${metadata.name} was denied before for finding ${finding}; ${next}\n` };
  if (state === "Refused")
    throw new Failed(`${what} is refused already: ${shown(record.message, 1024)} ${seeText(investigation)}`);
  if (state !== "Proposed" && state !== "Waiting") {
    const undo = undoCommand === undefined ? "" : `. To take it back: ${shown(undoCommand, 1024)}`;
    throw new Failed(`${what} has been begun, it is ${state}, so a no comes too late${undo} ${seeText(investigation)}`);
  }
  const others = deniedActions.filter((one) => one.action !== what);
  const approved = approvedActions?.filter((one) => one.action !== what || one.finding !== finding);
  return {
    spec: {
      deniedActions: [...others, { action: what, finding }],
      ...(approved === undefined ? {} : { approvedActions: approved }),
    },
    text: `${what} of ${metadata.name} is denied for finding ${finding}: the operator will not do it; ${next}\n`,
  };
}

export const denyCommand: Command = {
  spec,
  run: (given, world) =>
    changeInvestigation(given, world, (investigation) =>
      denial(investigation, given.operands[1], given.text("finding")),
    ),
};
