/** Which packs must go so that no policy's evidence takes more than the policy says? Pure. */
import type { Terms } from "./folder.ts";

export interface BudgetedPack {
  readonly collection: string;
  /** When it ended; only packs that have are given up. */
  readonly ended: string | undefined;
  readonly terms: Terms | undefined;
  readonly bytes: number;
}

export interface BudgetQuestion {
  /** Bytes that all packs of a policy may take; undefined when the policy cannot be asked: then what it said when its newest pack came in counts. */
  readonly maxBytes: (policy: string) => number | undefined;
  readonly inUse: (collection: string) => boolean;
  readonly elsewhere: (collection: string) => boolean;
}

/** In the order in which they go: of each policy first those that lie somewhere else as well, then the oldest. Never one in use. */
export function overBudget(packs: readonly BudgetedPack[], question: BudgetQuestion): string[] {
  const groups = new Map<string, BudgetedPack[]>();
  for (const pack of packs.toSorted(byEnd)) {
    const policy = pack.terms?.policy;
    if (policy !== undefined && pack.ended !== undefined) groups.set(policy, [...(groups.get(policy) ?? []), pack]);
  }
  const going: string[] = [];
  for (const [policy, group] of groups) {
    const most = question.maxBytes(policy) ?? group.at(-1)?.terms?.maxBytes ?? Number.POSITIVE_INFINITY;
    let bytes = group.reduce((sum, pack) => sum + pack.bytes, 0);
    const saved = (pack: BudgetedPack): number => Number(question.elsewhere(pack.collection));
    for (const pack of group.toSorted((a, b) => saved(b) - saved(a))) {
      if (bytes <= most) break;
      if (question.inUse(pack.collection)) continue;
      bytes -= pack.bytes;
      going.push(pack.collection);
    }
  }
  return going;
}

function byEnd(a: BudgetedPack, b: BudgetedPack): number {
  return (a.ended ?? "").localeCompare(b.ended ?? "") || a.collection.localeCompare(b.collection);
}
