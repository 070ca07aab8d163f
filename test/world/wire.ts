/**
 * The network between one operator and the API server: every call takes its time both ways, and the world's faults strike here. A request that is on its
 * way arrives also when the one who sent it has died since.
 */
import { ApiError, notLeader } from "../../src/cluster/errors.ts";
import type { Reply, RequestOptions, StreamOptions, StreamReply, Transport } from "../../src/cluster/transport.ts";
import type { Answer } from "./model/answers.ts";
import type { ApiServer, Request } from "./model/apiserver.ts";
import { Chunks, whole } from "./model/chunks.ts";
import { requestOf } from "./model/directtransport.ts";
import type { Scheduler } from "./scheduler.ts";

/** What becomes of one call. */
export type Fate =
  | { readonly kind: "Deliver" }
  /** The connection breaks before the server has the request, or after it has acted on it. */
  | { readonly kind: "LoseRequest" }
  | { readonly kind: "LoseReply" }
  /** The operator dies before the server has the request, or after it has acted on it. */
  | { readonly kind: "CrashBefore" }
  | { readonly kind: "CrashAfter" }
  /** Something else answers, having done nothing, or having passed the request on. */
  | { readonly kind: "Answer"; readonly answer: Answer; readonly passed: boolean }
  /** Somebody else is quicker, in the moment before the server acts. */
  | { readonly kind: "Overtaken"; readonly by: (request: Request) => void };

/** What becomes of one event of a watch. */
export type EventFate = "Deliver" | "Hold" | "Cut" | "Forget";

export interface Call {
  /** From 0, over all lives of the operator; leases are not counted. */
  readonly index: number;
  readonly request: Request;
}

export interface Network {
  /** How long something takes on its way, in milliseconds. */
  delayMs(): number;
  fateOf(call: Call): Fate;
  fateOfEvent(plural: string, line: string): EventFate;
  /** For the story. */
  told(by: string, what: string, answer: string): void;
  numbered(request: Request): Call;
  /** A write took effect on an object that its sender had not read as it was. */
  actedBlindly(by: string, what: string): void;
}

export interface WireOptions {
  readonly server: ApiServer;
  readonly scheduler: Scheduler;
  readonly network: Network;
  /** Whose it is: what is to be delivered to it goes when it dies. */
  readonly owner: object;
  readonly name: string;
  readonly crash: () => void;
  /** Takes away from a request what a mutant does not send. */
  readonly alter?: (request: Request) => Request;
}

const BOOKMARK_MS = 60_000;
/** How long a held watch is silent, and how long what broke takes to be noticed. */
const HELD_MS = 20_000;
const DEFAULT_TIMEOUT_MS = 30_000;

interface Version {
  readonly uid: string;
  readonly resourceVersion: string;
}

export class Wire implements Transport {
  readonly #options: WireOptions;
  /** What this sender was last told of single objects, by path. */
  readonly #read = new Map<string, Version>();

  constructor(options: WireOptions) {
    this.#options = options;
  }

