/** From words to a command: which one is meant, signals, and an exit code that says how it ended. */
import { readFileSync } from "node:fs";
import { codeOf } from "../collector/hostfiles.ts";
import { systemClock, systemRandom } from "../seams.ts";
import { columns, helpText, nearest, parse, UsageError } from "./arguments.ts";
import { EXIT, Failed, type Command, type World } from "./command.ts";
import { COMMANDS } from "./commands.ts";
import { NoTarget } from "./target.ts";
import { createTerminal, type Terminal } from "./terminal.ts";
import { shown } from "./text.ts";

const version = (
  JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as { version: string }
).version;

/** Runs one command line of this process to its exit code. Never rejects. */
export async function runCommandLine(
  words: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): Promise<number> {
  const { stdout, stderr } = process;
  const terminal = createTerminal({ stdout, stderr, environment, plain: words.includes("--no-color") });
  for (const stream of [stdout, stderr])
    // Whoever reads has enough, as `head` does.
    stream.on("error", (error) => process.exit(codeOf(error) === "EPIPE" ? EXIT.done : EXIT.failed));
  const onStop = listenForStops();
  try {
    const [name = "help", ...rest] = words;
    if (["help", "--help", "-h"].includes(name)) return help(terminal, rest[0]);
    if (["version", "--version"].includes(name)) {
      terminal.print(`oomscope ${version} (Node.js ${process.versions.node}, ${process.platform} ${process.arch})\n`);
      return EXIT.done;
    }
    const world: World = {
      roots: { proc: "/proc", cgroup: "/sys/fs/cgroup", kmsg: "/dev/kmsg" },
      terminal,
      clock: systemClock,
      random: systemRandom,
      version,
      onStop,
    };
    if (name === "__complete") {
      await (await import("./complete.ts")).complete(rest, world);
      return EXIT.done;
    }
    const command = commandOf(name);
    const given = parse(command.spec, rest);
    if (given.has("help")) return help(terminal, command.spec.name);
    return await command.run(given, world);
  } catch (error) {
    return explain(terminal, error);
  }
}

/** The first signal is for the command, if it wants to know; the second, or one that nobody waits for, ends the process. */
function listenForStops(): World["onStop"] {
  let stopped = false;
  const stops: ((signal: string) => void)[] = [];
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
    process.on(name, () => {
      // As the shell tells of a process that a signal has ended.
      if (stopped || stops.length === 0) process.exit(130);
      stopped = true;
      for (const fn of stops) fn(name);
    });
  return (fn) => void stops.push(fn);
}

function commandOf(name: string): Command {
  const found = COMMANDS.find(({ spec }) => spec.name === name);
  if (found !== undefined) return found;
  const near = nearest(name, [...COMMANDS.map(({ spec }) => spec.name), "version", "help"]);
  const meant = near === undefined ? "" : `; did you mean ${near}?`;
  throw new UsageError(`oomscope has no command ${shown(name)}${meant} (oomscope help lists them)`);
}

function help(terminal: Terminal, name: string | undefined): number {
  if (name !== undefined) {
    terminal.print(helpText(commandOf(name).spec));
    return EXIT.done;
  }
  const rows = COMMANDS.map(({ spec }) => [spec.name, spec.summary] as const);
  const lines = [
    "oomscope: which memory grows, who makes it grow, and how sure is that?",
    "",
    "Usage: oomscope COMMAND [options]",
    "",
    "Commands:",
    ...columns([...rows, ["version", "Print the version"], ["help COMMAND", "Explain a command, with examples"]]),
    "",
    "Begin with:",
    "  sudo oomscope collect --pid $(pgrep -o NAME)    on one machine",
    "  oomscope list --all-namespaces                  in a cluster with oomscope",
    "",
    "Exit codes: 0 done, 1 could not be done, 2 wrong call, 3 a partial pack, 4 Inconclusive, 124 timed out.",
  ];
  terminal.print(`${lines.join("\n")}\n`);
  return EXIT.done;
}

function explain(terminal: Terminal, error: unknown): number {
  if (error instanceof UsageError || error instanceof NoTarget || error instanceof Failed) {
    terminal.tell(`${error.message}\n`);
    return error instanceof UsageError ? EXIT.usage : EXIT.failed;
  }
  // A fault of ours, or something that nobody has thought of: the whole story helps whoever is told of it.
  terminal.tell(`oomscope failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  return EXIT.failed;
}
