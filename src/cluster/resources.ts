/**
 * Where does each kind live in the API? One constant for each kind that the operator reads or writes, and the paths made of them.
 */

export interface Resource {
  /** "" for the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
}

function namespaced(group: string, version: string, plural: string, kind: string): Resource {
  return { group, version, plural, kind, namespaced: true };
}

function clusterScoped(group: string, version: string, plural: string, kind: string): Resource {
  return { group, version, plural, kind, namespaced: false };
}

export const pods = namespaced("", "v1", "pods", "Pod");
export const nodes = clusterScoped("", "v1", "nodes", "Node");
export const namespaces = clusterScoped("", "v1", "namespaces", "Namespace");
export const services = namespaced("", "v1", "services", "Service");
export const serviceaccounts = namespaced("", "v1", "serviceaccounts", "ServiceAccount");
export const events = namespaced("", "v1", "events", "Event");
export const secrets = namespaced("", "v1", "secrets", "Secret");
export const configmaps = namespaced("", "v1", "configmaps", "ConfigMap");
export const persistentvolumeclaims = namespaced("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim");
export const resourcequotas = namespaced("", "v1", "resourcequotas", "ResourceQuota");
export const limitranges = namespaced("", "v1", "limitranges", "LimitRange");
export const deployments = namespaced("apps", "v1", "deployments", "Deployment");
export const replicasets = namespaced("apps", "v1", "replicasets", "ReplicaSet");
export const statefulsets = namespaced("apps", "v1", "statefulsets", "StatefulSet");
export const daemonsets = namespaced("apps", "v1", "daemonsets", "DaemonSet");
export const controllerrevisions = namespaced("apps", "v1", "controllerrevisions", "ControllerRevision");
export const horizontalpodautoscalers = namespaced(
  "autoscaling",
  "v2",
  "horizontalpodautoscalers",
  "HorizontalPodAutoscaler",
);
export const jobs = namespaced("batch", "v1", "jobs", "Job");
export const poddisruptionbudgets = namespaced("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget");
export const networkpolicies = namespaced("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy");
/** Served by metrics-server or a stand-in behind the API server; may be absent or down. */
export const podmetrics = namespaced("metrics.k8s.io", "v1beta1", "pods", "PodMetrics");
export const nodemetrics = clusterScoped("metrics.k8s.io", "v1beta1", "nodes", "NodeMetrics");
export const leases = namespaced("coordination.k8s.io", "v1", "leases", "Lease");
export const memoryinvestigations = namespaced(
  "oomscope.dev",
  "v1alpha1",
  "memoryinvestigations",
  "MemoryInvestigation",
);
export const memorypolicies = namespaced("oomscope.dev", "v1alpha1", "memorypolicies", "MemoryPolicy");
export const clustermemorypolicies = clusterScoped(
  "oomscope.dev",
  "v1alpha1",
  "clustermemorypolicies",
  "ClusterMemoryPolicy",
);
export const customresourcedefinitions = clusterScoped(
  "apiextensions.k8s.io",
  "v1",
  "customresourcedefinitions",
  "CustomResourceDefinition",
);
export const subjectaccessreviews = clusterScoped(
  "authorization.k8s.io",
  "v1",
  "subjectaccessreviews",
  "SubjectAccessReview",
);
export const selfsubjectaccessreviews = clusterScoped(
  "authorization.k8s.io",
  "v1",
  "selfsubjectaccessreviews",
  "SelfSubjectAccessReview",
);
export const tokenreviews = clusterScoped("authentication.k8s.io", "v1", "tokenreviews", "TokenReview");

/** The value of `apiVersion` in objects of this kind. */
export function apiVersionOf(resource: Resource): string {
  return resource.group === "" ? resource.version : `${resource.group}/${resource.version}`;
}

/** Which object, or (without a name) which collection. An empty namespace means all namespaces. */
export interface Address {
  readonly namespace?: string;
  readonly name?: string;
  readonly subresource?: string;
}

// A name is one path segment: dots alone would be folded away by anything that normalises URLs, and lead to another object.
function segment(part: string, what: string): string {
  if (part === "" || part === "." || part === ".." || part.length > 253) {
    throw new TypeError(`Not a ${what} of a Kubernetes object: ${JSON.stringify(part.slice(0, 300))}`);
  }
  return encodeURIComponent(part);
}

/** The path of an object or a collection, every part escaped. Throws TypeError on a part that cannot be a path segment. */
export function pathOf(resource: Resource, address: Address = {}): string {
  const { namespace = "", name, subresource } = address;
  const root = resource.group === "" ? `/api/${resource.version}` : `/apis/${resource.group}/${resource.version}`;
  if (name !== undefined && resource.namespaced && namespace === "") {
    throw new TypeError(`A ${resource.kind} needs a namespace`);
  }
  const inNamespace = resource.namespaced && namespace !== "" ? `/namespaces/${segment(namespace, "namespace")}` : "";
  const object = name === undefined ? "" : `/${segment(name, "name")}`;
  const sub = subresource === undefined ? "" : `/${segment(subresource, "subresource")}`;
  return `${root}${inNamespace}/${resource.plural}${object}${sub}`;
}
