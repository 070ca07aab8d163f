/** What does the API server know of the node, and how far apart are its clock and the node's? No addresses, no labels, no images, no other pods. */
import type { ContextClocks, NodeFacts } from "../api/context.ts";
import { at, bytesAt, intAt, listAt, nameOf, textAt, timeAt, uidOf } from "./untrusted.ts";

const MAX_CONDITIONS = 32;
const MAX_TAINTS = 32;

export function nodeFacts(node: unknown): NodeFacts | undefined {
  const name = nameOf(node);
  if (name === undefined) return undefined;
  return {
    name,
    uid: uidOf(node),
    allocatableMemoryBytes: bytesAt(node, "status", "allocatable", "memory"),
    capacityMemoryBytes: bytesAt(node, "status", "capacity", "memory"),
    swapBytes: intAt(node, "status", "nodeInfo", "swap", "capacity"),
    unschedulable: at(node, "spec", "unschedulable") === true,
    taints: listAt(node, "spec", "taints")
      .flatMap((taint) => textAt(taint, ["key"]) ?? [])
      // Others' keys may be a customer's words.
      .filter((key) => /(?:^|\.)kubernetes\.io\//.test(key))
      .slice(0, MAX_TAINTS),
    conditions: listAt(node, "status", "conditions")
      .slice(0, MAX_CONDITIONS)
      .flatMap((condition) => {
        const type = textAt(condition, ["type"], 64);
        if (type === undefined) return [];
        return [
          {
            type,
            status: textAt(condition, ["status"], 16) ?? "Unknown",
            reason: textAt(condition, ["reason"], 128),
            since: timeAt(condition, "lastTransitionTime"),
            heartbeat: timeAt(condition, "lastHeartbeatTime"),
          },
        ];
      }),
    kubelet: textAt(node, ["status", "nodeInfo", "kubeletVersion"], 64),
    runtime: textAt(node, ["status", "nodeInfo", "containerRuntimeVersion"], 64),
    kernel: textAt(node, ["status", "nodeInfo", "kernelVersion"], 64),
    os: textAt(node, ["status", "nodeInfo", "osImage"], 128),
  };
}

/** Conditions that the kubelet itself reports; other agents add theirs, at their own times. */
const KUBELETS: readonly unknown[] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];
/** The kubelet reads its clock, then sends: more than this in between would be a stalled kubelet. */
const SENDING_MS = 1000;

/**
 * The kubelet writes its heartbeat by the node's clock, and the API server notes in managedFields when that write came, by its own. Both are cut to whole
 * seconds, so the difference is known to about a second either way, as of that write.
 */
export function clocksOf(node: unknown): ContextClocks {
  const heartbeat = Math.max(
    ...listAt(node, "status", "conditions")
      .filter((condition) => KUBELETS.includes(at(condition, "type")))
      .map((condition) => Date.parse(timeAt(condition, "lastHeartbeatTime") ?? "1970-01-01T00:00:00Z")),
    0,
  );
  const write = listAt(node, "metadata", "managedFields").find(
    (entry) => at(entry, "manager") === "kubelet" && at(entry, "subresource") === "status",
  );
  const written = Date.parse(timeAt(write, "time") ?? "");
  if (node === undefined) return { unknown: "the node could not be read" };
  if (heartbeat === 0) return { unknown: "the node's status has no heartbeat of its kubelet" };
  if (!Number.isFinite(written))
    return { unknown: "the API server does not say when the kubelet last wrote the node's status" };
  const apart = heartbeat - written;
  return { nodeAheadOfServerMs: { low: apart - 1000, high: apart + 1000 + SENDING_MS } };
}
