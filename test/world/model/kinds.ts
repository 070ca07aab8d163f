/** What does the API server know of each kind beside its name: how it counts generations, who may overwrite without a version, what it refuses? */
import * as resources from "../../../src/cluster/resources.ts";
import type { Resource } from "../../../src/cluster/resources.ts";
import { type Cause, immutable } from "./answers.ts";
import type { Schema } from "./schema.ts";
import { isObject, type JsonObject, same } from "./values.ts";

export interface Kind {
  readonly resource: Resource;
  /** What raises metadata.generation; a kind without one has none. Deployments count their annotations in. */
  readonly generation?: "Spec" | "SpecAndAnnotations";
  /** Has a status that only the subresource writes. */
  readonly status: boolean;
  /** PUT without a resourceVersion overwrites. */
  readonly unconditional: boolean;
  /** PUT of a missing object creates it. */
  readonly createsOnPut: boolean;
  /** What happened before this revision no watch can be told: the server began to follow the kind then. */
  readonly since?: number;
  /** Of a custom resource: fills in, prunes, refuses. */
  readonly schema?: Schema;
  /** What the server adds to a new object. */
  readonly prepare?: (object: JsonObject) => JsonObject;
  readonly check?: (object: JsonObject, before: JsonObject | undefined) => readonly Cause[];
}

const PLAIN = { status: false, unconditional: true, createsOnPut: false } as const;
const WORKLOAD = { status: true, unconditional: true, createsOnPut: false, generation: "Spec" } as const;

export function spec(object: JsonObject): JsonObject {
  return isObject(object["spec"]) ? object["spec"] : {};
}

function required(field: string): Cause {
  return { field, reason: "FieldValueRequired", message: "Required value" };
}

function checkPod(pod: JsonObject): readonly Cause[] {
  const { containers } = spec(pod);
  return Array.isArray(containers) && containers.length > 0 ? [] : [required("spec.containers")];
}

function checkJob(job: JsonObject, before: JsonObject | undefined): readonly Cause[] {
  const { name = "" } = job["metadata"] as { name?: string };
  if (name.length > 63)
    return [{ field: "spec.template.labels", reason: "FieldValueInvalid", message: "must be no more than 63 bytes" }];
  const changed = before !== undefined && !same(spec(before)["template"], spec(job)["template"]);
  return changed ? [immutable("spec.template")] : [];
}

function checkService(service: JsonObject): readonly Cause[] {
  const { ports } = spec(service);
  return Array.isArray(ports) && ports.length > 0 ? [] : [required("spec.ports")];
}

/** metav1.MicroTime wants six digits of a second. */
function checkLease(lease: JsonObject): readonly Cause[] {
  return ["renewTime", "acquireTime"].flatMap((field) => {
    const value = spec(lease)[field];
    return value === undefined || value === null || (typeof value === "string" && /\.\d{6}Z$/.test(value))
      ? []
      : [{ field: `spec.${field}`, reason: "FieldValueInvalid", message: "Invalid value: not a micro time" }];
  });
}

/** The phase of a pod and of a namespace is there from the first moment. */
function phase(of: string): (object: JsonObject) => JsonObject {
  return (object) => ({ ...object, status: { phase: of } });
}

function prepareService(service: JsonObject): JsonObject {
  return { ...service, spec: { clusterIP: "10.96.0.10", ...spec(service) } };
}

export function coreKinds(): Kind[] {
  return [
    { ...PLAIN, resource: resources.configmaps },
    { ...PLAIN, resource: resources.secrets },
    { ...PLAIN, resource: resources.events },
    { ...PLAIN, resource: resources.services, prepare: prepareService, check: checkService },
    { ...PLAIN, status: true, resource: resources.nodes },
    { ...PLAIN, status: true, resource: resources.namespaces, prepare: phase("Active") },
    { ...PLAIN, resource: resources.persistentvolumeclaims, status: true },
    { ...PLAIN, resource: resources.resourcequotas, status: true },
    { ...PLAIN, resource: resources.limitranges },
    { ...PLAIN, resource: resources.controllerrevisions },
    { ...PLAIN, resource: resources.horizontalpodautoscalers, status: true },
    { ...PLAIN, resource: resources.networkpolicies, generation: "Spec" },
    { ...WORKLOAD, resource: resources.pods, prepare: phase("Pending"), check: checkPod },
    { ...WORKLOAD, resource: resources.deployments, generation: "SpecAndAnnotations" },
    { ...WORKLOAD, resource: resources.replicasets },
    { ...WORKLOAD, resource: resources.statefulsets },
    { ...WORKLOAD, resource: resources.daemonsets },
    { ...WORKLOAD, resource: resources.jobs, check: checkJob },
    { ...WORKLOAD, resource: resources.poddisruptionbudgets },
    { ...PLAIN, resource: resources.leases, unconditional: false, createsOnPut: true, check: checkLease },
  ];
}

/** The kind that a CustomResourceDefinition declares, by its first version. */
export function customKind(definition: JsonObject, since: number): Kind {
  const { group, scope, names, versions } = definition["spec"] as unknown as {
    readonly group: string;
    readonly scope: string;
    readonly names: { readonly plural: string; readonly kind: string };
    readonly versions: readonly {
      readonly name: string;
      readonly subresources?: { readonly status?: object };
      readonly schema?: { readonly openAPIV3Schema?: Schema };
    }[];
  };
  const version = versions[0];
  const schema = version?.schema?.openAPIV3Schema;
  return {
    resource: { group, version: version?.name ?? "", ...names, namespaced: scope === "Namespaced" },
    generation: "Spec",
    status: version?.subresources?.status !== undefined,
    unconditional: false,
    createsOnPut: false,
    since,
    ...(schema === undefined ? {} : { schema }),
  };
}

export const DEFINITIONS: Kind = {
  ...PLAIN,
  resource: {
    group: "apiextensions.k8s.io",
    version: "v1",
    plural: "customresourcedefinitions",
    kind: "CustomResourceDefinition",
    namespaced: false,
  },
};
