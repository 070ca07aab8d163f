/**
 * What did the API server mean by that answer? One error class, whose reason a caller can branch on, and one pure function
 * that reads the reason out of an answer. The answers stand in test/cluster-door/conformance.ts, where a real
 * API server is asked for each of them.
 */

/**
 * Why a call did not do what was asked.
 * - `NotFound`: no such object, or no such kind.
 * - `AlreadyExists`: the name is taken. Not a success: read the object live and prove that it is ours.
 * - `StaleRead`: the resourceVersion of the read the write rested on is no longer the newest. Read again, decide again.
 * - `FieldConflict`: another field manager owns a field of the apply.
 * - `Replaced`: the name now belongs to another object (another uid), or to none. What was meant is gone.
 * - `Invalid`: the server refuses the content; a repeat cannot help.
 * - `Forbidden`, `Unauthorized`: permission and identity.
 * - `Throttled`: the server asks for patience (429 of API priority and fairness).
 * - `DisruptionBudget`: a PodDisruptionBudget refuses the eviction for now.
 * - `TwoDisruptionBudgets`: two budgets match the pod: no eviction until somebody removes one.
 * - `Expired`: the resourceVersion or continue token is too old; list again.
 * - `VersionTooLarge`: the server asked lags behind what we have already seen.
 * - `TooLarge`: the object, the request or the answer is over a size limit.
 * - `Terminating`: the namespace is being deleted.
 * - `NotLeader`: refused locally, nothing was sent: this process does not hold the lease now.
 * - `ServerError`: the server failed and said so; a write may or may not have happened.
 * - `Unknown`: the request was sent and no answer came; it may or may not have happened. Read, then decide.
 * - `Unreachable`: the request was never sent; it has not happened.
 */
export type ApiErrorReason =
  | "NotFound"
  | "AlreadyExists"
  | "StaleRead"
  | "FieldConflict"
  | "Replaced"
  | "Invalid"
  | "Forbidden"
  | "Unauthorized"
  | "Throttled"
  | "DisruptionBudget"
  | "TwoDisruptionBudgets"
  | "Expired"
  | "VersionTooLarge"
  | "TooLarge"
  | "Terminating"
  | "NotLeader"
  | "ServerError"
  | "Unknown"
  | "Unreachable";

/** One cause of a refusal, as the server lists it. */
export interface FieldCause {
  readonly field: string;
  readonly reason: string;
  readonly message: string;
}

export interface ApiErrorDetails {
  /** HTTP status; absent when no answer came. */
  readonly status?: number;
  /** How long the server asks us to wait, in milliseconds. */
  readonly retryAfterMs?: number;
  readonly causes?: readonly FieldCause[];
  /** What underlies it, for the log. */
  readonly cause?: unknown;
}

/** A call to the API server that did not do what was asked. */
export class ApiError extends Error {
  readonly reason: ApiErrorReason;
  readonly status: number | undefined;
  readonly retryAfterMs: number | undefined;
  readonly causes: readonly FieldCause[];

  constructor(reason: ApiErrorReason, message: string, details: ApiErrorDetails = {}) {
    super(message, details.cause === undefined ? {} : { cause: details.cause });
    this.name = "ApiError";
    this.reason = reason;
    this.status = details.status;
    this.retryAfterMs = details.retryAfterMs;
    this.causes = details.causes ?? [];
  }
}

/** `what` was not sent, because another may hold the lease by now. */
export function notLeader(what: string): ApiError {
  return new ApiError("NotLeader", `${what}: not sent, this process does not hold the lease`);
}

/** Whether `error` is an ApiError with one of `reasons`. */
export function isApiError(error: unknown, ...reasons: readonly ApiErrorReason[]): error is ApiError {
  return error instanceof ApiError && (reasons.length === 0 || reasons.includes(error.reason));
}

/** Whether a write that ended in `error` may have taken effect nevertheless: read live before doing anything else. */
export function outcomeIsUnknown(error: unknown): boolean {
  return !(error instanceof ApiError) || error.reason === "Unknown" || error.reason === "ServerError";
}

