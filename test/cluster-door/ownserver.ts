/**
 * An etcd and a kube-apiserver of a test file's own, with our transport and api to talk to them: a test that stops the server with SIGSTOP or compacts
 * its history must not share it.
 */
import { readFileSync } from "node:fs";
import { createApi, type Api } from "../../src/cluster/api.ts";
import type { Credentials } from "../../src/cluster/credentials.ts";
import { createTransport, type Transport } from "../../src/cluster/transport.ts";
import { systemClock, systemRandom } from "../../src/seams.ts";
import { startApiServer, type ApiServer } from "../support/apiserver.ts";

export interface OwnServer {
  readonly server: ApiServer;
  readonly port: number;
  /** By bearer token (default: the admin's) and over another address on loopback if given. */
  credentials(token?: string, via?: string): Credentials;
  transport(token?: string, via?: string): Transport;
  /** As the administrator, with the field manager oomscope. */
  readonly api: Api;
  /** Makes etcd forget all history before now. */
  compact(): Promise<void>;
  stop(): Promise<void>;
}

async function etcd(
  url: string,
  path: string,
  body: object,
): Promise<{ readonly header?: { readonly revision?: string } }> {
  const reply = await fetch(`${url}${path}`, { method: "POST", body: JSON.stringify(body) });
  if (!reply.ok) throw new Error(`etcd answered ${reply.status} to ${path}: ${await reply.text()}`);
  return (await reply.json()) as { header?: { revision?: string } };
}

/** Starts both. Extra arguments go to the API server. Pods may be created without a ServiceAccount. */
export async function startOwnServer(apiServerArgs: readonly string[] = []): Promise<OwnServer> {
  const server = await startApiServer({
    apiServerArgs: ["--disable-admission-plugins=ServiceAccount", ...apiServerArgs],
  });
  const etcdUrl =
    /--listen-client-urls=([^\0]+)/.exec(readFileSync(`/proc/${server.etcdPid}/cmdline`, "utf8"))?.[1] ?? "";
  const transports: Transport[] = [];
  const credentials = (token = server.adminToken, via = server.url): Credentials => ({
    server: new URL(via),
    auth: () => Promise.resolve({ headers: { authorization: `Bearer ${token}` }, ca: server.ca, skipTlsVerify: false }),
    forget: () => undefined,
  });
  const transport = (token?: string, via?: string): Transport => {
    const made = createTransport({
      credentials: credentials(token, via),
      clock: systemClock,
      userAgent: "oomscope/test",
    });
    transports.push(made);
    return made;
  };
  return {
    server,
    port: Number(new URL(server.url).port),
    credentials,
    transport,
    api: createApi(transport(), { clock: systemClock, random: systemRandom, fieldManager: "oomscope" }),
    async compact() {
      const { header } = await etcd(etcdUrl, "/v3/kv/range", { key: Buffer.from("x").toString("base64") });
      await etcd(etcdUrl, "/v3/kv/compaction", { revision: header?.revision, physical: true });
    },
    async stop() {
      await Promise.all(transports.map((made) => made.close()));
      await server.stop();
    },
  };
}
