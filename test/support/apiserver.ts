/**
 * How does an integration test get a real API server? This starts etcd and kube-apiserver on free loopback ports in a
 * folder of their own and takes both away again, also when the test process dies.
 * There is no controller-manager: no default ServiceAccounts, no garbage collection, no pods that run.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { once } from "node:events";
import {
  accessSync,
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { request } from "node:https";
import { createServer } from "node:net";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

/** The version that `make cluster-build` builds. */
const KUBERNETES_VERSION = "v1.36.2";
const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 10_000;

export interface User {
  readonly name: string;
  readonly groups: readonly string[];
}

export interface ApiServerOptions {
  /** More flags for etcd; the last of a kind wins. */
  readonly etcdArgs?: readonly string[];
  /** More flags for kube-apiserver; the last of a kind wins. */
  readonly apiServerArgs?: readonly string[];
  /** Another etcd, such as Debian's 3.4 that cannot stream a list. */
  readonly etcdBinary?: string;
  /** Users with a token of their own beside the admin. They start without any right. Default: alice (group developers) and bob. */
  readonly users?: readonly User[];
  /** Writes every request to `auditLogPath`, one JSON object a line. */
  readonly audit?: "Metadata" | "Request" | "RequestResponse";
}

export interface ApiServer {
  /** Such as https://127.0.0.1:34567. */
  readonly url: string;
  /** PEM of what the server's certificate is checked with. */
  readonly ca: string;
  readonly caPath: string;
  /** Bearer token of a member of system:masters. */
  readonly adminToken: string;
  /** Path of a kubeconfig for the admin. */
  readonly kubeconfig: string;
  /** The folder of everything; gone after `stop`. */
  readonly directory: string;
  readonly auditLogPath: string | undefined;
  readonly apiServerPid: number;
  readonly etcdPid: number;
  /** Bearer token of one of `options.users`. Throws when there is no such user: tokens are read at start only. */
  token(user: string): string;
  /** Stops the API server's clock (SIGSTOP) and returns when all of its threads stand: connections stay open, nothing answers. */
  pause(): Promise<void>;
  resume(): void;
  /** Ends both and removes the folder. May be called again. */
  stop(): Promise<void>;
}

/** Folder of etcd, kube-apiserver and kubectl. Throws when a needed binary is missing, and says how to get it. */
export function binariesDirectory(): string {
  const cache =
    process.env["OOMSCOPE_CACHE"] ?? join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "oomscope");
  const directory = process.env["KUBEBUILDER_ASSETS"] ?? join(cache, "bin", KUBERNETES_VERSION);
  for (const name of ["etcd", "kube-apiserver"]) {
    if (!isExecutable(join(directory, name)))
      throw new Error(
        `There is no ${name} in ${directory}. Run \`make cluster-build\`, which builds it once and keeps it there, or set KUBEBUILDER_ASSETS to a folder that has etcd and kube-apiserver.`,
      );
  }
  return directory;
}

/** Path of kubectl beside the other binaries; undefined when it is not there. */
export function kubectlPath(): string | undefined {
  const path = join(binariesDirectory(), "kubectl");
  return isExecutable(path) ? path : undefined;
}

/** Starts etcd and kube-apiserver and waits until the server is ready. Throws with the end of their logs when it does not get so far. */
export async function startApiServer(options: ApiServerOptions = {}): Promise<ApiServer> {
  const binaries = binariesDirectory();
  const directory = mkdtempSync(join(tmpdir(), "oomscope-apiserver-"));
  const children: ChildProcess[] = [];
  const killAll = (): void => {
    for (const child of children) child.kill("SIGKILL");
    rmSync(directory, { recursive: true, force: true });
  };
  process.on("exit", killAll);
  const stop = async (): Promise<void> => {
    // The API server first, so that it does not fill its log with lost connections.
    for (const child of children.toReversed()) await end(child);
    process.off("exit", killAll);
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    return await launch(options, binaries, directory, children, stop);
  } catch (cause) {
    const logs = ["etcd", "kube-apiserver"].map((name) => `--- ${name}\n${tail(join(directory, `${name}.log`))}`);
    await stop();
    throw new Error(`The API server for tests did not start.\n${logs.join("\n")}`, { cause });
  }
}

