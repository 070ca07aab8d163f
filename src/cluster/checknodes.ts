/** Can the nodes be measured? What node status tells of kernels and runtimes, and whether the metrics API answers. */
import type { ApiObject } from "./api.ts";
import type { Answer, Patient } from "./checkup.ts";
import { isApiError } from "./errors.ts";
import { nodes, podmetrics } from "./resources.ts";

interface RawNode {
  readonly status?: {
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
    readonly nodeInfo?: {
      readonly kernelVersion?: string;
      readonly containerRuntimeVersion?: string;
      readonly operatingSystem?: string;
      readonly osImage?: string;
      readonly kubeletVersion?: string;
    };
  };
}

/** First kernels with smaps_rollup, without which Pss costs ten times as much, and with pressure. */
const OLDEST_KERNEL = [4, 20] as const;
/** Whose containers the collector finds in the cgroups (collector/podcgroups.ts). */
const RUNTIMES: ReadonlySet<string> = new Set(["containerd", "cri-o", "docker"]);
/** Names that are told of one trouble. */
const MAX_NAMED = 3;

export async function nodesFit({ api }: Patient): Promise<Answer> {
  const found: ApiObject[] = [];
  for await (const page of api.list(nodes)) found.push(...page.items);
  const troubles = new Map<string, string[]>();
  for (const node of found)
    for (const trouble of troublesOf(node))
      troubles.set(trouble, [...(troubles.get(trouble) ?? []), node.metadata.name ?? ""]);
  const kinds = new Set(found.map(describe));
  const says = `${found.length}: ${[...kinds].toSorted().join("; ")}`;
  if (found.length === 0) return { level: "Problem", says: "there is no node" };
  if (troubles.size === 0) return { level: "Ok", says };
  const told = [...troubles].map(([trouble, names]) => `${trouble} (${named(names)})`);
  return {
    level: "Warning",
    says: `${says}. ${told.join("; ")}`,
    advice: "Pods there are investigated with less, or not measured: the finding will say so",
  };
}

function named(names: readonly string[]): string {
  const more = names.length - MAX_NAMED;
  return `${names.slice(0, MAX_NAMED).join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}

function describe(node: ApiObject): string {
  const {
    kernelVersion = "?",
    containerRuntimeVersion = "?",
    osImage = "?",
  } = (node as RawNode).status?.nodeInfo ?? {};
  return `Linux ${kernelVersion}, ${containerRuntimeVersion.replace("://", " ")}, ${osImage}`.replace(
    /^Linux (?=.*windows)/i,
    "",
  );
}

function troublesOf(node: ApiObject): string[] {
  const { conditions = [], nodeInfo = {} } = (node as RawNode).status ?? {};
  const { kernelVersion = "", containerRuntimeVersion = "", operatingSystem = "linux" } = nodeInfo;
  const troubles: string[] = [];
  if (!conditions.some((c) => c.type === "Ready" && c.status === "True")) troubles.push("not ready");
  if (operatingSystem !== "linux") return [...troubles, `${operatingSystem} cannot be measured`];
  const [major, minor] = (/^(\d+)\.(\d+)/.exec(kernelVersion) ?? []).slice(1).map(Number);
  const old =
    major !== undefined &&
    minor !== undefined &&
    (major < OLDEST_KERNEL[0] || (major === OLDEST_KERNEL[0] && minor < OLDEST_KERNEL[1]));
  if (old) troubles.push(`kernel ${kernelVersion} has no smaps_rollup or no pressure`);
  const [runtime = ""] = containerRuntimeVersion.split("://");
  if (!RUNTIMES.has(runtime)) troubles.push(`runtime ${containerRuntimeVersion} is not known to the collector`);
  return troubles;
}

export async function metricsApi({ api, namespace }: Patient): Promise<Answer> {
  try {
    for await (const _page of api.list(podmetrics, { namespace, limit: 1, timeoutMs: 5_000, once: true })) break;
    return { level: "Ok", says: "metrics.k8s.io answers" };
  } catch (error) {
    if (isApiError(error, "Forbidden") || !isApiError(error)) throw error;
    return {
      level: "Warning",
      says: `metrics.k8s.io does not answer (${error.reason}): which pod to keep is then chosen by age, not by usage`,
      advice: "Install metrics-server, or see why it is down: kubectl get apiservice v1beta1.metrics.k8s.io",
    };
  }
}
