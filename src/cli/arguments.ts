/**
 * What was asked for on the command line? Strict: what is not known is an error with the nearest known word, never ignored. One table describes
 * a command for the parser and for its help.
 */
import { parseArgs } from "node:util";
import { durationMs } from "../api/fields.ts";
import { shown } from "./text.ts";

/** Thrown for a call that cannot be meant; the message says what to write instead. Exit code 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

export interface OptionSpec {
  /** What stands for the value in the help, such as `PATH`; absent: a switch without a value. */
  readonly value?: string;
  /** One letter that means the same after one dash, as kubectl has them. */
  readonly short?: string;
  readonly help: string;
}

export interface CommandSpec {
  readonly name: string;
  /** One line for the list of commands. */
  readonly summary: string;
  /** What follows the command's name, such as `PACK [--output text|json]`. */
  readonly usage: string;
  /** What it does and when it helps. */
  readonly about: string;
  readonly options: Readonly<Record<string, OptionSpec>>;
  /** Names of the arguments that are no options; all are needed, unless they stand in brackets. */
  readonly operands?: readonly string[];
  readonly examples: readonly (readonly [command: string, meaning: string])[];
}

export interface Given {
  /** The value of an option, or undefined. */
  text(name: string): string | undefined;
  has(name: string): boolean;
  readonly operands: readonly string[];
}

/** Options that every command has. */
export const COMMON: Readonly<Record<string, OptionSpec>> = {
  help: { help: "Show this." },
  "no-color": { help: "No colours; also with NO_COLOR in the environment, and where the output is no terminal." },
};
export const OUTPUT: OptionSpec = { value: "text|json", help: "How to print: text (the default) or json." };

