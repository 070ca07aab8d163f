/**
 * The building blocks of the three kinds: strings with a meaning (durations, quantities, names) and
 * the zod dialect that `crd.ts` can turn into a structural schema. Nothing here knows a kind.
 */
import { z } from "zod";

/** One CEL rule as the API server takes it (`x-kubernetes-validations`). */
export interface Rule {
  readonly rule: string;
  /** A sentence that says what is allowed, not only what is wrong. */
  readonly message: string;
  readonly fieldPath?: string;
  readonly reason?: "FieldValueInvalid" | "FieldValueForbidden" | "FieldValueRequired" | "FieldValueDuplicate";
}

/** Attaches CEL rules to a schema; they end up in the CRD and are enforced by the API server. */
export function rules(...list: readonly Rule[]): { "x-kubernetes-validations": readonly Rule[] } {
  return { "x-kubernetes-validations": list };
}

/** A list whose items are merged by these keys under server-side apply. */
export function listMap(...keys: readonly string[]): Record<string, unknown> {
  return { "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys };
}

/** A list of unique scalars. */
export const listSet: Record<string, unknown> = { "x-kubernetes-list-type": "set" };

/** A list that one writer replaces as a whole. */
export const listAtomic: Record<string, unknown> = { "x-kubernetes-list-type": "atomic" };

/** Caps the number of entries of a record; a record without a cap is refused by the generator. */
export function entries(maxProperties: number): { maxProperties: number } {
  return { maxProperties };
}

/** A Go-style duration in hours, minutes and seconds, such as `30s` or `1h30m`; `0s` is one. CEL's `duration()` takes it. */
export const Duration = z
  .string()
  .max(16)
  .regex(
    /^([0-9]{1,4}h([0-9]{1,5}m)?([0-9]{1,6}s)?|[0-9]{1,5}m([0-9]{1,6}s)?|[0-9]{1,6}s)$/,
    "must be a duration such as 30s, 15m or 1h30m",
  );

/** Attach to a {@link Duration} or {@link LongDuration} that must not be zero. */
export const longerThanZero: Rule = { rule: "self.matches('[1-9]')", message: "must be longer than zero" };

/** A duration that may also count days, such as `24h` or `7d`; for keeping things, never for timers below a minute. */
export const LongDuration = z
  .string()
  .max(16)
  .regex(
    /^([0-9]{1,3}d([0-9]{1,4}h)?([0-9]{1,5}m)?([0-9]{1,6}s)?|[0-9]{1,4}h([0-9]{1,5}m)?([0-9]{1,6}s)?|[0-9]{1,5}m([0-9]{1,6}s)?|[0-9]{1,6}s)$/,
    "must be a duration such as 90m, 24h or 7d",
  );

/** A Kubernetes quantity of bytes above zero, such as `512Mi` or `1.5Gi`. */
export const Bytes = z
  .string()
  .max(24)
  .regex(
    /^[1-9][0-9]{0,14}([.][0-9]{1,3})?(Ki|Mi|Gi|Ti|k|M|G|T)?$/,
    "must be a quantity of bytes above zero, such as 512Mi or 2Gi",
  )
  .meta(
    rules({
      rule: "!isQuantity(self) || quantity(self).compareTo(quantity('1024Ti')) <= 0",
      message: "must be at most 1024Ti",
    }),
  );

/** The name of an object: a DNS subdomain. It has no slash, so it can never point into another namespace. */
export const ObjectName = z
  .string()
  .min(1)
  .max(253)
  .regex(
    /^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/,
    "must be the name of an object: lower-case letters, digits, - and ., such as thumbnail-svc",
  );

/** The name of a container: a DNS label. */
export const ContainerName = z
  .string()
  .min(1)
  .max(63)
  .regex(
    /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/,
    "must be the name of a container: lower-case letters, digits and -, such as app",
  );

/** A label's value: empty, or letters, digits, `-`, `_` and `.` with a letter or digit at both ends. */
export const LabelValue = z
  .string()
  .max(63)
  .regex(/^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$/);

/** A label's key, with or without a prefix. */
export const LabelKey = z
  .string()
  .max(317)
  .regex(/^([a-z0-9]([-a-z0-9.]*[a-z0-9])?\/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/);

/** Twelve hex digits: the identity of a kill or of a finding. */
export const ShortHash = z
  .string()
  .max(12)
  .regex(/^[0-9a-f]{12}$/, "must be twelve hex digits, such as 3f9c0a1b2c4d");

/** RFC 3339, seconds, UTC; what the API server writes. */
export const Time = z.string().max(40).meta({ format: "date-time" });

/** A whole number that fits 64 bits on the server and 53 bits here: bytes, milliseconds, percent, counts. */
export const Int = z.int();

/** A CamelCase token that machines may compare. */
export const Reason = z
  .string()
  .max(128)
  .regex(/^[A-Z][A-Za-z0-9]*$/);

/** Text for people. Machines never parse it. */
export const Message = z.string().max(1024);

/** Milliseconds of a duration that {@link Duration} or {@link LongDuration} has accepted. Throws RangeError otherwise. */
export function durationMs(text: string): number {
  const match = /^(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?$/.exec(text);
  if (match === null || text === "") throw new RangeError(`"${text}" is not a duration such as 30s, 15m or 1h30m`);
  const [, d = "0", h = "0", m = "0", s = "0"] = match;
  return (((Number(d) * 24 + Number(h)) * 60 + Number(m)) * 60 + Number(s)) * 1000;
}

/** Suffixes of a quantity as a fraction: bytes times the first, divided by the second. */
const UNITS: Readonly<Record<string, readonly [bigint, bigint]>> = {
  n: [1n, 10n ** 9n],
  u: [1n, 10n ** 6n],
  m: [1n, 1000n],
  k: [10n ** 3n, 1n],
  M: [10n ** 6n, 1n],
  G: [10n ** 9n, 1n],
  T: [10n ** 12n, 1n],
  P: [10n ** 15n, 1n],
  E: [10n ** 18n, 1n],
  Ki: [2n ** 10n, 1n],
  Mi: [2n ** 20n, 1n],
  Gi: [2n ** 30n, 1n],
  Ti: [2n ** 40n, 1n],
  Pi: [2n ** 50n, 1n],
  Ei: [2n ** 60n, 1n],
};
/** The API server holds a quantity in 64 bits and cuts what is larger. */
const MAX_QUANTITY = 2n ** 63n - 1n;
/** A quantity is written in fewer characters; longer text is somebody's attempt to keep us busy. */
const MAX_QUANTITY_TEXT = 64;

/**
 * Bytes of a Kubernetes memory quantity, rounded up: `512Mi`, `1.5Gi`, `1e3`, `128974848`, `129M`, `400m`.
 * Returns undefined for text that is no quantity, because limits are read from other people's objects.
 * Grammar: apimachinery's `resource.Quantity`, without negative numbers.
 */
export function quantityBytes(text: string): number | undefined {
  if (text.length > MAX_QUANTITY_TEXT) return undefined;
  const match = /^[+]?(\d+[.]?\d*|[.]\d+)(?:([KMGTPE]i|[numkMGTPE])|[eE]([+-]?\d{1,2}))?$/.exec(text);
  if (match === null) return undefined;
  const [, digits = "0", unit, exponent = "0"] = match;
  const [whole = "", fraction = ""] = digits.split(".");
  const power = Number(exponent);
  const [times, divided] =
    unit === undefined
      ? [10n ** BigInt(Math.max(power, 0)), 10n ** BigInt(Math.max(-power, 0))]
      : (UNITS[unit] ?? [1n, 1n]);
  const numerator = BigInt(`${whole}${fraction}`) * times;
  const denominator = 10n ** BigInt(fraction.length) * divided;
  const bytes = (numerator + denominator - 1n) / denominator;
  return Number(bytes > MAX_QUANTITY ? MAX_QUANTITY : bytes);
}

/** The reverse of {@link quantityBytes} as people write it: `96Mi`, `1000Ki`, `1001`. */
export function quantityText(bytes: number): string {
  const unit = (["Gi", "Mi", "Ki"] as const).find((_, index) => bytes % 2 ** (30 - 10 * index) === 0);
  if (unit === undefined || bytes === 0) return String(bytes);
  return `${bytes / { Gi: 2 ** 30, Mi: 2 ** 20, Ki: 2 ** 10 }[unit]}${unit}`;
}
