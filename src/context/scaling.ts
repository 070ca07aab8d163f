/** What may change the workload's size or keep its pods where they are: autoscalers, disruption budgets, and the namespace's limits. And metrics.k8s.io. */
import type { ContextSnapshot, MetricsReading } from "../api/context.ts";
import type { LabelSelector } from "../api/memorypolicy.ts";
import { at, bytesAt, cpuMilliAt, intAt, listAt, nameOf, textAt, timeAt } from "./untrusted.ts";

const MAX_AUTOSCALERS = 4;
const MAX_BUDGETS = 8;
const MAX_RANGES = 8;
const MAX_CONTAINERS = 32;

/** Those whose scale target is the workload. */
export function autoscalersOf(
  objects: readonly unknown[],
  target: { readonly kind: string; readonly name: string },
): ContextSnapshot["autoscalers"] {
  return objects
    .filter(
      (object) =>
        at(object, "spec", "scaleTargetRef", "kind") === target.kind &&
        at(object, "spec", "scaleTargetRef", "name") === target.name,
    )
    .slice(0, MAX_AUTOSCALERS)
    .map((object) => ({
      name: nameOf(object) ?? "",
      minReplicas: intAt(object, "spec", "minReplicas"),
      maxReplicas: intAt(object, "spec", "maxReplicas"),
      currentReplicas: intAt(object, "status", "currentReplicas"),
      desiredReplicas: intAt(object, "status", "desiredReplicas"),
      metrics: listAt(object, "spec", "metrics")
        .slice(0, 8)
        .map((metric) => {
          const type = textAt(metric, ["type"], 32) ?? "Unknown";
          const name = textAt(metric, ["resource", "name"], 63) ?? textAt(metric, ["containerResource", "name"], 63);
          // Names of other metrics are the user's own words.
          return name === undefined ? type : `${type}/${name}`;
        }),
    }));
}

/** Those that select a pod of the workload. */
export function budgetsOf(
  objects: readonly unknown[],
  podLabels: readonly Readonly<Record<string, string>>[],
  selects: (selector: LabelSelector, labels: Readonly<Record<string, string>>) => boolean,
): ContextSnapshot["budgets"] {
  return objects
    .filter((object) => {
      const selector = at(object, "spec", "selector");
      return typeof selector === "object" && selector !== null && podLabels.some((labels) => selects(selector, labels));
    })
    .slice(0, MAX_BUDGETS)
    .map((object) => ({
      name: nameOf(object) ?? "",
      minAvailable: amount(at(object, "spec", "minAvailable")),
      maxUnavailable: amount(at(object, "spec", "maxUnavailable")),
      disruptionsAllowed: intAt(object, "status", "disruptionsAllowed"),
      currentHealthy: intAt(object, "status", "currentHealthy"),
      desiredHealthy: intAt(object, "status", "desiredHealthy"),
    }));
}

/** A number or a percentage. */
function amount(value: unknown): string | undefined {
  const text = typeof value === "number" ? String(value) : typeof value === "string" ? value : "";
  return /^\d{1,9}%?$/.test(text) ? text : undefined;
}

export function limitRangesOf(objects: readonly unknown[]): ContextSnapshot["limitRanges"] {
  return objects
    .flatMap((object) =>
      listAt(object, "spec", "limits")
        .filter((limit) => at(limit, "type") === "Container")
        .map((limit) => ({
          name: nameOf(object) ?? "",
          defaultBytes: bytesAt(limit, "default", "memory"),
          maxBytes: bytesAt(limit, "max", "memory"),
          minBytes: bytesAt(limit, "min", "memory"),
        })),
    )
    .filter((range) => range.defaultBytes !== undefined || range.maxBytes !== undefined || range.minBytes !== undefined)
    .slice(0, MAX_RANGES);
}

/** Readings of these pods and no others. PodMetrics carry no uid: one that is older than its pod is another pod's of the same name. */
export function metricsOf(
  objects: readonly unknown[],
  pods: readonly { readonly name: string; readonly uid: string; readonly created?: string | undefined }[],
): MetricsReading[] {
  return pods.flatMap(({ name, uid, created }) => {
    const found = objects.find((object) => nameOf(object) === name);
    const time = timeAt(found, "timestamp");
    if (time === undefined || (created !== undefined && Date.parse(time) < Date.parse(created))) return [];
    const containers = listAt(found, "containers")
      .slice(0, MAX_CONTAINERS)
      .flatMap((container) => {
        const memoryBytes = bytesAt(container, "usage", "memory");
        const containerName = textAt(container, ["name"], 63);
        if (memoryBytes === undefined || containerName === undefined) return [];
        return [{ name: containerName, memoryBytes, cpuMilli: cpuMilliAt(container, "usage", "cpu") }];
      });
    return [{ pod: name, uid, time, windowMs: windowMs(at(found, "window")), containers }];
  });
}

/** A Go duration such as `15.072s` or `1m0s`. */
function windowMs(value: unknown): number | undefined {
  const [, minutes = "0", seconds = "0"] =
    /^(?:(\d{1,4})m)?(?:(\d{1,6}(?:\.\d{1,9})?)s)?$/.exec(typeof value === "string" ? value : "-") ?? [];
  const ms = Math.round(Number(minutes) * 60_000 + Number(seconds) * 1000);
  return ms > 0 ? ms : undefined;
}
