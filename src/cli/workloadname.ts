/** Which workload does a person mean? `KIND/NAME` with the kinds and short names of kubectl. */
import type { TargetRef } from "../api/memoryinvestigation.ts";
import { type Given, nearest, UsageError } from "./arguments.ts";
import { shown } from "./text.ts";

/** By what kubectl takes for each kind, plurals and groups apart. */
const KINDS: Readonly<Record<string, TargetRef["kind"]>> = {
  deployment: "Deployment",
  deploy: "Deployment",
  statefulset: "StatefulSet",
  sts: "StatefulSet",
  daemonset: "DaemonSet",
  ds: "DaemonSet",
  job: "Job",
  pod: "Pod",
  po: "Pod",
};

/** The operand `KIND/NAME`. Throws {@link UsageError}. */
export function workloadOperand({ operands }: Given): { readonly kind: TargetRef["kind"]; readonly name: string } {
  const text = operands[0] ?? "";
  const [, word = "", name = ""] = /^([A-Za-z]+)(?:\.[a-z0-9.]+)?\/(.*)$/.exec(text) ?? [];
  if (word === "")
    throw new UsageError(`${shown(text)} is not KIND/NAME: write the kind as well, such as deployment/${shown(text)}`);
  const singular = word.toLowerCase().replace(/(?<=[a-z]{3})s$/, "");
  const kind = KINDS[word.toLowerCase()] ?? KINDS[singular];
  if (kind === undefined) {
    const near = nearest(singular, Object.keys(KINDS));
    const meant = near === undefined ? "" : `; did you mean ${near}?`;
    throw new UsageError(
      `${shown(word)} is no kind of workload that can be looked into${meant} (deployment, statefulset, daemonset, job or pod)`,
    );
  }
  if (!/^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/.test(name))
    throw new UsageError(`${shown(name)} cannot be the name of a ${kind}: write ${word}/NAME`);
  return { kind, name };
}
