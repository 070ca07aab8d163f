/** Starts one real API server for the whole run of the integration tests and hands its address to them. */
import type { TestProject } from "vitest/node";
import { type ApiServer, startApiServer } from "./apiserver.ts";

/** What `inject("apiServer")` gives to a test. */
export interface SharedApiServer {
  readonly url: string;
  /** PEM. */
  readonly ca: string;
  /** Bearer token of an admin. */
  readonly token: string;
  /** Path of a kubeconfig for the admin. */
  readonly kubeconfig: string;
}

declare module "vitest" {
  interface ProvidedContext {
    apiServer: SharedApiServer;
  }
}

let server: ApiServer | undefined;

export async function setup(project: TestProject): Promise<void> {
  server = await startApiServer();
  project.provide("apiServer", {
    url: server.url,
    ca: server.ca,
    token: server.adminToken,
    kubeconfig: server.kubeconfig,
  });
}

export async function teardown(): Promise<void> {
  await server?.stop();
}
