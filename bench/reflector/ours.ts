/** The candidate that all is about: our reflector with the pod projection, with a service account's files as in a cluster. */
import { inClusterCredentials } from "../../src/cluster/credentials.ts";
import { projectPod } from "../../src/cluster/projections.ts";
import { createReflector } from "../../src/cluster/reflector.ts";
import { pods } from "../../src/cluster/resources.ts";
import { createTransport } from "../../src/cluster/transport.ts";
import { systemClock as clock, systemRandom as random } from "../../src/seams.ts";
import { runCandidate, setting } from "./protocol.ts";

const directory = setting("BENCH_SERVICE_ACCOUNT");
const credentials = await inClusterCredentials({ clock, env: process.env, directory });
const transport = createTransport({ credentials, clock, userAgent: "oomscope-bench" });
let tell: (namespace: string, name: string) => void = () => undefined;
const reflector = createReflector({
  transport,
  resource: pods,
  project: (raw) => projectPod(raw),
  onChange: ({ type, object }) => {
    if (type === "Modified") tell(object.namespace, object.name);
  },
  clock,
  random,
});

await runCandidate(
  `oomscope's reflector with Node ${process.version}`,
  {
    async start(onChange) {
      tell = onChange;
      reflector.start();
      await reflector.synced;
    },
    size: () => reflector.store.size,
    lines: () =>
      Array.from(reflector.store.list(), (pod) => `${pod.namespace}/${pod.name} ${pod.uid} ${pod.resourceVersion}`),
  },
  setting("BENCH_MARKER"),
);
