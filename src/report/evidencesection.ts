/** What speaks for the finding and against it, what could not be seen, and where all of it is from. */
import { partFileName } from "../api/collection.ts";
import type { EvidenceLine } from "../api/memoryinvestigation.ts";
import { comparedText, measureText, partText } from "../diagnosis/evidencetext.ts";
import { bytesText, nameText } from "../diagnosis/words.ts";
import { html, type Markup, NOTHING, type Piece } from "./markup.ts";
import type { Material } from "./material.ts";

const MAX_LISTED = 60;

export function evidenceSection({ finding }: Material): Markup {
  return html`<section aria-labelledby="evidence">
    <h2 id="evidence">What speaks for it, and what against it?</h2>
    ${lines("Evidence", finding.evidence)} ${lines("Counter-evidence", finding.counterEvidence)}
    ${
      finding.growthByKind === undefined
        ? NOTHING
        : html`<table>
            <caption>
              Growth by kind of memory
            </caption>
            <thead>
              <tr>
                <th scope="col">kind</th>
                <th scope="col" class="n">growth</th>
                <th scope="col" class="n">rate</th>
                <th scope="col">trend</th>
              </tr>
            </thead>
            <tbody>
              ${finding.growthByKind.map(
                (row) =>
                  html`<tr>
                    <th scope="row">${row.kind}</th>
                    <td class="n">${bytesText(row.bytes)}</td>
                    <td class="n">${bytesText(row.bytesPerSecond)}/s</td>
                    <td>${row.trend}</td>
                  </tr>`,
              )}
            </tbody>
          </table>`
    }
    ${
      finding.growthByProcess === undefined
        ? NOTHING
        : html`<table>
            <caption>
              Growth of anonymous memory by process
            </caption>
            <thead>
              <tr>
                <th scope="col" class="n">pid</th>
                <th scope="col">process</th>
                <th scope="col">container</th>
                <th scope="col" class="n">growth</th>
                <th scope="col" class="n">rate</th>
                <th scope="col" class="n">share</th>
              </tr>
            </thead>
            <tbody>
              ${finding.growthByProcess.map(
                (row) =>
                  html`<tr>
                    <td class="n">${row.pid}</td>
                    <th scope="row">${nameText(row.comm)}</th>
                    <td>${row.container}</td>
                    <td class="n">${bytesText(row.bytes)}</td>
                    <td class="n">${bytesText(row.bytesPerSecond)}/s</td>
                    <td class="n">${row.sharePercent} %</td>
                  </tr>`,
              )}
            </tbody>
          </table>`
    }
  </section>`;
}

function lines(title: string, rows: readonly EvidenceLine[]): Markup {
  if (rows.length === 0)
    return html`<h3>${title}</h3>
      <p>None.</p>`;
  return html`<h3>${title}</h3>
    <table>
      <caption>
        ${title}: what was measured, and where in the pack it stands
      </caption>
      <thead>
        <tr>
          <th scope="col">signal</th>
          <th scope="col" class="n">value</th>
          <th scope="col">compared with</th>
          <th scope="col">in</th>
        </tr>
      </thead>
      <tbody>
        ${rows.map(
          (line) =>
            html`<tr>
              <th scope="row">${nameText(line.signal, 128)}</th>
              <td class="n">${measureText(line)}</td>
              <td>${comparedText(line)}</td>
              <td><code>${partText(line.part)}</code></td>
            </tr>`,
        )}
      </tbody>
    </table>`;
}

