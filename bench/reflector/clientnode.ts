/** The candidate that most TypeScript operators use: makeInformer of @kubernetes/client-node, as its examples show it. */
import { CoreV1Api, KubeConfig, makeInformer, type V1Pod } from "@kubernetes/client-node";
import { runCandidate, setting } from "./protocol.ts";

const config = new KubeConfig();
config.loadFromFile(setting("KUBECONFIG"));
const client = config.makeApiClient(CoreV1Api);
const informer = makeInformer<V1Pod>(config, "/api/v1/pods", () => client.listPodForAllNamespaces());
informer.on("error", (error: unknown) => {
  process.stderr.write(`${String(error)}\n`);
  process.exit(1);
});

await runCandidate(
  `client-node's informer with Node ${process.version}`,
  {
    async start(onChange) {
      informer.on("update", (pod) => onChange(pod.metadata?.namespace ?? "", pod.metadata?.name ?? ""));
      // Resolves when the list is in the cache and the watch is about to open.
      await informer.start();
    },
    size: () => informer.list().length,
    lines: () =>
      informer
        .list()
        .map(
          ({ metadata }) => `${metadata?.namespace}/${metadata?.name} ${metadata?.uid} ${metadata?.resourceVersion}`,
        ),
  },
  setting("BENCH_MARKER"),
);
