/** The report in a real Chromium: it asks nobody for anything, runs nothing that is not ours, and can be used by everybody. `make test-report` */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import axe from "axe-core";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { openPack } from "../../src/evidence/pack.ts";
import { gather, type Material } from "../../src/report/material.ts";
import { reportPage } from "../../src/report/page.ts";

const FIXTURE = join(import.meta.dirname, "..", "fixtures", "report", "kills.tar.zst");

let browser: Browser;
let folder: string;
let material: Material;
let complaints: string[] = [];
let requests: string[] = [];
let refused: string[] = [];

beforeAll(async () => {
  // Chromium's own sandbox does not start as root.
  browser = await chromium.launch({
    executablePath: process.env["OOMSCOPE_CHROMIUM"] ?? "/usr/bin/chromium",
    args: process.getuid?.() === 0 ? ["--no-sandbox"] : [],
  });
  folder = await mkdtemp(join(tmpdir(), "oomscope-browser-"));
  material = await gather(await openPack(FIXTURE));
});
afterAll(async () => {
  await browser.close();
  await rm(folder, { recursive: true });
});
afterEach(async () => {
  for (const context of browser.contexts()) await context.close();
});

async function opened(text = reportPage(material), options: BrowserContextOptions = {}): Promise<Page> {
  const file = join(folder, "report.html");
  await writeFile(file, text);
  const page = await (await browser.newContext({ viewport: { width: 1100, height: 900 }, ...options })).newPage();
  [complaints, requests, refused] = [[], [], []];
  page.on("console", (message) => complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("requestfailed", (request) => refused.push(`${request.url()} ${request.failure()?.errorText ?? ""}`));
  page.on("request", (request) => requests.push(request.url()));
  await page.goto(pathToFileURL(file).href);
  return page;
}

test("nothing but the file is asked for, and nothing is complained of", async () => {
  const page = await opened();
  await page.waitForLoadState("networkidle");
  expect(requests).toEqual([pathToFileURL(join(folder, "report.html")).href]);
  expect(complaints).toEqual([]);
});

test("a pack of attacks runs nothing and changes nothing", async () => {
  const attack = `</script></title><img src=x onerror="window.owned=1"><svg onload="window.owned=1"><script>window.owned=1</script>`;
  const { finding, marks } = material;
  const page = await opened(
    reportPage({
      ...material,
      problems: [attack],
      marks: marks.map((mark) => ({ ...mark, text: attack })),
      finding: { ...finding, summary: attack, limits: [attack], culprit: { function: attack, library: attack } },
    }),
  );
  expect(await page.evaluate("window.owned")).toBeUndefined();
  expect(await page.locator("img").count()).toBe(0);
  expect(complaints).toEqual([]);
  expect(await page.getByText("window.owned=1").first().isVisible()).toBe(true);
});

test("the policy forbids what might have slipped in", async () => {
  const text = reportPage(material).replace(
    "<main>",
    `<main><script>window.owned=1</script><img src="https://example.com/x.png" onerror="window.owned=1">`,
  );
  const page = await opened(text);
  expect(await page.evaluate("window.owned")).toBeUndefined();
  // Asked for by the page, and refused before it left the browser.
  expect(refused).toEqual(["https://example.com/x.png csp"]);
  expect(complaints.join("\n")).toContain("Content Security Policy");
});

describe.each(["light", "dark"] as const)("%s", (colorScheme) => {
  test("axe finds nothing, all tables open", async () => {
    const page = await opened(undefined, { colorScheme });
    await page.evaluate(`for (const one of document.querySelectorAll("details")) one.open = true`);
    await page.evaluate(axe.source);
    const found = await page.evaluate<{ violations: { id: string; nodes: { html: string }[] }[] }>("axe.run()");
    expect(found.violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html.slice(0, 200)}`)).toEqual([]);
  });
});

test("without script all of it can be read", async () => {
  const page = await opened(undefined, { javaScriptEnabled: false });
  for (const heading of ["What is it?", "When did it happen?", "Whose code is it?"])
    expect(await page.getByRole("heading", { name: heading }).isVisible()).toBe(true);
  expect(await page.getByText("decode_tile", { exact: true }).first().isVisible()).toBe(true);
  expect(await page.getByLabel("Search").first().isVisible()).toBe(false);
});

test("the cursor reads the numbers by the keyboard, on all charts at once", async () => {
  const page = await opened();
  const chart = page.locator("figure.chart").first();
  await chart.locator("svg[role=img]").focus();
  for (let i = 0; i < 3; i++) await page.keyboard.press("ArrowRight");
  const third = await chart.locator("tbody tr").nth(2).locator("td").first().textContent();
  expect(await chart.locator("output").textContent()).toContain(`usage ${third}`);
  expect(await page.locator("figure.chart").nth(9).locator("output").textContent()).toContain("UTC");
});

test("a flame graph zooms, goes back, and tells how much a search found", async () => {
  const page = await opened();
  const flame = page.locator("figure.flame").nth(1);
  const width = async (name: string): Promise<number> =>
    Number(await flame.locator(".box", { hasText: name }).first().locator("rect").getAttribute("width"));
  const before = await width("decode_tile in");
  await flame.locator(".box", { hasText: "serve in" }).first().focus();
  await page.keyboard.press("Enter");
  expect(await width("serve in")).toBe(960);
  expect(await width("decode_tile in")).toBeGreaterThan(before * 2);
  await page.keyboard.press("Escape");
  expect(await width("decode_tile in")).toBeCloseTo(before, 0);
  await flame.getByLabel("Search").fill("libimgdecode");
  expect(await flame.locator("output").textContent()).toMatch(/^\d+(\.\d)? % is in or below what was found$/);
});

test("paper gets light colours and opened tables, and a first paint takes less than a second", async () => {
  const page = await opened(undefined, { colorScheme: "dark" });
  const paint = Number(await page.evaluate(`performance.getEntriesByType("paint").at(-1).startTime`));
  expect(paint).toBeLessThan(1000);
  await page.emulateMedia({ media: "print" });
  expect(await page.evaluate("getComputedStyle(document.body).backgroundColor")).toBe("rgb(255, 255, 255)");
  expect((await page.pdf()).length).toBeGreaterThan(20_000);
});

test("nothing is wider than a narrow window but what scrolls by itself", async () => {
  const page = await opened(undefined, { viewport: { width: 380, height: 800 } });
  expect(await page.evaluate("document.documentElement.scrollWidth")).toBeLessThanOrEqual(380);
});
