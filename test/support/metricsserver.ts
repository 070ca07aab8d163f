/**
 * Serves metrics.k8s.io behind a real API server, as metrics-server does, with readings that the test sets. The API server reaches it by an EndpointSlice
 * (`--enable-aggregator-routing`), so it listens on an address that is no loopback: those may not stand in one.
 */
import { createServer } from "node:https";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { networkInterfaces } from "node:os";
import { createAuthority, issueServerCertificate } from "../../src/evidence/tls.ts";
import { systemClock, systemRandom } from "../../src/seams.ts";
import type { Admin } from "../controller/cluster.ts";

const PREFIX = "/apis/metrics.k8s.io/v1beta1";

/** An address of this machine that may stand in an EndpointSlice; undefined where there is none. */
export function ownAddress(): string | undefined {
  return Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .find(({ family, internal, address }) => family === "IPv4" && !internal && !address.startsWith("169.254."))
    ?.address;
}

export interface MetricsServer {
  /** Bytes by `namespace/pod/container`. */
  readonly pods: Map<string, number>;
  /** Bytes by node. */
  readonly nodes: Map<string, number>;
  /** Makes the API server serve it. Returns when it does. */
  install(api: Admin): Promise<void>;
  stop(): Promise<void>;
}

export async function startMetricsServer(address: string): Promise<MetricsServer> {
  const pods = new Map<string, number>();
  const nodes = new Map<string, number>();
  const authority = createAuthority(systemClock, systemRandom);
  const { cert, key } = issueServerCertificate(authority, ["metrics"], [], systemClock, systemRandom);
  const usage = (bytes: number): object => ({ cpu: "1n", memory: `${Math.ceil(bytes / 1024)}Ki` });
  const read = (): object => ({ timestamp: `${new Date().toISOString().slice(0, 19)}Z`, window: "15.1s" });
  const podList = (only: string | undefined): object[] =>
    [...pods].flatMap(([path, bytes]) => {
      const [namespace, name, container] = path.split("/");
      if (only !== undefined && only !== namespace) return [];
      return [{ metadata: { namespace, name }, ...read(), containers: [{ name: container, usage: usage(bytes) }] }];
    });
  const answer = (path: string): object | undefined => {
    if (path === PREFIX) {
      const resource = (name: string, kind: string, namespaced: boolean): object => ({
        name,
        kind,
        namespaced,
        singularName: "",
        verbs: ["get", "list"],
      });
      const resources = [resource("pods", "PodMetrics", true), resource("nodes", "NodeMetrics", false)];
      return { kind: "APIResourceList", apiVersion: "v1", groupVersion: "metrics.k8s.io/v1beta1", resources };
    }
    const list = (kind: string, items: object[]): object => ({
      kind,
      apiVersion: "metrics.k8s.io/v1beta1",
      metadata: {},
      items,
    });
    const namespace = /\/namespaces\/([^/]+)\/pods$/.exec(path)?.[1];
    if (namespace !== undefined) return list("PodMetricsList", podList(namespace));
    if (path === `${PREFIX}/pods`) return list("PodMetricsList", podList(undefined));
    if (path !== `${PREFIX}/nodes`) return undefined;
    return list(
      "NodeMetricsList",
      [...nodes].map(([name, bytes]) => ({ metadata: { name }, ...read(), usage: usage(bytes) })),
    );
  };
  const server = createServer({ cert, key }, (request, response) => {
    const body = answer((request.url ?? "").split("?")[0] ?? "");
    response.writeHead(body === undefined ? 404 : 200, { "content-type": "application/json" });
    response.end(JSON.stringify(body ?? {}));
  });
  server.listen(0, address);
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    pods,
    nodes,
    install: async (api) => {
      const inSystem = "/namespaces/kube-system";
      await api.must("POST", `/api/v1${inSystem}/services`, {
        metadata: { name: "metrics" },
        spec: { ports: [{ port: 443, targetPort: port }] },
      });
      await api.must("POST", `/apis/discovery.k8s.io/v1${inSystem}/endpointslices`, {
        metadata: { name: "metrics-1", labels: { "kubernetes.io/service-name": "metrics" } },
        addressType: "IPv4",
        ports: [{ name: "", port, protocol: "TCP" }],
        endpoints: [{ addresses: [address], conditions: { ready: true } }],
      });
      await api.must("POST", "/apis/apiregistration.k8s.io/v1/apiservices", {
        metadata: { name: "v1beta1.metrics.k8s.io" },
        spec: {
          group: "metrics.k8s.io",
          version: "v1beta1",
          groupPriorityMinimum: 100,
          versionPriority: 100,
          insecureSkipTLSVerify: true,
          service: { namespace: "kube-system", name: "metrics" },
        },
      });
      for (let tries = 0; (await api.call("GET", `${PREFIX}/nodes`)).status !== 200; tries++) {
        if (tries > 600) throw new Error("The API server does not serve metrics.k8s.io");
        await systemClock.sleep(50);
      }
    },
    stop: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
