/** What did the kernel report? Each kill that it wrote down, with who held memory at that moment. */
import { momentText } from "./axis.ts";
import { bytesText, nameText } from "../diagnosis/words.ts";
import { html, type Markup, NOTHING } from "./markup.ts";
import type { Material } from "./material.ts";

const MAX_REPORTS = 20;
const MAX_TASKS = 12;

/** Kills that the operator's ledger or the kernel tells of, and where neither does, those that the counters show. */
export function killsOf({ context, oomReports, readings }: Material): number {
  const counted = readings.containers.flatMap(({ kills }) => kills).reduce((sum, { count }) => sum + count, 0);
  return Math.max(context?.kills.length ?? 0, oomReports?.reports.length ?? 0, counted);
}

export function kernelSection({ oomReports }: Material): Markup {
  const reports = oomReports?.reports ?? [];
  if (reports.length === 0) return NOTHING;
  const shown = reports.slice(-MAX_REPORTS);
  return html`<section aria-labelledby="kernel">
    <h2 id="kernel">What did the kernel report?</h2>
    ${shown.length < reports.length ? html`<p class="note">The newest ${shown.length} of ${reports.length} reports.</p>` : NOTHING}
    ${shown.map(report)} ${oomReports?.notes.slice(0, 20).map((note) => html`<p class="note">${note}</p>`)}
  </section>`;
}

type Report = NonNullable<Material["oomReports"]>["reports"][number];

function report(one: Report): Markup {
  const { victim, time, limitBytes, usageBytes, userPlace, tasks } = one;
  const tasksShown = tasks.toSorted((a, b) => b.rssBytes - a.rssBytes).slice(0, MAX_TASKS);
  const omitted = one.tasksOmitted + tasks.length - tasksShown.length;
  const size = (bytes: number | undefined): string => (bytes === undefined ? "–" : bytesText(bytes));
  const who = victim === undefined ? "a process" : `${nameText(victim.comm)} (pid ${victim.pid})`;
  const place =
    userPlace === undefined
      ? undefined
      : [userPlace.function, userPlace.library].filter((name) => name !== undefined).join(" of ");
  const facts: readonly (readonly [string, string | undefined])[] = [
    ["Limit", one.global ? "none: the machine was out of memory" : size(limitBytes)],
    ["Usage", size(usageBytes)],
    ["Anonymous memory of the victim", victim?.anonRssBytes === undefined ? undefined : size(victim.anonRssBytes)],
    ["Whose limit", one.oomMemcg],
    ["The limit was hit in", place === "" ? undefined : place],
  ];
  return html`<h3>
      ${time === undefined ? `${Math.round(one.bootMs / 1000)} s after boot` : momentText(Date.parse(time))}: ${who} was
      killed
    </h3>
    <dl class="facts">
      ${facts.map(([name, value]) =>
        value === undefined
          ? NOTHING
          : html`<div>
              <dt>${name}</dt>
              <dd>${value}</dd>
            </div>`,
      )}
    </dl>
    ${
      tasksShown.length === 0
        ? NOTHING
        : html`<details>
            <summary>Who held memory then</summary>
            <table>
              <caption>
                Tasks in the kernel's report${omitted > 0 ? `, ${omitted} more are not shown` : ""}
              </caption>
              <thead>
                <tr>
                  <th scope="col" class="n">pid</th>
                  <th scope="col">process</th>
                  <th scope="col" class="n">Rss</th>
                  <th scope="col" class="n">anon</th>
                  <th scope="col" class="n">swap</th>
                  <th scope="col" class="n">oom_score_adj</th>
                </tr>
              </thead>
              <tbody>
                ${tasksShown.map(
                  (task) =>
                    html`<tr>
                      <td class="n">${task.pid}</td>
                      <th scope="row">${nameText(task.comm)}</th>
                      <td class="n">${bytesText(task.rssBytes)}</td>
                      <td class="n">${size(task.rssAnonBytes)}</td>
                      <td class="n">${size(task.swapBytes)}</td>
                      <td class="n">${task.oomScoreAdj}</td>
                    </tr>`,
                )}
              </tbody>
            </table>
          </details>`
    }`;
}