async function launch(
  options: ApiServerOptions,
  binaries: string,
  directory: string,
  children: ChildProcess[],
  stop: () => Promise<void>,
): Promise<ApiServer> {
  const [clientPort, peerPort, securePort] = await freePorts(3);
  const etcdUrl = `http://127.0.0.1:${clientPort}`;
  const url = `https://127.0.0.1:${securePort}`;
  const adminToken = randomBytes(16).toString("hex");
  const users = options.users ?? [
    { name: "alice", groups: ["developers"] },
    { name: "bob", groups: [] },
  ];
  const tokens = new Map(users.map((user) => [user.name, randomBytes(16).toString("hex")]));
  writeTokens(join(directory, "tokens.csv"), adminToken, users, tokens);
  writeSigningKey(directory);

  const etcd = run(options.etcdBinary ?? join(binaries, "etcd"), directory, [
    ...etcdFlags(directory, etcdUrl, `http://127.0.0.1:${peerPort}`),
    ...(options.etcdArgs ?? []),
  ]);
  children.push(etcd);
  const auditLogPath = options.audit === undefined ? undefined : join(directory, "audit.log");
  const apiServer = run(join(binaries, "kube-apiserver"), directory, [
    ...apiServerFlags(directory, etcdUrl, securePort),
    ...auditFlags(directory, options.audit, auditLogPath),
    ...(options.apiServerArgs ?? []),
  ]);
  children.push(apiServer);

  const caPath = join(directory, "certs", "apiserver.crt");
  const ca = await waitUntilReady(url, adminToken, caPath, [etcd, apiServer]);
  const kubeconfig = join(directory, "kubeconfig");
  writeFileSync(kubeconfig, kubeconfigFor(url, ca, adminToken), { mode: 0o600 });
  return {
    url,
    ca,
    caPath,
    adminToken,
    kubeconfig,
    directory,
    auditLogPath,
    apiServerPid: pidOf(apiServer),
    etcdPid: pidOf(etcd),
    token: (user) => {
      const token = tokens.get(user);
      if (token === undefined) throw new Error(`No user "${user}"; name it in options.users of startApiServer`);
      return token;
    },
    pause: () => stand(apiServer),
    resume: () => void apiServer.kill("SIGCONT"),
    stop,
  };
}

/** A thread that runs on another CPU goes on for a moment after the signal was sent. */
async function stand(child: ChildProcess): Promise<void> {
  const tasks = `/proc/${pidOf(child)}/task`;
  child.kill("SIGSTOP");
  while (!readdirSync(tasks).every((tid) => / T [^)]*$/.test(readFileSync(`${tasks}/${tid}/stat`, "utf8"))))
    await delay(5);
}

function etcdFlags(directory: string, clientUrl: string, peerUrl: string): string[] {
  return [
    `--data-dir=${join(directory, "etcd")}`,
    `--listen-client-urls=${clientUrl}`,
    `--advertise-client-urls=${clientUrl}`,
    `--listen-peer-urls=${peerUrl}`,
    `--initial-advertise-peer-urls=${peerUrl}`,
    `--initial-cluster=default=${peerUrl}`,
    "--unsafe-no-fsync",
    "--log-level=warn",
  ];
}

function apiServerFlags(directory: string, etcdUrl: string, port: number): string[] {
  return [
    `--etcd-servers=${etcdUrl}`,
    "--bind-address=127.0.0.1",
    "--advertise-address=127.0.0.1",
    // A loopback address may not stand in Endpoints; without this the log fills with refusals.
    "--endpoint-reconciler-type=none",
    `--secure-port=${port}`,
    `--cert-dir=${join(directory, "certs")}`,
    "--authorization-mode=RBAC",
    `--token-auth-file=${join(directory, "tokens.csv")}`,
    "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
    `--service-account-key-file=${join(directory, "service-account.key")}`,
    `--service-account-signing-key-file=${join(directory, "service-account.key")}`,
    "--service-cluster-ip-range=10.0.0.0/24",
    // Collector Jobs ask for capabilities; the flag's default changed over the releases.
    "--allow-privileged=true",
  ];
}

