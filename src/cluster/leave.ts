/**
 * What does every change of somebody's object have in common? Its leave is asked for once more of the API server itself, it holds only
 * for the object as it was read, and it leaves our mark.
 */
import type { MitigationAction, MitigationRecord } from "../api/mitigation.ts";
import type { Errand } from "../incident/actions.ts";
import { markText, MITIGATION_ANNOTATION } from "../incident/marks.ts";
import type { Api, ApiObject, JsonPatch } from "./api.ts";
import { isApiError } from "./errors.ts";
import { clustermemorypolicies, memoryinvestigations, memorypolicies } from "./resources.ts";

export async function orGone(read: Promise<ApiObject>): Promise<ApiObject | undefined> {
  try {
    return await read;
  } catch (error) {
    if (isApiError(error, "NotFound")) return undefined;
    throw error;
  }
}

/**
 * The investigation and the policy as they are now: a watch may not have told yet of a word that came after.
 * @returns why the change is not to be made, in words
 */
export async function leaveWithdrawn(
  namespace: string,
  errand: Errand & { readonly mitigation: MitigationAction },
  api: Api,
): Promise<string | undefined> {
  const [investigation, changed] = await Promise.all([
    orGone(api.get(memoryinvestigations, { namespace, name: errand.investigation.name })),
    errand.policy === undefined ? undefined : policyChanged(namespace, errand.policy, api),
  ]);
  const { spec, status } = (investigation ?? {}) as {
    spec?: { suspend?: boolean };
    status?: { mitigations?: readonly MitigationRecord[] };
  };
  const record = status?.mitigations?.find(({ action }) => action === errand.mitigation);
  const same = investigation?.metadata.uid === errand.investigation.uid;
  const going = same && investigation.metadata.deletionTimestamp === undefined && spec?.suspend !== true;
  const intends = (errand.purpose === "Undo" ? record?.undo?.state : record?.state) === "Intended";
  if (!going || !intends) return "the investigation does not intend it any more";
  return changed;
}

async function policyChanged(
  namespace: string,
  { kind, name, generation }: NonNullable<Errand["policy"]>,
  api: Api,
): Promise<string | undefined> {
  const policy = await orGone(
    kind === "MemoryPolicy" ? api.get(memorypolicies, { namespace, name }) : api.get(clustermemorypolicies, { name }),
  );
  return policy?.metadata["generation"] === generation ? undefined : `${kind} ${name} has changed`;
}

/**
 * The first steps of a JSON patch: they write what is there. The server answers 409 when the resourceVersion is no longer the newest, and
 * refuses another uid.
 */
export function sameObject({ metadata: { uid, resourceVersion } }: ApiObject): JsonPatch {
  return [
    { op: "replace", path: "/metadata/uid", value: uid },
    { op: "replace", path: "/metadata/resourceVersion", value: resourceVersion },
  ];
}

/** The step that writes our mark on the object that is changed. */
export function marked(
  { metadata: { annotations } }: ApiObject,
  { investigation, mitigation, intended }: Errand & { readonly mitigation: MitigationAction },
): JsonPatch {
  const mark = markText({ investigation: investigation.uid, action: mitigation, time: intended });
  if (annotations === undefined)
    return [{ op: "add", path: "/metadata/annotations", value: { [MITIGATION_ANNOTATION]: mark } }];
  return [{ op: "add", path: `/metadata/annotations/${MITIGATION_ANNOTATION.replaceAll("/", "~1")}`, value: mark }];
}
