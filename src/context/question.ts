/** What is asked of the API server about one collection, and what came back, before anything is made of it. */
import type { Skipped } from "../api/context.ts";

export type ContextStage = "Start" | "End";

export interface ContextQuestion {
  readonly stage: ContextStage;
  readonly namespace: string;
  readonly target: { readonly kind: string; readonly name: string; readonly uid?: string };
  /** The node that is measured. */
  readonly node: string;
  /** Pods of the workload, the measured ones first, then those that were killed; at most {@link MAX_CONTEXT_PODS}. */
  readonly pods: readonly { readonly name: string; readonly uid: string; readonly role?: "Preserved" | "Serving" }[];
  /** Pods of the workload that are not asked about. */
  readonly podsOmitted: number;
  /** Containers whose previous log is read. Empty unless the policy asks for it. */
  readonly logs: readonly { readonly pod: string; readonly uid: string; readonly container: string }[];
  /** Lines of each log; 0: the policy does not ask for any. */
  readonly logLines: number;
}

export const MAX_CONTEXT_PODS = 16;
export const MAX_LOGS = 4;
/** Of one log; the API server counts from the first of the lines asked for. */
export const MAX_LOG_BYTES = 64 * 1024;

/** JSON as the API server sent it. Nothing of it may be written anywhere before it was shaped. */
export interface ContextAnswers {
  /** When the reads began, by the operator's clock. */
  readonly time: string;
  readonly pods: readonly unknown[];
  readonly target?: unknown;
  /** ReplicaSets or ControllerRevisions. */
  readonly revisions: readonly unknown[];
  readonly node?: unknown;
  readonly events: readonly unknown[];
  readonly nodeEvents: readonly unknown[];
  readonly metrics: readonly unknown[];
  readonly autoscalers: readonly unknown[];
  readonly budgets: readonly unknown[];
  readonly limitRanges: readonly unknown[];
  readonly logs: readonly {
    readonly pod: string;
    readonly uid: string;
    readonly container: string;
    readonly text: string;
  }[];
  readonly skipped: readonly Skipped[];
}
