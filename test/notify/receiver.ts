/** A real HTTP server that people would be told by: it answers as the test says and keeps what it was sent. */
import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface Received {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Readonly<Record<string, unknown>>;
}

export interface TestReceiver {
  readonly url: string;
  readonly received: readonly Received[];
  /** How the next requests are answered, in order; afterwards with 200. */
  answerWith(...answers: readonly ((response: ServerResponse) => void)[]): void;
  /** Takes requests and answers none of them, until it is told otherwise. */
  silence(silent: boolean): void;
  /** Resolves when so many requests have come in all. */
  count(requests: number): Promise<void>;
  close(): Promise<void>;
}

export const status =
  (code: number, headers: Readonly<Record<string, string>> = {}) =>
  (response: ServerResponse): void =>
    void response.writeHead(code, headers).end("canary-answer");

export async function startReceiver(): Promise<TestReceiver> {
  const received: Received[] = [];
  const answers: ((response: ServerResponse) => void)[] = [];
  let wake: (() => void)[] = [];
  let isSilent = false;
  const server = createServer((request, response) => {
    const pieces: Buffer[] = [];
    request.on("data", (piece: Buffer) => pieces.push(piece));
    request.on("end", () => {
      const body = JSON.parse(Buffer.concat(pieces).toString("utf8")) as Readonly<Record<string, unknown>>;
      received.push({ path: request.url ?? "", headers: request.headers, body });
      if (!isSilent) (answers.shift() ?? status(200))(response);
      const woken = wake;
      wake = [];
      for (const resolve of woken) resolve();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    received,
    answerWith: (...list) => void answers.push(...list),
    silence: (silent) => void (isSilent = silent),
    count: async (requests) => {
      while (received.length < requests) await new Promise<void>((resolve) => wake.push(resolve));
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
