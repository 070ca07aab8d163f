/** What do the commands share by which a person answers an investigation? One object is read, something of its spec is changed as it was read, and it is told. */
import type { MemoryInvestigation } from "../api/memoryinvestigation.ts";
import type { MitigationRecord } from "../api/mitigation.ts";
import { type Given, UsageError } from "./arguments.ts";
import { investigationNamed, patchSpec, withCluster } from "./clustercommand.ts";
import { EXIT, Failed, type World } from "./command.ts";
import { nameOf, understood } from "./showcommand.ts";
import { shown } from "./text.ts";

export interface Change {
  /** What becomes of fields of the spec; absent: it stands there already, and nothing is written. */
  readonly spec?: Readonly<Record<string, unknown>>;
  /** What is told of it. */
  readonly text: string;
}

/** Runs such a command. @param decide throws Failed where it cannot be */
export async function changeInvestigation(
  given: Given,
  world: World,
  decide: (investigation: MemoryInvestigation) => Change,
): Promise<number> {
  const name = nameOf(given);
  await withCluster(
    given,
    world,
    (namespace) => `change memoryinvestigation ${name} in namespace ${namespace}`,
    async (cluster) => {
      const investigation = await understood(await investigationNamed(cluster, name));
      const { spec, text } = decide(investigation);
      if (spec !== undefined) await patchSpec(cluster, investigation, spec);
      world.terminal.print(text);
    },
  );
  return EXIT.done;
}

/** What the sentences of such a command end with. */
export function seeText({ metadata }: MemoryInvestigation): string {
  return `(oomscope show ${metadata.name} -n ${metadata.namespace ?? "default"})`;
}

/**
 * The action that a person speaks of, for the finding of now. Throws Failed and UsageError.
 * @param action default: the only one that is proposed
 * @param read the finding that the person has read; absent: the one of now
 */
export function actionOf(
  investigation: MemoryInvestigation,
  answer: "approve" | "deny",
  action?: string,
  read?: string,
): MitigationRecord {
  const { metadata, status = {} } = investigation;
  const see = seeText(investigation);
  const { finding, mitigations = [] } = status;
  if (finding === undefined)
    throw new Failed(`${metadata.name} has no finding yet, so there is nothing to ${answer} ${see}`);
  if (read !== undefined && read !== finding.id)
    throw new Failed(`The finding is ${finding.id} by now and not ${shown(read)}: read it before you ${answer} ${see}`);
  if (mitigations.length === 0) throw new Failed(`It proposes no action, so there is nothing to ${answer} ${see}`);
  const record = chosen(mitigations, action, see);
  if (record.finding !== finding.id)
    throw new Failed(`${record.action} was proposed for an earlier finding; wait until it is judged anew ${see}`);
  return record;
}

function chosen(mitigations: readonly MitigationRecord[], action: string | undefined, see: string): MitigationRecord {
  const names = (records: readonly MitigationRecord[]): string => records.map((one) => one.action).join(", ");
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