  request(options: RequestOptions): Promise<Reply> {
    const { name } = this.#options;
    if (options.fence?.() === false) return Promise.reject(notLeader(`${options.method} ${options.path}`));
    return this.#exchange(requestOf(options, name), options).then(({ status, headers, body }) => ({
      status,
      headers,
      text: body,
    }));
  }

  async stream(options: StreamOptions): Promise<StreamReply> {
    const request = requestOf(options, this.#options.name);
    if (options.query?.["watch"] !== undefined) return this.#watch(request, options);
    const { status, headers, body } = await this.#exchange(request, options);
    return { status, headers, body: whole(body).read(), abort: () => undefined };
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #exchange(
    given: Request,
    { signal, timeoutMs = DEFAULT_TIMEOUT_MS }: RequestOptions | StreamOptions,
  ): Promise<Answer> {
    const { scheduler, network, owner, alter = (request) => request } = this.#options;
    const request = alter(given);
    const call = network.numbered(request);
    const fate = network.fateOf(call);
    const what = `${request.method} ${request.path}`;
    return new Promise((resolve, reject) => {
      const lose = (why: string): void => {
        signal?.removeEventListener("abort", onAbort);
        timer.cancel();
        reject(new ApiError("Unknown", `${what}: sent, but no complete answer came (${why})`));
      };
      const onAbort = (): void => lose("cancelled");
      const timer = scheduler.after(timeoutMs, () => lose(`no answer within ${timeoutMs} ms`), owner);
      signal?.addEventListener("abort", onAbort, { once: true });
      const give = (answer: Answer): void => {
        scheduler.after(
          network.delayMs(),
          () => {
            this.#noteRead(request, answer);
            signal?.removeEventListener("abort", onAbort);
            timer.cancel();
            resolve(answer);
          },
          owner,
        );
      };
      scheduler.after(network.delayMs(), () => this.#arrive(call, fate, give, () => lose("the connection broke")));
    });
  }

  #arrive({ index, request }: Call, fate: Fate, give: (answer: Answer) => void, lose: () => void): void {
    const { server, network, crash, name } = this.#options;
    const { scheduler, owner } = this.#options;
    const tell = (answer: string): void => network.told(name, `#${index} ${request.method} ${request.path}`, answer);
    const broken = (): void => void scheduler.after(network.delayMs(), lose, owner);
    if (fate.kind === "CrashBefore" || fate.kind === "LoseRequest") {
      tell(fate.kind === "CrashBefore" ? "never arrived, for it died" : "lost on the way");
      if (fate.kind === "CrashBefore") crash();
      else broken();
      return;
    }
    if (fate.kind === "Overtaken") fate.by(request);
    if (fate.kind === "Answer" && !fate.passed) {
      tell(`${fate.answer.status}, not by the server`);
      give(fate.answer);
      return;
    }
    const before = versionAt(server, request);
    const answer = server.handle(request);
    if (answer.status < 300) this.#checkRead(request, before);
    const done = `${answer.status}${answer.status < 300 ? "" : ` ${reasonOf(answer)}`}`;
    if (fate.kind === "CrashAfter") {
      tell(`${done}, never heard, for it died`);
      crash();
    } else if (fate.kind === "LoseReply") {
      tell(`${done}, lost on the way`);
      broken();
    } else if (fate.kind === "Answer") {
      tell(`${done}, told as ${fate.answer.status}`);
      give(fate.answer);
    } else {
      tell(done);
      give(answer);
    }
  }

  #noteRead({ path }: Request, { status, body }: Answer): void {
    if (status >= 300) return;
    const { metadata } = JSON.parse(body) as { metadata?: Partial<Version> };
    const { uid, resourceVersion } = metadata ?? {};
    if (uid !== undefined && resourceVersion !== undefined) this.#read.set(path, { uid, resourceVersion });
  }

  /** Changes and deletions of whole objects rest on a read of that very object; a status has its own history to tell by. */
  #checkRead({ method, path }: Request, before: Version | undefined): void {
    if ((method !== "PATCH" && method !== "DELETE") || /\/status$|\/events\//.test(path) || before === undefined)
      return;
    const { network, name } = this.#options;
    const read = this.#read.get(path);
    // Deleted by uid alone: what has become of it since matters no more, but it must be the one.
    const known = read?.uid === before.uid && (method === "DELETE" || read.resourceVersion === before.resourceVersion);
    if (!known)
      network.actedBlindly(
        name,
        `${method} ${path} met ${before.uid} ${before.resourceVersion}, read was ${JSON.stringify(read)}`,
      );
  }

  #watch(request: Request, { signal, query }: StreamOptions): Promise<StreamReply> {
    const { server, scheduler, network, owner, name } = this.#options;
    const plural = request.path.split("/").at(-1) ?? "";
    const chunks = new Chunks();
    let heldUntil = 0;
    let last = 0;
    let closed = false;
    const deliver = (line: string): void => {
      if (scheduler.isDead(owner)) end();
      if (closed) return;
      const fate = network.fateOfEvent(plural, line);
      if (fate !== "Deliver") network.told(name, `watch of ${plural}`, fate);
      if (fate === "Cut" || fate === "Forget") {
        if (fate === "Forget") server.storage.compact();
        end(new ApiError("Unknown", `GET ${request.path}: the connection broke`));
        return;
      }
      if (fate === "Hold") heldUntil = scheduler.nowMs + HELD_MS;
      // What is told stays in its order, however long each takes.
      last = Math.max(last, heldUntil, scheduler.nowMs + network.delayMs());
      scheduler.after(last - scheduler.nowMs, () => chunks.push(`${line}\n`), owner);
    };
    const end = (error?: Error): void => {
      if (closed) return;
      closed = true;
      if ("close" in watch) watch.close();
      scheduler.after(network.delayMs(), () => chunks.end(error), owner);
    };
    const watch = server.watch(request, deliver);
    if ("status" in watch) {
      const { status, headers, body } = watch;
      return Promise.resolve({ status, headers, body: whole(body).read(), abort: () => undefined });
    }
    const bookmarks = (): void => {
      if (closed) return;
      watch.bookmark();
      scheduler.after(BOOKMARK_MS, bookmarks, owner);
    };
    scheduler.after(BOOKMARK_MS, bookmarks, owner);
    scheduler.after(Number(query?.["timeoutSeconds"] ?? 300) * 1000, () => end(), owner);
    signal?.addEventListener("abort", () => end(), { once: true });
    return Promise.resolve({ status: 200, headers: {}, body: chunks.read(), abort: () => end() });
  }
}

function reasonOf({ body }: Answer): string {
  return (JSON.parse(body) as { reason?: string }).reason ?? "";
}

function versionAt(server: ApiServer, { method, path }: Request): Version | undefined {
  if (method === "GET" || method === "POST") return undefined;
  const { status, body } = server.handle({ method: "GET", path, by: "the wire" });
  if (status !== 200) return undefined;
  return (JSON.parse(body) as { metadata: Version }).metadata;
}
