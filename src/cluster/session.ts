/** How does a person's command line reach the cluster? By the user's kubeconfig, for as long as one command takes. */
import type { Clock, Random } from "../seams.ts";
import { type Api, createApi } from "./api.ts";
import { kubeconfigCredentials } from "./credentials.ts";
import { ApiError, classify } from "./errors.ts";
import { downloadPack } from "./evidencedownload.ts";
import type { Installation } from "./installation.ts";
import { createTransport } from "./transport.ts";

export interface SessionOptions {
  /** Path of a kubeconfig; absent: $KUBECONFIG, then ~/.kube/config. */
  readonly file?: string;
  readonly context?: string;
  readonly version: string;
  readonly clock: Clock;
  readonly random: Random;
}

export interface Session {
  readonly api: Api;
  readonly server: URL;
  /** That of the context. */
  readonly namespace: string;
  /** Such as `v1.36.2`. Throws ApiError. */
  serverVersion(): Promise<string>;
  /** The bytes of a pack that the operator holds. Throws ApiError as they are read. */
  download(
    installation: Installation,
    pack: { readonly namespace: string; readonly collection: string },
  ): AsyncIterable<Uint8Array>;
  close(): Promise<void>;
}

/** The field manager of what a person writes with the command line; the operator's is another. */
const FIELD_MANAGER = "oomscope-cli";

/** Sends nothing yet. Throws Error when the kubeconfig cannot be read or has no such context. */
export async function openSession({ file, context, version, clock, random }: SessionOptions): Promise<Session> {
  const credentials = await kubeconfigCredentials({
    clock,
    ...(file === undefined ? {} : { file }),
    ...(context === undefined ? {} : { context }),
  });
  const transport = createTransport({ credentials, clock, userAgent: `oomscope-cli/${version}` });
  return {
    api: createApi(transport, { clock, random, fieldManager: FIELD_MANAGER }),
    server: credentials.server,
    namespace: credentials.namespace ?? "default",
    serverVersion: async () => {
      const { status, text, headers } = await transport.request({ method: "GET", path: "/version" });
      if (status !== 200) throw classify(status, text, headers);
      try {
        return String((JSON.parse(text) as { gitVersion?: unknown }).gitVersion);
      } catch (cause) {
        throw new ApiError("Unknown", "GET /version: the answer is not JSON", { cause });
      }
    },
    download: (installation, pack) => downloadPack(transport, installation, pack),
    close: () => transport.close(),
  };
}
