/** The kubelets: they start what is bound to their node, restart what was killed, and end what is deleted. The kills themselves are the scenario's. */
import type { JsonObject } from "../model/values.ts";
import { type Actor, type Hands, isReady, type Item } from "./hands.ts";

/** How long a container that was killed takes until it serves again. */
const RESTART_MS = 2_000;

const seconds = (date: Date): string => `${date.toISOString().slice(0, 19)}Z`;
const containerId = (pod: Item, incarnation: number): string =>
  `containerd://${pod.metadata.uid.replaceAll("-", "")}${String(incarnation).padStart(32, "0")}`;

interface ContainerStatus extends JsonObject {
  readonly restartCount: number;
}

function running(pod: Item, incarnation: number, ready: boolean, now: string, last?: JsonObject): JsonObject {
  const { name } = (pod.spec["containers"] as unknown as readonly { name: string }[])[0] ?? { name: "app" };
  return {
    phase: "Running",
    startTime: pod.status?.["startTime"] ?? now,
    conditions: [{ type: "Ready", status: ready ? "True" : "False" }],
    containerStatuses: [
      {
        name,
        ready,
        started: true,
        restartCount: incarnation,
        containerID: containerId(pod, incarnation),
        state: { running: { startedAt: now } },
        ...(last === undefined ? {} : { lastState: { terminated: last } }),
      },
    ],
  };
}

export const kubelet: Actor = {
  name: "kubelet",
  heeds: ["pods"],
  step(hands) {
    for (const pod of hands.list("pods")) {
      if (pod.metadata.deletionTimestamp !== undefined) hands.remove("pods", pod, { gracePeriodSeconds: 0 });
      else if (pod.status?.["phase"] === "Pending" && pod.spec["nodeName"] !== undefined)
        hands.status("pods", pod, running(pod, 0, true, seconds(hands.scheduler.date)));
    }
  },
};

/** The kernel kills the container of a pod for its memory; it is up again at once, and ready a moment later. */
export function oomKill(hands: Hands, pod: Item): void {
  const [before] = (pod.status?.["containerStatuses"] ?? []) as unknown as readonly ContainerStatus[];
  const incarnation = (before?.restartCount ?? 0) + 1;
  const now = seconds(hands.scheduler.date);
  const last = {
    reason: "OOMKilled",
    exitCode: 137,
    startedAt: pod.status?.["startTime"] ?? now,
    finishedAt: now,
    containerID: containerId(pod, incarnation - 1),
  };
  hands.status("pods", pod, running(pod, incarnation, false, now, last));
  hands.scheduler.after(RESTART_MS, () => {
    const live = hands.list("pods", pod.metadata.namespace).find((p) => p.metadata.uid === pod.metadata.uid);
    if (live === undefined || isReady(live)) return;
    const { containerStatuses } = live.status as unknown as { containerStatuses: readonly object[] };
    hands.status("pods", live, {
      conditions: [{ type: "Ready", status: "True" }],
      containerStatuses: containerStatuses.map((status) => ({ ...status, ready: true })),
    });
  });
}
