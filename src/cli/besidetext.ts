/** What a pack says beside its finding: which mappings grew, and what a profile saw. Shown to people below the finding; JSON is the finding alone. */
import { BELIEF_TEXT } from "../api/profile.ts";
import { held, mappingGrowth } from "../diagnosis/mappinggrowth.ts";
import { nameText, secondsText } from "../diagnosis/words.ts";
import type { Pack } from "../evidence/pack.ts";
import { ownersOf } from "../profile/owners.ts";
import { wrap } from "./arguments.ts";
import { change, table } from "./text.ts";

const MAX_MAPPINGS = 5;
const MAX_OWNERS = 5;
/** Less is not worth a line. */
const LEAST_BYTES = 64 * 1024;

/** Empty for a pack without mappings and profiles. Never throws for what a part holds. */
export async function besideText(pack: Pack, width: number): Promise<string> {
  const lines = [...(await mappingLines(pack)), ...(await profileLines(pack, width))];
  return lines.length === 0 ? "" : `\n${lines.join("\n")}\n`;
}

async function mappingLines(pack: Pack): Promise<string[]> {
  const growths = await mappingGrowth(pack.mappings());
  const rows = growths
    .flatMap(({ pid, comm, classes }) =>
      classes.map(({ class: kind, delta }) => ({
        kind,
        pid,
        comm,
        bytes: held(delta, kind),
      })),
    )
    .filter(({ bytes }) => bytes >= LEAST_BYTES)
    .toSorted((a, b) => b.bytes - a.bytes)
    .slice(0, MAX_MAPPINGS)
    .map(({ kind, pid, comm, bytes }) => [kind, change(bytes), `${nameText(comm, 24)} (pid ${pid})`]);
  return rows.length === 0 ? [] : ["  which mappings grew:", ...table(rows, ["<", ">", "<"], 4)];
}

async function profileLines(pack: Pack, width: number): Promise<string[]> {
  const lines: string[] = [];
  for await (const { profile } of pack.profiles()) {
    const { kind, samples, durationMs, efficiency } = profile;
    const title = kind === "OnCpu" ? "who was busy" : kind === "Growth" ? "who made memory resident" : "who allocated";
    lines.push(
      ...(lines.length === 0 ? [""] : []),
      `  ${title} (${samples} samples in ${secondsText(durationMs / 1000)}):`,
    );
    const rows = ownersOf(profile)
      .slice(0, MAX_OWNERS)
      .map(({ percent, function: name, library, caller }) => [
        `${percent} %`,
        name === undefined ? "a place without a name" : nameText(name, 60),
        library === undefined ? "" : nameText(library, 40),
        caller === undefined ? "" : `called by ${nameText(caller, 60)}`,
      ]);
    lines.push(...(rows.length === 0 ? ["    nobody with a name"] : table(rows, [">", "<", "<", "<"], 4)));
    if (efficiency !== undefined)
      lines.push(...wrap(`${BELIEF_TEXT[efficiency.belief]}.`, width - 4).map((line) => `    ${line}`));
  }
  return lines;
}
