/**
 * Gives a workload the template of an earlier revision: once, and only while everything that the decision rests on still holds. What
 * is found on live reads decides; the change itself carries the uid and resourceVersion of that read.
 */
import type { MitigationRecord } from "../api/mitigation.ts";
import type { Action } from "../incident/actions.ts";
import { markText, MITIGATION_ANNOTATION, optedOut } from "../incident/marks.ts";
import type { Refused } from "../incident/observation.ts";
import { plainTemplate, templateHash, type Json } from "../incident/templates.ts";
import type { Api, ApiObject } from "./api.ts";
import { isApiError } from "./errors.ts";
import { clustermemorypolicies, memoryinvestigations, memorypolicies } from "./resources.ts";
import { revisionResource, TEMPLATED } from "./targetstate.ts";

type RollBack = Extract<Action, { kind: "RollBack" }>;

export async function rollBack(namespace: string, action: RollBack, api: Api): Promise<Refused | undefined> {
  try {
    return await decided(namespace, action, api);
  } catch (error) {
    // Also where only a read is refused: to try again would not help.
    if (isApiError(error, "Forbidden")) return no("Forbidden", error.message);
    throw error;
  }
}

async function decided(namespace: string, action: RollBack, api: Api): Promise<Refused | undefined> {
  const [live, record] = await Promise.all([
    orGone(api.get(TEMPLATED[action.target.kind], { namespace, name: action.target.name })),
    orGone(api.get(revisionResource(action.target.kind), { namespace, name: action.after.revision })),
  ]);
  if (live === undefined || live.metadata.uid !== action.target.uid)
    return no("TargetReplaced", `${action.target.kind} ${action.target.name} is gone, or was made anew`);
  const hash = templateHash(templateOf(live));
  if (hash === action.after.templateHash) return undefined; // The reply to an earlier try was lost.
  const template = record === undefined ? undefined : templateOf(record);
  const refused = changedSince(action, live, hash, record, template) ?? (await leaveWithdrawn(namespace, action, api));
  if (refused !== undefined || template === undefined) return refused;
  return change(namespace, action, api, live, plainTemplate(template));
}

function no(reason: Refused["reason"], message: string): Refused {
  return { action: "RollBack", reason, message };
}

async function orGone(read: Promise<ApiObject>): Promise<ApiObject | undefined> {
  try {
    return await read;
  } catch (error) {
    if (isApiError(error, "NotFound")) return undefined;
    throw error;
  }
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
  action: RollBack,
  live: ApiObject,
  hash: string,
  record: ApiObject | undefined,
  template: Json | undefined,
): Refused | undefined {
  const { before, after } = action;
  if (live.metadata.deletionTimestamp !== undefined) return no("TargetReplaced", "the workload is being deleted");
  if (hash !== before.templateHash) return no("TemplateReplaced", "the workload has another template by now");
  if (optedOut(live.metadata.annotations ?? {}, "Rollback")) return no("OptedOut", "its owner has opted out by now");
  if ((live["spec"] as { paused?: boolean } | undefined)?.paused === true)
    return no("RolloutHeld", "spec.paused of the Deployment is true by now");
  if (record === undefined || record.metadata.uid !== after.uid || template === undefined)
    return no("NoHealthyRevision", `revision ${after.revision} is gone by now`);
  if (templateHash(template) !== after.templateHash)
    return no("NoHealthyRevision", `revision ${after.revision} has another template by now`);
  return undefined;
}

/** The investigation and the policy as they are now: a watch may not have told yet of a word that came after. */
async function leaveWithdrawn(namespace: string, action: RollBack, api: Api): Promise<Refused | undefined> {
  const { kind, name, generation } = action.policy;
  const [investigation, policy] = await Promise.all([
    orGone(api.get(memoryinvestigations, { namespace, name: action.investigation.name })),
    orGone(
      kind === "MemoryPolicy" ? api.get(memorypolicies, { namespace, name }) : api.get(clustermemorypolicies, { name }),
    ),
  ]);
  const { spec, status } = (investigation ?? {}) as {
    spec?: { suspend?: boolean };
    status?: { mitigations?: readonly MitigationRecord[] };
  };
  const intends = status?.mitigations?.some((m) => m.action === "Rollback" && m.state === "Intended") === true;
  const same = investigation?.metadata.uid === action.investigation.uid;
  if (!same || investigation.metadata.deletionTimestamp !== undefined || spec?.suspend === true || !intends)
    return no("PolicyChanged", "the investigation does not intend it any more");
  if (policy?.metadata["generation"] !== generation) return no("PolicyChanged", `${kind} ${name} has changed`);
  return undefined;
}

/**
 * A JSON patch, because a merge patch leaves what the earlier template does not have. Its first steps write what is there: the server
 * answers 409 when the resourceVersion is no longer the newest, and refuses another uid.
 */
async function change(
  namespace: string,
  action: RollBack,
  api: Api,
  live: ApiObject,
  template: Json,
): Promise<Refused | undefined> {
  const { uid, resourceVersion, annotations } = live.metadata;
  const mark = markText({ investigation: action.investigation.uid, action: "Rollback", time: action.intended });
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