function auditFlags(directory: string, level: ApiServerOptions["audit"], logPath: string | undefined): string[] {
  if (level === undefined || logPath === undefined) return [];
  const policy = join(directory, "audit-policy.json");
  writeFileSync(
    policy,
    JSON.stringify({
      apiVersion: "audit.k8s.io/v1",
      kind: "Policy",
      omitStages: ["RequestReceived"],
      rules: [{ level }],
    }),
  );
  return [`--audit-policy-file=${policy}`, `--audit-log-path=${logPath}`, "--audit-log-mode=blocking"];
}

function writeTokens(path: string, admin: string, users: readonly User[], tokens: ReadonlyMap<string, string>): void {
  const lines = [`${admin},admin,admin,"system:masters"`];
  for (const user of users) {
    const groups = user.groups.length === 0 ? "" : `,"${user.groups.join(",")}"`;
    lines.push(`${tokens.get(user.name) ?? ""},${user.name},${user.name}${groups}`);
  }
  writeFileSync(path, lines.join("\n"), { mode: 0o600 });
}

function writeSigningKey(directory: string): void {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  writeFileSync(join(directory, "service-account.key"), privateKey.export({ type: "sec1", format: "pem" }), {
    mode: 0o600,
  });
}

function kubeconfigFor(url: string, ca: string, token: string): string {
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    clusters: [
      { name: "test", cluster: { server: url, "certificate-authority-data": Buffer.from(ca).toString("base64") } },
    ],
    users: [{ name: "admin", user: { token } }],
    contexts: [{ name: "test", context: { cluster: "test", user: "admin", namespace: "default" } }],
    "current-context": "test",
  });
}

function run(binary: string, directory: string, args: readonly string[]): ChildProcess {
  const log = openSync(join(directory, `${binary.slice(binary.lastIndexOf("/") + 1)}.log`), "a");
  // setpriv, where it is there, lets the kernel end the child when this process is killed without a chance to clean up.
  const setpriv = ["/usr/bin/setpriv", "/bin/setpriv"].find(isExecutable);
  const [command, ...rest] =
    setpriv === undefined ? [binary, ...args] : [setpriv, "--pdeathsig", "KILL", "--", binary, ...args];
  const child = spawn(command ?? binary, rest, { cwd: directory, stdio: ["ignore", log, log] });
  closeSync(log);
  child.on("error", () => undefined);
  return child;
}

async function waitUntilReady(
  url: string,
  token: string,
  caPath: string,
  children: readonly ChildProcess[],
): Promise<string> {
  const deadline = performance.now() + START_TIMEOUT_MS;
  while (performance.now() < deadline) {
    const dead = children.find((child) => child.exitCode !== null || child.signalCode !== null);
    if (dead !== undefined)
      throw new Error(`${dead.spawnargs.join(" ")} ended with ${dead.exitCode ?? dead.signalCode}`);
    // The certificate file appears before the server answers. Without one there is nobody to ask.
    const ca = readOrEmpty(caPath);
    if (
      ca !== "" &&
      (await ok(`${url}/readyz`, ca, token)) &&
      (await ok(`${url}/api/v1/namespaces/default`, ca, token))
    )
      return ca;
    await delay(50);
  }
  throw new Error(`It was not ready within ${START_TIMEOUT_MS} ms`);
}

function ok(url: string, ca: string, token: string): Promise<boolean> {
  return new Promise((resolve) => {
    const req = request(
      url,
      { ca, agent: false, timeout: 2000, headers: { authorization: `Bearer ${token}` } },
      (res) => {
        res.resume();
        res.on("close", () => resolve(res.statusCode === 200));
      },
    );
    req.on("timeout", () => req.destroy());
    req.on("error", () => resolve(false));
    req.end();
  });
}

async function end(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGCONT");
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
  await exited;
  clearTimeout(timer);
}

/** Ports that were free a moment ago; all held at once, so that they differ. */
async function freePorts(count: 3): Promise<[number, number, number]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  const ports: number[] = [];
  for (const server of servers) {
    if (!server.listening) await once(server, "listening");
    const address = server.address();
    if (address !== null && typeof address === "object") ports.push(address.port);
  }
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  const [a, b, c] = ports;
  if (a === undefined || b === undefined || c === undefined) throw new Error("No free loopback ports");
  return [a, b, c];
}

function pidOf(child: ChildProcess): number {
  if (child.pid === undefined) throw new Error(`${child.spawnfile} did not start`);
  return child.pid;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function tail(path: string): string {
  return readOrEmpty(path).split("\n").slice(-15).join("\n");
}
