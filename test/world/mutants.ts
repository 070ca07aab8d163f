/** The operator with a hole in it: each mutant lacks one guard, and the oracles must see that it does. Where a guard stands in what is sent it is taken out on the wire, where it stands in the loop the loop is another. */
import type { World as LoopWorld } from "../../src/controller/reconcile.ts";
import type { reconcile } from "../../src/controller/reconcile.ts";
import { sameStatus } from "../../src/controller/samestatus.ts";
import { plan } from "../../src/incident/plan.ts";
import type { Request } from "./model/apiserver.ts";
import type { Mutant } from "./world.ts";

/** The request without a field of its metadata, wherever it stands as a precondition. */
function without(field: "uid" | "resourceVersion", request: Request): Request {
  const { method, body, path } = request;
  // The lease has a guard of its own.
  if (body === undefined || (method !== "PATCH" && method !== "DELETE") || path.includes("/leases")) return request;
  const parsed = JSON.parse(body) as Record<string, unknown>;
  if (Array.isArray(parsed)) {
    const rest = (parsed as { path: string }[]).filter((step) => step.path !== `/metadata/${field}`);
    return { ...request, body: JSON.stringify(rest) };
  }
  for (const part of ["metadata", "preconditions"]) {
    const { [field]: _gone, ...rest } = (parsed[part] ?? {}) as Record<string, unknown>;
    if (parsed[part] !== undefined) parsed[part] = rest;
  }
  return { ...request, body: JSON.stringify(parsed) };
}

export const WITHOUT_UID: Mutant = { name: "no uid", alter: (request) => without("uid", request) };
export const WITHOUT_VERSION: Mutant = {
  name: "no resourceVersion",
  alter: (request) => without("resourceVersion", request),
};

/** Does what it plans first, and writes down afterwards that it was intended. */
const actFirst: typeof reconcile = async (key, world, now) => {
  const seen = await world.observe(key);
  const next = plan(seen, now());
  for (const action of next.actions) await world.perform(key, action);
  let acted = next.actions.length > 0;
  for (const { investigation, actions, status } of next.investigations) {
    for (const action of actions) await world.perform(key, action);
    acted ||= actions.length > 0;
    const before = seen.investigations.find((i) => i.metadata.uid === investigation.metadata.uid) ?? investigation;
    if (status === undefined || sameStatus(before, status)) continue;
    await world.writeStatus(before, status);
    acted = true;
  }
  return acted && next.requeueAfterMs === undefined ? 0 : next.requeueAfterMs;
};

export const ACTS_FIRST: Mutant = { name: "intent after act", loop: () => ({ reconcile: actFirst }) };

/** Counts the mitigations that this process remembers, and no others. */
function rememberedBudget(): { readonly world: (world: LoopWorld) => LoopWorld } {
  const mine = new Set<string>();
  return {
    world: (world) => ({
      ...world,
      observe: async (key) => {
        const seen = await world.observe(key);
        return { ...seen, mitigated: seen.mitigated.filter(({ investigationUid }) => mine.has(investigationUid)) };
      },
      perform: (key, action) => {
        if (action.kind === "ChangeTemplate") mine.add(action.investigation.uid);
        return world.perform(key, action);
      },
    }),
  };
}

export const BUDGET_IN_MEMORY: Mutant = { name: "budget in memory", loop: rememberedBudget };

/** Does not read the intent to keep a pod, and chooses one anew. */
function chooser(): { readonly world: (world: LoopWorld) => LoopWorld } {
  return {
    world: (world) => ({
      ...world,
      observe: async (key) => {
        const seen = await world.observe(key);
        const investigations = seen.investigations.map((investigation) => {
          const { preserved, ...status } = investigation.status ?? {};
          return preserved?.state === "Intended" ? { ...investigation, status } : investigation;
        });
        return { ...seen, investigations };
      },
    }),
  };
}

export const CHOOSES_ANEW: Mutant = { name: "more than one preserved", loop: chooser };
