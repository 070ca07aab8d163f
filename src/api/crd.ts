/**
 * What does the API server need to know to serve our kinds? Makes the CustomResourceDefinition of each from its zod schemas:
 * names, columns, selectable fields and a structural schema. Pure; `generate.ts` writes the files.
 */
import type { z } from "zod";
import { GROUP, MemoryInvestigationSpec, MemoryInvestigationStatus, VERSION } from "./memoryinvestigation.ts";
import { ClusterMemoryPolicySpec, MemoryPolicySpec, PolicyStatus } from "./memorypolicy.ts";
import { type StructuralSchema, structuralSchema } from "./structural.ts";

/** A column of `kubectl get`. */
export interface Column {
  readonly name: string;
  readonly type: "string" | "integer" | "date";
  readonly jsonPath: string;
  readonly description: string;
  /** 0 is always shown, 1 only with `-o wide`. */
  readonly priority?: number;
}

export interface KindDefinition {
  readonly kind: string;
  readonly plural: string;
  readonly shortName: string;
  readonly scope: "Namespaced" | "Cluster";
  readonly description: string;
  readonly columns: readonly Column[];
  /** Paths that `--field-selector` takes. */
  readonly selectable: readonly string[];
  readonly spec: z.core.$ZodType;
  readonly status: z.core.$ZodType;
}

const AGE: Column = {
  name: "Age",
  type: "date",
  jsonPath: ".metadata.creationTimestamp",
  description: "Time since the object was made.",
};

const POLICY_COLUMNS: readonly Column[] = [
  { name: "Mode", type: "string", jsonPath: ".spec.mode", description: "Observe, Recommend or Enforce." },
  {
    name: "Ready",
    type: "string",
    jsonPath: '.status.conditions[?(@.type=="Ready")].status',
    description: "Whether it does what it says.",
  },
  {
    name: "Reason",
    type: "string",
    jsonPath: '.status.conditions[?(@.type=="Ready")].reason',
    description: "Why, or why not.",
  },
  {
    name: "Workloads",
    type: "integer",
    jsonPath: ".status.matchedWorkloads",
    description: "Workloads that the policy is in force for.",
  },
  {
    name: "Active",
    type: "integer",
    jsonPath: ".status.activeInvestigations",
    description: "Investigations that follow the policy and have not ended.",
  },
  {
    name: "Mitigated",
    type: "integer",
    jsonPath: ".status.mitigationsLastDay",
    description: "Mitigations of the last 24 hours.",
  },
  {
    name: "Triggers",
    type: "string",
    jsonPath: '.status.conditions[?(@.type=="TriggersReady")].reason',
    description: "How the triggers are doing that look at readings; empty where there are none.",
  },
  AGE,
  {
    name: "Preserve",
    type: "string",
    jsonPath: ".spec.preserve.strategy",
    description: "How a pod is kept for evidence; in force from mode Recommend on.",
    priority: 1,
  },
  {
    name: "Message",
    type: "string",
    jsonPath: '.status.conditions[?(@.type=="Ready")].message',
    description: "The same as Reason, in a sentence.",
    priority: 1,
  },
];

const INVESTIGATION_COLUMNS: readonly Column[] = [
  { name: "Kind", type: "string", jsonPath: ".spec.targetRef.kind", description: "Kind of the workload." },
  { name: "Target", type: "string", jsonPath: ".spec.targetRef.name", description: "Name of the workload." },
  { name: "Stage", type: "string", jsonPath: ".status.stage", description: "Where the investigation stands." },
  { name: "Result", type: "string", jsonPath: ".status.result", description: "How it ended." },
  { name: "Verdict", type: "string", jsonPath: ".status.finding.verdict", description: "What it is." },
  {
    name: "Confidence",
    type: "integer",
    jsonPath: ".status.finding.confidencePercent",
    description: "How sure the verdict is, in percent.",
  },
  { name: "Kills", type: "integer", jsonPath: ".status.killCount", description: "Kills counted for it." },
  {
    name: "Preserved",
    type: "string",
    jsonPath: ".status.preserved.state",
    description: "What became of the pod that is kept for evidence.",
  },
  {
    name: "Mitigated",
    type: "string",
    jsonPath: '.status.conditions[?(@.type=="Mitigated")].reason',
    description: "What was done about the finding, or why nothing was.",
  },
  AGE,
  {
    name: "Pod",
    type: "string",
    jsonPath: ".status.preserved.pod",
    description: "The pod that is kept for evidence.",
    priority: 1,
  },
  {
    name: "Node",
    type: "string",
    jsonPath: ".status.preserved.node",
    description: "The node of the pod that is kept.",
    priority: 1,
  },
  {
    name: "Policy",
    type: "string",
    jsonPath: ".status.policy.name",
    description: "The policy that the investigation follows.",
    priority: 1,
  },
  {
    name: "Summary",
    type: "string",
    jsonPath: ".status.finding.summary",
    description: "The finding in a sentence or two.",
    priority: 1,
  },
];

