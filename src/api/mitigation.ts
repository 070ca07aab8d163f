/**
 * What oomscope can do about a finding, and what it writes down about each thing that it did, would do or refused to do:
 * the part of an investigation's status that people approve from and that undoes what was done.
 */
import { z } from "zod";
import { Int, Message, ObjectName, Reason, ShortHash, Time, listAtomic } from "./fields.ts";

/** What oomscope can do to a workload or a node. */
export const MitigationAction = z.enum(["Rollback", "Throttle", "Resize", "Restart", "CordonNode", "DrainNode"]);
export type MitigationAction = z.infer<typeof MitigationAction>;

/** Whether a mitigation helped. Unknown is an answer: too little data, or too little load, to tell. It is never taken for Pass. */
export const CheckResult = z.enum(["Pass", "Fail", "Unknown"]);
export type CheckResult = z.infer<typeof CheckResult>;

/** Longest patch that status shows; beyond it only the command is shown. */
export const MAX_PATCH = 4096;

/** A revision of a workload as a mitigation rests on it. */
const TemplateFacts = z.object({
  revision: z
    .string()
    .max(253)
    .optional()
    .describe(
      "Name of the ReplicaSet, or of the ControllerRevision of a StatefulSet or DaemonSet. Absent where the template is a new one.",
    ),
  uid: z.string().max(64).optional().describe("Its uid."),
  number: Int.optional().describe("Its number, as `kubectl rollout history` shows it."),
  templateHash: z.string().max(64).describe("SHA-256 of its pod template, the controller's own hash label left out."),
  images: z.array(z.string().max(512)).max(16).describe("Images of its containers.").meta(listAtomic),
});

/** Most values that one action changes. */
export const MAX_CHANGES = 64;
/** Longest value that is changed, in characters: what was there must be kept in status, so that it can be put back. */
export const MAX_VALUE = 1024;

/** A value of an object other than a pod template, from what to what. */
const ValueChange = z.object({
  kind: z
    .enum(["Deployment", "StatefulSet", "HorizontalPodAutoscaler", "ConfigMap", "Pod", "Node"])
    .describe("Kind of the object, in the workload's namespace unless it is a Node."),
  name: ObjectName.describe("Its name."),
  uid: z.string().max(64).describe("Its uid: another object under the same name is left alone."),
  container: z.string().max(63).optional().describe("The container of the pod."),
  field: z
    .string()
    .max(253)
    .describe(
      "`spec.replicas`, `spec.maxReplicas`, `spec.unschedulable`, `limits.memory` or `requests.memory` (in bytes); of a ConfigMap the key.",
    ),
  before: z.string().max(MAX_VALUE).optional().describe("What was there. Absent: nothing."),
  after: z.string().max(MAX_VALUE).optional().describe("What is to be there."),
  applied: Time.optional().describe("When the new value was seen there."),
});

const UndoRecord = z.object({
  state: z
    .enum(["Waiting", "Intended", "Applied", "Undone", "Refused", "Failed"])
    .describe(
      "Waiting: a guard says not yet. Intended: written down before the change. Applied: the change was seen, its course has not ended. Undone: it was seen as it was before. Refused: it was not begun. Failed: it did not come to its end.",
    ),
  reason: Reason.describe("Why it stands there."),
  message: Message.describe("The same, for people."),
  since: Time.describe("Since when it stands there."),
  askedBy: z.enum(["Person", "Validation"]).describe("Who has asked for it."),
  intended: Time.optional().describe("When it was written down to be done."),
  applied: Time.optional().describe("When the change was seen."),
});

export const MitigationState = z.enum([
  "Refused",
  "Proposed",
  "Waiting",
  "Intended",
  "RollingOut",
  "Done",
  "Reverted",
  "Failed",
  "Undone",
]);

/** One action of the policy, as far as it has come. */
export const MitigationRecord = z.object({
  action: MitigationAction.describe("What is done."),
  state: MitigationState.describe(
    "Refused: a guard said no. Proposed: it waits for approval. Waiting: a guard says not yet. Intended: written down before the change. RollingOut: the change was seen, its course has not ended. Done: its course was seen complete. Reverted: somebody else undid it; it is not done again. Failed: it did not come to its end. Undone: it was done, and put back again.",
  ),
  reason: Reason.describe("Why it stands there."),
  message: Message.describe("The same, for people."),
  finding: ShortHash.describe("The finding that it rests on, and that an approval must name."),
  since: Time.describe("Since when it stands there."),
  intended: Time.optional().describe("When it was written down to be done; it counts for budgets from then on."),
  applied: Time.optional().describe("When the change was seen on the workload."),
  finished: Time.optional().describe("When it was seen complete, or given up."),
  approvedBy: z.enum(["Policy", "Person"]).optional().describe("Whose leave it had when it was intended."),
  target: z
    .object({
      kind: z.enum(["Deployment", "StatefulSet", "DaemonSet"]).describe("Kind of the workload."),
      name: ObjectName.describe("Its name."),
      uid: z.string().max(64).describe("Its uid: another workload under the same name is left alone."),
      resourceVersion: z.string().max(64).describe("Its resourceVersion when the decision was taken."),
      generation: Int.describe("Its generation then."),
    })
    .optional()
    .describe("The workload, as it was when the decision was taken."),
  before: TemplateFacts.optional().describe("What ran before."),
  after: TemplateFacts.optional().describe("What is to run."),
  changes: z
    .array(ValueChange)
    .max(MAX_CHANGES)
    .optional()
    .describe("What else is changed than a template, value by value.")
    .meta(listAtomic),
  why: Message.optional().describe("Why this and not another: the revision, the value."),
  command: z.string().max(1024).optional().describe("The same by hand."),
  patch: z
    .string()
    .max(MAX_PATCH)
    .optional()
    .describe(
      "The same as a JSON patch (RFC 6902) of what is changed, for a person or a bot to commit; after a Resize, what would give new pods the same limit, as a patch of the workload. Left out where it would be long, or would show environment, commands or arguments.",
    ),
  undoCommand: z.string().max(1024).optional().describe("Takes it back by hand."),
  undoPatch: z.string().max(MAX_PATCH).optional().describe("Takes it back, as a JSON patch; left out as `patch` is."),
  validated: CheckResult.optional().describe(
    "What its validation came to: Pass, it helped; Fail, it did not; Unknown, nobody can tell. Absent as long as there is no answer.",
  ),
  undo: UndoRecord.optional().describe("How far it is put back, once somebody has asked for that."),
});
export type MitigationRecord = z.infer<typeof MitigationRecord>;
export type TemplateFacts = z.infer<typeof TemplateFacts>;
export type ValueChange = z.infer<typeof ValueChange>;
export type UndoRecord = z.infer<typeof UndoRecord>;
