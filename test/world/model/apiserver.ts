/**
 * The API server as a model: what a client sends it, and what it answers. Its answers are proven by the conformance suite, which is run against a real
 * server as well (test/cluster-door). It has no clock and no chance of its own: each request is answered at once.
 */
import { apiVersionOf } from "../../../src/cluster/resources.ts";
import { type Answer, disruptionBudget, notFound, Refusal, twoBudgets } from "./answers.ts";
import { coreKinds, customKind, DEFINITIONS, type Kind } from "./kinds.ts";
import { type Query, Reads, type Watch } from "./reads.ts";
import { Storage, type Stored } from "./storage.ts";
import type { JsonObject } from "./values.ts";
import { type Address, metaOf, type Preconditions, Writes } from "./writes.ts";

export interface Request {
  readonly method: string;
  /** Absolute, without the query. */
  readonly path: string;
  readonly query?: Query;
  /** JSON text. */
  readonly body?: string;
  readonly contentType?: string;
  /** Who asks, for the log. */
  readonly by: string;
}

/** What a caller may do: everything, nothing, or it is not known. */
export type Right = "All" | "None" | "Unknown";

const MAX_BODY_BYTES = 3 * 1024 * 1024;
const JSON_HEADERS = { "content-type": "application/json" };

interface Place {
  readonly kind: Kind;
  readonly namespace: string;
  readonly name: string | undefined;
  readonly subresource: string;
}

export class ApiServer {
  readonly storage = new Storage();
  readonly #kinds: Kind[] = [DEFINITIONS, ...coreKinds()];
  readonly #reads = new Reads(this.storage);
  readonly #writes: Writes;

  /** @param now for the times that the server writes into objects */
  constructor(now: () => Date) {
    this.#writes = new Writes(this.storage, now, () => this.kind("namespaces"));
  }

  /** A kind by its plural. Throws TypeError when there is none. */
  kind(plural: string): Kind {
    const found = this.#kinds.find(({ resource }) => resource.plural === plural);
    if (found === undefined) throw new TypeError(`There is no kind ${plural}`);
    return found;
  }

  /** Serves the kind of a CustomResourceDefinition from now on. */
  define(definition: JsonObject): void {
    this.#kinds.push(customKind(definition, this.storage.revision));
  }

  handle(request: Request, right: Right = "All"): Answer {
    try {
      return this.#handle(request, right);
    } catch (error) {
      if (error instanceof Refusal) return error.answer;
      throw error;
    }
  }

  /** A watch that goes on until it is closed, or the answer why there is none. */
  watch(request: Request, tell: (line: string) => void, right: Right = "All"): Watch | Answer {
    try {
      checkRight(request, right);
      const { kind, namespace } = this.#placeOf(request.path);
      return this.#reads.watch(kind, namespace, request.query ?? {}, tell);
    } catch (error) {
      if (error instanceof Refusal) return error.answer;
      throw error;
    }
  }

  #handle(request: Request, right: Right): Answer {
    checkRight(request, right);
    const place = this.#placeOf(request.path);
    const { kind, namespace, name } = place;
    if ((request.body?.length ?? 0) > MAX_BODY_BYTES)
      throw new Refusal(413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728");
    if (request.method === "GET") {
      if (name === undefined) return ok(200, this.#reads.list(kind, namespace, request.query ?? {}));
      return this.#get(place, name);
    }
    const body = JSON.parse(request.body ?? "{}") as JsonObject;
    if (name === undefined) {
      if (request.method !== "POST")
        throw new Refusal(405, "MethodNotAllowed", "the server does not allow this method");
      return this.#create(place, body, request);
    }
    return this.#write({ ...place, name }, body, request);
  }

  #get({ kind, namespace, subresource }: Place, name: string): Answer {
    const found = this.storage.get(kind, namespace, name);
    if (found === undefined) throw notFound(kind, name);
    if (subresource === "log") return { status: 200, headers: { "content-type": "text/plain" }, body: "" };
    return ok(200, found.object);
  }

