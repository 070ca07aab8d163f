import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

/** Most of these tests wait for a process or a timer: two files at a time also where vitest would take one, on two cores. */
const maxWorkers = Math.max(2, availableParallelism() - 1);

export default defineConfig({
  test: {
    coverage: { provider: "v8", include: ["src/**"] },
    projects: [
      {
        test: {
          name: "unit",
          maxWorkers,
          // Far above what any test takes: it ends what hangs, and a busy machine is no failure.
          testTimeout: 60_000,
          hookTimeout: 60_000,
          setupFiles: ["test/support/fastcheck.setup.ts"],
          include: ["test/**/*.test.ts"],
          exclude: ["test/**/*.{integration,e2e,chaos,browser,promtool,helm}.test.ts"],
        },
      },
      {
        // Against a real kube-apiserver and etcd, one set for the whole run.
        test: {
          name: "integration",
          // They wait for servers, leases and time-outs more than they compute.
          maxWorkers: maxWorkers + 1,
          setupFiles: ["test/support/fastcheck.setup.ts"],
          include: ["test/**/*.integration.test.ts"],
          globalSetup: ["test/support/apiserver.setup.ts"],
          testTimeout: 60_000,
          hookTimeout: 120_000,
        },
      },
      {
        // Against a real node: kubelet, containerd, kernel.
        test: {
          name: "e2e",
          include: ["test/e2e/*.e2e.test.ts"],
          testTimeout: 600_000,
          hookTimeout: 1_200_000,
          fileParallelism: false,
        },
      },
      {
        // Against the kernel of this machine and the real tools of it, without a cluster; they measure, so one file at a time.
        test: {
          name: "machine",
          include: ["test/{cli,collector,evidence}/*.e2e.test.ts"],
          testTimeout: 600_000,
          hookTimeout: 1_200_000,
          fileParallelism: false,
        },
      },
      {
        // Against a real Chromium; not part of `make test`.
        test: { name: "browser", include: ["test/**/*.browser.test.ts"], testTimeout: 60_000, hookTimeout: 60_000 },
      },
      {
        // With the real promtool, Prometheus and Alertmanager; not part of `make test`, because their build takes minutes.
        test: { name: "alerts", include: ["test/**/*.promtool.test.ts"], testTimeout: 60_000 },
      },
      {
        // With the real helm and a real kube-apiserver; not part of `make test`, because helm's build takes minutes.
        test: { name: "helm", include: ["test/**/*.helm.test.ts"], testTimeout: 120_000, hookTimeout: 120_000 },
      },
      {
        // Minutes of faults on the real node; not part of `make test`.
        test: {
          name: "chaos",
          include: ["test/**/*.chaos.test.ts"],
          testTimeout: 1_200_000,
          hookTimeout: 600_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
