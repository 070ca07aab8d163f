/** What a pack says beside its finding: which mappings grew, and what a profile saw. Shown to people below the finding; JSON is the finding alone. */
import { MAX_PART_BYTES } from "../api/collection.ts";
import { BELIEF_TEXT, Profile } from "../api/profile.ts";
import { held, mappingGrowth } from "../diagnosis/mappinggrowth.ts";
import { nameText, secondsText } from "../diagnosis/words.ts";
import { BadJson, parseJson } from "../evidence/json.ts";
import type { Pack } from "../evidence/pack.ts";
import { ownersOf } from "../profile/flametree.ts";
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
  for (const part of pack.parts.filter(({ kind }) => kind === "profile")) {
    const profile = await read(pack, part.index);
    if (profile === undefined) continue;
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
        nameText(name, 60),
        library === undefined ? "" : nameText(library, 40),
        caller === undefined ? "" : `called by ${nameText(caller, 60)}`,
      ]);
    lines.push(...(rows.length === 0 ? ["    nobody with a name"] : table(rows, [">", "<", "<", "<"], 4)));
    if (efficiency !== undefined)
      lines.push(...wrap(`${BELIEF_TEXT[efficiency.belief]}.`, width - 4).map((line) => `    ${line}`));
  }
  return lines;
}

async function read(pack: Pack, index: number): Promise<Profile | undefined> {
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of pack.read({ kind: "profile", index })) {
    size += piece.length;
    if (size > MAX_PART_BYTES) return undefined;
    pieces.push(Uint8Array.from(piece));
  }
  try {
    return parseJson(Buffer.concat(pieces), Profile);
  } catch (error) {
    if (error instanceof BadJson) return undefined;
    throw error;
  }
}
