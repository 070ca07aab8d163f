/** What is made of the documents of metrics.k8s.io, as metrics-server writes them and as nobody should? */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ApiError } from "../../src/cluster/errors.ts";
import { metricsProblem, nodeUsage, podUsage } from "../../src/cluster/metricsreads.ts";

/** As metrics-server 0.8 answers. */
const POD = {
  metadata: {
    name: "thumbnail-svc-5c8d7f9b6-x2x7k",
    namespace: "media",
    creationTimestamp: "2026-11-29T10:31:07Z",
    labels: { app: "thumbnail-svc", "pod-template-hash": "5c8d7f9b6" },
  },
  timestamp: "2026-11-29T10:30:58Z",
  window: "15.342s",
  containers: [
    { name: "thumbnail", usage: { cpu: "109423612n", memory: "131544Ki" } },
    { name: "sidecar", usage: { cpu: "0", memory: "1048576" } },
  ],
};
const NODE = {
  metadata: { name: "n1", creationTimestamp: "2026-11-29T10:31:07Z", labels: { "kubernetes.io/hostname": "n1" } },
  timestamp: "2026-11-29T10:30:55Z",
  window: "20.08s",
  usage: { cpu: "812345678n", memory: "7340032Ki" },
};

test("a pod's reading has its time and the working set of each container", () => {
  expect(podUsage(POD)).toEqual({
    namespace: "media",
    name: "thumbnail-svc-5c8d7f9b6-x2x7k",
    atMs: Date.parse("2026-11-29T10:30:58Z"),
    containers: [
      { name: "thumbnail", bytes: 131544 * 1024 },
      { name: "sidecar", bytes: 1048576 },
    ],
  });
});

test("a node's reading has its time and its working set", () => {
  expect(nodeUsage(NODE)).toEqual({ name: "n1", atMs: Date.parse("2026-11-29T10:30:55Z"), bytes: 7 * 2 ** 30 });
});

describe("a document that is none", () => {
  test.each([
    undefined,
    null,
    7,
    [],
    {},
    { ...POD, metadata: null },
    { ...POD, metadata: { name: 3, namespace: "media" } },
    { ...POD, timestamp: "yesterday" },
    { ...POD, timestamp: 12 },
  ])("is no reading of a pod: %j", (raw) => {
    expect(podUsage(raw)).toBeUndefined();
  });
  test.each([
    undefined,
    {},
    { ...NODE, usage: null },
    { ...NODE, usage: { memory: "lots" } },
    { ...NODE, usage: { memory: 12 } },
  ])("is no reading of a node: %j", (raw) => {
    expect(nodeUsage(raw)).toBeUndefined();
  });
  test("loses only the containers that cannot be read", () => {
    const containers = [
      null,
      { name: "a" },
      { name: "b", usage: { memory: "-5" } },
      { usage: { memory: "5" } },
      ...POD.containers,
    ];
    expect(podUsage({ ...POD, containers })?.containers.map(({ name }) => name)).toEqual(["thumbnail", "sidecar"]);
    expect(podUsage({ ...POD, containers: "x" })?.containers).toEqual([]);
  });
});

test.each([
  [new ApiError("NotFound", "GET …: 404"), "the cluster has no metrics API (metrics.k8s.io); install metrics-server"],
  [
    new ApiError("Forbidden", "no"),
    "the operator may not read metrics.k8s.io; compare its ClusterRole with config/rbac",
  ],
  [new ApiError("ServerError", "503"), "metrics.k8s.io does not answer (ServerError: 503)"],
  [new Error("x"), "metrics.k8s.io does not answer (Unknown: Error: x)"],
])("what went wrong is said with what to do: %s", (error, text) => {
  expect(metricsProblem(error)).toBe(text);
});

test("no document of any shape makes a reading fail, or makes one with anything but numbers", () => {
  const shape = fc.record(
    { metadata: fc.anything(), timestamp: fc.anything(), containers: fc.anything(), usage: fc.anything() },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(fc.oneof(fc.anything(), shape), (raw) => {
      for (const bytes of (podUsage(raw)?.containers ?? []).map((one) => one.bytes))
        expect(bytes).toBeGreaterThanOrEqual(0);
      expect(nodeUsage(raw)?.bytes ?? 0).toBeGreaterThanOrEqual(0);
    }),
  );
});
