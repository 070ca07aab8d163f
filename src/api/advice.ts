/** Where does each reason appear, and what should a person do who reads it? The pages of docs/spec are made from this table. */
import type { ConditionType } from "./memoryinvestigation.ts";
import type { PolicyConditionType } from "./memorypolicy.ts";
import type { Reason } from "./reasons.ts";

export interface Advice {
  /** The condition types that carry the reason; `Event` for Kubernetes Events, `Hold` for `status.preserved.why` of a pod that is held and not isolated. */
  readonly on: readonly (ConditionType | PolicyConditionType | "Event" | "Hold")[];
  readonly advice: string;
}

const NOTHING = "Nothing.";

export const ADVICE: Readonly<Record<Reason, Advice>> = {
  Preserving: { on: ["PodPreserved"], advice: "Wait a moment." },
  Isolated: {
    on: ["PodPreserved", "Event"],
    advice:
      "Look at the pod with `kubectl exec` or `kubectl debug` while it lives; set `spec.release: true` when you are done.",
  },
  Held: {
    on: ["PodPreserved", "Event"],
    advice:
      "As for Isolated; but it still serves, so it may be killed again. `status.preserved.why` says why it was not isolated.",
  },
  Released: { on: ["PodPreserved", "Event"], advice: NOTHING },
  PodLost: {
    on: ["PodPreserved", "Event"],
    advice:
      "Use the evidence that was collected before. Find out who deleted it: the pod's events and the audit log tell.",
  },
  NoCandidate: {
    on: ["PodPreserved"],
    advice:
      "Nothing; serving pods are measured instead. With one replica, raise `replicas` if evidence of the next kill matters.",
  },
  ModeObserve: {
    on: ["PodPreserved", "Mitigated"],
    advice: "Set `mode: Recommend` in the policy when pods should be kept and actions proposed.",
  },
  AlreadyKept: {
    on: ["PodPreserved"],
    advice: "Look at the pod that the message names. When it is released, the next kill may keep another.",
  },
  StrategyNone: { on: ["PodPreserved"], advice: "Set `preserve.strategy` in the policy when pods should be kept." },
  OwnerCannotReplace: { on: ["Hold"], advice: "Nothing. StatefulSets and DaemonSets have no other way." },
  SelectorsUnknown: {
    on: ["Hold"],
    advice: "Check that the operator may list services, poddisruptionbudgets and networkpolicies in the namespace.",
  },
  SelectorInescapable: {
    on: ["Hold"],
    advice: "Find the selector that `status.preserved.why` names, and give it a label to match.",
  },
  MinAvailable: {
    on: ["Hold"],
    advice: "Run more replicas, or lower `preserve.minAvailable` in the policy.",
  },
  QuotaTooTight: { on: ["Hold"], advice: "Raise the ResourceQuota by one pod of this workload." },
  VolumeHeld: { on: ["Hold"], advice: "Nothing. A ReadWriteOnce volume has one pod." },
  PodChanged: { on: ["Hold"], advice: "Nothing. A pod that changes under our hands is only guarded." },
  Collecting: {
    on: ["EvidenceCollected"],
    advice: "Wait; `status.collections` counts the samples. `collect.duration` in the policy says how long it takes.",
  },
  CollectionComplete: { on: ["EvidenceCollected", "Event"], advice: NOTHING },
  CollectionPartial: {
    on: ["EvidenceCollected", "Event"],
    advice: "Read the message: it says what is missing. The finding rests on what has arrived, with less confidence.",
  },
  NothingToMeasure: {
    on: ["EvidenceCollected", "Succeeded", "Stalled", "Event"],
    advice:
      "See why no pod runs (`kubectl describe` of the workload). The kill itself stays recorded in `status.kills`.",
  },
  CollectorFailed: {
    on: ["EvidenceCollected", "Succeeded", "Stalled", "Event"],
    advice:
      "Read the message, then the collector's log: `kubectl -n oomscope-collectors logs job/JOB`, with the name from `status.collections`.",
  },
  CollectorTimedOut: {
    on: ["EvidenceCollected", "Succeeded", "Stalled", "Event"],
    advice: "See whether the node is overloaded or could not pull the collector's image.",
  },
  CollectorLost: {
    on: ["EvidenceCollected", "Succeeded", "Stalled", "Event"],
    advice: "Find out who deletes Jobs in `oomscope-collectors`. A new attempt follows unless all are used up.",
  },
  NodeGone: {
    on: ["EvidenceCollected", "Succeeded", "Stalled", "Event"],
    advice: "See to the node. A new attempt goes where pods of the workload run.",
  },
  NameCollision: {
    on: ["EvidenceCollected", "Succeeded", "Stalled", "Event"],
    advice:
      "Look at the object that the message names. oomscope never takes over what it did not make: delete it if nobody needs it.",
  },
  StorageFull: {
    on: ["EvidenceCollected", "Succeeded", "Stalled", "Event"],
    advice: "Enlarge the evidence volume, or lower `retention` in the policies: it says when packs are deleted.",
  },
  Diagnosing: { on: ["Diagnosed"], advice: "Wait a moment." },
  Diagnosed: {
    on: ["Diagnosed", "Succeeded", "Event"],
    advice: "Read `status.finding`: the culprit, the evidence, and what speaks against it.",
  },
  Inconclusive: {
    on: ["Diagnosed", "Succeeded", "Event"],
    advice: "Read `status.finding.limits`. A longer `collect.duration` under load shows slower growth.",
  },
  NoActionNamed: {
    on: ["Mitigated"],
    advice: "Name actions in the policy's `mitigate` when oomscope should act or propose.",
  },
  AwaitingApproval: {
    on: ["Mitigated", "Event"],
    advice:
      "Look at the patch in `status.mitigations`, then add `{action, finding}` to `spec.approvedActions`; or do it by hand.",
  },
  ActionNotAllowed: { on: ["Mitigated"], advice: "Ask whoever owns the ClusterMemoryPolicy for `allowedActions`." },
  ActionNotSupported: { on: ["Mitigated"], advice: "Do it by hand, or name another action in the policy." },
  OptedOut: {
    on: ["Mitigated"],
    advice:
      "Take the annotation away when the action would be safe, for example when no schema change lies between the revisions.",
  },
  VerdictNotCovered: {
    on: ["Mitigated"],
    advice: "Add the verdict to `mitigate[].when.verdicts`, if the action would help against it.",
  },
  VerdictTooWeak: {
    on: ["Mitigated"],
    advice: "Look at the evidence and the runner-up; a longer `collect.duration` makes a finding surer.",
  },
  OnsetBeforeRollout: { on: ["Mitigated"], advice: "Nothing; to roll back would not help." },
  OnsetUnknown: {
    on: ["Mitigated"],
    advice:
      "Look at the growth before and after the roll-out in your metrics; approve nothing that they do not support.",
  },
  TemplateReplaced: { on: ["Mitigated", "Validated", "Event"], advice: "Nothing; the next kill is investigated anew." },
  NoHealthyRevision: {
    on: ["Mitigated"],
    advice: "`status.mitigations` says what is known of each. Lower `rollback.healthyFor`, or fix forward.",
  },
  RolloutHeld: {
    on: ["Mitigated"],
    advice: "Resume it, or set its update strategy to RollingUpdate without a partition.",
  },
  DeniedByPerson: {
    on: ["Mitigated"],
    advice:
      "Nothing, if that was meant. Otherwise the command that status shows does it by hand, or another investigation proposes it anew.",
  },
  ProposalStale: {
    on: ["Mitigated"],
    advice: "Look at `status.mitigations` again; another investigation can be approved anew.",
  },
  WorkloadUnreadable: { on: ["Mitigated"], advice: "Compare the operator's ClusterRole with `config/rbac`." },
  OwnedByGitOps: {
    on: ["Mitigated", "Event"],
    advice:
      "Commit `patch` of `status.mitigations` to Git. Or suspend the controller for this workload, then approve the action.",
  },
  MitigationPaused: {
    on: ["Mitigated"],
    advice: "The message has the policy and its reason; take its entry from `pauseRequests`.",
  },
  RolloutInProgress: { on: ["Mitigated"], advice: "Wait; after ten minutes it is proposed for approval instead." },
  TooFewReady: {
    on: ["Mitigated"],
    advice: "Run more replicas, let the workload surge, or lower `mitigate[].minAvailable`.",
  },
  DisruptionBudget: {
    on: ["Mitigated"],
    advice: "Wait until its pods are healthy, or let the workload surge instead of taking pods away.",
  },
  CoolingDown: {
    on: ["Mitigated"],
    advice: "Wait for `budget.cooldown`. When one mitigation did not help, look at it before the next.",
  },
  WorkloadBudgetSpent: {
    on: ["Mitigated"],
    advice: "Find out why it needs so many; or raise `budget.maxMitigationsPerDay`.",
  },
  PolicyBudgetSpent: {
    on: ["Mitigated"],
    advice: "Find out why there are so many; or raise `budget.maxMitigationsPerDay`.",
  },
  ClusterBudgetSpent: {
    on: ["Mitigated"],
    advice: "Find out why there are so many; or raise `clusterBudget.maxMitigationsPerDay`.",
  },
  StormBrake: {
    on: ["Mitigated"],
    advice: "Look for what they have in common: a node, a network, something they all call.",
  },
  PolicyChanged: { on: ["Mitigated"], advice: "Wait a moment." },
  RollingBack: { on: ["Mitigated", "Event"], advice: "Wait; `kubectl rollout status` shows the same." },
  RolledBack: {
    on: ["Mitigated", "Succeeded", "Event"],
    advice:
      "See that it helped, then mend the revision that `status.mitigations[].before` names. `spec.undoActions` or `undoCommand` takes it back.",
  },
  RevertedByGitOps: {
    on: ["Mitigated", "Validated", "Succeeded", "Stalled", "Event"],
    advice: "Commit `patch` of `status.mitigations` to Git: what Git says is what holds.",
  },
  RolloutStuck: {
    on: ["Mitigated", "Succeeded", "Stalled", "Event"],
    advice: "See why its pods do not become ready. `undoCommand` in `status.mitigations` takes it back.",
  },
  RevertedByOther: {
    on: ["Mitigated", "Validated", "Succeeded", "Stalled", "Event"],
    advice: "Find out who: a GitOps controller holds what Git says. Commit `patch` of `status.mitigations` there.",
  },
  ActionDoesNotFit: { on: ["Mitigated"], advice: "Do as the message says, or name another action in the policy." },
  HeldPod: {
    on: ["Mitigated"],
    advice: "Set `spec.release: true` when the evidence is no longer needed; then the action goes on.",
  },
  ValueReplaced: {
    on: ["Mitigated", "Validated", "Event"],
    advice: "Nothing; whoever set it has taken the matter over.",
  },
  Throttling: { on: ["Mitigated", "Event"], advice: "Wait; the message says how far it is." },
  Throttled: {
    on: ["Mitigated", "Succeeded", "Event"],
    advice: "See that it helped, then mend the cause and put it back: `spec.undoActions`, or `undoCommand`.",
  },
  ThrottleStuck: {
    on: ["Mitigated", "Succeeded", "Stalled", "Event"],
    advice: "See what holds its replicas. `undoCommand` in `status.mitigations` takes it back.",
  },
  Resizing: {
    on: ["Mitigated", "Event"],
    advice: "Wait; the pod's conditions `PodResizePending` and `PodResizeInProgress` show the same.",
  },
  Resized: {
    on: ["Mitigated", "Succeeded", "Event"],
    advice:
      "Commit `patch` of `status.mitigations` to Git where the limit was too low: new pods get the limit of the template. A leak only takes longer now.",
  },
  ResizeStuck: {
    on: ["Mitigated", "Succeeded", "Stalled", "Event"],
    advice: "Make room on the node, or lower `resize.maxBytes`. The message has the node's own words.",
  },
  Restarting: { on: ["Mitigated", "Event"], advice: "Wait; `kubectl rollout status` shows the same." },
  Restarted: {
    on: ["Mitigated", "Succeeded", "Event"],
    advice: "Mend the cause: a leak starts anew with each restart.",
  },
  Cordoning: { on: ["Mitigated", "Event"], advice: "Wait a moment." },
  Cordoned: {
    on: ["Mitigated", "Succeeded", "Event"],
    advice:
      "Drain it by hand where that is wanted, but spare the pod of `status.preserved`. `spec.undoActions` or `kubectl uncordon` takes it back.",
  },
  LastNode: { on: ["Mitigated"], advice: "Add a node, or uncordon the one that the message names." },
  Undoing: { on: ["Mitigated", "Event"], advice: "Wait; `status.mitigations[].undo` says how far it is." },
  Undone: { on: ["Mitigated", "Validated", "Succeeded", "Event"], advice: NOTHING },
  UndoStuck: {
    on: ["Mitigated", "Validated", "Succeeded", "Stalled", "Event"],
    advice:
      "See why the workload does not follow. Ask again by taking the entry of `spec.undoActions` away and putting it there again.",
  },
  NothingToUndo: { on: ["Mitigated"], advice: NOTHING },
  TargetReplaced: {
    on: ["Mitigated", "Validated", "Succeeded", "Stalled", "Event"],
    advice: "Nothing; what was found is of the one that is gone.",
  },
  Validating: { on: ["Validated"], advice: "Wait; `status.validation.until` says for how long." },
  Validated: {
    on: ["Validated", "Succeeded", "Event"],
    advice: "Mend what `status.finding` names before it is rolled out again.",
  },
  ValidationFailed: {
    on: ["Validated", "Succeeded", "Stalled", "Event"],
    advice:
      "Read `status.validation.checks`: what failed, before and after. Where the mitigation still stands, `spec.undoActions` or `undoCommand` takes it back; `validate.onFailure` in the policy has that done by itself.",
  },
  ValidationInconclusive: {
    on: ["Validated", "Event"],
    advice: "Read `status.validation.checks`. A longer `validate.window`, under the load of the incident, shows more.",
  },
  NotValidated: { on: ["Validated"], advice: "Watch the workload, or set `validate.window` in the policy." },
  InProgress: { on: ["Succeeded", "Reconciling", "Stalled"], advice: "Wait." },
  Ended: { on: ["Reconciling", "Stalled"], advice: "Read `status.result` and the condition Succeeded." },
  Suspended: { on: ["Succeeded"], advice: "Set `spec.suspend: false` to go on." },
  AnotherInvestigationActive: { on: ["Succeeded"], advice: "Wait for the one that the message names, or delete it." },
  TargetNotFound: {
    on: ["Succeeded", "Reconciling", "Stalled"],
    advice: "Check `spec.targetRef` and the namespace. It begins by itself when the target appears.",
  },
  NoPolicy: {
    on: ["Succeeded", "Reconciling", "Stalled"],
    advice: "Make a MemoryPolicy that selects the workload, or apply the default ClusterMemoryPolicy.",
  },
  PolicyNotFound: {
    on: ["Succeeded", "Reconciling", "Stalled"],
    advice:
      "Create the policy that the message names. `policyRef` cannot be changed: make another investigation to use another.",
  },
  PolicyInvalid: {
    on: ["Succeeded", "Reconciling", "Stalled"],
    advice: "Mend the field of the policy that the message names.",
  },
  PolicyReplaced: {
    on: ["Event"],
    advice: "Nothing; what has been done stays, and what is still to be done follows what the policy says now.",
  },
  SpecInvalid: {
    on: ["Succeeded", "Reconciling", "Stalled"],
    advice: "Delete the investigation and make another with the field mended that the message names.",
  },
  Forbidden: {
    on: ["EvidenceCollected", "Mitigated", "Succeeded", "Stalled", "Event"],
    advice:
      "Compare the operator's ClusterRole with `config/rbac`, and look for an admission policy that refuses; the message has the server's words. For a mitigation, bind `oomscope-mitigation` in the namespace.",
  },
  BudgetSpent: {
    on: ["Event"],
    advice:
      "Wait, or raise the budget that the message names: `budget.maxActive`, or `clusterBudget.maxActive` of a ClusterMemoryPolicy.",
  },
  InForce: { on: ["Ready"], advice: NOTHING },
  SelectsNothing: {
    on: ["Ready"],
    advice:
      "Compare `selector` with the labels of the pods (`kubectl get pods --show-labels`), if there should be some.",
  },
  OnlyLimits: { on: ["Ready"], advice: NOTHING },
  InvalidSpec: {
    on: ["Ready", "Event"],
    advice:
      "Mend the field that the message names; `kubectl explain` says what it takes. The CRD may be of another version than the operator.",
  },
  DisallowedMode: {
    on: ["Ready", "Event"],
    advice: "Lower `mode`, or ask whoever owns the ClusterMemoryPolicy that the message names for its `maxMode`.",
  },
  Shadowed: {
    on: ["Ready", "Shadowed", "Event"],
    advice:
      "The message names loser and winner. One with a selector comes before one without, then the older: narrow a selector, or delete one of the two.",
  },
  NotShadowed: { on: ["Shadowed"], advice: NOTHING },
  MetricsRead: { on: ["TriggersReady"], advice: NOTHING },
  MetricsPending: {
    on: ["TriggersReady"],
    advice: "Wait a moment; nothing is read while the policy is in force for no workload.",
  },
  MetricsUnavailable: {
    on: ["TriggersReady"],
    advice:
      "Install metrics-server, or see why `kubectl top pods` fails; the message has what the API server said. Kills are investigated meanwhile.",
  },
  NoLimits: {
    on: ["TriggersReady"],
    advice: "Set `resources.limits.memory`, or take `memoryUsage` and `growth` from the policy.",
  },
  TooManyPods: { on: ["TriggersReady"], advice: "Narrow the selectors of policies whose triggers look at readings." },
  EvidenceRemoved: {
    on: ["Event"],
    advice: "Raise `retention.maxBytes` of the policy, or enlarge the evidence volume; a bucket keeps packs longer.",
  },
  UploadFailed: {
    on: ["Event"],
    advice:
      "Read the message: it says what the bucket's server answered. Until then the pack lies in the operator's volume.",
  },
  OOMKillObserved: { on: ["Event"], advice: "See the investigation of the workload: `kubectl get memi`." },
  InvestigationOpened: { on: ["Event"], advice: "Follow it with `kubectl get memi NAME --watch`." },
  MemoryNearLimit: {
    on: ["Event"],
    advice: "Follow the investigation; see whether the limit is too low, or something grows.",
  },
  OOMProjected: { on: ["Event"], advice: "Follow the investigation: there is still time." },
  NodeMemoryLow: {
    on: ["Event"],
    advice:
      "Look at the node as well (`kubectl top node`, `kubectl describe node`): the pod that grew most need not be the cause.",
  },
};
