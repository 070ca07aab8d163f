/**
 * Is the operator alive, and is it ready? /healthz fails when only a restart can help; /readyz fails while it does not know the
 * cluster. A watch that is dead or silent is not healthy, whatever the process itself believes.
 */
import { createServer, type Server, type ServerResponse } from "node:http";

export interface Check {
  readonly name: string;
  /** Undefined: all is well. Otherwise what is wrong, in words. */
  readonly problem: () => string | undefined;
}

export interface HealthOptions {
  readonly alive: readonly Check[];
  readonly ready: readonly Check[];
  /** Text in the Prometheus exposition format. */
  readonly metrics: () => Promise<{ readonly contentType: string; readonly body: string }>;
}

export interface HealthServer {
  listen(port: number): Promise<number>;
  close(): Promise<void>;
}

export function createHealthServer(options: HealthOptions): HealthServer {
  async function respond(url: string, headOnly: boolean, response: ServerResponse): Promise<void> {
    let found: Answer;
    try {
      found = await answer(url, options);
    } catch (error) {
      found = { status: 500, type: "text/plain", body: `${String(error)}\n` };
    }
    response.writeHead(found.status, { "content-type": found.type, "x-content-type-options": "nosniff" });
    response.end(headOnly ? "" : found.body);
  }

  const server: Server = createServer((request, response) => {
    void respond(request.url ?? "/", request.method === "HEAD", response);
  });
  server.headersTimeout = 5_000;
  server.requestTimeout = 5_000;
  server.maxConnections = 64;
  return {
    listen: (port) =>
      new Promise((resolve, reject) => {
        server.once("error", reject);
        server.listen(port, () => {
          const address = server.address();
          resolve(typeof address === "object" && address !== null ? address.port : port);
        });
      }),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

async function answer(url: string, { alive, ready, metrics }: HealthOptions): Promise<Answer> {
  const [path] = url.split("?");
  if (path === "/healthz") return report(alive);
  if (path === "/readyz") return report(ready);
  if (path === "/metrics") {
    const { contentType, body } = await metrics();
    return { status: 200, type: contentType, body };
  }
  return { status: 404, type: "text/plain", body: "try /healthz, /readyz or /metrics\n" };
}

function report(checks: readonly Check[]): Answer {
  const lines = checks.map((check) => ({ name: check.name, problem: check.problem() }));
  const status = lines.some((line) => line.problem !== undefined) ? 503 : 200;
  const body = lines.map((line) =>
    line.problem === undefined ? `[+] ${line.name} ok` : `[-] ${line.name}: ${line.problem}`,
  );
  return { status, type: "text/plain", body: `${body.join("\n")}\n` };
}