  #create({ kind, namespace, subresource }: Place, body: JsonObject, request: Request): Answer {
    const made = this.#writes.create({ kind, namespace, subresource }, body, writerOf(request));
    if (kind === DEFINITIONS) this.define(made.object);
    return ok(201, made.object);
  }

  #write(address: Address, body: JsonObject, request: Request): Answer {
    const { kind, namespace, name, subresource } = address;
    const { method, contentType = "application/json", query = {}, by } = request;
    const existed = this.storage.get(kind, namespace, name) !== undefined;
    const writer = writerOf(request);
    let stored: Stored | undefined;
    if (method === "POST" && subresource === "eviction") return this.#evict(address, body, by);
    else if (method === "PUT") stored = this.#writes.replace(address, body, writer);
    else if (method === "DELETE") {
      const { preconditions = {}, gracePeriodSeconds } = body as unknown as DeleteOptions;
      stored = this.#writes.remove(address, preconditions, gracePeriodSeconds, by);
    } else if (method === "PATCH" && contentType.startsWith("application/apply-patch"))
      stored = this.#writes.apply(address, body, writer, query["force"] === "true");
    else if (method === "PATCH") stored = this.#writes.patch(address, contentType, body, writer);
    else throw new Refusal(405, "MethodNotAllowed", "the server does not allow this method");
    return ok(existed ? 200 : 201, stored?.object ?? SUCCESS);
  }

  #evict(address: Address, body: JsonObject, by: string): Answer {
    const { kind, namespace, name } = address;
    const pod = this.storage.get(kind, namespace, name);
    if (pod === undefined) throw notFound(kind, name);
    const { deleteOptions = {} } = body as unknown as { deleteOptions?: DeleteOptions };
    const budgets = this.storage.list(this.kind("poddisruptionbudgets"), namespace).filter((b) => covers(b, pod));
    const [budget, another] = budgets;
    if (another !== undefined) throw twoBudgets();
    if (budget !== undefined) checkBudget(budget);
    this.#writes.remove(address, deleteOptions.preconditions ?? {}, deleteOptions.gracePeriodSeconds, by);
    return ok(201, SUCCESS);
  }

  #placeOf(path: string): Place {
    const segments = path.split("/").slice(1).map(decodeURIComponent);
    const root = segments[0] === "api" ? segments[1] : `${segments[1]}/${segments[2]}`;
    const rest = segments.slice(segments[0] === "api" ? 2 : 3);
    const [first, namespace = "", second] = rest;
    // Below a namespace lie its objects, but for the namespace itself and its subresources.
    const inside = first === "namespaces" && second !== undefined && second !== "status" && second !== "finalize";
    const [plural, name, subresource = ""] = inside ? rest.slice(2) : rest;
    const kind = this.#kinds.find(({ resource }) => resource.plural === plural && apiVersionOf(resource) === root);
    if (kind === undefined) throw new Refusal(404, "NotFound", "the server could not find the requested resource");
    return { kind, namespace: inside ? namespace : "", name, subresource };
  }
}

interface DeleteOptions {
  readonly preconditions?: Preconditions;
  readonly gracePeriodSeconds?: number;
}

const SUCCESS = { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success" };

/** The text is made when it is asked for: objects are never changed. */
function ok(status: number, object: object): Answer {
  return {
    status,
    headers: JSON_HEADERS,
    get body() {
      return JSON.stringify(object);
    },
  };
}

function writerOf({ query = {}, by }: Request): { readonly manager: string; readonly by: string } {
  return { manager: query["fieldManager"] ?? "unknown", by };
}

function checkRight({ method, path, by }: Request, right: Right): void {
  if (right === "Unknown") throw new Refusal(401, "Unauthorized", "Unauthorized");
  if (right === "None")
    throw new Refusal(403, "Forbidden", `${method} ${path} is forbidden: User "${by}" cannot do it`);
}

function covers(budget: Stored, pod: Stored): boolean {
  const { selector } = budget.object["spec"] as unknown as { selector?: { matchLabels?: Record<string, string> } };
  const labels = (metaOf(pod.object) as { labels?: Record<string, string> }).labels ?? {};
  return Object.entries(selector?.matchLabels ?? {}).every(([key, value]) => labels[key] === value);
}

function checkBudget(budget: Stored): void {
  const { status } = budget.object as { status?: { observedGeneration?: number; disruptionsAllowed?: number } };
  const { name = "", generation = 1 } = metaOf(budget.object);
  if ((status?.observedGeneration ?? 0) < generation)
    throw disruptionBudget(`The disruption budget ${name} is still being processed by the server.`, 10);
  if ((status?.disruptionsAllowed ?? 0) <= 0)
    throw disruptionBudget(`The disruption budget ${name} needs more healthy pods`, undefined);
}
