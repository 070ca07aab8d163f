/** What is there to tell of an investigation while it goes on? Everything that its status shows, each with an identity, so that a watcher tells it once. Pure. */
import type { Collection, MemoryInvestigation } from "../api/memoryinvestigation.ts";
import { bytesText } from "../diagnosis/words.ts";
import { findingText } from "./findingtext.ts";
import { nextLines, printable } from "./storytext.ts";
import { bar } from "./text.ts";

/** Columns to which sentences are broken. */
const WIDTH = 118;

export interface Told {
  /** The same for the same fact, however often it is looked at. */
  readonly id: string;
  readonly text: string;
}

/** All that has happened so far, in the order in which it is told. */
export function happened(given: MemoryInvestigation): Told[] {
  const investigation = printable(given);
  const { metadata, spec, status = {} } = investigation;
  const because = metadata.annotations?.["oomscope.dev/opened-because"] ?? "by hand";
  const of = `${spec.targetRef.kind} ${spec.targetRef.name}`;
  return [
    { id: "opened", text: `investigation ${metadata.name} of ${of} was opened (${because})` },
    ...(status.kills ?? []).flatMap(killTold),
    ...preservedTold(investigation),
    ...(status.collections ?? []).flatMap(collectionTold),
    ...findingTold(investigation),
    ...(status.mitigations ?? []).map(({ action, state, reason, message }) => ({
      id: `mitigation ${action} ${state} ${reason}`,
      text: `${action}: ${state} (${reason}): ${message}`,
    })),
    ...conditionsTold(investigation),
  ];
}

function killTold(kill: NonNullable<NonNullable<MemoryInvestigation["status"]>["kills"]>[number]): Told[] {
  const { id, classification, container = "pod", pod, limitBytes, exitCode, victim } = kill;
  const limit = limitBytes === undefined ? "" : ` at its limit of ${bytesText(limitBytes)}`;
  const code = exitCode === undefined ? "" : `, exit code ${exitCode}`;
  const told = [{ id: `kill ${id}`, text: `${classification}: ${container} of ${pod.name}${limit}${code}` }];
  if (victim === undefined) return told;
  const held = victim.anonBytes === undefined ? "" : `, ${bytesText(victim.anonBytes)} anonymous`;
  return [
    ...told,
    { id: `victim ${id}`, text: `  the kernel confirms: it killed ${victim.comm} (pid ${victim.pid})${held}` },
  ];
}

function preservedTold({ status = {} }: MemoryInvestigation): Told[] {
  const { preserved, conditions = [] } = status;
  const refused = conditions.find(({ type, status: is }) => type === "PodPreserved" && is === "False");
  if (preserved === undefined || refused !== undefined)
    return refused === undefined
      ? []
      : [{ id: `preserved ${refused.reason}`, text: `no pod is kept (${refused.reason}): ${refused.message}` }];
  const { pod, how, state, why, cannotShow } = preserved;
  if (state !== "Preserved") return [{ id: `preserved ${state}`, text: `pod ${pod}: ${state}` }];
  return [
    { id: "preserved", text: `pod ${pod} is kept (${how}): ${why}` },
    ...(cannotShow === undefined ? [] : [{ id: `cannot ${cannotShow}`, text: `  ${cannotShow}` }]),
  ];
}

function collectionTold({ id, node, state, message, purpose }: Collection): Told[] {
  const what = purpose === "Diagnose" ? "collection" : "collection to validate";
  const more = message === undefined ? "" : ` (${message})`;
  return [{ id: `collection ${id} ${state}`, text: `${what} ${id} on ${node}: ${state}${more}` }];
}

function findingTold({ status = {} }: MemoryInvestigation): Told[] {
  const { finding } = status;
  if (finding === undefined) return [];
  const sure = finding.verdict === "Inconclusive" ? "" : ` (${finding.confidencePercent} % sure)`;
  return [{ id: `finding ${finding.id}`, text: `finding: ${finding.verdict}${sure}: ${finding.summary}` }];
}

function conditionsTold({ status = {} }: MemoryInvestigation): Told[] {
  const { conditions = [], result } = status;
  return conditions.flatMap(({ type, status: is, reason, message }) => {
    if (type === "Stalled" && is === "True" && result === undefined)
      return [{ id: `stalled ${reason}`, text: `it waits for a person (${reason}): ${message}` }];
    if (type === "Validated")
      return [{ id: `validated ${is} ${reason}`, text: `validated: ${is} (${reason}): ${message}` }];
    return [];
  });
}

/** How far the collection is that goes on now; undefined while none brings samples. */
export function collecting({
  status = {},
}: MemoryInvestigation): { readonly id: string; readonly percent: number; readonly text: string } | undefined {
  const { id = "", state, samples = 0, samplesExpected = 0 } = status.collections?.at(-1) ?? {};
  if (state !== "Running" || samplesExpected === 0) return undefined;
  const share = Math.min(1, samples / samplesExpected);
  return {
    id,
    percent: Math.floor(100 * share),
    text: `${bar(share, 40)} ${samples} of ${samplesExpected} samples`,
  };
}

/** What is told when it has ended: the finding in full, the result, and what a person can do now. */
export function endText(given: MemoryInvestigation): string {
  const investigation = printable(given);
  const { finding, result = "none", killsByPod = "no kills" } = investigation.status ?? {};
  const found = finding === undefined ? "" : `\n${findingText(finding, WIDTH)}`;
  const next = nextLines(investigation, WIDTH).join("\n");
  return `${found}\nResult: ${result}; ${killsByPod}\n\n${next}\n`;
}
