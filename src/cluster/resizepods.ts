/**
 * Gives containers of running pods other memory limits, in place, pod by pod: the subresource `resize` changes nothing else of a pod. A pod
 * that is not as the decision knew it is passed over; whoever reads the pods next sees what has come of it.
 */
import { quantityBytes, quantityText } from "../api/fields.ts";
import type { Action } from "../incident/actions.ts";
import { optedOut } from "../incident/marks.ts";
import type { Refused } from "../incident/observation.ts";
import { PRESERVED_LABEL } from "../incident/preservation.ts";
import type { Api, ApiObject, JsonPatch } from "./api.ts";
import { isApiError } from "./errors.ts";
import { leaveWithdrawn, orGone, sameObject } from "./leave.ts";
import type { RawPod } from "./rawobjects.ts";
import { pods } from "./resources.ts";
import { TEMPLATED } from "./targetstate.ts";

type ResizePods = Extract<Action, { kind: "ResizePods" }>;
type Change = ResizePods["changes"][number];

export async function resizePods(namespace: string, action: ResizePods, api: Api): Promise<Refused | undefined> {
  const { target, changes } = action;
  try {
    const workload = await orGone(api.get(TEMPLATED[target.kind], { namespace, name: target.name }));
    if (workload === undefined || workload.metadata.uid !== target.uid)
      return no("TargetReplaced", `${target.kind} ${target.name} is gone, or was made anew`);
    if (optedOut(workload.metadata.annotations ?? {}, "Resize"))
      return no("OptedOut", "its owner has opted out by now");
    const withdrawn = await leaveWithdrawn(namespace, action, api);
    if (withdrawn !== undefined) return no("PolicyChanged", withdrawn);
    for (const uid of new Set(changes.map(({ pod }) => pod.uid))) {
      const refused = await resizeOne(
        namespace,
        changes.filter(({ pod }) => pod.uid === uid),
        api,
      );
      if (refused !== undefined) return refused;
    }
    return undefined;
  } catch (error) {
    if (isApiError(error, "Forbidden")) return no("Forbidden", error.message);
    throw error;
  }
}

function no(reason: Refused["reason"], message: string): Refused {
  return { action: "ResizePods", reason, message };
}

async function resizeOne(namespace: string, changes: readonly Change[], api: Api): Promise<Refused | undefined> {
  const [first] = changes;
  if (first === undefined) return undefined;
  const { name, uid } = first.pod;
  const live = await orGone(api.get(pods, { namespace, name }));
  if (live === undefined || live.metadata.uid !== uid || live.metadata.deletionTimestamp !== undefined)
    return undefined;
  if (live.metadata.labels?.[PRESERVED_LABEL] !== undefined) return undefined;
  const steps = changes.map((change) => step(live, change));
  if (steps.some((one) => one === "changed")) return undefined;
  const patch = steps.filter((one) => typeof one === "object");
  if (patch.length === 0) return undefined;
  try {
    await api.jsonPatch(pods, { namespace, name }, [...sameObject(live), ...patch], { subresource: "resize" });
    return undefined;
  } catch (error) {
    if (isApiError(error, "NotFound", "Replaced")) return undefined;
    // The server itself asks whether the node has room, and answers 403 where it has not.
    const rights = isApiError(error, "Forbidden") && error.message.includes("cannot patch resource");
    if (!rights && isApiError(error, "Forbidden", "Invalid", "TooLarge"))
      return no("ActionDoesNotFit", `Pod ${name}: ${error.message}`);
    throw error;
  }
}

/** Done: it has the new value already. Changed: somebody has given it a third one. */
function step(live: ApiObject, { container, field, before, after }: Change): JsonPatch[number] | "done" | "changed" {
  const { spec } = live as unknown as RawPod;
  // A native sidecar is an init container that keeps running; it can be resized as well.
  for (const list of ["containers", "initContainers"] as const) {
    const index = spec?.[list]?.findIndex(({ name }) => name === container) ?? -1;
    const value = spec?.[list]?.[index]?.resources?.[field]?.["memory"];
    if (value === undefined) continue;
    const bytes = quantityBytes(String(value));
    if (bytes === after) return "done";
    if (bytes !== before) return "changed";
    return { op: "replace", path: `/spec/${list}/${index}/resources/${field}/memory`, value: quantityText(after) };
  }
  return "changed";
}