export function limitsSection(material: Material): Markup {
  const { finding, manifest, problems, readings, context } = material;
  const skipped = [
    ...(manifest?.skipped ?? []),
    ...(context?.snapshots ?? []).flatMap((snapshot) => snapshot.skipped),
    ...[...readings.rollupsSkipped].map(([reason, times]) => ({
      what: "smaps_rollup",
      reason,
      detail: `${times} times`,
    })),
  ];
  const limits = [...(finding.limits ?? [])];
  if (readings.samplesOmitted > 0)
    limits.push(`${readings.samplesOmitted} samples are not drawn: too many, or their clock did not go forward.`);
  if (readings.containersOmitted > 0) limits.push("More containers were measured than a page holds.");
  if (readings.startMs === undefined) limits.push("No time of day is known: charts count from the first sample.");
  return html`<section aria-labelledby="limits">
    <h2 id="limits">What could not be seen?</h2>
    ${limits.length + skipped.length + problems.length === 0 ? html`<p>Nothing that was planned is missing.</p>` : NOTHING}
    ${list(limits)}
    ${
      skipped.length === 0
        ? NOTHING
        : html`<table>
            <caption>
              Left out, and why${more(skipped.length)}
            </caption>
            <thead>
              <tr>
                <th scope="col">what</th>
                <th scope="col">reason</th>
                <th scope="col">detail</th>
              </tr>
            </thead>
            <tbody>
              ${skipped.slice(0, MAX_LISTED).map(
                ({ what, reason, detail }) =>
                  html`<tr>
                    <th scope="row">${what}</th>
                    <td>${reason}</td>
                    <td>${detail}</td>
                  </tr>`,
              )}
            </tbody>
          </table>`
    }
    ${
      problems.length === 0
        ? NOTHING
        : html`<h3>What is wrong with the pack itself</h3>
            ${list(problems)}${more(problems.length)}`
    }
  </section>`;
}

function list(items: readonly string[]): Markup {
  return items.length === 0
    ? NOTHING
    : html`<ul>
        ${items.slice(0, MAX_LISTED).map((item) => html`<li>${item}</li>`)}
      </ul>`;
}

function more(count: number): string {
  return count > MAX_LISTED ? ` (the first ${MAX_LISTED} of ${count})` : "";
}

export function originSection({ manifest, host, context, finding }: Material): Markup {
  const rows: (readonly [string, Piece])[] = [["Finding", finding.id]];
  if (manifest !== undefined) {
    const { collection, tool, started, finished, cost, samples, samplesExpected, plan, clock } = manifest;
    rows.push(
      ["Collection", collection],
      ["Collected by", `oomscope ${tool.version}`],
      ["From", started],
      ["To", finished],
    );
    rows.push(["Samples", `${samples} of ${samplesExpected}, one each ${plan.intervalMs / 1000} s`]);
    rows.push([
      "Cost",
      `${Math.round(cost.stallMs)} ms for which the target may have been held up, ${Math.round(cost.cpuMs)} ms of CPU, ${bytesText(cost.peakRssBytes)} of memory`,
    ]);
    if (clock !== undefined && clock.steppedMs !== 0)
      rows.push(["Clock", `was set by ${clock.steppedMs} ms meanwhile`]);
    if (plan.node !== undefined) rows.push(["Node", plan.node]);
  }
  if (host !== undefined) {
    rows.push(["Kernel", `${host.kernel}, ${host.architecture}, ${host.cpus} CPUs, ${bytesText(host.memTotalBytes)}`]);
    rows.push(["cgroup", `${host.cgroup}, driver ${host.cgroupDriver}, runtime ${host.runtime}`]);
  }
  const revision = context?.revisions.find(({ current }) => current === true);
  if (revision !== undefined) rows.push(["Revision", `${revision.name}: ${revision.images.slice(0, 4).join(", ")}`]);
  const parts = manifest?.parts ?? [];
  return html`<section aria-labelledby="origin">
    <h2 id="origin">Where is this from?</h2>
    <dl class="facts">
      ${rows.map(
        ([name, value]) =>
          html`<div>
            <dt>${name}</dt>
            <dd>${value}</dd>
          </div>`,
      )}
    </dl>
    ${
      parts.length === 0
        ? NOTHING
        : html`<details>
            <summary>Parts of the pack</summary>
            <table>
              <caption>
                Parts and their checksums, as the manifest has them${more(parts.length)}
              </caption>
              <thead>
                <tr>
                  <th scope="col">part</th>
                  <th scope="col" class="n">bytes</th>
                  <th scope="col">SHA-256</th>
                </tr>
              </thead>
              <tbody>
                ${parts.slice(0, MAX_LISTED).map(
                  ({ kind, index, bytes, sha256 }) =>
                    html`<tr>
                      <th scope="row">${partFileName(kind, index)}</th>
                      <td class="n">${bytes}</td>
                      <td><code>${sha256}</code></td>
                    </tr>`,
                )}
              </tbody>
            </table>
          </details>`
    }
  </section>`;
}
