/** Foreign text can be read on the page, and can do nothing there. */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { escaped, html } from "../../src/report/markup.ts";

test.each([
  ["</script><script>alert(1)</script>", "&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;"],
  [`" onload="alert(1)`, "&quot; onload=&quot;alert(1)"],
  ["' `$&` '", "&#39; &#96;$&amp;&#96; &#39;"],
  ["a\u202eb\u2028c\u0000d", "a\\u{202e}b\\u{2028}c\\u{0}d"],
  ["e\u0301\u0301", "e\\u{301}\\u{301}"],
])("%j is shown as %s", (text, shown) => {
  expect(escaped(text)).toBe(shown);
  expect(html`<p title="${text}">${text}</p>`.text).toBe(`<p title="${shown}">${shown}</p>`);
});

test("whatever the text, it neither opens a tag nor leaves an attribute, and no character is unseen", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      const shown = escaped(text);
      expect(shown).not.toMatch(/[<>"'`\p{C}\p{M}]/u);
      expect(shown.replaceAll(/&(?:amp|lt|gt|quot|#39|#96);/g, "")).not.toContain("&");
    }),
  );
});

test("text of megabytes is cut", () => {
  expect(escaped("x".repeat(1e6)).length).toBe(2000);
});

test("markup stays what it is, lists are joined, and what is not there is nothing", () => {
  const item = html`<li>1</li>`;
  expect(html`<p>${["<", item, undefined, 2]}</p>`.text).toBe("<p>&lt;<li>1</li>2</p>");
});

test("an object that looks like markup is none", () => {
  const forged = JSON.parse(`{"text":"<script>"}`) as never;
  expect(() => html`${forged}`.text).toThrow(TypeError);
});
