/**
 * Everything oomscope can do to the world, as values. A plan lists them; `cluster/perform.ts` carries them out.
 * Each is safe to repeat: names are deterministic, and every change to an object of somebody else carries the uid and the
 * facts the decision rested on.
 */
import type { CollectionPlan, Context } from "../api/collection.ts";
import type { MemoryInvestigationSpec } from "../api/memoryinvestigation.ts";
import type { MitigationAction } from "../api/mitigation.ts";
import type { Reason } from "../api/reasons.ts";
import type { ContextQuestion } from "../context/question.ts";
import type { PodView } from "./observation.ts";
import type { TemplateEdit } from "./templateedit.ts";

/** For whom a change of somebody's object is made: the door asks them once more. */
export interface Errand {
  readonly investigation: { readonly name: string; readonly uid: string };
  /** As the decision knew it: another generation of it may say no. Absent when something is taken back: no policy has a say in that. */
  readonly policy?: { readonly kind: string; readonly name: string; readonly generation: number };
  readonly purpose: "Do" | "Undo";
  /** When it was intended, for the mark on what is changed. */
  readonly intended: string;
}

export interface TemplatedTarget {
  readonly kind: "Deployment" | "StatefulSet" | "DaemonSet";
  readonly name: string;
  readonly uid: string;
}

export type Action =
  | {
      readonly kind: "OpenInvestigation";
      readonly name: string;
      readonly spec: MemoryInvestigationSpec;
      readonly policy: {
        readonly kind: string;
        readonly name: string;
        readonly maxActive: number;
        readonly clusterMaxActive: number;
      };
      /** Whether a pod may be kept: then the finalizer is there from the first moment. */
      readonly preserves: boolean;
      /** Why it is opened, for the annotation that people read. */
      readonly because: string;
      /** The pod that a trigger points at, by name: it is measured first. */
      readonly suspect?: string;
    }
  | { readonly kind: "SetFinalizer"; readonly investigation: string; readonly uid: string; readonly present: boolean }
  | {
      readonly kind: "PreservePod";
      readonly investigation: { readonly name: string; readonly uid: string };
      readonly how: "Isolate" | "Hold";
      /** As seen when it was chosen: the change is refused when the pod has changed since in a way that matters. */
      readonly pod: PodView;
      readonly container: string | undefined;
      /** Labels that leave the pod, with the values they must still have. */
      readonly labels: Readonly<Record<string, string>>;
      /** Ready pods that must remain without this one. */
      readonly minAvailable: number;
      /** Pods that may count as remaining, by uid. */
      readonly siblings: readonly string[];
    }
  | {
      readonly kind: "ReleasePod";
      readonly investigation: { readonly name: string; readonly uid: string };
      readonly pod: { readonly name: string; readonly uid: string };
      readonly how: "Isolate" | "Hold";
      readonly labels: Readonly<Record<string, string>>;
      /** False: the controller that owned it is gone, so nobody would ever clean the pod up: it is deleted. */
      readonly ownerExists: boolean;
    }
  | {
      readonly kind: "EnsureGuard";
      readonly investigation: { readonly name: string; readonly uid: string };
      readonly name: string;
    }
  | { readonly kind: "RemoveGuard"; readonly name: string; readonly investigationUid: string }
  | ({
      /** Gives the workload another template, provided that it still has the one that the decision rests on. */
      readonly kind: "ChangeTemplate";
      readonly mitigation: MitigationAction;
      readonly target: TemplatedTarget;
      readonly before: { readonly templateHash: string };
      readonly after: {
        readonly templateHash: string;
        /** That of an earlier revision, or the one that is there with a small change. */
        readonly from: { readonly revision: string; readonly uid: string } | { readonly edit: TemplateEdit };
      };
    } & Errand)
  | ({
      /** Sets values of one object, provided that each is still what the decision rests on. */
      readonly kind: "SetValues";
      readonly mitigation: MitigationAction;
      /** The workload that it is done for: its owner may have opted out. */
      readonly target: TemplatedTarget;
      readonly object: {
        readonly kind: "Deployment" | "StatefulSet" | "HorizontalPodAutoscaler" | "ConfigMap" | "Node";
        readonly name: string;
        readonly uid: string;
      };
      /** As records name them. Without `before` nothing may be there; without `after` it is removed. */
      readonly values: readonly { readonly field: string; readonly before?: string; readonly after?: string }[];
    } & Errand)
  | ({
      /** Gives containers of running pods another memory limit or request, provided that each has the one that the decision rests on. */
      readonly kind: "ResizePods";
      readonly mitigation: "Resize";
      readonly target: TemplatedTarget;
      readonly changes: readonly {
        readonly pod: { readonly name: string; readonly uid: string };
        readonly container: string;
        readonly field: "limits" | "requests";
        /** In bytes. */
        readonly before: number;
        readonly after: number;
      }[];
    } & Errand)
  | { readonly kind: "CreateCollectionJob"; readonly plan: CollectionPlan; readonly node: string }
  | { readonly kind: "DeleteCollectionJob"; readonly name: string; readonly uid: string }
  | {
      /** Reads the world around a collection and writes it beside the evidence. */
      readonly kind: "WriteContext";
      readonly collection: string;
      /** What is known without asking. */
      readonly base: Context;
      readonly question: ContextQuestion;
    };

/** Something to tell people as a Kubernetes Event. */
export interface Notice {
  readonly type: "Normal" | "Warning";
  readonly reason: Reason;
  readonly message: string;
  /** What it is about. The investigation gets it; these get it as well. */
  readonly also: readonly ("Target" | { readonly pod: string; readonly uid: string })[];
}

/** A guard's answer: why something is not done. */
export interface Refusal {
  readonly reason: Reason;
  readonly message: string;
}
