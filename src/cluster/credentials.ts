/**
 * Who are we to the API server, and how do we know that it is the right one? Loads a kubeconfig (with everything that client-node knows:
 * client certificates, exec plugins, OIDC) or the service account of the pod we run in, and reads files again when they change.
 */
import { readFile } from "node:fs/promises";
import { isIPv6 } from "node:net";
import type { KubeConfig } from "@kubernetes/client-node";
import type { Clock } from "../seams.ts";

/** What the next request needs. Changes over the life of a process: tokens and certificates rotate. */
export interface AccessSecrets {
  readonly headers: Readonly<Record<string, string>>;
  readonly ca?: Buffer | string;
  readonly cert?: Buffer | string;
  readonly key?: Buffer | string;
  readonly serverName?: string;
  /** Only ever true when the user's own kubeconfig says so. */
  readonly skipTlsVerify: boolean;
  /** http(s) proxy between us and the server. */
  readonly proxyUrl?: string;
}

export interface Credentials {
  readonly server: URL;
  /** The namespace of the context or of our own pod. */
  readonly namespace?: string;
  /** Cheap to call before each request. Throws Error when a file or a plugin fails and nothing usable is known. */
  auth(): Promise<AccessSecrets>;
  /** The server answered 401: what we know is no good any more, ask again on the next call. */
  forget(): void;
}

/** How long what was read counts as fresh. A projected token is renewed by the kubelet long before it expires. */
const REREAD_MS = 10_000;
/** Forgetting is limited too: a server that answers 401 to everything must not make us run an exec plugin for each request. */
const REREAD_AFTER_401_MS = 1_000;

/** Keeps what `load` gave for {@link REREAD_MS}; when a later load fails, the last good one serves on. */
export function remembering(load: () => Promise<AccessSecrets>, clock: Clock): Pick<Credentials, "auth" | "forget"> {
  let known: { readonly secrets: AccessSecrets; readonly at: number } | undefined;
  let running: Promise<AccessSecrets> | undefined;
  let forgotten = false;

  async function reload(): Promise<AccessSecrets> {
    try {
      const secrets = await load();
      known = { secrets, at: clock.monotonicMs() };
      forgotten = false;
      return secrets;
    } catch (error) {
      // Half-written files during a rotation are gone a moment later.
      if (known === undefined || forgotten) throw error;
      known = { secrets: known.secrets, at: clock.monotonicMs() };
      return known.secrets;
    } finally {
      running = undefined;
    }
  }

  return {
    async auth() {
      const age = known === undefined ? Number.POSITIVE_INFINITY : clock.monotonicMs() - known.at;
      if (known !== undefined && age < (forgotten ? REREAD_AFTER_401_MS : REREAD_MS)) return known.secrets;
      running ??= reload();
      return running;
    },
    forget() {
      forgotten = true;
    },
  };
}

const SERVICE_ACCOUNT_DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount";

export interface InClusterOptions {
  readonly clock: Clock;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Where the token, CA and namespace are mounted. */
  readonly directory?: string;
}

/**
 * The service account of our own pod. Read here and not by client-node, because loading that library costs tens of MB of memory.
 * Throws Error when this is no pod.
 */
export async function inClusterCredentials({
  clock,
  env,
  directory = SERVICE_ACCOUNT_DIRECTORY,
}: InClusterOptions): Promise<Credentials> {
  const host = env["KUBERNETES_SERVICE_HOST"];
  const port = env["KUBERNETES_SERVICE_PORT"];
  if (host === undefined || host === "" || port === undefined || port === "") {
    throw new Error(
      "Not in a cluster: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set. Give a kubeconfig",
    );
  }
  const load = async (): Promise<AccessSecrets> => {
    const [token, ca] = await Promise.all([readFile(`${directory}/token`, "utf8"), readFile(`${directory}/ca.crt`)]);
    if (token.trim() === "") throw new Error(`The token file ${directory}/token is empty`);
    return { headers: { authorization: `Bearer ${token.trim()}` }, ca, skipTlsVerify: false };
  };
  const memory = remembering(load, clock);
  await memory.auth();
  const namespace = await readFile(`${directory}/namespace`, "utf8").catch(() => "");
  return {
    server: new URL(`https://${isIPv6(host) ? `[${host}]` : host}:${port}`),
    ...(namespace.trim() === "" ? {} : { namespace: namespace.trim() }),
    ...memory,
  };
}

