/** What `oomscope explain` prints for people: the policy in force, what a kill would lead to, and each action with the guards that speak. */
import type { DryRun } from "../cluster/dryrun.ts";
import type { ActionAnswer, Explanation, PolicyAnswer, PolicyInForce } from "../incident/explain.ts";
import { hanging, printable } from "./storytext.ts";
import { table } from "./text.ts";

/** Columns to which sentences are broken. */
const WIDTH = 118;

export function explainText(answer: DryRun): string {
  const { workload, policies, inForce, now, unread } = printable(answer);
  const { kind, name, namespace, pods, ready, killsShown } = workload;
  const kills = `${killsShown === 0 ? "no" : killsShown} kill${killsShown === 1 ? "" : "s"} in their status`;
  const lines = [
    `${kind} ${name} in namespace ${namespace}: ${pods} ${pods === 1 ? "pod" : "pods"}, ${ready} ready, ${kills}`,
    ...("problem" in inForce ? fact("policy", `none (${inForce.problem}): ${inForce.message}`) : inForceLines(inForce)),
    ...policyLines(policies),
    ...(now === undefined ? [] : nowLines(now)),
  ];
  if (unread.length > 0) {
    lines.push("", "What could not be read, so that the operator may answer otherwise");
    for (const what of unread) lines.push(...hanging("  - ", what, WIDTH));
  }
  return `${lines.join("\n")}\n`;
}

function fact(name: string, text: string): string[] {
  return hanging(`  ${name.padEnd(8)}  `, text, WIDTH);
}

function inForceLines({ kind, name, mode, declaredMode, narrowedBy, allowedActions, pauses }: PolicyInForce): string[] {
  const narrowed = mode === declaredMode ? "" : `; its spec says ${declaredMode}, narrowed by ${narrowedBy.join(", ")}`;
  return [
    ...fact("policy", `${kind} ${name}, mode ${mode}${narrowed}`),
    ...fact("allowed", allowedActions.length === 0 ? "no action" : allowedActions.join(", ")),
    ...pauses.flatMap((pause) => fact("paused", pause)),
  ];
}

function policyLines(policies: readonly PolicyAnswer[]): string[] {
  if (policies.length === 0)
    return ["", "Policies", "  There are none. See docs/spec/memorypolicy.md for how to write one."];
  const rows = policies.map(({ kind, name, matches, why }) => [
    matches ? "for it" : "not for it",
    `${kind} ${name}`,
    why,
  ]);
  return ["", "Policies", ...table(rows, ["<", "<", "<"])];
}

function nowLines(now: NonNullable<Explanation["now"]>): string[] {
  const { onKill, investigation, preservation, collection, actions } = now;
  const { pods, node } = collection;
  const measured =
    pods.length === 0
      ? "no pod can be measured now"
      : `${pods.join(", ")}${node === undefined ? "" : ` on node ${node}`}`;
  const lines = [
    "",
    investigation === undefined
      ? "Now, with an investigation that is opened now"
      : `Now, in investigation ${investigation}`,
    ...fact("a kill", onKill.message),
    ...fact("keeps", `${preservation.message} (${preservation.reason})`),
    ...(preservation.cannotShow === undefined ? [] : fact("", `What it cannot show: ${preservation.cannotShow}`)),
    ...fact("measures", measured),
    "",
    `Actions, ${findingText(now)}`,
  ];
  if (actions.length === 0)
    lines.push("  The policy names none (spec.mitigate), so nothing would be done about a finding.");
  for (const action of actions) lines.push(...actionLines(action));
  return lines;
}

function findingText({ finding, investigation }: NonNullable<Explanation["now"]>): string {
  const { from, verdict, confidencePercent } = finding;
  const what = verdict === "Inconclusive" ? verdict : `${verdict}, ${confidencePercent} % sure`;
  switch (from) {
    case "Found":
      return `for what ${investigation ?? "it"} has found: ${what}`;
    case "Earlier":
      return `if it found the same as the last time: ${what}`;
    case "Supposed":
      return `supposing ${what} (--verdict and --confidence ask for another)`;
  }
}

const WOULD: Readonly<Record<ActionAnswer["would"], string>> = {
  Take: "would be taken",
  Ask: "would be proposed to a person",
  Wait: "would have to wait",
  Refuse: "would be refused",
};

function actionLines({ action, approval, would, reason, message, recorded, guards }: ActionAnswer): string[] {
  const speaking = guards.filter(({ says }) => says !== "Nothing");
  const lines = [`  ${action} (approval ${approval}) ${WOULD[would]}${reason === undefined ? "" : `: ${reason}`}`];
  if (speaking.length === 0) lines.push(...hanging("    ", message, WIDTH));
  if (recorded !== undefined)
    lines.push(
      ...hanging("    ", `in its status: ${recorded.state} (${recorded.reason}) since ${recorded.since}`, WIDTH),
    );
  const named = Math.max(0, ...speaking.map((one) => (one.reason ?? "").length));
  for (const one of speaking)
    lines.push(
      ...hanging(`    ${one.says.padEnd(6)}  ${(one.reason ?? "").padEnd(named)}  `, one.message ?? "", WIDTH),
    );
  lines.push(`    ${guards.length - speaking.length} of ${guards.length} guards have nothing against it`);
  return lines;
}
