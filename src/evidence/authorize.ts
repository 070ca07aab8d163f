/**
 * May the bearer of this token write into this collection?
 * Every check of the token facts stands here once, in one order, and each refusal has a reason of its own for the log. The
 * caller of the evidence server sees only the status: an attacker learns nothing from the difference.
 */
import { createHash } from "node:crypto";
import type { Clock } from "../seams.ts";

const EXTRA_POD_NAME = "authentication.kubernetes.io/pod-name";
const EXTRA_POD_UID = "authentication.kubernetes.io/pod-uid";
const EXTRA_NODE_NAME = "authentication.kubernetes.io/node-name";
/** How long an answer of the API server is believed. A deleted pod's token lives about as long there anyway. */
const CACHE_MS = 10_000;
const CACHE_ENTRIES = 256;
/** Clocks differ: a pod that is being deleted may write this much longer than its grace period. */
const DELETION_SLACK_MS = 10_000;

/** `status` of a TokenReview, as the API server sends it. */
export interface Review {
  readonly authenticated?: boolean | undefined;
  readonly audiences?: readonly string[] | undefined;
  readonly user?:
    | {
        readonly username?: string | undefined;
        readonly extra?: Readonly<Record<string, readonly string[]>> | undefined;
      }
    | undefined;
}

/** A collector's pod, read live (never from a cache: a cache does not know that the pod is gone). */
export interface CollectorPod {
  readonly uid: string;
  /** Of the owner reference with `controller: true` and kind Job. */
  readonly ownerJobUid?: string | undefined;
  readonly ownerJobName?: string | undefined;
  readonly node: string | undefined;
  readonly phase: string | undefined;
  readonly deletionTimestamp?: string | undefined;
}

/** What the operator planned for a collection. */
export interface OpenCollection {
  /** Absent until the Job's creation is confirmed; from then on its uid decides, not its name. */
  readonly jobUid?: string | undefined;
  readonly job: string;
  readonly node: string;
  readonly state: "Open" | "Closed";
}

export interface AuthorizerOptions {
  /** Sends a TokenReview for these audiences. Throws when there is no answer; the error's `reason` is Unauthorized when *our* credentials were refused. */
  readonly reviewToken: (token: string, audiences: readonly string[]) => Promise<Review>;
  readonly readPod: (namespace: string, name: string) => Promise<CollectorPod | undefined>;
  readonly openCollection: (collection: string) => OpenCollection | undefined;
  /** Uid of the pod that wrote first, if any. */
  readonly sessionPod: (collection: string) => string | undefined;
  readonly audience: string;
  readonly serviceAccount: { readonly namespace: string; readonly name: string };
  readonly clock: Clock;
}

export type Authorisation =
  | { readonly ok: true; readonly podUid: string; readonly podName: string; readonly node: string }
  | { readonly ok: false; readonly status: 401 | 403 | 409 | 410 | 503; readonly reason: RefusalReason };

type RefusalReason =
  | "OwnCredentialsRejected"
  | "ReviewUnavailable"
  | "NotAuthenticated"
  | "WrongAudience"
  | "WrongServiceAccount"
  | "NotBoundToPod"
  | "PodGone"
  | "PodReplaced"
  | "PodOver"
  | "NoSuchCollection"
  | "NotOurJob"
  | "Closed"
  | "WrongNode"
  | "AnotherCollector";

export type Authorizer = (token: string, collection: string) => Promise<Authorisation>;

/** What the API server said about a token: everything that may be remembered for a moment. */
interface Facts {
  readonly review: Review;
  readonly binding: Binding | undefined;
  readonly pod: CollectorPod | undefined;
}

interface Binding {
  readonly podName: string;
  readonly podUid: string;
  readonly node: string;
}

