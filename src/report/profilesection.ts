/** Whose code is it? A flame graph for each profile, whether its stacks may be believed, and the heaviest places as a table. */
import { partFileName } from "../api/collection.ts";
import { BELIEF_TEXT, beliefOf } from "../api/profile.ts";
import { nameText, secondsText } from "../diagnosis/words.ts";
import { flameGraph } from "./flamegraph.ts";
import { html, type Markup, NOTHING } from "./markup.ts";
import type { Material, ReportProfile } from "./material.ts";

export function profileSection(material: Material): Markup {
  const { profiles, profilesOmitted } = material;
  // Who makes memory resident is the question; who is busy is another.
  const ordered = profiles.toSorted((a, b) => Number(b.about.kind === "Growth") - Number(a.about.kind === "Growth"));
  return html`<section aria-labelledby="code">
    <h2 id="code">Whose code is it?</h2>
    ${ordered.length === 0 ? html`<p>No profile was taken, so no code can be named. A collection with a profile answers this.</p>` : NOTHING}
    ${ordered.map((profile, i) => profileMarkup(profile, i, material))}
    ${profilesOmitted > 0 ? html`<p class="note">${profilesOmitted} more profiles are in the pack and not on this page.</p>` : NOTHING}
  </section>`;
}

function profileMarkup(profile: ReportProfile, i: number, { finding }: Material): Markup {
  const { about, tree, index } = profile;
  const growth = about.kind === "Growth";
  const title = growth ? "Who makes memory resident: page faults by stack" : "Who is busy: time on a CPU by stack";
  const says = growth
    ? "Width is the share of page faults: of memory that was touched for the first time. Callers stand above what they call."
    : "Width is the share of time on a CPU. Who is busy need not be who allocates. Callers stand above what they call.";
  const weightText = (weight: number): string =>
    about.unit === "faults" ? `${weight} page faults` : `${Math.round(weight / 1e4) / 100} s`;
  const graph =
    tree.total === 0
      ? undefined
      : flameGraph({
          id: `flame${i}`,
          title,
          says,
          root: tree,
          weightText,
          culprit: growth ? finding.culprit : undefined,
        });
  return html`<h3>${growth ? "Growth" : "CPU"}</h3>
    <p>${says}</p>
    ${about.efficiency === undefined ? NOTHING : html`<p><strong>May it be believed?</strong> ${efficiencyText(about.efficiency)}</p>`}
    ${graph === undefined ? html`<p>It has no samples.</p>` : graph.markup}
    ${graph !== undefined && graph.omitted > 0 ? html`<p class="note">${graph.omitted} boxes of less than a thousandth, or beyond what a page holds, are not drawn.</p>` : NOTHING}
    ${owners(profile, weightText)}
    <p class="note">
      ${about.samples} samples in ${secondsText(about.durationMs / 1000)} (${about.event}, unwound by
      ${about.unwinding === "dwarf" ? "unwind tables" : "frame pointers"}); ${about.lost} lost, ${about.unsymbolised}
      without a name, ${about.samplesOmitted} left out${about.truncated ? "; it was cut at its largest size" : ""}. In
      the pack: ${partFileName("profile", index)}.
    </p>
    ${about.notes.slice(0, 10).map((note) => html`<p class="note">${note}</p>`)}`;
}

/** Worked out again: what a pack says of itself is no proof. */
function efficiencyText({ anonPages, faults }: NonNullable<ReportProfile["about"]["efficiency"]>): string {
  const text = BELIEF_TEXT[beliefOf(anonPages, faults)];
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)} (${anonPages} pages stayed, of ${faults} page faults).`;
}

function owners({ owners: rows }: ReportProfile, weightText: (weight: number) => string): Markup {
  if (rows.length === 0) return html`<p>No place with a name owns any of it.</p>`;
  return html`<details>
    <summary>The heaviest places</summary>
    <table>
      <caption>
        By owner: the innermost place that is no allocator, libc or runtime
      </caption>
      <thead>
        <tr>
          <th scope="col" class="n">share</th>
          <th scope="col">function</th>
          <th scope="col">library</th>
          <th scope="col">called by</th>
          <th scope="col" class="n">weight</th>
          <th scope="col" class="n">samples</th>
        </tr>
      </thead>
      <tbody>
        ${rows.map(
          (row) =>
            html`<tr>
              <td class="n">${row.percent} %</td>
              <th scope="row">
                ${row.function === undefined ? "a place without a name" : nameText(row.function, 160)}${row.claimed === true ? " (claimed)" : ""}
              </th>
              <td>${nameText(row.library ?? "", 80)}</td>
              <td>${nameText(row.caller ?? "", 160)}</td>
              <td class="n">${weightText(row.weight)}</td>
              <td class="n">${row.samples}</td>
            </tr>`,
        )}
      </tbody>
    </table>
  </details>`;
}
