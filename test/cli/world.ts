/** A command run in this process: the world that it gets, and what it printed and told. */
import { parse } from "../../src/cli/arguments.ts";
import type { Command } from "../../src/cli/command.ts";
import type { HostRoots } from "../../src/collector/hostfiles.ts";
import { systemClock, systemRandom } from "../../src/seams.ts";

export interface Ran {
  readonly code: number;
  /** Standard output. */
  readonly printed: string;
  /** Standard error. */
  readonly told: string;
}

/** Throws what the command throws. Waiting takes no time, and it is always the same moment. @param onWait what happens meanwhile */
export async function runCommand(
  command: Command,
  roots: HostRoots,
  words: readonly string[],
  onWait: () => Promise<void> = () => Promise.resolve(),
): Promise<Ran> {
  let printed = "";
  let told = "";
  const code = await command.run(parse(command.spec, words), {
    roots,
    terminal: {
      print: (text) => void (printed += text),
      tell: (text) => void (told += text),
      transient: () => undefined,
      live: false,
      openScreen: () => {
        throw new Error("there is no screen");
      },
    },
    clock: { ...systemClock, now: () => new Date("2026-11-29T02:03:15Z"), sleep: onWait },
    random: systemRandom,
    version: "0.1.0",
    onStop: () => undefined,
  });
  return { code, printed, told };
}
