/** Is what `config/default` installs there, whole and alive: API server, kinds, operator, its lease, its namespaces and its evidence? */
import { isDeepStrictEqual } from "node:util";
import { customResourceDefinition, KINDS } from "../api/crd.ts";
import { GROUP, VERSION } from "../api/memoryinvestigation.ts";
import type { ApiObject } from "./api.ts";
import type { Answer, Patient } from "./checkup.ts";
import { isApiError } from "./errors.ts";
import {
  customresourcedefinitions,
  leases,
  namespaces,
  persistentvolumeclaims,
  secrets,
  services,
} from "./resources.ts";

/** Below it the rules of the kinds are refused: they use CEL's quantities. */
const OLDEST_MINOR = 29;

export async function apiServer({ server, serverVersion }: Patient): Promise<Answer> {
  const version = await serverVersion();
  const minor = Number(/^v1\.(\d+)/.exec(version)?.[1] ?? Number.NaN);
  const says = `Kubernetes ${version} at ${server.origin}`;
  if (Number.isNaN(minor)) return { level: "Warning", says: `${says}: this version's name is not understood` };
  if (minor < OLDEST_MINOR)
    return {
      level: "Problem",
      says: `${says}: too old for the kinds`,
      advice: `Upgrade it to 1.${OLDEST_MINOR} or newer`,
    };
  return { level: "Ok", says };
}

const APPLY = "kubectl apply --server-side -k config/default";

interface RawCrd {
  readonly spec?: { readonly versions?: readonly { readonly name: string; readonly schema?: unknown }[] };
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
}

export async function installedKinds({ api }: Patient): Promise<Answer> {
  const missing: string[] = [];
  const other: string[] = [];
  for (const definition of KINDS) {
    const name = `${definition.plural}.${GROUP}`;
    const live = await api.get(customresourcedefinitions, { name }).catch((error: unknown) => {
      if (isApiError(error, "NotFound")) return undefined;
      throw error;
    });
    const { spec, status } = (live ?? {}) as RawCrd;
    const established = status?.conditions?.some((c) => c.type === "Established" && c.status === "True") === true;
    const { versions } = customResourceDefinition(definition)["spec"] as NonNullable<RawCrd["spec"]>;
    const [served, ours] = [spec?.versions, versions].map((all) => all?.find((one) => one.name === VERSION)?.schema);
    if (!established || served === undefined) missing.push(name);
    else if (!isDeepStrictEqual(served, JSON.parse(JSON.stringify(ours)))) other.push(name);
  }
  if (missing.length > 0)
    return { level: "Problem", says: `not served as ${GROUP}/${VERSION}: ${missing.join(", ")}`, advice: APPLY };
  if (other.length > 0)
    return {
      level: "Warning",
      says: `of another version of oomscope than this command: ${other.join(", ")}`,
      advice: `Use the command of the version that runs in the cluster, or upgrade the cluster: ${APPLY}`,
    };
  return { level: "Ok", says: `all ${KINDS.length} are served as ${GROUP}/${VERSION}, of this version` };
}

interface RawOperator {
  readonly spec?: {
    readonly replicas?: number;
    readonly template?: {
      readonly spec?: {
        readonly containers?: readonly { readonly image?: string }[];
        readonly volumes?: readonly {
          readonly name: string;
          readonly emptyDir?: object;
          readonly persistentVolumeClaim?: { readonly claimName: string };
        }[];
      };
    };
  };
  readonly status?: {
    readonly availableReplicas?: number;
    readonly updatedReplicas?: number;
    readonly conditions?: readonly { readonly type: string; readonly status: string; readonly message?: string }[];
  };
}

export function operatorAvailable({ installation }: Patient): Promise<Answer> {
  const { namespace, deployment } = installation;
  const { spec, status } = deployment as RawOperator;
  const { name = "" } = deployment.metadata;
  const wanted = spec?.replicas ?? 1;
  const available = status?.availableReplicas ?? 0;
  const image = spec?.template?.spec?.containers?.[0]?.image ?? "no image";
  const says = `${available} of ${wanted} available, ${namespace}/${name}, ${image}`;
  if (available > 0 && (status?.updatedReplicas ?? 0) >= wanted) return Promise.resolve({ level: "Ok", says });
  const advice = `kubectl -n ${namespace} describe pods -l app.kubernetes.io/component=operator`;
  if (available > 0) return Promise.resolve({ level: "Warning", says: `${says}; its roll-out has not ended`, advice });
  const why = status?.conditions?.find((c) => c.type === "Available" && c.status !== "True")?.message;
  return Promise.resolve({ level: "Problem", says: why === undefined ? says : `${says}: ${why}`, advice });
}

/** How often the lease is looked at. */
const LOOK_MS = 500;

