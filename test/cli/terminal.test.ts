import { PassThrough } from "node:stream";
import { expect, test } from "vitest";
import { createTerminal, picture, type Terminal } from "../../src/cli/terminal.ts";

const LINES = [{ text: "title", style: "bold" }, { text: "plain" }] as const;

interface Setup {
  readonly terminal: Terminal;
  readonly written: () => string;
  readonly stream: PassThrough;
}

function setup(isTTY: boolean, environment: Record<string, string> = {}, plain = false): Setup {
  const stream = new PassThrough();
  let text = "";
  stream.on("data", (chunk: Buffer) => (text += chunk.toString()));
  const stderr = Object.assign(stream, { isTTY, columns: 100, rows: 30 }) as unknown as NodeJS.WriteStream;
  const stdout = new PassThrough() as unknown as NodeJS.WriteStream;
  return { terminal: createTerminal({ stdout, stderr, environment, plain }), written: () => text, stream };
}

test("a pipe is no place for pictures, and neither is a dumb terminal", () => {
  expect(setup(false).terminal.live).toBe(false);
  expect(setup(true, { TERM: "dumb" }).terminal.live).toBe(false);
  expect(setup(true, { TERM: "xterm" }).terminal.live).toBe(true);
});

test("a line that goes on is written in place on a terminal, cut to its width, and nowhere else", () => {
  const { terminal, written } = setup(true);
  terminal.transient("x".repeat(200));
  terminal.transient("");
  expect(written()).toBe(`\r${"x".repeat(99)}\u001b[K\r\u001b[K`);
  for (const pipe of [setup(false), setup(true, { TERM: "dumb" })]) {
    pipe.terminal.transient("x");
    expect(pipe.written()).toBe("");
  }
});

test.each([
  ["on a terminal", {}, false, true],
  ["with NO_COLOR", { NO_COLOR: "1" }, false, false],
  ["with an empty NO_COLOR", { NO_COLOR: "" }, false, true],
  ["with --no-color", {}, true, false],
])("colours %s", (_name, environment, plain, colored) => {
  const { terminal, written } = setup(true, environment, plain);
  const screen = terminal.openScreen();
  screen.draw(LINES);
  screen.close();
  expect(written().includes("\u001b[1mtitle\u001b[0m")).toBe(colored);
  expect(written()).toContain("title");
});

test("a picture overwrites the one before without clearing the screen first", () => {
  expect(picture(LINES, false)).toBe("\u001b[?2026h\u001b[Htitle\u001b[K\r\nplain\u001b[K\u001b[J\u001b[?2026l");
});

test("the terminal is left as it was found, once, and nothing is drawn on it afterwards", () => {
  const { terminal, written, stream } = setup(true);
  const screen = terminal.openScreen();
  expect(screen.size()).toEqual({ columns: 100, rows: 30 });
  let resized = 0;
  screen.onResize(() => (resized += 1));
  stream.emit("resize");
  screen.close();
  screen.close();
  screen.draw(LINES);
  stream.emit("resize");
  expect(resized).toBe(1);
  expect(written()).toBe("\u001b[?1049h\u001b[?25l\u001b[?7l\u001b[?7h\u001b[?25h\u001b[?1049l");
});