/** The authorizer never throws: trouble with the API server is an answer with status 503. */
export function createAuthorizer(options: AuthorizerOptions): Authorizer {
  const cache = new Map<string, { readonly atMs: number; readonly facts: Promise<Facts> }>();
  return async (token, collection) => {
    const key = createHash("sha256").update(token).update("\0").update(collection).digest("hex");
    const nowMs = options.clock.monotonicMs();
    let entry = cache.get(key);
    if (entry === undefined || nowMs - entry.atMs >= CACHE_MS) {
      entry = { atMs: nowMs, facts: gatherFacts(token, options) };
      cache.delete(key);
      cache.set(key, entry);
      for (const oldest of cache.keys()) if (cache.size > CACHE_ENTRIES) cache.delete(oldest);
    }
    try {
      return judge(await entry.facts, collection, options);
    } catch (cause) {
      if (cache.get(key) === entry) cache.delete(key);
      const own = cause instanceof Error && "reason" in cause && cause.reason === "Unauthorized";
      return refuse(503, own ? "OwnCredentialsRejected" : "ReviewUnavailable");
    }
  };
}

/** Asks the API server, and asks about a pod only for a token that is one of our collectors'. */
async function gatherFacts(token: string, options: AuthorizerOptions): Promise<Facts> {
  const review = await options.reviewToken(token, [options.audience]);
  const binding = bindingOf(review);
  if (refuseToken(review, options) !== undefined || binding === undefined) return { review, binding, pod: undefined };
  const pod = await options.readPod(options.serviceAccount.namespace, binding.podName);
  return { review, binding, pod };
}

function judge(facts: Facts, collection: string, options: AuthorizerOptions): Authorisation {
  const { review, binding, pod } = facts;
  const refusal = refuseToken(review, options);
  if (refusal !== undefined) return refusal;
  if (binding === undefined) return refuse(403, "NotBoundToPod");
  if (pod === undefined) return refuse(403, "PodGone");
  if (pod.uid !== binding.podUid) return refuse(403, "PodReplaced");
  if (isOver(pod, options.clock)) return refuse(403, "PodOver");
  const open = options.openCollection(collection);
  if (open === undefined) return refuse(403, "NoSuchCollection");
  if (pod.ownerJobName !== open.job) return refuse(403, "NotOurJob");
  if (open.jobUid !== undefined && pod.ownerJobUid !== open.jobUid) return refuse(403, "NotOurJob");
  if (open.state !== "Open") return refuse(410, "Closed");
  if (binding.node !== open.node || pod.node !== open.node) return refuse(403, "WrongNode");
  const owner = options.sessionPod(collection);
  if (owner !== undefined && owner !== binding.podUid) return refuse(409, "AnotherCollector");
  return { ok: true, podUid: binding.podUid, podName: binding.podName, node: binding.node };
}

function refuseToken(review: Review, options: AuthorizerOptions): Authorisation | undefined {
  if (review.authenticated !== true) return refuse(401, "NotAuthenticated");
  if (review.audiences?.includes(options.audience) !== true) return refuse(401, "WrongAudience");
  const { namespace, name } = options.serviceAccount;
  if (review.user?.username !== `system:serviceaccount:${namespace}:${name}`) {
    return refuse(403, "WrongServiceAccount");
  }
  return undefined;
}

function bindingOf(review: Review): Binding | undefined {
  const podName = onlyValue(review, EXTRA_POD_NAME);
  const podUid = onlyValue(review, EXTRA_POD_UID);
  const node = onlyValue(review, EXTRA_NODE_NAME);
  if (podName === undefined || podUid === undefined || node === undefined) return undefined;
  return { podName, podUid, node };
}

function onlyValue(review: Review, key: string): string | undefined {
  const values = review.user?.extra?.[key];
  return values?.length === 1 && values[0] !== "" ? values[0] : undefined;
}

/** Phase Pending is fine: the kubelet reports Running later than the collector's first request comes. */
function isOver(pod: CollectorPod, clock: Clock): boolean {
  if (pod.phase === "Succeeded" || pod.phase === "Failed") return true;
  // The timestamp is the end of the grace period, in which a collector that is stopped still sends what it has.
  if (pod.deletionTimestamp === undefined) return false;
  return !(clock.now().getTime() <= Date.parse(pod.deletionTimestamp) + DELETION_SLACK_MS);
}

function refuse(status: 401 | 403 | 409 | 410 | 503, reason: RefusalReason): Authorisation & { readonly ok: false } {
  return { ok: false, status, reason };
}
