/** The rows of test/cluster-door/conformance.ts, asked of the model: it answers as the real API server does, or the world built on it proves nothing. */
import { conformance } from "../cluster-door/conformance.ts";
import { ApiServer } from "./model/apiserver.ts";
import { directTransport } from "./model/directtransport.ts";

conformance(() => {
  const server = new ApiServer(() => new Date(Date.UTC(2026, 0, 1)));
  return Promise.resolve({
    transport: directTransport(server),
    powerless: directTransport(server, "None"),
    unknown: directTransport(server, "Unknown"),
    stop: () => Promise.resolve(),
  });
});
