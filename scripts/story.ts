/**
 * Tells the story of the newest investigation of a namespace while it happens, from its status alone. Usage:
 * story.ts NAMESPACE [SECONDS]. Ends when the investigation has; exit code 1 when none came or it failed, 2 for a wrong call.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { K8s, RegisterKind, GenericKind } from "kubernetes-fluent-client";
import { GROUP, MemoryInvestigation, VERSION } from "../src/api/memoryinvestigation.ts";

class Investigation extends GenericKind {}
RegisterKind(Investigation, {
  group: GROUP,
  version: VERSION,
  kind: "MemoryInvestigation",
  plural: "memoryinvestigations",
});

const [namespace, seconds = "900"] = process.argv.slice(2);
if (namespace === undefined || !/^\d+$/.test(seconds)) {
  process.stderr.write("usage: story.ts NAMESPACE [SECONDS]\n");
  process.exit(2);
}

const began = Date.now();
const told = new Set<string>();

function tell(id: string, text: string): void {
  if (told.has(id)) return;
  told.add(id);
  const at = Math.round((Date.now() - began) / 1000);
  process.stdout.write(`  +${String(at).padStart(3)}s  ${text}\n`);
}

const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

function tellProgress({ metadata, status = {} }: MemoryInvestigation): void {
  tell(
    "opened",
    `investigation ${metadata.name} was opened (${metadata.annotations?.["oomscope.dev/opened-because"] ?? "by hand"})`,
  );
  for (const kill of status.kills ?? []) {
    const limit = kill.limitBytes === undefined ? "" : ` at its limit of ${mib(kill.limitBytes)}`;
    tell(
      `kill ${kill.id}`,
      `${kill.classification}: ${kill.container ?? "pod"} of ${kill.pod.name}${limit}, exit code ${kill.exitCode ?? "?"}`,
    );
    if (kill.victim !== undefined)
      tell(
        `victim ${kill.id}`,
        `  the kernel confirms: it killed ${kill.victim.comm} (pid ${kill.victim.pid}), ${mib(kill.victim.anonBytes ?? 0)} anonymous`,
      );
  }
  const { preserved } = status;
  if (preserved?.state === "Preserved") {
    tell("preserved", `pod ${preserved.pod} is kept (${preserved.how}): ${preserved.why}`);
    if (preserved.cannotShow !== undefined) tell(`cannot ${preserved.cannotShow}`, `  ${preserved.cannotShow}`);
  }
  for (const c of status.collections ?? []) {
    tell(
      `job ${c.id} ${c.state}`,
      `collection ${c.id} on ${c.node}: ${c.state}${c.message === undefined ? "" : ` (${c.message})`}`,
    );
    if (c.samples !== undefined && c.samples > 0)
      tell(`samples ${c.id} ${c.samples}`, `  ${c.samples} of ${c.samplesExpected ?? 0} samples`);
  }
}

function tellFinding({ status = {} }: MemoryInvestigation): void {
  const { finding } = status;
  const lines: string[] = [];
  if (finding !== undefined) {
    lines.push("", `${finding.verdict}, ${finding.confidencePercent} % sure`, finding.summary, "");
    const kinds = finding.growthByKind ?? [];
    if (kinds.length > 0) lines.push("  kind      growth        rate         trend");
    for (const k of kinds)
      lines.push(
        `  ${k.kind.padEnd(8)} ${mib(k.bytes).padStart(11)} ${`${mib(k.bytesPerSecond)}/s`.padStart(14)}   ${k.trend}`,
      );
    for (const p of finding.growthByProcess ?? [])
      lines.push(`  process ${p.comm} (pid ${p.pid}): ${mib(p.bytes)}, ${p.sharePercent} % of all growth`);
    lines.push("", "  for it:");
    for (const e of finding.evidence)
      lines.push(
        `    ${e.signal} = ${e.value} ${e.unit}${e.threshold === undefined ? "" : ` (${e.threshold})`}   [${e.part}]`,
      );
    if (finding.counterEvidence.length > 0) lines.push("  against it:");
    for (const e of finding.counterEvidence)
      lines.push(
        `    ${e.signal} = ${e.value} ${e.unit}${e.threshold === undefined ? "" : ` (${e.threshold})`}   [${e.part}]`,
      );
    if (finding.runnerUp !== undefined)
      lines.push(`  next best: ${finding.runnerUp.verdict}, ${finding.runnerUp.confidencePercent} %`);
    for (const limit of finding.limits ?? []) lines.push(`  not seen: ${limit}`);
  }
  lines.push("", `Result: ${status.result ?? "none"}; ${status.killsByPod ?? "no kills"}`);
  process.stdout.write(`${lines.map((line) => `  ${line}`.trimEnd()).join("\n")}\n`);
}

async function newest(): Promise<MemoryInvestigation | undefined> {
  const list = await K8s(Investigation)
    .InNamespace(namespace ?? "")
    .Get();
  const items = list.items.map((item) =>
    MemoryInvestigation.safeParse(
      Object.assign({ apiVersion: `${GROUP}/${VERSION}`, kind: "MemoryInvestigation" }, item),
    ),
  );
  return items
    .flatMap((parsed) => (parsed.success ? [parsed.data] : []))
    .toSorted((a, b) => (a.metadata.creationTimestamp ?? "").localeCompare(b.metadata.creationTimestamp ?? ""))
    .at(-1);
}

const until = began + Number(seconds) * 1000;
while (Date.now() < until) {
  // The API server may be busy for a moment: the story goes on with the next look.
  const investigation = await newest().catch(() => undefined);
  if (investigation !== undefined) {
    tellProgress(investigation);
    if (investigation.status?.result !== undefined) {
      tellFinding(investigation);
      process.exit(investigation.status.result === "Failed" ? 1 : 0);
    }
  }
  await sleep(1000);
}
process.stderr.write(`No investigation in namespace ${namespace} ended within ${seconds} s\n`);
process.exit(1);
