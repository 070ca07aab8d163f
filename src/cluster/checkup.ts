/**
 * Is a cluster ready for oomscope? One answer for each thing that must be right, each with what to do about it. It reads, and asks the API server
 * what an account may do; it changes nothing. What the caller may not look at is told as unknown, never as right.
 */
import type { Clock } from "../seams.ts";
import type { Api } from "./api.ts";
import {
  apiServer,
  collectorsNamespace,
  evidenceAddress,
  evidenceVolume,
  installedKinds,
  leaderLease,
  operatorAvailable,
} from "./checkinstall.ts";
import { metricsApi, nodesFit } from "./checknodes.ts";
import { mitigationBound, operatorRights, personRights, policiesThere } from "./checkpolicies.ts";
import { isApiError } from "./errors.ts";
import { findInstallation, namespacesOf, type Installation } from "./installation.ts";

/** What one look at one thing has brought. */
export interface Answer {
  /** Problem: oomscope does not work as it should. Warning: it works with less. Unknown: it could not be looked at. */
  readonly level: "Ok" | "Warning" | "Problem" | "Unknown";
  readonly says: string;
  /** What to do; a command where there is one. */
  readonly advice?: string;
}

export interface Check extends Answer {
  /** Stable, for machines and for docs/cli.md. */
  readonly id: string;
}

/** What the looks have in common. */
export interface Patient {
  readonly api: Api;
  readonly clock: Clock;
  readonly server: URL;
  readonly serverVersion: () => Promise<string>;
  /** The namespace of the caller. */
  readonly namespace: string;
  readonly installation: Installation;
  readonly collectors: string;
  readonly exempt: readonly string[];
}

type Look = (patient: Patient) => Promise<Answer>;

/** In the order in which they are told. Those before the operator need none. */
export const CHECKS: readonly (readonly [id: string, look: Look])[] = [
  ["api-server", apiServer],
  ["kinds", installedKinds],
  ["nodes", nodesFit],
  ["metrics-api", metricsApi],
  ["your-rights", personRights],
  ["operator", operatorAvailable],
  ["leader", leaderLease],
  ["operator-rights", operatorRights],
  ["collectors-namespace", collectorsNamespace],
  ["evidence-address", evidenceAddress],
  ["evidence-volume", evidenceVolume],
  ["policies", policiesThere],
  ["mitigation-rights", mitigationBound],
];
const WITHOUT_OPERATOR: ReadonlySet<string> = new Set(["api-server", "kinds", "nodes", "metrics-api", "your-rights"]);

/** All checks. Throws ApiError only where the API server cannot be asked anything at all. */
export async function checkUp(given: Omit<Patient, "installation" | "collectors" | "exempt">): Promise<Check[]> {
  await given.serverVersion();
  let refused: string | undefined;
  const installation = await findInstallation(given.api).catch((error: unknown) => {
    if (!isApiError(error, "Forbidden")) throw error;
    refused = error.message;
    return undefined;
  });
  const found = installation ?? { namespace: "", deployment: { metadata: {} }, env: {} };
  const patient: Patient = { ...given, installation: found, ...namespacesOf(installation) };
  const checks = CHECKS.filter(([id]) => installation !== undefined || WITHOUT_OPERATOR.has(id));
  const answers = await Promise.all(
    checks.map(async ([id, look]): Promise<Check> => ({ id, ...(await look(patient).catch(unknown)) })),
  );
  return installation === undefined ? [...answers, noOperator(refused)] : answers;
}

function unknown(error: unknown): Answer {
  if (!isApiError(error)) throw error;
  const advice = isApiError(error, "Forbidden")
    ? "Ask somebody with more rights, or for the right that is named"
    : undefined;
  return {
    level: "Unknown",
    says: `it could not be looked at: ${error.message}`,
    ...(advice === undefined ? {} : { advice }),
  };
}

function noOperator(refused: string | undefined): Check {
  const id = "operator";
  if (refused !== undefined)
    return {
      id,
      level: "Unknown",
      says: `it could not be looked for: ${refused}`,
      advice: "Ask somebody with more rights",
    };
  return {
    id,
    level: "Problem",
    says: "there is no Deployment with the labels of the operator, so nothing is detected",
    advice: "kubectl apply --server-side -k config/default",
  };
}
