/** The first screen: what it is, how sure, the incident in numbers, and what to do next. And the words that name a report. */
import { killsOf } from "./kernelsection.ts";
import { momentText } from "./axis.ts";
import { bytesText, nameText, secondsText } from "../diagnosis/words.ts";
import { VERDICTS } from "../api/verdicts.ts";
import { html, type Markup, NOTHING } from "./markup.ts";
import type { Material } from "./material.ts";

/** What was measured: `Deployment media/thumbnail-svc`, `cgroup thumbnail.service`. */
export function subjectOf({ context, manifest, readings }: Material): string {
  if (context !== undefined) {
    const { kind, namespace, name } = context.target;
    return `${kind} ${namespace}/${name}`;
  }
  const local = manifest?.plan.local;
  if (local?.kind === "Cgroup") return `cgroup ${local.name}`;
  if (local?.kind === "Process") return `process ${local.name} (pid ${local.pid})`;
  const investigation = manifest?.plan.investigation;
  if (investigation !== undefined) return `investigation ${investigation.namespace}/${investigation.name}`;
  return readings.containers[0]?.name ?? "an unknown target";
}

export function headlineOf({ finding }: Material): string {
  const kind = finding.subKind === undefined ? finding.verdict : `${finding.verdict} (${finding.subKind})`;
  return finding.verdict === "Inconclusive" ? kind : `${kind}, ${finding.confidencePercent} % sure`;
}

export function summarySection(material: Material): Markup {
  const { finding } = material;
  const { meaning, advice } = VERDICTS[finding.verdict];
  const { runnerUp } = finding;
  return html`<section aria-labelledby="summary">
    <h2 id="summary">What is it?</h2>
    <p class="verdict">
      <strong>${finding.verdict}</strong
      >${finding.subKind === undefined ? NOTHING : html` <span>${finding.subKind}</span>`}
      ${finding.verdict === "Inconclusive" ? NOTHING : html`<meter min="0" max="100" value="${finding.confidencePercent}" aria-hidden="true"></meter> ${finding.confidencePercent} % sure`}
    </p>
    <p class="means">${withCode(meaning)}</p>
    <p>${finding.summary}</p>
    ${culprit(material)}
    <h3>In numbers</h3>
    <dl class="facts">
      ${facts(material).map(
        ([name, value]) =>
          html`<div>
            <dt>${name}</dt>
            <dd>${value}</dd>
          </div>`,
      )}
    </dl>
    <h3>What to do next</h3>
    <p>${withCode(advice)}</p>
    ${runnerUp === undefined ? NOTHING : html`<p class="note">If it is not that, it is most likely ${runnerUp.verdict} (${runnerUp.confidencePercent} %): ${withCode(VERDICTS[runnerUp.verdict].meaning)}</p>`}
  </section>`;
}

/** Our own texts mark names of files and options by backticks. */
function withCode(text: string): Markup {
  return html`${text.split("`").map((piece, i) => (i % 2 === 1 ? html`<code>${piece}</code>` : html`${piece}`))}`;
}

function culprit({ finding }: Material): Markup {
  const { culprit: who } = finding;
  if (who === undefined) return NOTHING;
  const claimed = who.functionSource === "ClaimedByTarget" ? " (by the program's own claim)" : "";
  const rows: readonly (readonly [string, string | undefined])[] = [
    ["Pod", who.pod],
    ["Container", who.container],
    ["Process", who.process === undefined ? undefined : processText(who.process)],
    ["Started by", who.process?.parents?.map(processText).join(", which was started by ")],
    ["Mapping", who.mapping],
    ["Library", who.library],
    ["Function", who.function === undefined ? undefined : `${who.function}${claimed}`],
    ["Revision", who.revision],
  ];
  return html`<h3>Who</h3>
    <dl class="facts">
      ${rows.map(([name, value]) =>
        value === undefined
          ? NOTHING
          : html`<div>
              <dt>${name}</dt>
              <dd>${value}</dd>
            </div>`,
      )}
    </dl>`;
}

function processText({ pid, comm }: { readonly pid: number; readonly comm: string }): string {
  return `${comm} (pid ${pid})`;
}

function facts(material: Material): readonly (readonly [string, string])[] {
  const { finding, readings, manifest } = material;
  const rows: (readonly [string, string])[] = [["Kills", String(killsOf(material))]];
  const { growth, timeToOOMSeconds: left } = finding;
  if (growth !== undefined)
    rows.push([
      "Growth",
      `${bytesText(growth.bytesPerSecond)}/s of ${nameText(growth.series)} (95 %: ${bytesText(growth.low)} to ${bytesText(growth.high)}/s)`,
    ]);
  const limits = readings.containers.flatMap(({ limit }) => limit.values.filter((one) => !Number.isNaN(one)).slice(-1));
  if (limits.length > 0) rows.push(["Limit", [...new Set(limits.map(bytesText))].slice(0, 4).join(", ")]);
  const ends = [left?.low, left?.high].flatMap((one) => (one === undefined ? [] : [secondsText(one)]));
  if (ends.length > 0) rows.push(["Limit reached in", [...new Set(ends)].join(" to ")]);
  rows.push(["Measured", `${readings.samples} samples over ${secondsText(readings.end / 1000)}`]);
  if (readings.startMs !== undefined) rows.push(["From", momentText(readings.startMs)]);
  if (manifest !== undefined && manifest.outcome !== "Complete")
    rows.push(["Collection", "partial: see what could not be seen"]);
  return rows;
}
