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
  ModeObserve: "The policy's mode is Observe, so nothing is touched.",
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
  // Mitigation
  NoActionNamed: "The policy names no action, so nothing is done about the finding.",
  AwaitingApproval: "The action is ready, and waits until a person approves it for this finding.",
  ActionNotAllowed: "A ClusterMemoryPolicy does not allow the action in this namespace.",
  ActionNotSupported: "This version cannot take the action on a workload of this kind.",
  OptedOut: "The workload carries the annotation `oomscope.dev/do-not-mitigate`.",
  VerdictNotCovered: "The policy does not name the action for this verdict.",
  VerdictTooWeak: "The finding is less sure than the policy asks for.",
  OnsetBeforeRollout: "Containers of another revision were killed as well, so this roll-out did not bring it.",
  OnsetUnknown: "The policy asks for proof that the trouble began with this roll-out, and there is none.",
  TemplateReplaced: "Somebody has changed the workload's template since, so what was found is not what runs.",
  NoHealthyRevision: "No earlier revision is known to have been healthy.",
  RolloutHeld: "The workload would not roll out a change by itself.",
  ProposalStale: "What was approved is not what would be done now.",
  WorkloadUnreadable: "The workload or its revisions could not be read, so nothing is changed.",
  OwnedByGitOps:
    "A GitOps controller owns the workload and would put back what is changed, so the action is proposed and not begun.",
  MitigationPaused: "A policy asks for a pause of all mitigations.",
  RolloutInProgress: "A roll-out of the workload is under way.",
  TooFewReady: "Fewer ready pods would remain than the policy asks for.",
  DisruptionBudget: "A PodDisruptionBudget would be broken.",
  CoolingDown: "The workload was mitigated a short while ago.",
  WorkloadBudgetSpent: "The workload has had as many mitigations in a day as the policy allows.",
  PolicyBudgetSpent: "The policy has had as many mitigations in a day as it allows.",
  ClusterBudgetSpent: "The cluster has had as many mitigations in a day as it allows.",
  StormBrake: "Many workloads are in trouble at once, so the cause is hardly in each of them.",
  PolicyChanged: "The policy has changed since the decision, so it is taken anew.",
  RollingBack: "An earlier template was put back, or is about to be; its roll-out has not been seen complete.",
  RolledBack: "The workload was seen to run its earlier template again, all of it.",
  RevertedByGitOps:
    "The template that was rolled away from is back, and a GitOps controller owns the workload. It is not rolled back again.",
  RolloutStuck: "The earlier template was put back, but its roll-out does not come to an end.",
  RevertedByOther: "Somebody put the template back that was rolled away from. It is not rolled back again.",
  TargetReplaced: "The workload was deleted, or made anew under the same name.",
  NotValidated: "Nobody has looked yet whether the mitigation helped.",
  // Why an investigation does not begin or go on
  Suspended: "spec.suspend is true.",
  AnotherInvestigationActive: "Another investigation of the same workload has not ended yet.",
  TargetNotFound: "The target does not exist.",
  NoPolicy: "No policy selects the workload.",
  PolicyNotFound: "The policy that the investigation names does not exist.",
  PolicyInvalid: "The policy cannot be used.",
  PolicyReplaced: "From now on the investigation follows another policy, or another version of it.",
  SpecInvalid: "The spec cannot be used.",
  Forbidden: "The API server refused for lack of permission.",
  BudgetSpent: "A budget of the policy or of the cluster is used up, so the investigation waits.",
  // A policy
  InForce: "The policy is in force for at least one workload.",
  SelectsNothing: "The policy selects no workload that has pods.",
  OnlyLimits: "More specific policies are in force for all that this one selects; its limits hold.",
  InvalidSpec: "The policy's spec cannot be read, so it allows nothing.",
  DisallowedMode: "The policy asks for a mode that a ClusterMemoryPolicy's maxMode does not allow.",
  Shadowed: "Another policy comes first for workloads that this one selects.",
  NotShadowed: "No other policy comes first.",
  MetricsRead: "Readings of metrics.k8s.io arrive.",
  MetricsPending: "No readings have been asked for yet.",
  MetricsUnavailable:
    "The metrics API (metrics.k8s.io) does not answer as it should, so triggers that need it do nothing.",
  NoLimits: "Nothing that the policy is in force for has a memory limit, so there is nothing to be near to.",
  TooManyPods: "More pods are selected than are watched; triggers see only some of them.",
  // Events about evidence
  EvidenceRemoved: "A pack was deleted before its time, to make room.",
  UploadFailed: "A pack could not be sent to the bucket; it is tried again.",
  // Events about kills
  OOMKillObserved: "A container was killed for lack of memory, and the kill was counted.",
  InvestigationOpened: "An OOM kill or an alarm opened an investigation.",
  // Events about alarms
  MemoryNearLimit:
    "A container has used so much of its memory limit for so long that the policy asks for an investigation.",
  OOMProjected: "A container grows steadily, and would reach its limit within the time that the policy names.",
  NodeMemoryLow: "A node has been short of memory for longer than the policy allows.",
} as const;

export type Reason = keyof typeof REASONS;