/** Throws {@link UsageError}. */
export function parse(spec: CommandSpec, words: readonly string[]): Given {
  const known = { ...spec.options, ...COMMON };
  const options = Object.fromEntries(
    Object.entries(known).map(([name, { value, short }]) => [
      name,
      {
        type: value === undefined ? ("boolean" as const) : ("string" as const),
        ...(short === undefined ? {} : { short }),
      },
    ]),
  );
  const { tokens } = parseArgs({
    args: [...words].map((word) => (word === "-h" ? "--help" : word)),
    options,
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const texts = new Map<string, string>();
  const switches = new Set<string>();
  const operands: string[] = [];
  for (const token of tokens) {
    if (token.kind === "positional") operands.push(token.value);
    if (token.kind !== "option") continue;
    const option = Object.hasOwn(known, token.name) ? known[token.name] : undefined;
    if (option === undefined) throw unknownOption(spec, token.rawName, Object.keys(known));
    if (texts.has(token.name) || switches.has(token.name))
      throw new UsageError(`--${token.name} is given twice; give it once`);
    if (option.value === undefined) {
      if (token.value !== undefined) throw new UsageError(`--${token.name} takes no value`);
      switches.add(token.name);
      continue;
    }
    // `--pid --duration 5s`: the next option is not meant as the value of this one.
    if (token.value === undefined || token.value === "" || (!token.inlineValue && token.value.startsWith("--")))
      throw new UsageError(`--${token.name} needs a value: --${token.name} ${option.value}`);
    // `-o=json`, as kubectl takes it too.
    const shortForm = !token.rawName.startsWith("--") && token.inlineValue;
    texts.set(token.name, shortForm ? token.value.replace(/^=/, "") : token.value);
  }
  if (!switches.has("help")) checkOperands(spec, operands);
  return {
    text: (name) => texts.get(name),
    has: (name) => switches.has(name) || texts.has(name),
    operands,
  };
}

function unknownOption(spec: CommandSpec, rawName: string, names: readonly string[]): UsageError {
  const near = nearest(rawName.replace(/^-+/, ""), names);
  const meant = near === undefined ? "" : `; did you mean --${near}?`;
  return new UsageError(
    `oomscope ${spec.name} has no option ${shown(rawName)}${meant} (oomscope ${spec.name} --help lists them)`,
  );
}

function checkOperands({ name, operands: wanted = [] }: CommandSpec, given: readonly string[]): void {
  const missing = wanted[given.length];
  if (missing !== undefined && !missing.startsWith("["))
    throw new UsageError(`oomscope ${name} needs ${missing}: oomscope ${name} ${wanted.join(" ")}`);
  const extra = given[wanted.length];
  if (extra !== undefined)
    throw new UsageError(`"${shown(extra)}" is one argument too many for oomscope ${name} (oomscope ${name} --help)`);
}

/** text or json. */
export function outputOf(given: Given): "text" | "json" {
  const asked = given.text("output") ?? "text";
  if (asked !== "text" && asked !== "json")
    throw new UsageError(`--output ${shown(asked)} is not known: write --output text or --output json`);
  return asked;
}

/** Milliseconds of an option such as `--interval 5s`, within bounds. */
export function durationOf(
  given: Given,
  name: string,
  fallback: string,
  { least, most }: { readonly least: string; readonly most: string },
): number {
  const text = given.text(name) ?? fallback;
  try {
    const ms = durationMs(text);
    if (ms >= durationMs(least) && ms <= durationMs(most)) return ms;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new UsageError(`--${name} ${shown(text)} is not a duration: write one such as 5s, 2m or 1h30m`);
  }
  throw new UsageError(`--${name} ${shown(text)} is out of bounds: at least ${least}, at most ${most}`);
}

/** The known word that is most like this one, or undefined when none is. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const ranked = known
    .map((name) => ({ name, distance: name.startsWith(word) && word !== "" ? 0 : distance(word, name) }))
    .toSorted((a, b) => a.distance - b.distance);
  const best = ranked[0];
  return best !== undefined && best.distance <= Math.max(1, Math.floor(word.length / 3)) ? best.name : undefined;
}

/** How many letters must be added, taken away, changed or swapped with the next (Damerau-Levenshtein, restricted). */
function distance(a: string, b: string): number {
  const [from, to] = [a.slice(0, 40), b.slice(0, 40)];
  const rows: number[][] = [Array.from({ length: to.length + 1 }, (_, j) => j)];
  const at = (i: number, j: number): number => rows[i]?.[j] ?? Number.POSITIVE_INFINITY;
  for (let i = 1; i <= from.length; i++) {
    const row = [i];
    rows.push(row);
    for (let j = 1; j <= to.length; j++) {
      const same = from[i - 1] === to[j - 1] ? 0 : 1;
      const swapped = i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1];
      row.push(
        Math.min(at(i - 1, j) + 1, at(i, j - 1) + 1, at(i - 1, j - 1) + same, swapped ? at(i - 2, j - 2) + 1 : 99),
      );
    }
  }
  return at(from.length, to.length);
}

const HELP_WIDTH = 80;

/** The help of one command, no wider than 80 columns where its words allow it. */
export function helpText(spec: CommandSpec): string {
  const [usage = "", ...more] = wrap(`Usage: oomscope ${spec.name} ${spec.usage}`, HELP_WIDTH - 2);
  const lines = [usage, ...more.map((line) => `  ${line}`), "", ...wrap(spec.about, HELP_WIDTH)];
  const options = Object.entries({ ...spec.options, ...COMMON }).map(
    ([name, { value, short, help }]) =>
      [`${short === undefined ? "" : `-${short}, `}--${name}${value === undefined ? "" : ` ${value}`}`, help] as const,
  );
  lines.push("", "Options:", ...columns(options));
  lines.push("", "Examples:");
  for (const [command, meaning] of spec.examples)
    lines.push(`  ${command}`, ...wrap(meaning, HELP_WIDTH - 6).map((l) => `      ${l}`));
  return `${lines.join("\n")}\n`;
}

/** Two columns: a term, and what it means. */
export function columns(rows: readonly (readonly [string, string])[]): string[] {
  const width = Math.min(24, Math.max(...rows.map(([term]) => term.length)));
  return rows.flatMap(([term, meaning]) => {
    const text = wrap(meaning, HELP_WIDTH - width - 4);
    const first = `  ${term.padEnd(width)}  ${term.length > width ? "" : (text[0] ?? "")}`.trimEnd();
    const rest = term.length > width ? text : text.slice(1);
    return [first, ...rest.map((line) => `${" ".repeat(width + 4)}${line}`)];
  });
}

/** Breaks text at blanks. A word that is longer than a line stays whole. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(/\s+/).filter((word) => word !== "")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return line === "" ? lines : [...lines, line];
}
