/**
 * Gives a workload another template: once, and only while everything that the decision rests on still holds. What
 * is found on live reads decides; the change itself carries the uid and resourceVersion of that read.
 */
import type { Action } from "../incident/actions.ts";
import { optedOut } from "../incident/marks.ts";
import type { Refused } from "../incident/observation.ts";
import { editedTemplate } from "../incident/templateedit.ts";
import { plainTemplate, templateHash, type Json } from "../incident/templates.ts";
import type { Api, ApiObject } from "./api.ts";
import { isApiError } from "./errors.ts";
import { leaveWithdrawn, marked, orGone, sameObject } from "./leave.ts";
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
  const { target, after } = action;
  const live = await orGone(api.get(TEMPLATED[target.kind], { namespace, name: target.name }));
  if (live === undefined || live.metadata.uid !== target.uid)
    return no("TargetReplaced", `${target.kind} ${target.name} is gone, or was made anew`);
  const hash = templateHash(templateOf(live));
  if (hash === after.templateHash) return undefined; // The reply to an earlier try was lost.
  const template = await templateAfter(namespace, action, api, live);
  const refused = changedSince(action, live, hash) ?? (await declined(namespace, action, api));
  if (refused !== undefined) return refused;
  if (typeof template === "string") return no("NoHealthyRevision", template);
  return change(namespace, action, api, live, template.plain);
}

/** The template that is to be there, or why there is none. */
async function templateAfter(
  namespace: string,
  { target, after: { from, templateHash: wanted } }: ChangeTemplate,
  api: Api,
  live: ApiObject,
): Promise<{ readonly plain: Json } | string> {
  if ("edit" in from) {
    const edited = editedTemplate(templateOf(live), from.edit);
    if (edited === undefined || templateHash(edited) !== wanted) return "the change would make another template by now";
    return { plain: plainTemplate(edited) };
  }
  const record = await orGone(api.get(revisionResource(target.kind), { namespace, name: from.revision }));
  if (record?.metadata.uid !== from.uid) return `revision ${from.revision} is gone by now`;
  const template = templateOf(record);
  if (templateHash(template) !== wanted) return `revision ${from.revision} has another template by now`;
  return { plain: plainTemplate(template) };
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

function changedSince(action: ChangeTemplate, live: ApiObject, hash: string): Refused | undefined {
  if (live.metadata.deletionTimestamp !== undefined) return no("TargetReplaced", "the workload is being deleted");
  if (hash !== action.before.templateHash) return no("TemplateReplaced", "the workload has another template by now");
  if (optedOut(live.metadata.annotations ?? {}, action.mitigation))
    return no("OptedOut", "its owner has opted out by now");
  if ((live["spec"] as { paused?: boolean } | undefined)?.paused === true)
    return no("RolloutHeld", "spec.paused of the Deployment is true by now");
  return undefined;
}

/**
 * A JSON patch, because a merge patch leaves what the new template does not have.
 */
async function change(
  namespace: string,
  action: ChangeTemplate,
  api: Api,
  live: ApiObject,
  template: Json,
): Promise<Refused | undefined> {
  try {
    await api.jsonPatch(TEMPLATED[action.target.kind], { namespace, name: action.target.name }, [
      ...sameObject(live),
      { op: "replace", path: "/spec/template", value: template },
      ...marked(live, action),
    ]);
    return undefined;
  } catch (error) {
    if (isApiError(error, "NotFound", "Replaced")) return no("TargetReplaced", "the workload was deleted meanwhile");
    if (isApiError(error, "Invalid", "TooLarge")) return no("Forbidden", error.message);
    throw error;
  }
}
