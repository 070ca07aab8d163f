/** The rows of conformance.ts, asked of a real kube-apiserver. */
import { conformance } from "./conformance.ts";
import { startOwnServer } from "./ownserver.ts";

conformance(async () => {
  const server = await startOwnServer();
  return {
    transport: server.transport(),
    powerless: server.transport(server.server.token("bob")),
    unknown: server.transport("nobody-s-token"),
    stop: () => server.stop(),
  };
});
