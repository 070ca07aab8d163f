/** Has somebody withdrawn the leave for a change since it was decided? Asked of the API server itself, right before the change. */
import type { MitigationAction, MitigationRecord } from "../api/mitigation.ts";
import type { Errand } from "../incident/actions.ts";
import type { Api, ApiObject } from "./api.ts";
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
  if (!going || record?.state !== "Intended") return "the investigation does not intend it any more";
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
