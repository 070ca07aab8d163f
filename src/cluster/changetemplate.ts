/**
 * Gives a workload another template: once, and only while everything that the decision rests on still holds. What
 * is found on live reads decides; the change itself carries the uid and resourceVersion of that read.
 */
import type { Action } from "../incident/actions.ts";
import { markText, MITIGATION_ANNOTATION, optedOut } from "../incident/marks.ts";
import type { Refused } from "../incident/observation.ts";
import { plainTemplate, templateHash, type Json } from "../incident/templates.ts";
import type { Api, ApiObject } from "./api.ts";
import { isApiError } from "./errors.ts";
import { leaveWithdrawn, orGone } from "./leave.ts";
import { revisionResource, TEMPLATED } from "./targetstate.ts";

type ChangeTemplate = Extract<Action, { kind: "ChangeTemplate" }>;

export async function changeTemplate(
  namespace: string,
  action: ChangeTemplate,
  api: Api,
): Promise<Refused | undefined> {
  try {
    return await decided(namespace, action, api);
  } catch (error) {
    // Also where only a read is refused: to try again would not help.
    if (isApiError(error, "Forbidden")) return no("Forbidden", error.message);
    throw error;
  }
}

async function decided(namespace: string, action: ChangeTemplate, api: Api): Promise<Refused | undefined> {
  const [live, record] = await Promise.all([
    orGone(api.get(TEMPLATED[action.target.kind], { namespace, name: action.target.name })),
    orGone(api.get(revisionResource(action.target.kind), { namespace, name: action.after.from.revision })),
  ]);
  if (live === undefined || live.metadata.uid !== action.target.uid)
    return no("TargetReplaced", `${action.target.kind} ${action.target.name} is gone, or was made anew`);
  const hash = templateHash(templateOf(live));
  if (hash === action.after.templateHash) return undefined; // The reply to an earlier try was lost.
  const template = record === undefined ? undefined : templateOf(record);
  const refused = changedSince(action, live, hash, record, template) ?? (await declined(namespace, action, api));
  if (refused !== undefined || template === undefined) return refused;
  return change(namespace, action, api, live, plainTemplate(template));
}

function no(reason: Refused["reason"], message: string): Refused {
  return { action: "ChangeTemplate", reason, message };
}

async function declined(namespace: string, action: ChangeTemplate, api: Api): Promise<Refused | undefined> {
  const why = await leaveWithdrawn(namespace, action, api);
  return why === undefined ? undefined : no("PolicyChanged", why);
}

/** Of a workload, a ReplicaSet or a ControllerRevision. */
function templateOf(object: ApiObject): Json {
  const { spec, data } = object as unknown as {
    spec?: { template?: Json };
    data?: { spec?: { template?: Json } };
  };
  return spec?.template ?? data?.spec?.template ?? null;
}

function changedSince(
  action: ChangeTemplate,
  live: ApiObject,
  hash: string,
  record: ApiObject | undefined,
  template: Json | undefined,
): Refused | undefined {
  const { before, after } = action;
  if (live.metadata.deletionTimestamp !== undefined) return no("TargetReplaced", "the workload is being deleted");
  if (hash !== before.templateHash) return no("TemplateReplaced", "the workload has another template by now");
  if (optedOut(live.metadata.annotations ?? {}, action.mitigation))
    return no("OptedOut", "its owner has opted out by now");
  if ((live["spec"] as { paused?: boolean } | undefined)?.paused === true)
    return no("RolloutHeld", "spec.paused of the Deployment is true by now");
  if (record === undefined || record.metadata.uid !== after.from.uid || template === undefined)
    return no("NoHealthyRevision", `revision ${after.from.revision} is gone by now`);
  if (templateHash(template) !== after.templateHash)
    return no("NoHealthyRevision", `revision ${after.from.revision} has another template by now`);
  return undefined;
}

/**
 * A JSON patch, because a merge patch leaves what the earlier template does not have. Its first steps write what is there: the server
 * answers 409 when the resourceVersion is no longer the newest, and refuses another uid.
 */
async function change(
  namespace: string,
  action: ChangeTemplate,
  api: Api,
  live: ApiObject,
  template: Json,
): Promise<Refused | undefined> {
  const { uid, resourceVersion, annotations } = live.metadata;
  const mark = markText({ investigation: action.investigation.uid, action: action.mitigation, time: action.intended });
  const path = `/metadata/annotations/${MITIGATION_ANNOTATION.replaceAll("/", "~1")}`;
  try {
    await api.jsonPatch(TEMPLATED[action.target.kind], { namespace, name: action.target.name }, [
      { op: "replace", path: "/metadata/uid", value: uid },
      { op: "replace", path: "/metadata/resourceVersion", value: resourceVersion },
      { op: "replace", path: "/spec/template", value: template },
      annotations === undefined
        ? { op: "add", path: "/metadata/annotations", value: { [MITIGATION_ANNOTATION]: mark } }
        : { op: "add", path, value: mark },
    ]);
    return undefined;
  } catch (error) {
    if (isApiError(error, "NotFound", "Replaced")) return no("TargetReplaced", "the workload was deleted meanwhile");
    if (isApiError(error, "Invalid", "TooLarge")) return no("Forbidden", error.message);
    throw error;
  }
}
