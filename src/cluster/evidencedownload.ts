/** How does a person's command line fetch a pack? By the API server's proxy to the evidence Service, with a token that the person makes for it. */
import { DOWNLOAD_AUDIENCE, DOWNLOAD_HEADER, DOWNLOAD_TOKEN_SECONDS } from "../api/evidencedownload.ts";
import { classify } from "./errors.ts";
import type { Installation } from "./installation.ts";
import { pathOf, serviceaccounts, services } from "./resources.ts";
import { readText, type Transport } from "./transport.ts";

/** Every namespace has it. It needs no rights: only that it is of the namespace counts. */
const ACCOUNT = "default";
/** A pack of a slow store or a slow network: silence longer than this is the end. */
const IDLE_MS = 60_000;

/**
 * The bytes of a pack as they come. Throws ApiError: Forbidden where the caller may not make the token or use the proxy, NotFound where the store has no such pack,
 * ServerError where the operator does not answer, Unknown where it breaks off.
 */
export async function* downloadPack(
  transport: Transport,
  { namespace: home, env }: Installation,
  { namespace, collection }: { readonly namespace: string; readonly collection: string },
): AsyncGenerator<Uint8Array> {
  const token = await makeToken(transport, namespace);
  const name = `https:${env["OOMSCOPE_EVIDENCE_SERVICE"] ?? "oomscope-evidence"}:evidence`;
  const reply = await transport.stream({
    path: `${pathOf(services, { namespace: home, name, subresource: "proxy" })}/v1/packs/${encodeURIComponent(collection)}`,
    headers: { [DOWNLOAD_HEADER]: token },
    accept: "application/zstd, */*",
    idleTimeoutMs: IDLE_MS,
  });
  try {
    if (reply.status !== 200) throw classify(reply.status, await readText(reply.body, 64 * 1024), reply.headers);
    yield* reply.body;
  } finally {
    reply.abort();
  }
}

async function makeToken(transport: Transport, namespace: string): Promise<string> {
  const path = pathOf(serviceaccounts, { namespace, name: ACCOUNT, subresource: "token" });
  const spec = { audiences: [DOWNLOAD_AUDIENCE], expirationSeconds: DOWNLOAD_TOKEN_SECONDS };
  const body = JSON.stringify({ apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec });
  const { status, text, headers } = await transport.request({ method: "POST", path, body });
  if (status !== 201) throw classify(status, text, headers);
  return (JSON.parse(text) as { status: { token: string } }).status.token;
}
