import { describe, expect, it } from "vitest";
import {
  type Authorisation,
  type AuthorizerOptions,
  type CollectorPod,
  createAuthorizer,
  type OpenCollection,
  type Review,
} from "../../src/evidence/authorize.ts";
import type { Clock } from "../../src/seams.ts";

const POD_NAME = "authentication.kubernetes.io/pod-name";
const POD_UID = "authentication.kubernetes.io/pod-uid";
const NODE_NAME = "authentication.kubernetes.io/node-name";

/** One moment of the world, in which everything is as it should be. */
interface World {
  readonly review: Review;
  readonly pod: CollectorPod | undefined;
  readonly collection: OpenCollection | undefined;
  readonly sessionPod: string | undefined;
}

const EXTRA = { [POD_NAME]: ["collect-1-abcde"], [POD_UID]: ["pod-uid-1"], [NODE_NAME]: ["node-1"] };
const USER = { username: "system:serviceaccount:oomscope-collectors:oomscope-collector", extra: EXTRA };
const REVIEW: Review = { authenticated: true, audiences: ["oomscope-evidence"], user: USER };
const POD: CollectorPod = {
  uid: "pod-uid-1",
  ownerJobUid: "job-uid-1",
  ownerJobName: "collect-1",
  node: "node-1",
  phase: "Running",
};
const OPEN: OpenCollection = { job: "collect-1", jobUid: "job-uid-1", node: "node-1", state: "Open" };
const RIGHT: World = { review: REVIEW, pod: POD, collection: OPEN, sessionPod: undefined };
const NOW = "2030-01-01T12:00:00Z";

function withExtra(extra: Record<string, readonly string[]>): World {
  return { ...RIGHT, review: { ...REVIEW, user: { ...USER, extra } } };
}

function withPod(change: Partial<CollectorPod>): World {
  return { ...RIGHT, pod: { ...POD, ...change } };
}

function setUp(world: World, change: Partial<AuthorizerOptions> = {}) {
  const seen = { world, monotonicMs: 0, reviews: [] as string[], podReads: [] as string[] };
  const clock: Clock = {
    now: () => new Date(NOW),
    monotonicMs: () => seen.monotonicMs,
    sleep: async () => await Promise.resolve(),
    after: () => ({ cancel: () => undefined }),
  };
  const authorize = createAuthorizer({
    reviewToken: async (token, audiences) => {
      seen.reviews.push(`${token} for ${audiences.join(",")}`);
      return await Promise.resolve(seen.world.review);
    },
    readPod: async (namespace, name) => {
      seen.podReads.push(`${namespace}/${name}`);
      return await Promise.resolve(seen.world.pod);
    },
    openCollection: (collection) => (collection === "collection-1" ? seen.world.collection : undefined),
    sessionPod: () => seen.world.sessionPod,
    audience: "oomscope-evidence",
    serviceAccount: { namespace: "oomscope-collectors", name: "oomscope-collector" },
    clock,
    ...change,
  });
  return { seen, authorize };
}

async function judge(world: World, collection = "collection-1"): Promise<Authorisation> {
  return await setUp(world).authorize("token", collection);
}

