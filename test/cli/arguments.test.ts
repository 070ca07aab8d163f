import { describe, expect, test } from "vitest";
import {
  type CommandSpec,
  durationOf,
  helpText,
  nearest,
  outputOf,
  parse,
  UsageError,
} from "../../src/cli/arguments.ts";

const spec: CommandSpec = {
  name: "try",
  summary: "Try",
  usage: "PACK [options]",
  about: "Tries something.",
  operands: ["PACK"],
  options: {
    pid: { value: "N", help: "A process." },
    duration: { value: "2m", help: "How long." },
    output: { value: "text|json", help: "How." },
    profile: { help: "With a profile." },
  },
  examples: [["oomscope try PACK", "One."]],
};

/** The sentence of the refusal. */
function refusal(...words: string[]): string {
  try {
    parse(spec, words);
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
  return "accepted";
}

test("one letter after one dash, where the option has one", () => {
  const options = {
    namespace: { value: "NAME", short: "n", help: "Where." },
    output: { value: "json", short: "o", help: "How." },
    "all-namespaces": { short: "A", help: "All." },
  };
  const given = parse({ ...spec, options }, ["-n", "media", "a-pack", "-o=json", "-A"]);
  expect([given.text("namespace"), given.text("output"), given.has("all-namespaces")]).toEqual(["media", "json", true]);
  expect(parse({ ...spec, options }, ["a-pack", "-nmedia"]).text("namespace")).toBe("media");
  expect(() => parse({ ...spec, options }, ["a-pack", "-n"])).toThrow("--namespace needs a value");
  expect(() => parse({ ...spec, options }, ["a-pack", "-x"])).toThrow("has no option -x");
  expect(helpText({ ...spec, options })).toContain("-A, --all-namespaces");
});

test("options and operands in any order, with a blank or an equals sign", () => {
  const given = parse(spec, ["--pid", "7", "a-pack", "--duration=5s", "--profile"]);
  expect(given.text("pid")).toBe("7");
  expect(given.text("duration")).toBe("5s");
  expect(given.has("profile")).toBe(true);
  expect(given.has("help")).toBe(false);
  expect(given.operands).toEqual(["a-pack"]);
});

test("after two dashes everything is an operand", () => {
  expect(parse(spec, ["--", "--pid"]).operands).toEqual(["--pid"]);
});

test.each([
  [["x", "--pidd", "7"], "oomscope try has no option --pidd; did you mean --pid? (oomscope try --help lists them)"],
  [["x", "--dur", "5s"], "oomscope try has no option --dur; did you mean --duration? (oomscope try --help lists them)"],
  [["x", "--frobnicate"], "oomscope try has no option --frobnicate (oomscope try --help lists them)"],
  [["x", "-q"], "oomscope try has no option -q (oomscope try --help lists them)"],
  [["x", "--__proto__"], "oomscope try has no option --__proto__ (oomscope try --help lists them)"],
  [["x", "--pid"], "--pid needs a value: --pid N"],
  [["x", "--pid="], "--pid needs a value: --pid N"],
  [["x", "--pid", "--duration", "5s"], "--pid needs a value: --pid N"],
  [["x", "--pid", "1", "--pid", "2"], "--pid is given twice; give it once"],
  [["x", "--profile=yes"], "--profile takes no value"],
  [[], "oomscope try needs PACK: oomscope try PACK"],
  [["a", "b"], '"b" is one argument too many for oomscope try (oomscope try --help)'],
  [["x", "--\u001b[31mred"], "oomscope try has no option --\\u{1b}[31mred (oomscope try --help lists them)"],
])("%j is refused with what to write instead", (words, sentence) => {
  expect(refusal(...words)).toBe(sentence);
});

test("whoever asks for help needs no operand", () => {
  expect(parse(spec, ["--help"]).has("help")).toBe(true);
  expect(parse(spec, ["-h"]).has("help")).toBe(true);
});

describe("durations", () => {
  const bounds = { least: "1s", most: "24h" };
  const of = (text: string): number => durationOf(parse(spec, ["x", "--duration", text]), "duration", "2m", bounds);
  test("in seconds, minutes and hours, and the default", () => {
    expect([of("5s"), of("2m"), of("1h30m")]).toEqual([5_000, 120_000, 5_400_000]);
    expect(durationOf(parse(spec, ["x"]), "duration", "2m", bounds)).toBe(120_000);
  });
  test.each(["5", "5 s", "five", "-5s", "5ms"])("%s is none", (text) => {
    expect(() => of(text)).toThrow(/is not a duration: write one such as 5s, 2m or 1h30m/);
  });
  test.each(["0s", "25h"])("%s is out of bounds", (text) => {
    expect(() => of(text)).toThrow("is out of bounds: at least 1s, at most 24h");
  });
});

test("the output is text or json, and nothing else", () => {
  expect(outputOf(parse(spec, ["x"]))).toBe("text");
  expect(outputOf(parse(spec, ["x", "--output", "json"]))).toBe("json");
  expect(() => outputOf(parse(spec, ["x", "--output", "yaml"]))).toThrow("write --output text or --output json");
});

test("the nearest word: a letter wrong, two swapped, the beginning; otherwise none", () => {
  const words = ["collect", "analyze", "scene", "version"];
  expect(["colect", "anaylze", "sc", "analyse"].map((word) => nearest(word, words))).toEqual([
    "collect",
    "analyze",
    "scene",
    "analyze",
  ]);
  expect(["", "xyz", "delete"].map((word) => nearest(word, words))).toEqual([undefined, undefined, undefined]);
});

test("help names every option, and stays within 80 columns", () => {
  const text = helpText(spec);
  expect(text).toMatchInlineSnapshot(`
    "Usage: oomscope try PACK [options]

    Tries something.

    Options:
      --pid N             A process.
      --duration 2m       How long.
      --output text|json  How.
      --profile           With a profile.
      --help              Show this.
      --no-color          No colours; also with NO_COLOR in the environment, and
                          where the output is no terminal.

    Examples:
      oomscope try PACK
          One.
    "
  `);
  expect(Math.max(...text.split("\n").map((line) => line.length))).toBeLessThanOrEqual(80);
});