export interface KubeconfigOptions {
  readonly clock: Clock;
  /** Path; without it client-node's rule: $KUBECONFIG, then ~/.kube/config. */
  readonly file?: string;
  /** Default: the file's current context. */
  readonly context?: string;
}

async function readKubeconfig({ file, context }: KubeconfigOptions): Promise<KubeConfig> {
  const client = await import("@kubernetes/client-node");
  const config = new client.KubeConfig();
  if (file === undefined) config.loadFromDefault();
  else config.loadFromFile(file);
  if (context !== undefined) config.setCurrentContext(context);
  if (config.getCurrentCluster() === null) {
    const name = context ?? config.getCurrentContext();
    throw new Error(`The kubeconfig${file === undefined ? "" : ` ${file}`} has no cluster for the context "${name}"`);
  }
  return config;
}

async function secretsOf(config: KubeConfig): Promise<AccessSecrets> {
  const cluster = config.getCurrentCluster();
  const user = config.getCurrentUser();
  const found: Parameters<KubeConfig["applyToHTTPSOptions"]>[0] = {};
  await config.applyToHTTPSOptions(found);
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(found.headers ?? {})) headers[name.toLowerCase()] = String(value);
  if (typeof found.auth === "string") headers["authorization"] = `Basic ${Buffer.from(found.auth).toString("base64")}`;
  const proxy = cluster?.proxyUrl;
  if (proxy !== undefined && !/^https?:/.test(proxy)) {
    throw new Error(`The kubeconfig asks for the proxy ${proxy}; only http and https proxies are supported`);
  }
  if (user?.password !== undefined && cluster?.server.startsWith("http:") === true) {
    throw new Error("The kubeconfig would send a password in clear text: use an https server");
  }
  return {
    headers,
    ...pem("ca", found.ca),
    ...pem("cert", found.cert),
    ...pem("key", found.key),
    ...(cluster?.tlsServerName === undefined ? {} : { serverName: cluster.tlsServerName }),
    skipTlsVerify: cluster?.skipTLSVerify === true,
    ...(proxy === undefined ? {} : { proxyUrl: proxy }),
  };
}

function pem(name: "ca" | "cert" | "key", value: unknown): { readonly [part in typeof name]?: Buffer | string } {
  return typeof value === "string" || Buffer.isBuffer(value) ? { [name]: value } : {};
}

/** The user of a kubeconfig. Throws Error when the file is missing or has no such context. */
export async function kubeconfigCredentials(options: KubeconfigOptions): Promise<Credentials> {
  let config = await readKubeconfig(options);
  const cluster = config.getCurrentCluster();
  const namespace = config.getContextObject(config.getCurrentContext())?.namespace;
  const memory = remembering(() => secretsOf(config), options.clock);
  let stale = false;
  return {
    server: new URL(cluster?.server ?? ""),
    ...(namespace === undefined ? {} : { namespace }),
    async auth() {
      if (stale) {
        // Plugins cache their tokens inside the object, so a refused token needs a new one.
        stale = false;
        config = await readKubeconfig(options).catch(() => config);
      }
      return memory.auth();
    },
    forget() {
      stale = true;
      memory.forget();
    },
  };
}

export interface LoadOptions extends KubeconfigOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** The named kubeconfig when one is given; else our pod's service account when there is one; else the user's kubeconfig. */
export async function loadCredentials({ env, ...options }: LoadOptions): Promise<Credentials> {
  const inPod = env["KUBERNETES_SERVICE_HOST"] !== undefined && env["KUBERNETES_SERVICE_HOST"] !== "";
  if (options.file === undefined && options.context === undefined && inPod) {
    return inClusterCredentials({ clock: options.clock, env });
  }
  return kubeconfigCredentials(options);
}