/** Clocks of two machines are never compared: a lease is fresh when it is seen to be renewed. */
export async function leaderLease({ api, clock, installation }: Patient): Promise<Answer> {
  const { namespace } = installation;
  const address = { namespace, name: "oomscope-operator" };
  const advice = `kubectl -n ${namespace} logs deployment/${installation.deployment.metadata.name ?? ""}`;
  const first = await api.get(leases, address).catch((error: unknown) => {
    if (isApiError(error, "NotFound")) return undefined;
    throw error;
  });
  if (first === undefined) return { level: "Problem", says: "nobody has ever led: there is no lease", advice };
  const { holderIdentity: holder = "", leaseDurationSeconds: seconds = 15 } = (first["spec"] ?? {}) as {
    readonly holderIdentity?: string;
    readonly leaseDurationSeconds?: number;
  };
  if (holder === "") return { level: "Problem", says: "nobody leads: the lease was given back", advice };
  const from = clock.monotonicMs();
  while (clock.monotonicMs() - from < seconds * 1000) {
    await clock.sleep(LOOK_MS);
    const { metadata } = await api.get(leases, address);
    if (metadata.resourceVersion !== first.metadata.resourceVersion)
      return { level: "Ok", says: `${holder} leads, and was seen to renew its lease` };
  }
  return { level: "Problem", says: `${holder} holds the lease and has not renewed it for ${seconds} s`, advice };
}

const ENFORCE = "pod-security.kubernetes.io/enforce";

export async function collectorsNamespace({ api, collectors }: Patient): Promise<Answer> {
  const found = await api.get(namespaces, { name: collectors }).catch((error: unknown) => {
    if (isApiError(error, "NotFound")) return undefined;
    throw error;
  });
  if (found === undefined)
    return {
      level: "Problem",
      says: `namespace ${collectors} is not there, so nothing can be collected`,
      advice: APPLY,
    };
  const level = found.metadata.labels?.[ENFORCE];
  const advice = `kubectl label namespace ${collectors} --overwrite ${ENFORCE}=privileged`;
  if (level === "privileged")
    return { level: "Ok", says: `${collectors} admits pods that read the host (Pod Security ${level})` };
  if (level === undefined)
    return {
      level: "Warning",
      says: `${collectors} has no Pod Security label: the cluster's default decides whether collectors may start`,
      advice,
    };
  return {
    level: "Problem",
    says: `${collectors} enforces Pod Security ${level}, which refuses every collector`,
    advice,
  };
}

export async function evidenceAddress({ api, installation }: Patient): Promise<Answer> {
  const { namespace, env } = installation;
  const name = env["OOMSCOPE_EVIDENCE_SERVICE"] ?? "oomscope-evidence";
  const secret = env["OOMSCOPE_EVIDENCE_SECRET"] ?? "oomscope-evidence-tls";
  const lacking = (what: string): Answer => ({
    level: "Problem",
    says: `${what} is not there, so no evidence arrives`,
    advice: APPLY,
  });
  let service: ApiObject;
  try {
    service = await api.get(services, { namespace, name });
  } catch (error) {
    if (isApiError(error, "NotFound")) return lacking(`Service ${namespace}/${name}`);
    throw error;
  }
  const ip = (service["spec"] as { clusterIP?: string } | undefined)?.clusterIP ?? "None";
  if (ip === "None" || ip === "")
    return {
      level: "Problem",
      says: `Service ${namespace}/${name} has no cluster IP, so no collector finds it`,
      advice: APPLY,
    };
  // Its keys are nobody's business: who may not read the Secret has lost nothing.
  const keys = await api.get(secrets, { namespace, name: secret }).catch((error: unknown) => {
    if (isApiError(error, "NotFound")) return undefined;
    if (isApiError(error, "Forbidden")) return "Unseen" as const;
    throw error;
  });
  if (keys === undefined) return lacking(`Secret ${namespace}/${secret}`);
  const filled = keys === "Unseen" || (keys["data"] as Record<string, string> | undefined)?.["tls.crt"] !== undefined;
  if (!filled)
    return {
      level: "Warning",
      says: `Secret ${namespace}/${secret} is empty: the operator fills it when it leads for the first time`,
    };
  return { level: "Ok", says: `Service ${namespace}/${name} at ${ip}` };
}

export async function evidenceVolume({ api, installation }: Patient): Promise<Answer> {
  const { namespace, deployment, env } = installation;
  const bucket = env["OOMSCOPE_EVIDENCE_S3_BUCKET"];
  const volume = (deployment as RawOperator).spec?.template?.spec?.volumes?.find((one) => one.name === "evidence");
  const claim = volume?.persistentVolumeClaim?.claimName;
  if (claim === undefined) {
    if (bucket !== undefined) return { level: "Ok", says: `finished packs go to bucket ${bucket}` };
    return {
      level: "Warning",
      says: "evidence lies in the operator's pod, and is gone with it",
      advice:
        "Put a PersistentVolumeClaim in the place of the volume evidence, or use a bucket: kubectl apply --server-side -k config/overlays/s3",
    };
  }
  const found = await api.get(persistentvolumeclaims, { namespace, name: claim }).catch((error: unknown) => {
    if (isApiError(error, "NotFound")) return undefined;
    throw error;
  });
  const phase = (found?.["status"] as { phase?: string } | undefined)?.phase ?? "not there";
  if (phase === "Bound") return { level: "Ok", says: `PersistentVolumeClaim ${claim}` };
  return {
    level: "Problem",
    says: `PersistentVolumeClaim ${claim} is ${phase}`,
    advice: `kubectl -n ${namespace} describe pvc ${claim}`,
  };
}
