/** Memory over time: by kind with what happened on one axis, the machine around it, and the processes side by side. */
import { bytesText, nameText } from "../diagnosis/words.ts";
import { clock, lineChart, SMALL, stackChart } from "./charts.ts";
import { html, type Markup, NOTHING } from "./markup.ts";
import type { Material } from "./material.ts";
import { MARK_WORDS } from "./moments.ts";
import type { Range } from "./plot.ts";
import { type ContainerReadings, kindsOf, type ProcessReadings } from "./readings.ts";
import { first, highest, last } from "./tracks.ts";

const MAX_CONTAINERS = 6;
const MAX_PROCESSES = 8;
const MAX_MOMENTS = 200;
const MAX_NEIGHBOURS = 16;

/** All charts have one axis: that of the readings, and of kills and roll-outs shortly before them. */
export function rangeOf({ readings, marks }: Material): Range {
  const span = Math.max(1000, readings.end);
  const before = marks
    .filter(({ kind, time }) => kind !== "Event" && time < 0 && time >= -span)
    .map(({ time }) => time);
  const after = marks
    .filter(({ kind, time }) => kind !== "Event" && time > span && time <= span * 1.2)
    .map(({ time }) => time);
  const margin = before.length > 0 ? span * 0.02 : 0;
  return { from: Math.min(0, ...before) - margin, to: Math.max(span, ...after), startMs: readings.startMs };
}

export function timelineSection(material: Material, range: Range): Markup {
  const { readings, marks, finding } = material;
  const growth = ({ levels }: ContainerReadings): number => (levels.at(-1)?.usage ?? 0) - (levels[0]?.usage ?? 0);
  const named = finding.culprit?.container;
  const ranked = readings.containers
    .filter(({ levels }) => levels.length > 0)
    .toSorted((a, b) => Number(b.name === named) - Number(a.name === named) || growth(b) - growth(a));
  const shown = ranked.slice(0, MAX_CONTAINERS);
  return html`<section aria-labelledby="timeline">
    <h2 id="timeline">When did it happen?</h2>
    ${shown.length === 0 ? html`<p>No container, cgroup or process was measured.</p>` : NOTHING}
    ${shown.map((container, i) => containerChart(container, i, material, range))}
    ${shown.length < ranked.length ? html`<p class="note">${ranked.length - shown.length} more containers were measured and are not drawn.</p>` : NOTHING}
    ${moments(material, range)}
    ${marks.some(({ time }) => time < range.from || time > range.to) ? html`<p class="note">What happened long before or after the readings stands in the table only.</p>` : NOTHING}
  </section>`;
}

const SCOPES: Readonly<Record<ContainerReadings["scope"], string>> = {
  Container: "what the kernel charges to the container",
  Cgroup: "what the kernel charges to the cgroup",
  Process: "sums of Pss over the processes: kernel memory and page cache that no process maps are not seen",
};

function containerChart(
  container: ContainerReadings,
  i: number,
  { marks, context, manifest }: Material,
  range: Range,
): Markup {
  const { name, podUid, scope, levels, lives, limit } = container;
  const pods = [...(context?.pods ?? []), ...(manifest?.plan.pods ?? [])];
  const pod = pods.find(({ uid }) => uid === podUid)?.name;
  const title = `Memory of ${scope === "Container" ? "container" : scope.toLowerCase()} ${nameText(name ?? "without a name")}${pod === undefined ? "" : ` in pod ${nameText(pod)}`}, by kind`;
  const [start, end] = [levels[0], levels.at(-1)];
  const changes = kindsOf(container).map(
    (kind) => `${kind} from ${bytesText(start?.kinds[kind] ?? 0)} to ${bytesText(end?.kinds[kind] ?? 0)}`,
  );
  const kills = marks.filter(({ kind, time }) => kind === "Kill" && time >= range.from && time <= range.to).length;
  const says = `Usage went from ${bytesText(start?.usage ?? 0)} to ${bytesText(end?.usage ?? 0)}; ${changes.join(", ")}. ${kills === 0 ? "No kill" : `${kills} ${kills === 1 ? "kill" : "kills"}`} in this time.`;
  const breaks = lives.slice(1).map(({ since }) => since);
  return html`${stackChart({ id: `kinds${i}`, title, says, range, marks, levels, limit, breaks })}
    <p class="note">Shown: ${SCOPES[scope]}. Gaps are times at which nothing was measured.</p>`;
}

function moments({ marks, marksOmitted, context }: Material, range: Range): Markup {
  if (marks.length === 0) return html`<p>No kill, restart or roll-out was seen.</p>`;
  const grave = marks.filter(({ kind }) => kind !== "Event").length;
  const shown = marks.slice(-MAX_MOMENTS);
  const omitted = marksOmitted + marks.length - shown.length;
  const ahead = context?.clocks?.nodeAheadOfServerMs;
  return html`<details ${grave > 0 && grave <= 12 ? html`open` : NOTHING}>
      <summary>What happened, in order (${marks.length})</summary>
      <table>
        <caption>
          Kills, restarts, roll-outs and events${omitted > 0 ? `; ${omitted} older ones are not shown` : ""}
        </caption>
        <thead>
          <tr>
            <th scope="col">time (UTC)</th>
            <th scope="col">kind</th>
            <th scope="col">what</th>
            <th scope="col">who says so</th>
          </tr>
        </thead>
        <tbody>
          ${shown.map(
            (mark) =>
              html`<tr>
                <td>${clock(range, mark.time)}</td>
                <td>${MARK_WORDS[mark.kind].replace(/s$/, "")}</td>
                <td>${mark.text}</td>
                <td>${mark.witness}</td>
              </tr>`,
          )}
        </tbody>
      </table>
    </details>
    ${ahead === undefined ? NOTHING : html`<p class="note">The node's clock is ahead of the API server's by ${ahead.low} ms to ${ahead.high} ms.</p>`}`;
}

