/**
 * Writes the status of policies. Level-triggered: each pass compares what every policy's status should be with what the watch shows, and writes what differs, a
 * bounded number at a time.
 */
import type { Logger } from "pino";
import { GROUP, VERSION, type MemoryInvestigation } from "../api/memoryinvestigation.ts";
import type { PolicyStatus } from "../api/memorypolicy.ts";
import type { Writes } from "../cluster/api.ts";
import type { CensusEntry } from "../cluster/census.ts";
import { isApiError } from "../cluster/errors.ts";
import type { EventNote } from "../cluster/events.ts";
import type { TrackedPolicy } from "../cluster/observe.ts";
import { clustermemorypolicies, memorypolicies } from "../cluster/resources.ts";
import { policyIdentity } from "../incident/budgetguards.ts";
import { NOTHING_SPENT, policyStatus, policyUse, spentByPolicy, type TriggerFact } from "../incident/policystatus.ts";
import type { Clock } from "../seams.ts";
import { equal } from "./samestatus.ts";

export interface PolicyReportsOptions {
  readonly api: Pick<Writes, "applyStatus">;
  readonly clock: Clock;
  readonly log: Logger;
  readonly policies: () => readonly TrackedPolicy[];
  readonly census: () => readonly CensusEntry[];
  readonly investigations: () => readonly MemoryInvestigation[];
  /** How a policy's triggers are doing that look at readings; undefined where it has none. */
  readonly triggers: (policy: TrackedPolicy) => TriggerFact | undefined;
  readonly announce: (note: EventNote) => void;
}

export interface PolicyReports {
  /** Never throws. Returns how many were written. */
  pass(): Promise<number>;
}

/** Writes of one pass; the rest has its turn in the next. */
const MAX_WRITES = 20;
/** The number of workloads alone is written this often at most: they come and go all the time. */
const COUNTS_MS = 30_000;
/** A watch shows our own write after a moment; until then it is not made again. */
const LAG_MS = 10_000;

interface Written {
  readonly status: PolicyStatus;
  readonly atMs: number;
}

export function createPolicyReports(options: PolicyReportsOptions): PolicyReports {
  const { api, clock, log } = options;
  const written = new Map<string, Written>();
  let turn = 0;

  function due(policy: TrackedPolicy, next: PolicyStatus): boolean {
    if (equal(policy.status, next)) return false;
    const last = written.get(policy.uid);
    if (last === undefined) return true;
    const ageMs = clock.monotonicMs() - last.atMs;
    if (ageMs < LAG_MS && equal(last.status, next)) return false;
    return ageMs >= COUNTS_MS || !sameFacts(last.status, next) || !sameFacts(policy.status, next);
  }

  async function write(policy: TrackedPolicy, status: PolicyStatus): Promise<void> {
    const { kind, uid, namespace, name } = policy;
    const metadata = { name, uid, ...(kind === "MemoryPolicy" ? { namespace } : {}) };
    const resource = kind === "MemoryPolicy" ? memorypolicies : clustermemorypolicies;
    try {
      await api.applyStatus(resource, { metadata, status }, { force: true });
      written.set(uid, { status, atMs: clock.monotonicMs() });
    } catch (error) {
      // Deleted or made anew meanwhile: then there is nothing to report on.
      if (!isApiError(error, "NotFound", "Replaced"))
        log.warn({ err: error, kind, namespace, name }, "Could not write the status of a policy, will try again");
      return;
    }
    const now = readyOf(status);
    if (now?.status !== "False" || readyOf(policy.status)?.reason === now.reason) return;
    options.announce({
      regarding: {
        apiVersion: `${GROUP}/${VERSION}`,
        kind,
        name,
        uid,
        ...(kind === "MemoryPolicy" ? { namespace } : {}),
      },
      type: "Warning",
      reason: now.reason,
      message: now.message,
    });
  }

  return {
    pass: async () => {
      const policies = options.policies();
      const uids = new Set(policies.map(({ uid }) => uid));
      for (const uid of written.keys()) if (!uids.has(uid)) written.delete(uid);
      const uses = policyUse(options.census());
      const spent = spentByPolicy(options.investigations(), clock.now());
      let count = 0;
      // Each pass begins where the last one stopped, so that writes that fail again and again do not keep the rest from its turn.
      const from = policies.length === 0 ? 0 : turn % policies.length;
      for (const policy of [...policies.slice(from), ...policies.slice(0, from)]) {
        turn++;
        const own = spent.get(policyIdentity(policy, policy.namespace)) ?? NOTHING_SPENT;
        const last = written.get(policy.uid);
        const fresh = last !== undefined && clock.monotonicMs() - last.atMs < LAG_MS;
        const before = fresh ? last.status : policy.status;
        const next = policyStatus(policy, uses.get(policy.uid), own, options.triggers(policy), before, clock.now());
        if (!due(policy, next)) continue;
        await write(policy, next);
        if (++count === MAX_WRITES) break;
      }
      return count;
    },
  };
}

function readyOf({ conditions = [] }: PolicyStatus): NonNullable<PolicyStatus["conditions"]>[number] | undefined {
  return conditions.find(({ type }) => type === "Ready");
}

/** Whether two statuses tell the same facts of the same spec; the number of workloads and sentences may differ. */
function sameFacts(a: PolicyStatus, b: PolicyStatus): boolean {
  return equal(factsOf(a), factsOf(b));
}

function factsOf(status: PolicyStatus): object {
  const { matchedWorkloads: _, conditions = [], ...told } = status;
  return { ...told, conditions: conditions.map(({ type, status: holds, reason }) => `${type} ${holds} ${reason}`) };
}
