import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTcpServer, type AddressInfo, type Server as TcpServer, type Socket } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import type { AccessSecrets, Credentials } from "../../src/cluster/credentials.ts";
import { ApiError } from "../../src/cluster/errors.ts";
import { createTransport, type Transport } from "../../src/cluster/transport.ts";
import { systemClock } from "../../src/seams.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function listening<S extends Server | TcpServer>(
  server: S,
): Promise<{ server: S; url: string; sockets: Set<Socket> }> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("close", () => sockets.delete(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { server, sockets, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

async function http(handler: (request: IncomingMessage, response: ServerResponse) => void) {
  return listening(createServer(handler));
}

function transportTo(
  url: string,
  secrets: () => Partial<AccessSecrets> = () => ({}),
  onForget: () => void = () => undefined,
): Transport {
  const credentials: Credentials = {
    server: new URL(url),
    auth: () => Promise.resolve({ headers: {}, skipTlsVerify: false, ...secrets() }),
    forget: onForget,
  };
  const transport = createTransport({ credentials, clock: systemClock, userAgent: "oomscope/test" });
  cleanups.push(() => transport.close());
  return transport;
}

async function failure(promise: Promise<unknown>): Promise<ApiError> {
  const error: unknown = await promise.then(
    () => new Error("It did not fail"),
    (reason: unknown) => reason,
  );
  if (!(error instanceof ApiError)) throw error;
  return error;
}

async function collect(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

describe("a request", () => {
  test("carries path, query, body and headers, and brings back status, headers and text", async () => {
    const { url } = await http((request, response) => {
      request.setEncoding("utf8");
      let body = "";
      request.on("data", (chunk: string) => (body += chunk));
      request.on("end", () => {
        response.writeHead(201, { "X-Thing": "yes" });
        response.end(JSON.stringify({ method: request.method, url: request.url, body, headers: request.headers }));
      });
    });
    const reply = await transportTo(`${url}/prefix/`, () => ({ headers: { authorization: "Bearer t" } })).request({
      method: "PATCH",
      path: "/api/v1/pods",
      query: { fieldManager: "oomscope", force: undefined },
      body: '{"a":"ü"}',
      contentType: "application/merge-patch+json",
    });
    expect(reply.status).toBe(201);
    expect(reply.headers["x-thing"]).toBe("yes");
    expect(JSON.parse(reply.text)).toMatchObject({
      method: "PATCH",
      url: "/prefix/api/v1/pods?fieldManager=oomscope",
      body: '{"a":"ü"}',
      headers: {
        authorization: "Bearer t",
        "content-type": "application/merge-patch+json",
        accept: "application/json",
        "user-agent": "oomscope/test",
      },
    });
  });

  test("to a closed port was never sent", async () => {
    const { server, url } = await http(() => undefined);
    server.close();
    expect((await failure(transportTo(url).request({ method: "POST", path: "/x", body: "{}" }))).reason).toBe(
      "Unreachable",
    );
  });

  test("to a name that does not exist was never sent", async () => {
    const error = await failure(
      transportTo("http://nowhere.invalid").request({ method: "POST", path: "/x", body: "{}" }),
    );
    expect(error.reason).toBe("Unreachable");
  });

  test("without credentials was never sent", async () => {
    const error = await failure(
      transportTo("http://127.0.0.1:1", () => {
        throw new Error("the plugin failed");
      }).request({ method: "GET", path: "/x" }),
    );
    expect(error.reason).toBe("Unreachable");
    expect(error.message).toContain("the plugin failed");
  });

  test("to a port that does not speak TLS was never sent", async () => {
    const { url } = await http((_request, response) => response.end("{}"));
    const error = await failure(
      transportTo(url.replace("http:", "https:")).request({ method: "POST", path: "/x", body: "{}" }),
    );
    expect(error.reason).toBe("Unreachable");
  });

  test.each(["GET", "POST", "PUT", "PATCH", "DELETE"] as const)(
    "%s whose reply is cut off has an unknown outcome and is not sent again",
    async (method) => {
      let seen = 0;
      const { url } = await http((request) => {
        seen++;
        request.resume();
        request.on("end", () => request.socket.destroy());
      });
      const transport = transportTo(url);
      const error = await failure(
        transport.request({ method, path: "/x", ...(method === "GET" ? {} : { body: "{}" }) }),
      );
      expect(error.reason).toBe("Unknown");
      await systemClock.sleep(50);
      expect(seen).toBe(1);
    },
  );

  test("on a kept connection that the server closes has an unknown outcome and is not sent again", async () => {
    const methods: (string | undefined)[] = [];
    const { url } = await http((request, response) => {
      methods.push(request.method);
      request.resume();
      if (methods.length === 1) response.end("{}");
      else request.socket.destroy();
    });
    const transport = transportTo(url);
    await transport.request({ method: "GET", path: "/x" });
    expect((await failure(transport.request({ method: "POST", path: "/x", body: "{}" }))).reason).toBe("Unknown");
    expect(methods).toEqual(["GET", "POST"]);
  });

  test("whose body is cut in the middle has an unknown outcome", async () => {
    const { url } = await http((_request, response) => {
      response.writeHead(200, { "content-length": "100" });
      response.write("half");
      setTimeout(() => response.socket?.destroy(), 10);
    });
    expect((await failure(transportTo(url).request({ method: "GET", path: "/x" }))).reason).toBe("Unknown");
  });

  test("without an answer in time has an unknown outcome", async () => {
    const { url } = await http(() => undefined);
    const error = await failure(transportTo(url).request({ method: "POST", path: "/x", body: "{}", timeoutMs: 50 }));
    expect(error.reason).toBe("Unknown");
    expect(error.message).toContain("50 ms");
  });

  test("whose headers come in time but whose body never ends has an unknown outcome", async () => {
    const { url } = await http((_request, response) => {
      response.writeHead(200);
      response.write("[");
    });
    expect((await failure(transportTo(url).request({ method: "GET", path: "/x", timeoutMs: 80 }))).reason).toBe(
      "Unknown",
    );
  });

  test("to a server that never finishes the handshake was never sent", async () => {
    const { url } = await listening(createTcpServer(() => undefined));
    const error = await failure(
      transportTo(url.replace("http:", "https:")).request({ method: "POST", path: "/x", body: "{}", timeoutMs: 80 }),
    );
    expect(error.reason).toBe("Unreachable");
  });

  test("that is cancelled before it begins was never sent", async () => {
    let seen = 0;
    const { url } = await http((_request, response) => {
      seen++;
      response.end("{}");
    });
    const error = await failure(
      transportTo(url).request({
        method: "POST",
        path: "/x",
        body: "{}",
        signal: AbortSignal.abort(new Error("enough")),
      }),
    );
    expect(error.reason).toBe("Unreachable");
    expect(seen).toBe(0);
  });

  test("that is cancelled on the way has an unknown outcome and closes its connection", async () => {
    const abort = new AbortController();
    const { url, sockets } = await http(() => abort.abort(new Error("enough")));
    const error = await failure(
      transportTo(url).request({ method: "POST", path: "/x", body: "{}", signal: abort.signal }),
    );
    expect(error.reason).toBe("Unknown");
    expect(error.cause).toEqual(new Error("enough"));
    await expect.poll(() => sockets.size).toBe(0);
  });

  test("is refused when its answer is larger than allowed", async () => {
    const { url, sockets } = await http((_request, response) => {
      response.writeHead(200);
      const more = (): void => {
        if (!response.destroyed) response.write("x".repeat(65_536), () => setImmediate(more));
      };
      more();
    });
    const error = await failure(transportTo(url).request({ method: "GET", path: "/x", maxBytes: 1_000_000 }));
    expect(error.reason).toBe("TooLarge");
    await expect.poll(() => sockets.size).toBe(0);
  });

  test("makes the credentials forget what they know when the server does not know us", async () => {
    const { url } = await http((_request, response) => {
      response.writeHead(401);
      response.end("{}");
    });
    let forgotten = 0;
    const transport = transportTo(
      url,
      () => ({}),
      () => forgotten++,
    );
    expect((await transport.request({ method: "GET", path: "/x" })).status).toBe(401);
    expect(forgotten).toBe(1);
  });

  test("shares its connection with the next one", async () => {
    let connections = 0;
    const { server, url } = await http((_request, response) => response.end("{}"));
    server.on("connection", () => connections++);
    const transport = transportTo(url);
    for (let i = 0; i < 30; i++) await transport.request({ method: "GET", path: "/x" });
    // The second may begin in the very moment in which the first is not quite done.
    expect(connections).toBeLessThanOrEqual(2);
  });

  test("goes over a new connection when the CA has changed, and a running stream stays", async () => {
    let connections = 0;
    const { server, url } = await http((request, response) => {
      response.write("a\n");
      if (request.url === "/stream") setTimeout(() => response.end("b\n"), 400);
      else response.end();
    });
    server.on("connection", () => connections++);
    let ca = "one";
    const transport = transportTo(url, () => ({ ca }));
    const stream = await transport.stream({ path: "/stream" });
    const ask = async (): Promise<number> => {
      await transport.request({ method: "GET", path: "/x" });
      // Until the connection is free again for the next.
      await systemClock.sleep(20);
      return connections;
    };
    expect([await ask(), await ask(), await ask()]).toEqual([2, 2, 2]);
    ca = "two";
    expect([await ask(), await ask()]).toEqual([3, 3]);
    expect(await collect(stream.body)).toBe("a\nb\n");
  });
});

describe("a stream", () => {
  test("gives the bytes as they come and ends when the server ends", async () => {
    const { url } = await http((_request, response) => {
      response.write("one\n");
      setTimeout(() => response.end("two\n"), 20);
    });
    const stream = await transportTo(url).stream({ path: "/x" });
    expect(await collect(stream.body)).toBe("one\ntwo\n");
  });

  test("that is cut fails, and never looks like an end", async () => {
    const { url } = await http((_request, response) => {
      response.write("one\n");
      setTimeout(() => response.socket?.resetAndDestroy(), 20);
    });
    const stream = await transportTo(url).stream({ path: "/x" });
    expect((await failure(collect(stream.body))).reason).toBe("Unknown");
  });

  test("that falls silent fails after the idle time, however long it has lived", async () => {
    const { url } = await http((_request, response) => {
      let count = 0;
      const timer = setInterval(() => {
        response.write("x\n");
        if (++count === 6) clearInterval(timer);
      }, 200);
    });
    const stream = await transportTo(url).stream({ path: "/x", timeoutMs: 1000, idleTimeoutMs: 1000 });
    let seen = 0;
    const error = await failure(
      (async () => {
        for await (const chunk of stream.body) seen += chunk.length;
      })(),
    );
    expect(error.message).toContain("silent for 1000 ms");
    // It lived for longer than the timeout of the headers.
    expect(seen).toBe(12);
  });

  test("is not taken for silent while its reader is busy", async () => {
    const { url } = await http((_request, response) => {
      response.write("one\n");
      setTimeout(() => response.end("two\n"), 300);
    });
    const stream = await transportTo(url).stream({ path: "/x", idleTimeoutMs: 100 });
    const seen: string[] = [];
    for await (const chunk of stream.body) {
      seen.push(Buffer.from(chunk).toString());
      await systemClock.sleep(250);
    }
    expect(seen).toEqual(["one\n", "two\n"]);
  });

  test("is closed when its reader leaves", async () => {
    const { url, sockets } = await http((_request, response) => {
      response.write("x\n");
    });
    const stream = await transportTo(url).stream({ path: "/x" });
    for await (const chunk of stream.body) {
      expect(chunk.length).toBe(2);
      break;
    }
    await expect.poll(() => sockets.size).toBe(0);
  });

  test("makes the server wait while its reader is slow", async () => {
    let written = 0;
    const { url } = await http((_request, response) => {
      const more = (): void => {
        if (written >= 64 * 1024 * 1024) return;
        written += 65_536;
        if (response.write(Buffer.alloc(65_536))) setImmediate(more);
        else response.once("drain", more);
      };
      more();
    });
    const stream = await transportTo(url).stream({ path: "/x" });
    for await (const chunk of stream.body) {
      expect(chunk.length).toBeGreaterThan(0);
      await systemClock.sleep(1_500);
      break;
    }
    // What the kernel's socket buffers hold, and not the 64 MiB.
    expect(written).toBeLessThan(48 * 1024 * 1024);
  });
});
