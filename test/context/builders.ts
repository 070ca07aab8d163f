/** Objects as the API server sends them, with as little in them as a test needs. */
import type { Context } from "../../src/api/collection.ts";
import { assembleContext } from "../../src/context/assemble.ts";
import type { ContextAnswers, ContextQuestion } from "../../src/context/question.ts";
import { selects } from "../../src/incident/policy.ts";

export const TARGET = {
  metadata: { name: "thumbs", uid: "d1", annotations: { "deployment.kubernetes.io/revision": "2" } },
  spec: { template: { spec: { containers: [{ name: "app", resources: { limits: { memory: "128Mi" } } }] } } },
};

const controlledBy = (kind: string, name: string, uid: string): object => ({
  ownerReferences: [{ kind, name, uid, controller: true }],
});

export function aReplicaSet(number: number, over: Record<string, unknown> = {}, annotations: object = {}): unknown {
  return {
    metadata: {
      name: `thumbs-${number}`,
      uid: `rs${number}`,
      creationTimestamp: `2026-11-29T0${number}:00:00Z`,
      annotations: { "deployment.kubernetes.io/revision": String(number), ...annotations },
      ...controlledBy("Deployment", "thumbs", "d1"),
    },
    spec: {
      template: {
        spec: {
          containers: [
            {
              name: "app",
              image: `thumbs:1.${number}`,
              resources: { limits: { memory: "128Mi" } },
              env: [{ name: "A", value: "canary" }],
            },
          ],
        },
      },
    },
    ...over,
  };
}

export function aRawPod(name: string, spec: object = {}, status: object = {}, metadata: object = {}): unknown {
  return {
    metadata: {
      name,
      uid: `uid-${name}`,
      namespace: "media",
      creationTimestamp: "2026-11-29T02:00:00Z",
      labels: { app: "thumbs" },
      ...controlledBy("ReplicaSet", "thumbs-2", "rs2"),
      ...metadata,
    },
    spec: { nodeName: "n1", containers: [{ name: "app", resources: { limits: { memory: "128Mi" } } }], ...spec },
    status: { phase: "Running", ...status },
  };
}

export function aRawEvent(over: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    involvedObject: { kind: "Pod", name: "a", uid: "uid-a", fieldPath: "spec.containers{app}" },
    type: "Normal",
    reason: "Killing",
    message: "Stopping container app",
    firstTimestamp: "2026-11-29T03:00:00Z",
    lastTimestamp: "2026-11-29T03:00:00Z",
    count: 1,
    source: { component: "kubelet", host: "n1" },
    ...over,
  };
}

export function aQuestion(over: Partial<ContextQuestion> = {}): ContextQuestion {
  return {
    stage: "Start",
    namespace: "media",
    target: { kind: "Deployment", name: "thumbs", uid: "d1" },
    node: "n1",
    pods: [{ name: "a", uid: "uid-a", role: "Serving" }],
    podsOmitted: 0,
    logs: [],
    logLines: 50,
    ...over,
  };
}

export function someAnswers(over: Partial<ContextAnswers> = {}): ContextAnswers {
  return {
    time: "2026-11-29T03:30:00.000Z",
    pods: [aRawPod("a")],
    target: TARGET,
    revisions: [aReplicaSet(1), aReplicaSet(2)],
    events: [],
    nodeEvents: [],
    metrics: [],
    autoscalers: [],
    budgets: [],
    limitRanges: [],
    logs: [],
    skipped: [],
    ...over,
  };
}

export const BASE: Context = {
  target: { kind: "Deployment", namespace: "media", name: "thumbs", uid: "d1" },
  kills: [],
  revisions: [],
  pods: [{ name: "a", uid: "uid-a", role: "Serving", containers: [{ name: "app", id: "c1" }] }],
};

export function assembled(
  answers: Partial<ContextAnswers> = {},
  {
    question = {},
    base = {},
    earlier,
  }: { question?: Partial<ContextQuestion>; base?: Partial<Context>; earlier?: Context } = {},
): Context {
  return assembleContext({ ...BASE, ...base }, earlier, aQuestion(question), someAnswers(answers), selects);
}
