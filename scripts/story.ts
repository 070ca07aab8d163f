/**
 * Tells the story of the newest investigation of a namespace while it happens, from its status alone. Usage:
 * story.ts NAMESPACE [SECONDS]. Ends when the investigation has; exit code 1 when none came or it failed, 2 for a wrong call.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { K8s, RegisterKind, GenericKind } from "kubernetes-fluent-client";
import { GROUP, MemoryInvestigation, VERSION } from "../src/api/memoryinvestigation.ts";
import { findingText } from "../src/cli/findingtext.ts";
import { bytesText } from "../src/diagnosis/words.ts";

/** Columns; the story is indented by two more. */
const WIDTH = 118;

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

function tellProgress({ metadata, status = {} }: MemoryInvestigation): void {
  tell(
    "opened",
    `investigation ${metadata.name} was opened (${metadata.annotations?.["oomscope.dev/opened-because"] ?? "by hand"})`,
  );
  for (const kill of status.kills ?? []) {
    const limit = kill.limitBytes === undefined ? "" : ` at its limit of ${bytesText(kill.limitBytes)}`;
    tell(
      `kill ${kill.id}`,
      `${kill.classification}: ${kill.container ?? "pod"} of ${kill.pod.name}${limit}, exit code ${kill.exitCode ?? "?"}`,
    );
    if (kill.victim !== undefined)
      tell(
        `victim ${kill.id}`,
        `  the kernel confirms: it killed ${kill.victim.comm} (pid ${kill.victim.pid}), ${bytesText(kill.victim.anonBytes ?? 0)} anonymous`,
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
  const text = finding === undefined ? "" : `\n${findingText(finding, WIDTH)}`;
  const end = `\nResult: ${status.result ?? "none"}; ${status.killsByPod ?? "no kills"}\n`;
  process.stdout.write(`${text}${end}`.replaceAll(/^(?=.)/gm, "  "));
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
