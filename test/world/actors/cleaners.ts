/** The garbage collector, which removes what has lost its owners (an owner in another namespace counts as lost), and the controller that computes disruption budgets. */
import { type Actor, isReady, matches } from "./hands.ts";

const OWNERS = ["deployments", "replicasets", "jobs", "memoryinvestigations"];
const OWNED = ["replicasets", "pods", "poddisruptionbudgets"];

export const garbageCollector: Actor = {
  name: "garbage-collector",
  heeds: [...OWNERS, ...OWNED],
  step(hands) {
    const alive = new Set(
      OWNERS.flatMap((kind) => hands.list(kind)).map(({ metadata }) => `${metadata.namespace}/${metadata.uid}`),
    );
    for (const kind of OWNED) {
      for (const item of hands.list(kind)) {
        const { namespace, ownerReferences = [], deletionTimestamp } = item.metadata;
        if (ownerReferences.length === 0 || deletionTimestamp !== undefined) continue;
        if (ownerReferences.every((owner) => !alive.has(`${namespace}/${owner.uid}`))) hands.remove(kind, item);
      }
    }
  },
};

export const disruptionController: Actor = {
  name: "disruption-controller",
  heeds: ["poddisruptionbudgets", "pods"],
  step(hands) {
    for (const budget of hands.list("poddisruptionbudgets")) {
      const { selector, minAvailable = 0 } = budget.spec as unknown as {
        selector: { matchLabels: Record<string, string> };
        minAvailable?: number;
      };
      const pods = hands.list("pods", budget.metadata.namespace).filter((pod) => matches(pod, selector.matchLabels));
      const healthy = pods.filter(isReady).length;
      hands.status("poddisruptionbudgets", budget, {
        observedGeneration: budget.metadata.generation,
        currentHealthy: healthy,
        desiredHealthy: minAvailable,
        expectedPods: pods.length,
        disruptionsAllowed: Math.max(0, healthy - minAvailable),
      });
    }
  },
};

/** Somebody who puts back what Git says, some time after it was changed. What it finds at `fromMs` is what Git says. */
export function reapplier(name: string, fromMs: number, afterMs: number): Actor {
  let wanted: unknown;
  return {
    name: "gitops",
    heeds: ["deployments"],
    step(hands) {
      const now = hands.list("deployments").find((d) => d.metadata.name === name);
      if (now === undefined || hands.scheduler.nowMs < fromMs) return;
      const template = now.spec["template"];
      wanted ??= template;
      if (JSON.stringify(template) === JSON.stringify(wanted)) return;
      hands.scheduler.after(afterMs, () => {
        const later = hands.list("deployments").find((d) => d.metadata.name === name);
        if (later !== undefined && JSON.stringify(later.spec["template"]) !== JSON.stringify(wanted))
          hands.patch("deployments", later, { spec: { template: wanted } });
      });
    },
  };
}