export function machineSection({ readings, marks }: Material, range: Range): Markup {
  const { memTotal, memAvailable, psiSome, psiFull, swapUsed } = readings.machine;
  const total = last(memTotal);
  const available = last(memAvailable);
  const share =
    total === undefined || available === undefined
      ? ""
      : ` of ${bytesText(total)} (${Math.round((100 * available) / total)} %)`;
  const swap = highest(swapUsed) > 0 ? [{ name: "swap in use", track: swapUsed }] : [];
  return html`<section aria-labelledby="machine">
    <h2 id="machine">Is the machine short of memory?</h2>
    ${memAvailable.times.length === 0 ? html`<p>The machine's memory was not measured.</p>` : lineChart({ id: "available", title: "Memory of the machine", says: `MemAvailable went from ${bytesText(first(memAvailable) ?? 0)} to ${bytesText(available ?? 0)}${share}.`, range, marks, unit: "bytes", lines: [{ name: "MemAvailable", track: memAvailable }, ...swap], levels: total === undefined ? [] : [{ name: `MemTotal ${bytesText(total)}`, value: total }] })}
    ${
      psiSome.times.length === 0
        ? html`<p>Pressure (PSI) was not measured: the kernel does not tell it here.</p>`
        : lineChart({
            id: "pressure",
            title: "Memory pressure of the machine (PSI, avg10)",
            says: `The share of time in which some task, and in which all tasks, waited for memory. The most was ${highest(psiSome).toFixed(1)} % and ${highest(psiFull).toFixed(1)} %.`,
            range,
            marks,
            unit: "percent",
            lines: [
              { name: "some: at least one task waits", track: psiSome },
              { name: "full: all tasks wait", track: psiFull },
            ],
          })
    }
    ${neighbours(readings.neighbours)}
  </section>`;
}

function neighbours(seen: Material["readings"]["neighbours"]): Markup {
  if (seen === undefined || seen.top.length === 0) return NOTHING;
  return html`<details>
    <summary>Who else holds memory on the machine</summary>
    <table>
      <caption>
        The largest cgroups of the machine at the end
      </caption>
      <thead>
        <tr>
          <th scope="col">cgroup</th>
          <th scope="col" class="n">usage</th>
          <th scope="col" class="n">anon</th>
          <th scope="col" class="n">file</th>
        </tr>
      </thead>
      <tbody>
        ${seen.top.slice(0, MAX_NEIGHBOURS).map(
          ({ name, usageBytes, kinds }) =>
            html`<tr>
              <th scope="row">${nameText(name, 128)}</th>
              <td class="n">${bytesText(usageBytes)}</td>
              <td class="n">${kinds.anon === undefined ? "–" : bytesText(kinds.anon)}</td>
              <td class="n">${kinds.file === undefined ? "–" : bytesText(kinds.file)}</td>
            </tr>`,
        )}
      </tbody>
    </table>
  </details>`;
}

export function processSection({ readings, marks, finding }: Material, range: Range): Markup {
  const grown = ({ pss, rss }: ProcessReadings): number => {
    const track = pss.times.length > 1 ? pss : rss;
    return (last(track) ?? 0) - (first(track) ?? 0);
  };
  const ranked = readings.processes.toSorted(
    (a, b) => grown(b) - grown(a) || highest(b.rss) - highest(a.rss) || a.pid - b.pid,
  );
  const shown = ranked.slice(0, MAX_PROCESSES);
  const most = Math.max(0, ...shown.flatMap(({ pss, uss, rss }) => [highest(pss), highest(uss), highest(rss)]));
  const omitted = ranked.length - shown.length + readings.processesOmitted;
  const withoutPss = shown.every(({ pss }) => pss.times.length === 0);
  return html`<section aria-labelledby="processes">
    <h2 id="processes">Which process grows?</h2>
    <p class="note">
      Pss counts a shared page in parts, Uss only pages that nobody shares.
      ${withoutPss ? "Neither could be read here, so Rss is drawn, which counts shared pages in each process." : "All pictures have one scale."}
      A line ends where its process ended.
    </p>
    ${shown.length === 0 ? html`<p>No process was measured.</p>` : NOTHING}
    <div class="multiples">
      ${shown.map((process, i) => {
        const { pid, comm, pss, uss, rss, since, until } = process;
        const name = `${nameText(comm)} (pid ${pid})`;
        const lines = withoutPss
          ? [{ name: "Rss", track: rss }]
          : [
              { name: "Pss", track: pss },
              { name: "Uss", track: uss },
              { name: "Rss", track: rss },
            ];
        const life = `${since > 0 ? `, began at ${clock(range, since)}` : ""}${until < readings.end ? `, ended after ${clock(range, until)}` : ""}`;
        const says = `Changed by ${bytesText(grown(process))}${life}.`;
        return html`<div>
          ${lineChart({ id: `process${i}`, title: `${name}${pid === finding.culprit?.process?.pid ? ", named in the finding" : ""}`, says, range, marks: marks.filter(({ kind }) => kind === "Kill"), unit: "bytes", lines, size: SMALL, most: withoutPss ? Math.max(0, ...shown.map((one) => highest(one.rss))) : most })}
        </div>`;
      })}
    </div>
    ${omitted > 0 ? html`<p class="note">${omitted} more processes are not drawn: they grew less, or were beyond what a pack or a page holds.</p>` : NOTHING}
  </section>`;
}
