/** Talks raw JSON to an API server of the integration tests: what is sent is what the server gets. */
import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { Agent, request } from "undici";
import { inject } from "vitest";
import { parse } from "yaml";
import { KINDS } from "../../src/api/crd.ts";
import { GROUP, VERSION } from "../../src/api/memoryinvestigation.ts";

export type Json = Record<string, unknown>;

export interface Answer {
  readonly status: number;
  readonly body: Json;
}

export interface CrdServer {
  call(method: string, path: string, body?: unknown, contentType?: string): Promise<Answer>;
  close(): Promise<void>;
}

export const APPLY = "application/apply-patch+yaml";

/** @param server default: the one that all integration tests share */
export function connect(
  server: { readonly url: string; readonly ca: string; readonly token: string } = inject("apiServer"),
): CrdServer {
  const { url, ca, token } = server;
  const dispatcher = new Agent({ connect: { ca } });
  return {
    async call(method, path, body, contentType = "application/json") {
      const response = await request(url + path, {
        method: method as "GET",
        dispatcher,
        headers: { authorization: `Bearer ${token}`, "content-type": contentType, accept: "application/json" },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      const text = await response.body.text();
      // A resource that is not served yet is answered with a line of plain text.
      const isJson = String(response.headers["content-type"]).startsWith("application/json");
      return { status: response.statusCode, body: isJson ? (JSON.parse(text) as Json) : { message: text } };
    },
    close: () => dispatcher.destroy(),
  };
}

const CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

export function committedCrd(plural: string): Json {
  return parse(readFileSync(new URL(`../../crds/${plural}.yaml`, import.meta.url), "utf8")) as Json;
}

/** Applies the committed CRDs and waits until each is served. */
export async function installCrds(server: CrdServer): Promise<void> {
  for (const { plural } of KINDS) await installCrd(server, plural, committedCrd(plural));
}

/** Applies one CRD of our group and waits until it is served. Throws with the server's words when it is refused. */
export async function installCrd(server: CrdServer, plural: string, crd: Json): Promise<void> {
  const path = crdPath(plural);
  const applied = await server.call("PATCH", `${path}?fieldManager=test&force=true`, crd, APPLY);
  if (applied.status >= 300) throw new Error(JSON.stringify(applied.body, undefined, 1));
  for (let tries = 0; tries < 200; tries++) {
    const conditions = conditionsOf((await server.call("GET", path)).body);
    // Established comes a moment before the resource answers.
    const served = await server.call("GET", `/apis/${GROUP}/${VERSION}/${plural}`);
    if (conditions["Established"] === "True" && served.status === 200) return;
    await delay(50);
  }
  throw new Error(`${plural} is not served`);
}

export function conditionsOf(object: Json): Record<string, string> {
  const status = (object["status"] ?? {}) as { conditions?: { type: string; status: string }[] | null };
  return Object.fromEntries((status.conditions ?? []).map(({ type, status }) => [type, status]));
}

export function crdPath(plural: string): string {
  return `${CRDS}/${plural}.${GROUP}`;
}
