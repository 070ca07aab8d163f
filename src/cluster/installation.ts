/** Where does the operator run in this cluster, and with which of its settings? Found by its labels, so that an install under other names is found too. */
import { isApiError } from "./errors.ts";
import type { Api, ApiObject } from "./api.ts";
import { deployments } from "./resources.ts";

/** Where `config/default` puts it. */
export const DEFAULT_NAMESPACE = "oomscope-system";
const LABELS = "app.kubernetes.io/name=oomscope,app.kubernetes.io/component=operator";

export interface Installation {
  readonly namespace: string;
  readonly deployment: ApiObject;
  /** The container's environment as far as it is written down there. */
  readonly env: Readonly<Record<string, string>>;
}

/**
 * The operator's Deployment. A person who may not look into all namespaces is shown that of the default one.
 * Undefined: there is none. Throws ApiError, Forbidden among others.
 */
export async function findInstallation(api: Api): Promise<Installation | undefined> {
  const found = await listed(api).catch((error: unknown) => {
    if (!isApiError(error, "Forbidden")) throw error;
    return listed(api, DEFAULT_NAMESPACE);
  });
  const [deployment] = found;
  if (deployment === undefined) return undefined;
  return { namespace: deployment.metadata.namespace ?? DEFAULT_NAMESPACE, deployment, env: environmentOf(deployment) };
}

async function listed(api: Api, namespace?: string): Promise<ApiObject[]> {
  const items: ApiObject[] = [];
  const where = namespace === undefined ? {} : { namespace };
  for await (const page of api.list(deployments, { labelSelector: LABELS, ...where })) items.push(...page.items);
  return items;
}

interface RawDeployment {
  readonly spec?: {
    readonly template?: {
      readonly spec?: {
        readonly containers?: readonly {
          readonly env?: readonly { readonly name: string; readonly value?: string }[];
        }[];
      };
    };
  };
}

function environmentOf(deployment: ApiObject): Record<string, string> {
  const [container] = (deployment as RawDeployment).spec?.template?.spec?.containers ?? [];
  return Object.fromEntries(
    (container?.env ?? []).flatMap(({ name, value }) => (value === undefined ? [] : [[name, value]])),
  );
}

/** Namespaces of collectors, and those that a ClusterMemoryPolicy without a namespaceSelector is not for; as the operator's settings have them. */
export function namespacesOf(installation: Installation | undefined): {
  readonly collectors: string;
  readonly exempt: readonly string[];
} {
  const { namespace = DEFAULT_NAMESPACE, env = {} } = installation ?? {};
  const collectors = env["OOMSCOPE_COLLECTOR_NAMESPACE"] ?? "oomscope-collectors";
  const named = (env["OOMSCOPE_EXEMPT_NAMESPACES"] ?? "kube-system").split(",").map((name) => name.trim());
  return { collectors, exempt: [...named.filter((name) => name !== ""), namespace, collectors] };
}