describe("a token", () => {
  it("of the planned pod on the planned node is accepted", async () => {
    const { seen, authorize } = setUp(RIGHT);
    expect(await authorize("token", "collection-1")).toEqual({
      ok: true,
      podUid: "pod-uid-1",
      podName: "collect-1-abcde",
      node: "node-1",
    });
    expect(seen.reviews).toEqual(["token for oomscope-evidence"]);
    expect(seen.podReads).toEqual(["oomscope-collectors/collect-1-abcde"]);
  });

  const refused: [string, World, number, string][] = [
    ["that is not authenticated", { ...RIGHT, review: { ...REVIEW, authenticated: false } }, 401, "NotAuthenticated"],
    ["about which the review says nothing", { ...RIGHT, review: {} }, 401, "NotAuthenticated"],
    ["for another audience", { ...RIGHT, review: { ...REVIEW, audiences: ["kubernetes"] } }, 401, "WrongAudience"],
    ["without audiences", { ...RIGHT, review: { ...REVIEW, audiences: undefined } }, 401, "WrongAudience"],
    [
      "of another account",
      {
        ...RIGHT,
        review: { ...REVIEW, user: { ...USER, username: "system:serviceaccount:oomscope-collectors:default" } },
      },
      403,
      "WrongServiceAccount",
    ],
    [
      "of the same account in another namespace",
      {
        ...RIGHT,
        review: { ...REVIEW, user: { ...USER, username: "system:serviceaccount:media:oomscope-collector" } },
      },
      403,
      "WrongServiceAccount",
    ],
    [
      "of a name that only begins like the account's",
      { ...RIGHT, review: { ...REVIEW, user: { ...USER, username: `${USER.username}-2` } } },
      403,
      "WrongServiceAccount",
    ],
    ["that is not bound to a pod", withExtra({}), 403, "NotBoundToPod"],
    ["without the pod's name", withExtra({ ...EXTRA, [POD_NAME]: [] }), 403, "NotBoundToPod"],
    ["without the pod's uid", withExtra({ ...EXTRA, [POD_UID]: [""] }), 403, "NotBoundToPod"],
    ["without the node's name", withExtra({ [POD_NAME]: ["a"], [POD_UID]: ["b"] }), 403, "NotBoundToPod"],
    ["with two pod uids", withExtra({ ...EXTRA, [POD_UID]: ["pod-uid-1", "pod-uid-2"] }), 403, "NotBoundToPod"],
    ["of a pod that is gone", { ...RIGHT, pod: undefined }, 403, "PodGone"],
    ["of a pod that was replaced under its name", withPod({ uid: "pod-uid-2" }), 403, "PodReplaced"],
    ["of a pod that has failed", withPod({ phase: "Failed" }), 403, "PodOver"],
    ["of a pod that is done", withPod({ phase: "Succeeded" }), 403, "PodOver"],
    [
      "of a pod whose grace period is long over",
      withPod({ deletionTimestamp: "2030-01-01T11:59:49Z" }),
      403,
      "PodOver",
    ],
    ["of a pod with a deletion time that is none", withPod({ deletionTimestamp: "soon" }), 403, "PodOver"],
    ["for a collection that nobody planned", { ...RIGHT, collection: undefined }, 403, "NoSuchCollection"],
    ["of a pod without a controller", withPod({ ownerJobName: undefined, ownerJobUid: undefined }), 403, "NotOurJob"],
    ["of another Job's pod", withPod({ ownerJobName: "collect-2" }), 403, "NotOurJob"],
    ["of a Job that was made again under our Job's name", withPod({ ownerJobUid: "job-uid-2" }), 403, "NotOurJob"],
    ["of our Job's pod without the Job's uid", withPod({ ownerJobUid: undefined }), 403, "NotOurJob"],
    ["for a collection that has ended", { ...RIGHT, collection: { ...OPEN, state: "Closed" } }, 410, "Closed"],
    ["bound to another node", withExtra({ ...EXTRA, [NODE_NAME]: ["node-2"] }), 403, "WrongNode"],
    ["of a pod that runs on another node", withPod({ node: "node-2" }), 403, "WrongNode"],
    ["of the Job's second pod", { ...RIGHT, sessionPod: "pod-uid-2" }, 409, "AnotherCollector"],
    ["while nobody can own the session any more", { ...RIGHT, sessionPod: "" }, 409, "AnotherCollector"],
  ];
  it.each(refused)("%s is refused", async (_what, world, status, reason) => {
    expect(await judge(world)).toEqual({ ok: false, status, reason });
  });

  const accepted: [string, World][] = [
    ["of a pod whose start the kubelet has not reported yet", withPod({ phase: "Pending" })],
    ["of a pod within its grace period", withPod({ deletionTimestamp: "2030-01-01T12:00:20Z" })],
    ["of a pod just beyond its grace period, as clocks differ", withPod({ deletionTimestamp: "2030-01-01T11:59:51Z" })],
    ["when the Job's uid is not known yet", { ...RIGHT, collection: { ...OPEN, jobUid: undefined } }],
    ["of the pod that began", { ...RIGHT, sessionPod: "pod-uid-1" }],
    ["for more audiences than ours", { ...RIGHT, review: { ...REVIEW, audiences: ["a", "oomscope-evidence"] } }],
  ];
  it.each(accepted)("%s is accepted", async (_what, world) => {
    expect(await judge(world)).toMatchObject({ ok: true });
  });

  it("is refused for another collection than its Job's", async () => {
    expect(await judge(RIGHT, "collection-2")).toEqual({ ok: false, status: 403, reason: "NoSuchCollection" });
  });

  it("that is not a collector's makes nobody read a pod", async () => {
    const { seen, authorize } = setUp({
      ...RIGHT,
      review: { ...REVIEW, user: { ...USER, username: "system:anonymous" } },
    });
    await authorize("token", "collection-1");
    expect(seen.podReads).toEqual([]);
  });
});

