/** The candidate that most TypeScript operators use: makeInformer of @kubernetes/client-node, as its examples show it. */
import { CoreV1Api, KubeConfig, makeInformer, type V1Pod, type V1PodList } from "@kubernetes/client-node";
import { runCandidate, setting } from "./protocol.ts";

const config = new KubeConfig();
config.loadFromFile(setting("KUBECONFIG"));
const client = config.makeApiClient(CoreV1Api);
const limit = Number(process.env["BENCH_PAGE"] ?? 0);

/** One list out of pages, for a cluster whose list is longer than a string of V8 may be. */
async function inPages(): Promise<V1PodList> {
  const items: V1Pod[] = [];
  let page = await client.listPodForAllNamespaces({ limit });
  for (;;) {
    items.push(...page.items);
    const next = page.metadata?._continue;
    if (next === undefined || next === "") {
      page.items = items;
      return page;
    }
    page = await client.listPodForAllNamespaces({ limit, _continue: next });
  }
}

const informer = makeInformer<V1Pod>(config, "/api/v1/pods", () =>
  limit === 0 ? client.listPodForAllNamespaces() : inPages(),
);
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
