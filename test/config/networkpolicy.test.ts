/** Who may reach whom, as the NetworkPolicies say it: the evidence port is for collectors, and a collector talks to the operator alone. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parseAllDocuments } from "yaml";

interface Peer {
  readonly namespaceSelector: { readonly matchLabels: Readonly<Record<string, string>> };
  readonly podSelector?: { readonly matchLabels: Readonly<Record<string, string>> };
}
interface Rule {
  readonly from?: readonly Peer[];
  readonly to?: readonly Peer[];
  readonly ports: readonly { readonly port: string | number }[];
}
interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly spec: {
    readonly podSelector: { readonly matchLabels?: Readonly<Record<string, string>> };
    readonly policyTypes: readonly string[];
    readonly ingress?: readonly Rule[];
    readonly egress?: readonly Rule[];
    readonly template: { readonly metadata: { readonly labels: Readonly<Record<string, string>> }; readonly spec: Pod };
  };
}
interface Pod {
  readonly containers: readonly {
    readonly ports: readonly { readonly name: string; readonly containerPort: number }[];
  }[];
}

const read = (name: string): Manifest[] =>
  parseAllDocuments(readFileSync(join(import.meta.dirname, "../../config/manager", name), "utf8")).map(
    (document) => document.toJS() as Manifest,
  );
const policies = new Map(read("networkpolicy.yaml").map((policy) => [policy.metadata.name, policy]));
const [operator] = read("operator.yaml");
const OPERATOR_LABELS = { "app.kubernetes.io/name": "oomscope", "app.kubernetes.io/component": "operator" };

test("the policies select the operator that is installed, by the labels that its pod has", () => {
  expect(operator?.spec.template.metadata.labels).toMatchObject(OPERATOR_LABELS);
  expect(policies.get("oomscope-operator")?.spec.podSelector.matchLabels).toEqual(OPERATOR_LABELS);
});

test("the evidence port takes from the collectors' namespace only; only probes and metrics are for everybody", () => {
  const { ingress = [], policyTypes } = policies.get("oomscope-operator")?.spec ?? { policyTypes: [] };
  expect(policyTypes).toContain("Ingress");
  const open = ingress.filter(({ from }) => from === undefined).flatMap(({ ports }) => ports.map(({ port }) => port));
  expect(open).toEqual(["health"]);
  const evidence = ingress.filter(({ ports }) => ports.some(({ port }) => port === "evidence"));
  expect(evidence.flatMap(({ from }) => from)).toEqual([
    { namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "oomscope-collectors" } } },
  ]);
});

test("a collector takes from nobody, and talks to the operator's evidence port alone", () => {
  const policy = policies.get("oomscope-collectors");
  expect(policy?.metadata.namespace).toBe("oomscope-collectors");
  expect(policy?.spec.podSelector).toEqual({});
  expect(policy?.spec.policyTypes.toSorted()).toEqual(["Egress", "Ingress"]);
  expect(policy?.spec.ingress).toBeUndefined();
  const evidencePort = operator?.spec.template.spec.containers[0]?.ports.find(({ name }) => name === "evidence");
  expect(policy?.spec.egress).toEqual([
    {
      to: [
        {
          namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "oomscope-system" } },
          podSelector: { matchLabels: OPERATOR_LABELS },
        },
      ],
      ports: [{ port: evidencePort?.containerPort }],
    },
  ]);
});
