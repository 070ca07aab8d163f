/**
 * The report of a pack as one HTML file: a pure function of what the pack holds. It asks no network for anything, and its policy forbids that to
 * whatever might have slipped in; only the one style and the one script of this folder run, by their checksums.
 */
import { createHash } from "node:crypto";
import { evidenceSection, limitsSection, originSection } from "./evidencesection.ts";
import { kernelSection } from "./kernelsection.ts";
import { mappingSection } from "./mappingsection.ts";
import { html, Markup } from "./markup.ts";
import type { Material } from "./material.ts";
import { machineSection, processSection, rangeOf, timelineSection } from "./memorysections.ts";
import { profileSection } from "./profilesection.ts";
import { SCRIPT } from "./script.ts";
import { STYLE } from "./style.ts";
import { headlineOf, subjectOf, summarySection } from "./summary.ts";

/** The same material gives the same bytes: no clock is read here. */
export function reportPage(material: Material): string {
  const range = rangeOf(material);
  const subject = subjectOf(material);
  const title = `${headlineOf(material)}: ${subject}`;
  const policy = `default-src 'none'; img-src data:; style-src '${checksum(STYLE)}'; script-src '${checksum(SCRIPT)}'; base-uri 'none'; form-action 'none'`;
  const sections = [
    summarySection(material),
    timelineSection(material, range),
    processSection(material, range),
    mappingSection(material),
    profileSection(material),
    evidenceSection(material),
    machineSection(material, range),
    kernelSection(material),
    limitsSection(material),
    originSection(material),
  ];
  const page = html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta http-equiv="Content-Security-Policy" content="${new Markup(policy)}" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <meta name="referrer" content="no-referrer" />
        <link rel="icon" href="data:," />
        <title>${title}</title>
        ${new Markup(`<style>${STYLE}</style>`)}
      </head>
      <body>
        <a class="skip" href="#summary">To the summary</a>
        <header>
          <p>oomscope memory report</p>
          <h1>${subject}</h1>
          ${contents(sections)}
        </header>
        <main>${sections}</main>
        <footer>
          <p>
            Made from an evidence pack; the same pack gives the same page. Times are UTC by the machine's own clock,
            sizes in powers of 1024.
          </p>
        </footer>
        ${new Markup(`<script>${SCRIPT}</script>`)}
      </body>
    </html> `;
  return page.text;
}

/** Links to the sections that are there, by their own headings. */
function contents(sections: readonly Markup[]): Markup {
  const headings = sections.flatMap(({ text }) => {
    const [, id, words] = /<h2 id="([a-z]+)">([^<]*)<\/h2>/.exec(text) ?? [];
    return id === undefined || words === undefined ? [] : [{ id, words }];
  });
  return html`<nav aria-label="Contents">
    <ul>
      ${headings.map(({ id, words }) => html`<li><a href="#${id}">${words}</a></li>`)}
    </ul>
  </nav>`;
}

function checksum(text: string): string {
  return `sha256-${createHash("sha256").update(text).digest("base64")}`;
}
