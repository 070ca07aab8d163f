/**
 * An etcd and a kube-apiserver of a test file's own, because a test that stops them with SIGSTOP or compacts their history must not share them.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { existsSync, readdirSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { createApi, type Api } from "../../src/cluster/api.ts";
import type { Credentials } from "../../src/cluster/credentials.ts";
import { createTransport, type Transport } from "../../src/cluster/transport.ts";
import { systemClock, systemRandom } from "../../src/seams.ts";

export interface OwnServer {
  readonly url: URL;
  readonly ca: string;
  readonly apiserverPid: number;
  /** As the administrator, or as the user `nobody` who may do nothing; over another port on loopback if given. */
  credentials(user?: "admin" | "nobody", via?: URL): Credentials;
  transport(user?: "admin" | "nobody", via?: URL): Transport;
  api(user?: "admin" | "nobody"): Api;
  /** Stops the API server in its tracks. */
  freeze(): void;
  thaw(): void;
  /** Makes etcd forget all history before now, and the API server see it. */
  compact(): Promise<void>;
  /** Kills the API server and starts it again on the same port and etcd; its watch cache begins anew. */
  restartApiserver(): Promise<void>;
  stop(): Promise<void>;
}

const TOKENS = { admin: "admin-token", nobody: "nobody-token" } as const;

/** The folder with kube-apiserver and etcd; throws with the remedy when there is none. */
function binaries(): string {
  const cache =
    process.env["OOMSCOPE_CACHE"] ?? join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "oomscope");
  const root = join(cache, "bin");
  const found = existsSync(root)
    ? readdirSync(root)
        .map((version) => join(root, version))
        .find((folder) => existsSync(join(folder, "kube-apiserver")) && existsSync(join(folder, "etcd")))
    : undefined;
  if (found === undefined) throw new Error(`No kube-apiserver and etcd under ${root}: run "make test-binaries"`);
  return found;
}

async function freePort(): Promise<number> {
  const probe = createServer();
  probe.listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, "close");
  return port;
}

function start(command: string, args: readonly string[], log: string[]): ChildProcess {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding("utf8");
    stream?.on("data", (text: string) => {
      log.push(text);
      if (log.length > 200) log.shift();
    });
  }
  return child;
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, "exit");
  child.kill("SIGCONT");
  child.kill("SIGKILL");
  await gone;
}

async function waitUntilReady(transport: Transport, log: readonly string[]): Promise<void> {
  for (let tries = 0; tries < 240; tries++) {
    const reply = await transport.request({ method: "GET", path: "/readyz", timeoutMs: 2_000 }).catch(() => undefined);
    if (reply?.status === 200) return;
    await systemClock.sleep(250);
  }
  throw new Error(`The API server did not become ready:\n${log.join("").slice(-3_000)}`);
}

/** Starts both and waits until the API server is ready. Extra arguments go to the API server. */
export async function startOwnServer(extra: readonly string[] = []): Promise<OwnServer> {
  const bin = binaries();
  const directory = await mkdtemp(join(tmpdir(), "oomscope-apiserver-"));
  const [etcdPort, peerPort, port] = [await freePort(), await freePort(), await freePort()];
  const log: string[] = [];
  const { privateKey } = generateKeyPairSync("rsa", {
    modulusLength: 2048,
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
    publicKeyEncoding: { type: "spki", format: "pem" },
  });
  await writeFile(join(directory, "sa.key"), privateKey);
  await writeFile(
    join(directory, "tokens.csv"),
    `${TOKENS.admin},admin,admin,system:masters\n${TOKENS.nobody},nobody,nobody\n`,
  );
  const etcdUrl = `http://127.0.0.1:${etcdPort}`;
  const peerUrl = `http://127.0.0.1:${peerPort}`;
  const etcd = start(
    join(bin, "etcd"),
    [
      ["--data-dir", join(directory, "etcd")],
      ["--listen-client-urls", etcdUrl],
      ["--advertise-client-urls", etcdUrl],
      ["--listen-peer-urls", peerUrl],
      ["--initial-advertise-peer-urls", peerUrl],
      ["--initial-cluster", `default=${peerUrl}`],
      ["--unsafe-no-fsync"],
    ].flat(),
    log,
  );
  const startApiserver = (): ChildProcess =>
    start(
      join(bin, "kube-apiserver"),
      [
        `--etcd-servers=${etcdUrl}`,
        `--secure-port=${port}`,
        "--bind-address=127.0.0.1",
        `--cert-dir=${join(directory, "certs")}`,
        `--service-account-key-file=${join(directory, "sa.key")}`,
        `--service-account-signing-key-file=${join(directory, "sa.key")}`,
        "--service-account-issuer=https://kubernetes.default.svc",
        `--token-auth-file=${join(directory, "tokens.csv")}`,
        "--authorization-mode=RBAC",
        "--service-cluster-ip-range=10.96.0.0/24",
        "--disable-admission-plugins=ServiceAccount",
        ...extra,
      ],
      log,
    );
  let apiserver = startApiserver();
  const url = new URL(`https://127.0.0.1:${port}`);

  const certificate = join(directory, "certs", "apiserver.crt");
  for (let tries = 0; tries < 240 && !existsSync(certificate); tries++) await systemClock.sleep(100);
  const ca = await readFile(certificate, "utf8");

  const transports: Transport[] = [];
  const credentials = (user: "admin" | "nobody" = "admin", via: URL = url): Credentials => ({
    server: via,
    auth: () => Promise.resolve({ headers: { authorization: `Bearer ${TOKENS[user]}` }, ca, skipTlsVerify: false }),
    forget: () => undefined,
  });
  const transport = (user: "admin" | "nobody" = "admin", via: URL = url): Transport => {
    const made = createTransport({
      credentials: credentials(user, via),
      clock: systemClock,
      userAgent: "oomscope/test",
    });
    transports.push(made);
    return made;
  };
  const api = (user: "admin" | "nobody" = "admin"): Api =>
    createApi(transport(user), { clock: systemClock, random: systemRandom, fieldManager: "oomscope" });
  await waitUntilReady(transport(), log);

  return {
    url,
    ca,
    get apiserverPid() {
      return apiserver.pid ?? -1;
    },
    credentials,
    transport,
    api,
    freeze: () => apiserver.kill("SIGSTOP"),
    thaw: () => apiserver.kill("SIGCONT"),
    async compact() {
      const post = async (path: string, body: object): Promise<{ header?: { revision?: string } }> => {
        const reply = await fetch(`${etcdUrl}${path}`, { method: "POST", body: JSON.stringify(body) });
        return (await reply.json()) as { header?: { revision?: string } };
      };
      const { header } = await post("/v3/kv/range", { key: Buffer.from("x").toString("base64") });
      await post("/v3/kv/compaction", { revision: header?.revision, physical: true });
    },
    async restartApiserver() {
      await kill(apiserver);
      apiserver = startApiserver();
      await waitUntilReady(transport(), log);
    },
    async stop() {
      await Promise.all(transports.map((made) => made.close()));
      await kill(apiserver);
      await kill(etcd);
      await rm(directory, { recursive: true, force: true });
    },
  };
}
