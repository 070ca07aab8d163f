/**
 * Where do words go? Results to standard output; everything told beside them to standard error, with a picture that is redrawn in place where
 * that is a terminal. A pipe never gets an escape sequence.
 */
import type { WriteStream } from "node:tty";
import type { FrameLine } from "./progress.ts";

export interface Terminal {
  /** Results. */
  print(text: string): void;
  /** What is told beside them. */
  tell(text: string): void;
  /** A line beside the results that the next one overwrites, or "" to take it away; nothing where pictures cannot be drawn. */
  transient(line: string): void;
  /** Whether pictures can be drawn. */
  readonly live: boolean;
  openScreen(): Screen;
}

export interface Screen {
  readonly size: () => { readonly columns: number; readonly rows: number };
  draw(lines: readonly FrameLine[]): void;
  /** Calls back whenever the window gets another size. */
  onResize(fn: () => void): void;
  /** Leaves the terminal as it was found. May be called more than once. */
  close(): void;
}

/** Cursor and terminal control (ECMA-48 and xterm): the alternate screen leaves what was there before untouched, also when the size changes. */
const ESC = "\u001b[";
const ENTER = `${ESC}?1049h${ESC}?25l${ESC}?7l`;
const LEAVE = `${ESC}?7h${ESC}?25h${ESC}?1049l`;
/** Synchronised output: terminals that know it show the whole picture at once; others ignore it. */
const BEGIN = `${ESC}?2026h${ESC}H`;
const END = `${ESC}J${ESC}?2026l`;
const STYLES: Readonly<Record<NonNullable<FrameLine["style"]>, string>> = { bold: "1", dim: "2", warning: "33" };

export interface TerminalOptions {
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** `--no-color` was given. */
  readonly plain: boolean;
}

export function createTerminal({ stdout, stderr, environment, plain }: TerminalOptions): Terminal {
  const isTerminal = stderr.isTTY && environment["TERM"] !== "dumb";
  // https://no-color.org: any value that is not empty.
  const color = isTerminal && !plain && (environment["NO_COLOR"] ?? "") === "";
  return {
    print: (text) => void stdout.write(text),
    tell: (text) => void stderr.write(text),
    transient: (line) =>
      void (isTerminal && stderr.write(`\r${line.slice(0, Math.max(0, (stderr.columns || 80) - 1))}${ESC}K`)),
    live: isTerminal,
    openScreen: () => openScreen(stderr, color),
  };
}

function openScreen(stream: WriteStream, color: boolean): Screen {
  let open = true;
  const resized: (() => void)[] = [];
  const onResize = (): void => {
    for (const fn of resized) fn();
  };
  const close = (): void => {
    if (!open) return;
    open = false;
    stream.off("resize", onResize);
    process.off("exit", close);
    stream.write(LEAVE);
  };
  stream.on("resize", onResize);
  // Also where something throws: a shell without a cursor is a poor thing to come back to.
  process.on("exit", close);
  stream.write(ENTER);
  return {
    size: () => ({ columns: stream.columns || 80, rows: stream.rows || 24 }),
    onResize: (fn) => void resized.push(fn),
    draw: (lines) => {
      if (open) stream.write(picture(lines, color));
    },
    close,
  };
}

/** One picture as what is written: every line is overwritten and its rest cleared, so nothing flickers. */
export function picture(lines: readonly FrameLine[], color: boolean): string {
  const painted = lines.map(({ text, style }) => {
    const shown = color && style !== undefined && text !== "" ? `${ESC}${STYLES[style]}m${text}${ESC}0m` : text;
    return `${shown}${ESC}K`;
  });
  return `${BEGIN}${painted.join("\r\n")}${END}`;
}
