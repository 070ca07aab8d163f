/** What the evidence channel needs of Kubernetes: its serving keys, its address, and answers about who is calling. */
import {
  createAuthority,
  isWholeIdentity,
  issueServerCertificate,
  needsRenewal,
  type ServingIdentity,
} from "../evidence/tls.ts";
import type { CollectorPod, OpenCollection, Review } from "../evidence/authorize.ts";
import type { Clock, Random } from "../seams.ts";
import type { Api, ApiObject } from "./api.ts";
import { isApiError } from "./errors.ts";
import type { TrackedInvestigation } from "./observe.ts";
import { pods, secrets, services, tokenreviews } from "./resources.ts";

const FILES = { caCert: "ca.crt", caKey: "ca.key", cert: "tls.crt", key: "tls.key" } as const;

/**
 * The serving identity that the Secret holds; made and stored when it is missing, broken or two thirds through its life. The
 * authority is kept for as long as it lives: collectors that run trust it.
 */
export async function servingIdentity(
  api: Api,
  secret: { readonly namespace: string; readonly name: string },
  serverName: string,
  clock: Clock,
  random: Random,
): Promise<ServingIdentity> {
  const live = await api.get(secrets, secret);
  const stored = read(live);
  if (stored !== undefined && isWholeIdentity(stored) && !needsRenewal(stored.cert, clock)) return stored;
  const authority =
    stored !== undefined && isWholeIdentity(stored) && !needsRenewal(stored.caCert, clock)
      ? { cert: stored.caCert, key: stored.caKey }
      : createAuthority(clock, random);
  const made = issueServerCertificate(authority, [serverName], [], clock, random);
  const encoded = Object.entries(FILES).map(([field, file]) => [
    file,
    Buffer.from(made[field as keyof typeof FILES]).toString("base64"),
  ]);
  await api.mergePatch(secrets, secret, {
    metadata: { uid: live.metadata.uid, resourceVersion: live.metadata.resourceVersion },
    data: Object.fromEntries(encoded),
  });
  return made;
}

function read(secret: ApiObject): ServingIdentity | undefined {
  const data = (secret["data"] ?? {}) as Record<string, string>;
  const text = (file: string): string => Buffer.from(data[file] ?? "", "base64").toString("utf8");
  const identity = {
    caCert: text(FILES.caCert),
    caKey: text(FILES.caKey),
    cert: text(FILES.cert),
    key: text(FILES.key),
  };
  return identity.cert === "" ? undefined : identity;
}

/** https address of the evidence Service by its cluster IP, so that collectors need no DNS. */
export async function evidenceUrl(
  api: Api,
  service: { readonly namespace: string; readonly name: string },
): Promise<string> {
  const live = await api.get(services, service);
  const spec = (live["spec"] ?? {}) as { clusterIP?: string; ports?: { name?: string; port: number }[] };
  const ip = spec.clusterIP ?? "";
  const port = spec.ports?.find((p) => p.name === "evidence")?.port ?? spec.ports?.[0]?.port;
  if (ip === "" || ip === "None" || port === undefined) {
    throw new Error(
      `Service ${service.namespace}/${service.name} needs a cluster IP and a port named evidence; apply config/manager/evidence.yaml`,
    );
  }
  return `https://${ip.includes(":") ? `[${ip}]` : ip}:${port}`;
}

export async function reviewToken(api: Api, token: string, audiences: readonly string[]): Promise<Review> {
  const answer = await api.createReview<{ status?: Review }>(tokenreviews, { spec: { token, audiences } });
  return answer.status ?? {};
}

export async function readCollectorPod(api: Api, namespace: string, name: string): Promise<CollectorPod | undefined> {
  let live: ApiObject;
  try {
    live = await api.get(pods, { namespace, name });
  } catch (error) {
    if (isApiError(error, "NotFound")) return undefined;
    throw error;
  }
  const owner = live.metadata.ownerReferences?.find((o) => o.controller === true && o.kind === "Job");
  return {
    uid: live.metadata.uid ?? "",
    ownerJobUid: owner?.uid,
    ownerJobName: owner?.name,
    node: (live["spec"] as { nodeName?: string } | undefined)?.nodeName,
    phase: (live["status"] as { phase?: string } | undefined)?.phase,
    deletionTimestamp: live.metadata.deletionTimestamp,
  };
}

/** What an investigation's status says of a collection; undefined when none names it. */
export function openCollection(
  investigations: readonly TrackedInvestigation[],
  id: string,
): OpenCollection | undefined {
  for (const { investigation } of investigations) {
    const collection = investigation.status?.collections?.find((c) => c.id === id);
    if (collection === undefined) continue;
    const open = collection.state === "Intended" || collection.state === "Running";
    return { jobUid: collection.jobUid, job: collection.job, node: collection.node, state: open ? "Open" : "Closed" };
  }
  return undefined;
}
