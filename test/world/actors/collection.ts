/**
 * The Job controller and the collectors: a Job's pod samples, sends what it has to whoever leads, and hands its pack over. A Job may be given a second
 * pod, as the documentation warns; a finished Job goes when its time is over.
 */
import type { WorldEvidence } from "../evidence.ts";
import { type Actor, type Hands, type Item, ownedBy, ownerOf } from "./hands.ts";

/** Where parts are sent: the operator that leads now, if one does. */
export interface Receiver {
  takes(collection: string, jobUid: string): boolean;
  arrived(collection: string): void;
}

export interface CollectionOptions {
  readonly evidence: WorldEvidence;
  readonly receiver: () => Receiver | undefined;
  /** Whether this Job is given two pods. */
  readonly twoPods: () => boolean;
}

/** How often a collector sends what it has, and asks again when nobody takes it. */
const SEND_MS = 15_000;

const isOver = (job: Item): boolean => ((job.status?.["conditions"] ?? []) as readonly unknown[]).length > 0;

export function jobController({ evidence, receiver, twoPods }: CollectionOptions): Actor {
  const started = new Set<string>();

  function send(hands: Hands, job: Item, pod: Item, sent: number): void {
    const { name, uid } = job.metadata;
    const gone = !hands.list("pods", pod.metadata.namespace).some((p) => p.metadata.uid === pod.metadata.uid);
    if (gone || isOver(hands.list("jobs").find((j) => j.metadata.uid === uid) ?? job)) return;
    const to = receiver();
    let next = sent;
    if (to?.takes(name, uid) === true) {
      next += 1;
      if (!evidence.samples(name, pod.metadata.uid, next)) {
        // Another pod owns the session: this one has nothing to do.
        hands.status("pods", pod, { phase: "Succeeded" });
        return;
      }
      if (next > SAMPLES) {
        evidence.finish(name, pod.metadata.uid);
        hands.status("pods", pod, { phase: "Succeeded" });
        to.arrived(name);
        return;
      }
      to.arrived(name);
    }
    hands.scheduler.after(SEND_MS, () => send(hands, job, pod, next));
  }

  return {
    name: "job-controller",
    heeds: ["jobs", "pods"],
    step(hands) {
      for (const job of hands.list("jobs")) {
        const { uid, deletionTimestamp } = job.metadata;
        if (deletionTimestamp !== undefined || isOver(job)) continue;
        const pods = hands.list("pods", job.metadata.namespace).filter((pod) => ownedBy(pod, uid));
        if (!started.has(uid)) {
          started.add(uid);
          for (let i = 0; i < (twoPods() ? 2 : 1); i++) makePod(hands, job, i);
          hands.status("jobs", job, { active: 1 });
          continue;
        }
        for (const pod of pods) {
          if (pod.status?.["phase"] !== "Running" || started.has(pod.metadata.uid)) continue;
          started.add(pod.metadata.uid);
          hands.scheduler.after(SEND_MS, () => send(hands, job, pod, 0));
        }
        if (pods.length === 0 || !pods.every((pod) => pod.status?.["phase"] === "Succeeded")) continue;
        hands.status("jobs", job, { active: 0, conditions: [{ type: "Complete", status: "True" }] });
        const ttl = Number(job.spec["ttlSecondsAfterFinished"] ?? 600) * 1000;
        hands.scheduler.after(ttl, () => {
          if (hands.list("jobs").some((j) => j.metadata.uid === uid)) hands.remove("jobs", job);
        });
      }
    },
  };

  function makePod(hands: Hands, job: Item, number: number): void {
    const { name, namespace } = job.metadata;
    const { metadata, spec } = job.spec["template"] as unknown as { metadata: object; spec: object };
    hands.create("pods", {
      metadata: {
        ...metadata,
        name: `${name}-${number}`,
        namespace,
        ownerReferences: [ownerOf(job, "batch/v1", "Job")],
      },
      spec,
    });
  }
}

/** Parts that a collector sends before its manifest. */
const SAMPLES = 2;
