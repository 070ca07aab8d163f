/** How does the API server say no? The Status objects whose status, reason, causes and words tell refusals apart, as a real server of 1.36 sends them. */
import type { Kind } from "./kinds.ts";

export interface Answer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface Cause {
  readonly field?: string;
  readonly reason: string;
  readonly message: string;
}

interface StatusDetails {
  readonly name?: string;
  readonly group?: string;
  readonly kind?: string;
  readonly causes?: readonly Cause[];
  readonly retryAfterSeconds?: number;
}

/** The server's refusal, thrown from wherever it is decided. */
export class Refusal extends Error {
  readonly code: number;
  readonly reason: string;
  readonly details: StatusDetails;

  constructor(code: number, reason: string, message: string, details: StatusDetails = {}) {
    super(message);
    this.code = code;
    this.reason = reason;
    this.details = details;
  }

  /** The Status object, as it also comes in the ERROR event of a watch. */
  get object(): Readonly<Record<string, unknown>> {
    const { code, reason, message, details } = this;
    const shown = Object.keys(details).length === 0 ? {} : { details };
    return { kind: "Status", apiVersion: "v1", metadata: {}, status: "Failure", message, reason, ...shown, code };
  }

  get answer(): Answer {
    const wait = this.details.retryAfterSeconds;
    return {
      status: this.code,
      headers: {
        "content-type": "application/json",
        ...(wait === undefined ? {} : { "retry-after": String(wait) }),
      },
      body: JSON.stringify(this.object),
    };
  }
}

function of(kind: Kind, name: string): { readonly text: string; readonly details: StatusDetails } {
  const { plural, group } = kind.resource;
  const resource = group === "" ? plural : `${plural}.${group}`;
  return { text: `${resource} "${name}"`, details: { name, group, kind: plural } };
}

export function notFound(kind: Kind, name: string): Refusal {
  const { text, details } = of(kind, name);
  return new Refusal(404, "NotFound", `${text} not found`, details);
}

export function alreadyExists(kind: Kind, name: string): Refusal {
  const { text, details } = of(kind, name);
  return new Refusal(409, "AlreadyExists", `${text} already exists`, details);
}

export const STALE = "the object has been modified; please apply your changes to the latest version and try again";

export function conflict(kind: Kind, name: string, why: string): Refusal {
  const { text, details } = of(kind, name);
  return new Refusal(409, "Conflict", `Operation cannot be fulfilled on ${text}: ${why}`, details);
}

export function fieldConflict(fields: readonly { readonly field: string; readonly manager: string }[]): Refusal {
  const causes = fields.map(({ field, manager }) => ({
    field,
    reason: "FieldManagerConflict",
    message: `conflict with "${manager}"`,
  }));
  return new Refusal(409, "Conflict", `Apply failed with ${causes.length} conflicts`, { causes });
}

export function invalid(kind: Kind, name: string, causes: readonly Cause[]): Refusal {
  const { text, details } = of(kind, name);
  const told = causes.map(({ field, message }) => `${field}: ${message}`).join(", ");
  return new Refusal(422, "Invalid", `${kind.resource.kind} ${text} is invalid: ${told}`, { ...details, causes });
}

export const immutable = (field: string): Cause => ({
  field,
  reason: "FieldValueInvalid",
  message: "Invalid value: field is immutable",
});

/** Without details, as the server answers where it blames the request as a whole. */
export function unprocessable(message: string): Refusal {
  return new Refusal(422, "Invalid", message);
}

export function terminating(kind: Kind, name: string, namespace: string): Refusal {
  const { text, details } = of(kind, name);
  const why = `unable to create new content in namespace ${namespace} because it is being terminated`;
  const causes = [{ reason: "NamespaceTerminating", message: `namespace ${namespace} is being terminated` }];
  return new Refusal(403, "Forbidden", `${text} is forbidden: ${why}`, { ...details, causes });
}

export function expired(from: string, floor: number): Refusal {
  return new Refusal(410, "Expired", `too old resource version: ${from} (${floor})`);
}

export function versionTooLarge(asked: string, head: number): Refusal {
  const causes = [{ reason: "ResourceVersionTooLarge", message: "Too large resource version" }];
  const message = `Timeout: Too large resource version: ${asked}, current: ${head}`;
  return new Refusal(504, "Timeout", message, { causes, retryAfterSeconds: 1 });
}

export function disruptionBudget(why: string, patience: number | undefined): Refusal {
  const causes = [{ reason: "DisruptionBudget", message: why }];
  const wait = patience === undefined ? {} : { retryAfterSeconds: patience };
  return new Refusal(429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.", {
    causes,
    ...wait,
  });
}

export function twoBudgets(): Refusal {
  return new Refusal(
    500,
    "InternalError",
    "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
  );
}