/** The parts of a Kubernetes Status object that tell refusals apart. */
interface StatusBody {
  readonly reason: string;
  readonly message: string;
  readonly causes: readonly FieldCause[];
  readonly retryAfterSeconds?: number;
}

const MESSAGE_LIMIT = 2000;

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function readCauses(value: unknown): FieldCause[] {
  if (!Array.isArray(value)) return [];
  return value.slice(0, 100).map((entry: unknown) => {
    const cause = record(entry);
    return { field: text(cause["field"]), reason: text(cause["reason"]), message: text(cause["message"]) };
  });
}

/** Reads a Status object; a body that is none (a proxy's HTML page, nothing) becomes the message as it is. */
function readStatus(body: string): StatusBody {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body);
  } catch {
    return { reason: "", message: body.slice(0, MESSAGE_LIMIT), causes: [] };
  }
  const status = record(parsed);
  const details = record(status["details"]);
  const seconds = details["retryAfterSeconds"];
  return {
    reason: text(status["reason"]),
    message: text(status["message"]).slice(0, MESSAGE_LIMIT),
    causes: readCauses(details["causes"]),
    ...(typeof seconds === "number" && seconds > 0 ? { retryAfterSeconds: seconds } : {}),
  };
}

function hasCause(status: StatusBody, reason: string): boolean {
  return status.causes.some((cause) => cause.reason === reason);
}

function conflictReason(status: StatusBody): ApiErrorReason {
  if (status.reason === "AlreadyExists") return "AlreadyExists";
  if (hasCause(status, "FieldManagerConflict")) return "FieldConflict";
  // The server says it in three ways (apply, delete and eviction, put) and gives no cause for any of them.
  if (/uid mismatch|the UID in the precondition|Precondition failed: UID/i.test(status.message)) return "Replaced";
  return "StaleRead";
}

function invalidReason(status: StatusBody): ApiErrorReason {
  const uid = status.causes.some((cause) => cause.field === "metadata.uid");
  return uid ? "Replaced" : "Invalid";
}

function serverErrorReason(status: StatusBody): ApiErrorReason {
  if (/more than one PodDisruptionBudget/.test(status.message)) return "TwoDisruptionBudgets";
  if (/etcdserver: request is too large|trying to send message larger than max/.test(status.message)) return "TooLarge";
  return "ServerError";
}

function reasonOf(code: number, status: StatusBody): ApiErrorReason {
  switch (code) {
    case 401:
      return "Unauthorized";
    case 403:
      return hasCause(status, "NamespaceTerminating") ? "Terminating" : "Forbidden";
    case 404:
      return "NotFound";
    case 409:
      return hasCause(status, "NamespaceTerminating") ? "Terminating" : conflictReason(status);
    case 410:
      return "Expired";
    case 413:
      return "TooLarge";
    case 422:
      return invalidReason(status);
    case 429:
      return hasCause(status, "DisruptionBudget") ? "DisruptionBudget" : "Throttled";
    case 504:
      return hasCause(status, "ResourceVersionTooLarge") ? "VersionTooLarge" : "ServerError";
    default:
      return code >= 500 ? serverErrorReason(status) : "Invalid";
  }
}

function retryAfterMs(status: StatusBody, headers: Readonly<Record<string, string>>): number | undefined {
  const header = Number(headers["retry-after"]);
  const seconds = Number.isFinite(header) && header > 0 ? header : status.retryAfterSeconds;
  // A minute is more than any API server asks for; a proxy that says an hour must not put the operator to sleep.
  return seconds === undefined ? undefined : Math.min(seconds, 60) * 1000;
}

/**
 * Reads why the server refused. Pure.
 * @param status HTTP status, not 2xx (or the code of a watch's ERROR event)
 * @param body the answer's body as text
 * @param headers names in lower case
 */
export function classify(status: number, body: string, headers: Readonly<Record<string, string>> = {}): ApiError {
  const read = readStatus(body);
  const wait = retryAfterMs(read, headers);
  const message = read.message === "" ? `The API server answered ${status} without a message` : read.message;
  return new ApiError(reasonOf(status, read), message, {
    status,
    causes: read.causes,
    ...(wait === undefined ? {} : { retryAfterMs: wait }),
  });
}
