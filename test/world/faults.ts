/** Which faults are there, and where may each strike? One of them at one call, or a swarm of them from a seed. */
import { pathOf } from "../../src/cluster/resources.ts";
import type { Item } from "./actors/hands.ts";
import type { Answer } from "./model/answers.ts";
import { Refusal } from "./model/answers.ts";
import type { Request } from "./model/apiserver.ts";
import { SeededRandom } from "./scheduler.ts";
import type { EventFate, Fate } from "./wire.ts";
import type { FaultPlan, World } from "./world.ts";

const DELIVER: Fate = { kind: "Deliver" };

function answered(status: number, reason: string, passed: boolean, retryAfterSeconds?: number): Fate {
  const details = retryAfterSeconds === undefined ? {} : { retryAfterSeconds };
  const answer: Answer = new Refusal(status, reason, "by the world's design", details).answer;
  return { kind: "Answer", answer, passed };
}

/** Every fault that may strike a call. `Touch` and `Replace` are somebody else, who is a moment quicker. */
export const CALL_FAULTS = {
  LoseRequest: () => ({ kind: "LoseRequest" }),
  LoseReply: () => ({ kind: "LoseReply" }),
  CrashBefore: () => ({ kind: "CrashBefore" }),
  CrashAfter: () => ({ kind: "CrashAfter" }),
  Conflict409: () => answered(409, "Conflict", false),
  Patience429: () => answered(429, "TooManyRequests", false, 1),
  Trouble500: () => answered(500, "InternalError", false),
  TroubleAfter500: () => answered(500, "InternalError", true),
  Timeout504: () => answered(504, "Timeout", false),
  TimeoutAfter504: () => answered(504, "Timeout", true),
  Touch: (world) => ({ kind: "Overtaken", by: (request) => touch(world, request) }),
  Replace: (world) => ({ kind: "Overtaken", by: (request) => replace(world, request) }),
} satisfies Record<string, (world: World) => Fate>;

export type CallFault = keyof typeof CALL_FAULTS;

/** Faults of a read: what a write alone can meet is left out. */
export const READ_FAULTS: readonly CallFault[] = [
  "LoseRequest",
  "CrashBefore",
  "CrashAfter",
  "Patience429",
  "Trouble500",
];
export const WRITE_FAULTS = Object.keys(CALL_FAULTS) as readonly CallFault[];
export const EVENT_FAULTS: readonly EventFate[] = ["Hold", "Cut", "Forget"];

/** One fault at one call of the run. */
export function faultAt(index: number, fault: CallFault): FaultPlan {
  return {
    fateOf: (call, world) => (call.index === index ? CALL_FAULTS[fault](world) : DELIVER),
    fateOfEvent: () => "Deliver",
  };
}

/** One fault at the first call that fits. */
export function faultOn(fits: (request: Request) => boolean, fault: CallFault): FaultPlan {
  let struck = false;
  return {
    fateOf: ({ request }, world) => {
      if (struck || !fits(request)) return DELIVER;
      struck = true;
      return CALL_FAULTS[fault](world);
    },
    fateOfEvent: () => "Deliver",
  };
}

/** One fault at one event of the watches. */
export function eventFaultAt(index: number, fault: EventFate): FaultPlan {
  return { fateOf: () => DELIVER, fateOfEvent: (at) => (at === index ? fault : "Deliver") };
}

/** A swarm: some of the faults, each as often as the seed says. `Replace` is left out: after it the end may be another. */
export function swarm(seed: number): FaultPlan {
  const random = new SeededRandom(seed ^ 0x5eed);
  const faults = WRITE_FAULTS.filter((fault) => fault !== "Replace" && random.next() < 0.4);
  const events = EVENT_FAULTS.filter(() => random.next() < 0.4);
  const rate = random.next() * 0.08;
  const eventRate = random.next() * 0.05;
  const freezes = random.next() < 0.3 ? random.between(1, 3) : 0;
  return {
    begin: (world) => {
      for (let i = 0; i < freezes; i++) {
        world.scheduler.after(random.between(5_000, 400_000), () => {
          if (world.stormy) world.freeze(random.between(1_000, 300_000));
        });
      }
    },
    fateOf: ({ request }, world) => {
      const [first, ...rest] = request.method === "GET" ? faults.filter((f) => READ_FAULTS.includes(f)) : faults;
      if (first === undefined || random.next() >= rate) return DELIVER;
      return CALL_FAULTS[random.pick([first, ...rest])](world);
    },
    fateOfEvent: () => {
      const [first, ...rest] = events;
      return first === undefined || random.next() >= eventRate ? "Deliver" : random.pick([first, ...rest]);
    },
  };
}

/** The object that a request is about, as it is. */
function targetOf(world: World, { path }: Request): { readonly plural: string; readonly item: Item } | undefined {
  for (const { kind, namespace, name, object } of world.server.storage.all()) {
    const own = pathOf(kind.resource, { namespace, name });
    if (path === own || path === `${own}/status`)
      return { plural: kind.resource.plural, item: object as unknown as Item };
  }
  return undefined;
}

const SOMEBODY = "somebody";

/** Somebody writes a note on the object that is about to be changed. */
function touch(world: World, request: Request): void {
  const target = targetOf(world, request);
  if (target === undefined) return;
  const annotations = { "example.com/note": String(world.scheduler.nowMs) };
  world.hands(SOMEBODY).patch(target.plural, target.item, { metadata: { annotations } });
}

/** Somebody deletes the object and makes one of their own under its name; or takes the name before we do. */
function replace(world: World, request: Request): void {
  const hands = world.hands(SOMEBODY);
  if (request.method === "POST") {
    const body = JSON.parse(request.body ?? "{}") as {
      kind?: string;
      metadata: { name: string; namespace: string };
      spec?: object;
    };
    const plural = request.path.split("/").at(-1) ?? "";
    if (plural === "events") return;
    const { name, namespace } = body.metadata;
    hands.create(plural, { metadata: { name, namespace }, spec: body.spec });
    return;
  }
  const target = targetOf(world, request);
  if (target === undefined || target.plural === "leases") return;
  const { name, namespace, finalizers = [] } = target.item.metadata;
  hands.remove(target.plural, target.item, { gracePeriodSeconds: 0 });
  // What is held is going, and its name is not free yet.
  if (finalizers.length > 0) return;
  hands.create(target.plural, { metadata: { name, namespace }, spec: target.item.spec });
}