describe("what the API server said", () => {
  it("is believed for less than ten seconds", async () => {
    const { seen, authorize } = setUp(RIGHT);
    await authorize("token", "collection-1");
    seen.world = { ...RIGHT, pod: undefined };
    seen.monotonicMs = 9999;
    expect(await authorize("token", "collection-1")).toMatchObject({ ok: true });
    seen.monotonicMs = 10_000;
    expect(await authorize("token", "collection-1")).toMatchObject({ reason: "PodGone" });
    expect(seen.reviews).toHaveLength(2);
  });

  it("does not hide what we know ourselves: a collection that ends, ends at once", async () => {
    const { seen, authorize } = setUp(RIGHT);
    await authorize("token", "collection-1");
    seen.world = { ...RIGHT, collection: { ...OPEN, state: "Closed" } };
    expect(await authorize("token", "collection-1")).toMatchObject({ status: 410 });
    seen.world = { ...RIGHT, sessionPod: "pod-uid-2" };
    expect(await authorize("token", "collection-1")).toMatchObject({ status: 409 });
    expect(seen.reviews).toHaveLength(1);
  });

  it("is not shared between tokens or collections", async () => {
    const { seen, authorize } = setUp(RIGHT, { openCollection: () => OPEN });
    for (const [token, collection] of [
      ["a", "collection-1"],
      ["b", "collection-1"],
      ["a", "collection-2"],
      ["a", "collection-1"],
    ] as const) {
      await authorize(token, collection);
    }
    expect(seen.reviews).toHaveLength(3);
  });

  it("is asked once for requests that come together", async () => {
    const { seen, authorize } = setUp(RIGHT);
    await Promise.all(Array.from({ length: 10 }, async () => await authorize("token", "collection-1")));
    expect(seen.reviews).toHaveLength(1);
  });

  it("is remembered for a bounded number of tokens", async () => {
    const { seen, authorize } = setUp(RIGHT);
    await authorize("first", "collection-1");
    for (let n = 0; n < 256; n++) await authorize(`token-${n}`, "collection-1");
    await authorize("first", "collection-1");
    expect(seen.reviews.filter((review) => review.startsWith("first"))).toHaveLength(2);
  });
});

describe("an API server that does not answer", () => {
  const unauthorized = Object.assign(new Error("401"), { reason: "Unauthorized" });
  it.each([
    ["refuses our own credentials", unauthorized, "OwnCredentialsRejected"],
    ["is away", new Error("connect ECONNREFUSED"), "ReviewUnavailable"],
  ])("because it %s is our trouble, not the caller's, and is asked again", async (_what, cause, reason) => {
    let calls = 0;
    const { authorize } = setUp(RIGHT, {
      reviewToken: async () => {
        calls++;
        return calls === 1 ? await Promise.reject(cause) : REVIEW;
      },
    });
    expect(await authorize("token", "collection-1")).toEqual({ ok: false, status: 503, reason });
    expect(await authorize("token", "collection-1")).toMatchObject({ ok: true });
  });

  it("about the pod is the same", async () => {
    const { authorize } = setUp(RIGHT, { readPod: async () => await Promise.reject(new Error("timeout")) });
    expect(await authorize("token", "collection-1")).toMatchObject({ status: 503, reason: "ReviewUnavailable" });
  });
});
