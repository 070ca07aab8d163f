/**
 * Cordons the node of the newest kill, so that nothing new lands on a node that runs out of memory. What runs there stays, the pod that is kept
 * for evidence included. Nodes are the cluster's: only where a ClusterMemoryPolicy names the action, and one at a time.
 */
import type { ValueChange } from "../../api/mitigation.ts";
import type { MemoryInvestigation } from "../../api/memoryinvestigation.ts";
import type { Refusal } from "../actions.ts";
import { timeText } from "../conditions.ts";
import { bearsMark, markOf } from "../marks.ts";
import type { NodeState, Observation, TargetState } from "../observation.ts";
import {
  currentRevision,
  refusal,
  targetFacts,
  type Entry,
  type MitigationQuestion,
  type Proposal,
  type Remedy,
} from "./remedy.ts";
import { ROLLS_OUT } from "./templatechange.ts";
import { proposedValuesStale, reverseValues, standsValues, valuesAction, type Reading } from "./valuechange.ts";

/** Where the newest kill was; where no kill tells, where the evidence was collected. */
function nodeOf({ status }: MemoryInvestigation): string | undefined {
  const killed = (status?.kills ?? []).filter(({ node }) => node !== undefined);
  const newest = killed.toSorted((a, b) => a.time.localeCompare(b.time)).at(-1);
  return newest?.node ?? status?.collections?.at(-1)?.node;
}

function propose({ seen, investigation }: Entry, target: TargetState): Proposal {
  const base = { current: currentRevision(target), words: "", touched: { labels: {}, annotations: {} } };
  const no = (message: string): Proposal => ({ ...base, blocked: refusal("ActionDoesNotFit", message) });
  const name = nodeOf(investigation);
  if (name === undefined) return no("Nobody knows on which node it happened");
  const node = seen.nodes[name];
  if (node === undefined) return no(`Node ${name} is gone`);
  if (node.unschedulable) return no(`Node ${name} is cordoned already`);
  return {
    ...base,
    touched: { labels: {}, annotations: node.annotations },
    words: `to cordon node ${name}`,
    facts: {
      target: targetFacts(target),
      changes: [{ kind: "Node", name, uid: node.uid, field: "spec.unschedulable", after: "true" }],
      command: `kubectl cordon ${name}`,
      undoCommand: `kubectl uncordon ${name}`,
    },
  };
}

/** Cordoned by oomscope, and not taken back. */
function isOurs({ unschedulable, annotations }: NodeState): boolean {
  return unschedulable && markOf(annotations)?.action === "CordonNode";
}

/** Projects before us have cordoned all of a cluster, one node after the other. */
function lastNode({ seen, proposal }: MitigationQuestion): Refusal | undefined {
  const name = proposal?.facts?.changes?.[0]?.name;
  const others = Object.entries(seen.nodes).filter(([other]) => other !== name);
  const ours = others.find(([, node]) => isOurs(node));
  if (ours !== undefined) return refusal("LastNode", `Node ${ours[0]} is cordoned by oomscope already`);
  if (others.some(([, node]) => node.ready && !node.unschedulable)) return undefined;
  return refusal("LastNode", "No other node is ready and takes pods");
}

function read(seen: Observation, { name, uid }: ValueChange): Reading {
  const node = seen.nodes[name];
  if (node === undefined || node.uid !== uid) return { gone: true };
  return { value: node.unschedulable ? "true" : undefined };
}

export const cordonNode: Remedy = {
  kinds: ROLLS_OUT,
  begun: "Cordoning",
  done: "Cordoned",
  // Its course ends with the change.
  stuck: "Cordoning",
  never: [proposedValuesStale],
  wait: [lastNode],
  propose,
  stand: (seen, record, uid, now) => {
    const name = record.changes?.[0]?.name ?? "";
    const annotations = seen.nodes[name]?.annotations ?? {};
    return standsValues(record, {
      read: (change) => read(seen, change),
      marked: bearsMark(annotations, uid, record.action),
      touched: { labels: {}, annotations },
      course: ([change]) => ({
        ended: true,
        message: `node ${name} ${change?.after === undefined ? "takes pods again" : "takes no new pods; those that run there stay"}`,
      }),
      now: timeText(now),
    });
  },
  act: valuesAction,
  reverse: reverseValues,
  undoGuards: [],
};
