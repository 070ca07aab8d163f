/**
 * What may come next on the command line? For the shells, which ask with every key: the tables that parse a command say it, and only names of
 * investigations are asked of the cluster.
 */
import { MitigationAction } from "../api/mitigation.ts";
import { type CommandSpec, COMMON, type OptionSpec, parse } from "./arguments.ts";
import { investigationsIn, withCluster } from "./clustercommand.ts";
import type { World } from "./command.ts";
import { COMMANDS } from "./commands.ts";

/** Commands whose NAME is an investigation's. */
const ABOUT_INVESTIGATIONS: ReadonlySet<string> = new Set(["watch", "show", "approve", "deny", "release", "evidence"]);
const WORKLOADS = ["deployment/", "statefulset/", "daemonset/", "job/", "pod/"];

export interface Candidates {
  readonly words: readonly string[];
  /** Names of investigations are wanted as well, by these words of a command. */
  readonly investigations?: readonly string[];
}

/** @param typed all words after `oomscope`; the last is the one that is being typed, and may be empty. Nothing: a file's name may follow */
export function candidates(typed: readonly string[]): Candidates {
  const word = typed.at(-1) ?? "";
  const beginning = (words: readonly string[]): Candidates => ({ words: words.filter((one) => one.startsWith(word)) });
  if (typed.length <= 1) return beginning([...COMMANDS.map(({ spec }) => spec.name), "help", "version"]);
  const [name] = typed;
  if (name === "help") return beginning(COMMANDS.map(({ spec }) => spec.name));
  const spec = COMMANDS.find((command) => command.spec.name === name)?.spec;
  if (spec === undefined) return { words: [] };
  const options = { ...spec.options, ...COMMON };
  const before = optionOf(options, typed.at(-2) ?? "");
  // `-n media`: what an option wants as its value.
  if (before?.value !== undefined) return beginning(before.value.includes("|") ? before.value.split("|") : []);
  if (word.startsWith("-")) return beginning(Object.keys(options).map((option) => `--${option}`));
  return operands(spec, options, typed.slice(1, -1), beginning);
}

function operands(
  spec: CommandSpec,
  options: Readonly<Record<string, OptionSpec>>,
  given: readonly string[],
  beginning: (words: readonly string[]) => Candidates,
): Candidates {
  const before = given.filter(
    (one, i) => !one.startsWith("-") && optionOf(options, given[i - 1] ?? "")?.value === undefined,
  );
  const wanted = (spec.operands?.[before.length] ?? "").replaceAll(/[[\]]/g, "");
  if (wanted === "KIND/NAME") return beginning(WORKLOADS);
  if (wanted === "ACTION") return beginning(MitigationAction.options);
  if (wanted === "SHELL") return beginning(["bash", "zsh", "fish"]);
  if (wanted !== "NAME" || !ABOUT_INVESTIGATIONS.has(spec.name)) return { words: [] };
  const place = given.filter((one, i) => isPlace(one) || isPlace(given[i - 1] ?? ""));
  return { words: [], investigations: place };
}

const isPlace = (word: string): boolean => /^(-n|--namespace|--context|--kubeconfig)(=|$)/.test(word);

function optionOf(options: Readonly<Record<string, OptionSpec>>, word: string): OptionSpec | undefined {
  if (word.startsWith("--")) return Object.hasOwn(options, word.slice(2)) ? options[word.slice(2)] : undefined;
  return /^-[A-Za-z]$/.test(word) ? Object.values(options).find(({ short }) => short === word.slice(1)) : undefined;
}

/** Prints what may come next, one a line. Says nothing where it cannot be known: a shell that asks must not be answered with a complaint. */
export async function complete(typed: readonly string[], world: World): Promise<void> {
  const { words, investigations } = candidates(typed);
  const names = investigations === undefined ? [] : await namesOf(investigations, world).catch(() => []);
  const found = [...words, ...names.filter((name) => name.startsWith(typed.at(-1) ?? ""))];
  world.terminal.print(found.map((one) => `${one}\n`).join(""));
}

async function namesOf(place: readonly string[], world: World): Promise<string[]> {
  const list = COMMANDS.find(({ spec }) => spec.name === "list");
  if (list === undefined) return [];
  const given = parse(list.spec, place);
  return withCluster(
    given,
    world,
    () => "list memoryinvestigations",
    async (cluster) => {
      const found = await investigationsIn(cluster, cluster.namespace);
      return found.flatMap(({ metadata }) => metadata.name ?? []);
    },
  );
}