export const KINDS: readonly KindDefinition[] = [
  {
    kind: "MemoryInvestigation",
    plural: "memoryinvestigations",
    shortName: "memi",
    scope: "Namespaced",
    description:
      "MemoryInvestigation is one memory incident of one workload. A person or the operator creates it; its status is the story of the incident: kills, the pod that is kept, collections, the finding, and what was done about it.",
    columns: INVESTIGATION_COLUMNS,
    selectable: [
      ".spec.targetRef.kind",
      ".spec.targetRef.name",
      ".status.stage",
      ".status.result",
      ".status.finding.verdict",
    ],
    spec: MemoryInvestigationSpec.describe("What to investigate, and what people have decided about it."),
    status: MemoryInvestigationStatus.describe("What was seen and done. Only the operator writes it."),
  },
  {
    kind: "MemoryPolicy",
    plural: "memorypolicies",
    shortName: "mpol",
    scope: "Namespaced",
    description:
      "MemoryPolicy says what oomscope may do for the workloads of its namespace that it selects. It can only narrow what the cluster's policies allow.",
    columns: POLICY_COLUMNS,
    selectable: [".spec.mode"],
    spec: MemoryPolicySpec.describe("What oomscope may do, to which workloads, and how."),
    status: PolicyStatus.describe("How the policy is used. Only the operator writes it."),
  },
  {
    kind: "ClusterMemoryPolicy",
    plural: "clustermemorypolicies",
    shortName: "cmpol",
    scope: "Cluster",
    description:
      "ClusterMemoryPolicy says what oomscope may do in many namespaces, and sets the limits within which their own MemoryPolicies stay.",
    columns: POLICY_COLUMNS,
    selectable: [".spec.mode"],
    spec: ClusterMemoryPolicySpec.describe(
      "What oomscope may do, to which workloads, and how; and the most that any policy may.",
    ),
    status: PolicyStatus.describe("How the policy is used. Only the operator writes it."),
  },
];

/** The schema of a whole object of a kind. Throws UnsupportedSchema. */
export function kindSchema(definition: KindDefinition): StructuralSchema {
  return {
    type: "object",
    description: definition.description,
    required: ["spec"],
    properties: {
      apiVersion: { type: "string", description: `The version of the schema: ${GROUP}/${VERSION}.` },
      kind: { type: "string", description: `The kind: ${definition.kind}.` },
      metadata: { type: "object" },
      spec: structuralSchema(definition.spec, "spec"),
      status: structuralSchema(definition.status, "status"),
    },
  };
}

/** The CustomResourceDefinition of a kind, as plain JSON. Throws UnsupportedSchema. */
export function customResourceDefinition(definition: KindDefinition): Record<string, unknown> {
  const { kind, plural, shortName, scope, columns, selectable } = definition;
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${plural}.${GROUP}` },
    spec: {
      group: GROUP,
      scope,
      names: {
        kind,
        listKind: `${kind}List`,
        plural,
        singular: kind.toLowerCase(),
        shortNames: [shortName],
        categories: ["oomscope"],
      },
      versions: [
        {
          name: VERSION,
          served: true,
          storage: true,
          subresources: { status: {} },
          additionalPrinterColumns: columns,
          selectableFields: selectable.map((jsonPath) => ({ jsonPath })),
          schema: { openAPIV3Schema: kindSchema(definition) },
        },
      ],
    },
  };
}
