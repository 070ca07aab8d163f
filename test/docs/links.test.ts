/** Does every link between the pages of this repository lead somewhere, and does every heading that one names exist? */
import { existsSync, globSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "..", "..");
const PAGES = globSync("**/*.md", {
  cwd: ROOT,
  exclude: (name) => /(^|\/)(node_modules|build|dist|\.git)(\/|$)/.test(name),
});

/** The anchors of a page, as GitHub makes them from its headings. */
function anchors(text: string): Set<string> {
  const headings = text.replace(/^```.*?^```/gms, "").matchAll(/^#+ (.+)$/gm);
  return new Set(
    [...headings].map(([, title = ""]) =>
      title
        .replace(/\[([^\]]*)\]\([^)]*\)/g, "$1")
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\- _]/gu, "")
        .replaceAll(" ", "-"),
    ),
  );
}

/** What a page links to within the repository. */
function links(page: string): string[] {
  const text = readFileSync(join(ROOT, page), "utf8").replace(/^```.*?^```/gms, "");
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, to = ""]) => to).filter((to) => !/^[a-z]+:/.test(to));
}

function broken(page: string): string[] {
  return links(page).filter((to) => {
    const [path = "", anchor] = to.split("#");
    const file = path === "" ? join(ROOT, page) : join(ROOT, dirname(page), path);
    if (!existsSync(file)) return true;
    return anchor !== undefined && statSync(file).isFile() && !anchors(readFileSync(file, "utf8")).has(anchor);
  });
}

test.each(PAGES)("every link of %s leads somewhere", (page) => {
  expect(broken(page)).toEqual([]);
});

test("every page of docs can be reached from the README", () => {
  const seen = new Set<string>();
  const queue = ["README.md"];
  for (let page = queue.pop(); page !== undefined; page = queue.pop()) {
    if (seen.has(page)) continue;
    seen.add(page);
    for (const to of links(page)) {
      const file = join(dirname(page), (to.split("#")[0] ?? "") || page);
      const found = relative(ROOT, join(ROOT, file));
      if (PAGES.includes(found)) queue.push(found);
    }
  }
  // A decision is reached from its folder.
  expect(PAGES.filter((p) => p.startsWith("docs/") && !p.startsWith("docs/decisions/") && !seen.has(p))).toEqual([]);
});
