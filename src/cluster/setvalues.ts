/**
 * Sets values of one object: a number of replicas, an autoscaler's bound, keys of a ConfigMap, a node's cordon. Once, and only while each of them is what the
 * decision rests on; the change carries the uid and resourceVersion of the read.
 */
import type { Action } from "../incident/actions.ts";
import { optedOut } from "../incident/marks.ts";
import type { Refused } from "../incident/observation.ts";
import type { Api, ApiObject, JsonPatch } from "./api.ts";
import { isApiError } from "./errors.ts";
import { leaveWithdrawn, marked, orGone, sameObject } from "./leave.ts";
import { configmaps, deployments, horizontalpodautoscalers, nodes, statefulsets, type Resource } from "./resources.ts";
import { TEMPLATED } from "./targetstate.ts";

type SetValues = Extract<Action, { kind: "SetValues" }>;
type Value = SetValues["values"][number];

const RESOURCES: Readonly<Record<SetValues["object"]["kind"], Resource>> = {
  Deployment: deployments,
  StatefulSet: statefulsets,
  HorizontalPodAutoscaler: horizontalpodautoscalers,
  ConfigMap: configmaps,
  Node: nodes,
};

export async function setValues(namespace: string, action: SetValues, api: Api): Promise<Refused | undefined> {
  try {
    return await decided(namespace, action, api);
  } catch (error) {
    // Also where only a read is refused: to try again would not help.
    if (isApiError(error, "Forbidden")) return no("Forbidden", error.message);
    throw error;
  }
}

function no(reason: Refused["reason"], message: string): Refused {
  return { action: "SetValues", reason, message };
}

async function decided(namespace: string, action: SetValues, api: Api): Promise<Refused | undefined> {
  const { object, target, values } = action;
  const [live, workload] = await Promise.all([
    orGone(api.get(RESOURCES[object.kind], { namespace, name: object.name })),
    orGone(api.get(TEMPLATED[target.kind], { namespace, name: target.name })),
  ]);
  const gone = (what: { kind: string; name: string }): Refused =>
    no("TargetReplaced", `${what.kind} ${what.name} is gone, or was made anew`);
  if (live === undefined || live.metadata.uid !== object.uid) return gone(object);
  if (live.metadata.deletionTimestamp !== undefined) return no("TargetReplaced", `${object.name} is being deleted`);
  if (workload === undefined || workload.metadata.uid !== target.uid) return gone(target);
  const now = (value: Value): string | undefined => valueOf(object.kind, live, value.field);
  if (values.every((value) => now(value) === value.after)) return undefined; // The reply to an earlier try was lost.
  const other = values.find((value) => now(value) !== value.before);
  if (other !== undefined)
    return no("ValueReplaced", `${other.field} of ${object.kind} ${object.name} has another value by now`);
  for (const { metadata } of [workload, live]) {
    if (optedOut(metadata.annotations ?? {}, action.mitigation))
      return no("OptedOut", "its owner has opted out by now");
  }
  const withdrawn = await leaveWithdrawn(namespace, action, api);
  if (withdrawn !== undefined) return no("PolicyChanged", withdrawn);
  return change(namespace, action, api, live);
}

/** As text; undefined where there is nothing. */
function valueOf(kind: SetValues["object"]["kind"], live: ApiObject, field: string): string | undefined {
  const { spec, data } = live as unknown as {
    spec?: { replicas?: number; maxReplicas?: number; unschedulable?: boolean };
    data?: Readonly<Record<string, string>>;
  };
  if (kind === "ConfigMap") return data !== undefined && Object.hasOwn(data, field) ? data[field] : undefined;
  if (kind === "Node") return spec?.unschedulable === true ? "true" : undefined;
  const number = field === "spec.maxReplicas" ? spec?.maxReplicas : spec?.replicas;
  return number === undefined ? undefined : String(number);
}

function steps({ object: { kind }, values }: SetValues, live: ApiObject): JsonPatch {
  if (kind === "Node")
    return values.map(({ after }) => {
      const path = "/spec/unschedulable";
      return after === undefined ? { op: "remove" as const, path } : { op: "add" as const, path, value: true };
    });
  if (kind !== "ConfigMap")
    return values.map(({ field, after }) => ({
      op: "replace" as const,
      path: `/${field.replaceAll(".", "/")}`,
      value: Number(after),
    }));
  const whole: JsonPatch = live["data"] === undefined ? [{ op: "add", path: "/data", value: {} }] : [];
  return [
    ...whole,
    ...values.map(({ field, after }) => {
      const path = `/data/${field.replaceAll("~", "~0").replaceAll("/", "~1")}`;
      return after === undefined ? { op: "remove" as const, path } : { op: "add" as const, path, value: after };
    }),
  ];
}

async function change(namespace: string, action: SetValues, api: Api, live: ApiObject): Promise<Refused | undefined> {
  const { object } = action;
  const patch = [...sameObject(live), ...steps(action, live), ...marked(live, action)];
  try {
    await api.jsonPatch(RESOURCES[object.kind], { namespace, name: object.name }, patch);
    return undefined;
  } catch (error) {
    if (isApiError(error, "NotFound", "Replaced")) return no("TargetReplaced", `${object.name} was deleted meanwhile`);
    if (isApiError(error, "Invalid", "TooLarge")) return no("Forbidden", error.message);
    throw error;
  }
}
