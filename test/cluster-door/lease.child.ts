/** An operator in small, for lease.integration.test.ts: leads when it can, and as long as it may, writes its name every few milliseconds. */
import { readFileSync } from "node:fs";
import { createApi } from "../../src/cluster/api.ts";
import { isApiError } from "../../src/cluster/errors.ts";
import { createElector } from "../../src/cluster/lease.ts";
import { configmaps } from "../../src/cluster/resources.ts";
import { createTransport } from "../../src/cluster/transport.ts";
import { systemClock, systemRandom } from "../../src/seams.ts";

const [url = "", token = "", caPath = "", namespace = "", identity = ""] = process.argv.slice(2);
const ca = readFileSync(caPath, "utf8");
const transport = createTransport({
  credentials: {
    server: new URL(url),
    auth: () => Promise.resolve({ headers: { authorization: `Bearer ${token}` }, ca, skipTlsVerify: false }),
    forget: () => undefined,
  },
  clock: systemClock,
  userAgent: identity,
});
const seams = { clock: systemClock, random: systemRandom };
const bare = createApi(transport, { ...seams, fieldManager: identity });
const elector = createElector({
  ...seams,
  api: bare.unfenced,
  namespace,
  name: "oomscope",
  identity,
  leaseDurationMs: 2_000,
  renewDeadlineMs: 1_200,
  retryMs: 200,
});
const api = createApi(transport, { ...seams, fieldManager: identity, mayWrite: () => elector.mayWrite() });

for (;;) {
  const { signal, epoch } = await elector.lead(new AbortController().signal);
  console.log(`leads ${epoch}`);
  while (!signal.aborted) {
    try {
      await api.apply(
        configmaps,
        { metadata: { namespace, name: "written" }, data: { by: identity } },
        { force: true },
      );
    } catch (error) {
      console.log(isApiError(error) ? `refused ${error.reason}` : String(error));
    }
    await systemClock.sleep(10);
  }
  console.log("lost");
}
