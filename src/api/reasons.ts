/**
 * Every reason that a condition or an Event may carry, with the sentence that the documents give it. A reason is a token that
 * machines compare: once released it is never renamed.
 */
export const REASONS = {
  // Preservation of a pod
  Preserving: "A pod was chosen and is about to be kept; the change has not been seen yet.",
  Isolated: "A pod was taken out of every selector and keeps its memory; its workload has replaced it.",
  Held: "A pod is guarded from eviction where it is; its labels are untouched.",
  Released: "The pod was put back as it was.",
  PodLost: "The pod that was to be kept is gone. No other is taken in its place.",
  NoCandidate: "No pod of the workload is alive and of the right revision.",
  ModeObserve: "The policy's mode is Observe, so no pod is touched.",
  AlreadyKept:
    "Another investigation of the same workload keeps a pod of the same revision, so no second one is taken.",
  StrategyNone: "The policy says that no pod is kept.",
  OwnerCannotReplace: "The pod's controller cannot make a replacement while the pod exists, so it is held where it is.",
  SelectorsUnknown: "The selectors of the namespace could not be read, so the pod is held where it is.",
  SelectorInescapable: "Something selects the pod whatever its labels are, so the pod is held where it is.",
  MinAvailable: "Too few ready pods would remain, so the pod is held where it is.",
  QuotaTooTight: "The namespace's quota has no room for a replacement, so the pod is held where it is.",
  VolumeHeld: "The pod holds a volume that a replacement could not mount, so it is held where it is.",
  PodChanged: "The pod has changed since it was chosen, so it was left alone.",
  // Collection
  Collecting: "Evidence is being collected on the node.",
  CollectionComplete: "All planned evidence has arrived.",
  CollectionPartial: "Some of the planned evidence is missing; what has arrived is used.",
  NothingToMeasure: "No pod of the workload runs, so there is nothing to measure.",
  CollectorFailed: "The collection Job failed.",
  CollectorTimedOut: "The collection Job ran past its deadline.",
  CollectorLost: "The collection Job is gone although it was made.",
  NodeGone: "The node is gone or does not answer any more.",
  NameCollision: "Another object has the name that ours would have.",
  StorageFull: "The evidence store has no room.",
  // Diagnosis and end
  Diagnosing: "The evidence is being read.",
  Diagnosed: "The evidence supports a verdict.",
  Inconclusive: "The evidence does not support any verdict.",
  InProgress: "The investigation is on its way.",
  Ended: "The investigation has ended.",
  // Why an investigation does not begin or go on
  Suspended: "spec.suspend is true.",
  AnotherInvestigationActive: "Another investigation of the same workload has not ended yet.",
  TargetNotFound: "The target does not exist.",
  NoPolicy: "No policy selects the workload.",
  PolicyNotFound: "The policy that the investigation names does not exist.",
  PolicyInvalid: "The policy cannot be used.",
  SpecInvalid: "The spec cannot be used.",
  Forbidden: "The API server refused for lack of permission.",
  BudgetSpent: "A budget of the policy is used up, so the investigation waits.",
  // Events about kills
  OOMKillObserved: "A container was killed for lack of memory, and the kill was counted.",
  InvestigationOpened: "An OOM kill opened an investigation.",
} as const;

export type Reason = keyof typeof REASONS;
