/**
 * The profile stage, from "may we?" to finished profiles: record with rights, copy the files that explain the recording, resolve without rights,
 * delete what is raw. One at a time on a node. Whatever fails is told as skipped; nothing here fails a collection.
 */
import { chmod, lstat, mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Manifest } from "../../api/collection.ts";
import { beliefOf, plainName, type Profile, type ProfileKind } from "../../api/profile.ts";
import type { Clock, Random } from "../../seams.ts";
import { tryReadText } from "../hostfiles.ts";
import { parseStat } from "../procfs.ts";
import { innerPidOf, readProfileFacts } from "./facts.ts";
import { createFolder, type Folder, type ProfiledProcess } from "./fold.ts";
import { copyMappedFiles, readExecutables, type Executable, type MappedFiles } from "./mappings.ts";
import { readPerfMap, type PerfMap } from "./perfmap.ts";
import { decidePreflight, type Preflight } from "./preflight.ts";
import { record, type Recording } from "./record.ts";
import { symbolise, type Symbolised } from "./symbolise.ts";

export interface ProfileRequest {
  readonly proc: string;
  /** The processes of the suspect, asked again when the recording has ended: children come and go. Host's pids. */
  readonly processes: () => readonly ProfiledProcess[];
  readonly podUid?: string;
  readonly containerId?: string;
  readonly durationMs: number;
  readonly frequencyHz: number;
  /** Where a private folder may be made; in memory, if there is a choice. */
  readonly workFolder: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly signal: AbortSignal;
}

export interface ProfileOutcome {
  readonly profiles: readonly Profile[];
  readonly skipped: Manifest["skipped"];
  readonly preflight: Preflight | undefined;
}

/** Each costs perf a descriptor for every CPU. */
const MAX_PIDS = 64;
const SYMBOLISE_MS = 45_000;
const FOLDER_PREFIX = "oomscope-profile-";
const STATUS_BYTES = 64 * 1024;
const MAX_PERF_MAPS = 8;

export async function takeProfiles(request: ProfileRequest): Promise<ProfileOutcome> {
  const skipped: Manifest["skipped"] = [];
  let preflight: Preflight | undefined;
  let folder: string | undefined;
  try {
    const living = await stillAlive(request.proc, request.processes());
    preflight = decidePreflight(
      await readProfileFacts(
        request.proc,
        living.map(({ pid }) => pid),
        request.clock,
        request.signal,
      ),
    );
    const refused = preflight.captures.find((c) => ["Growth", "Symbols"].includes(c.what) && !c.available);
    if (refused !== undefined)
      return { profiles: [], skipped: [skip(refused.reason ?? "", refused.detail)], preflight };
    await sweep(request.workFolder);
    folder = await mkdtemp(join(request.workFolder, `${FOLDER_PREFIX}${process.pid}-${request.random.hex(8)}-`));
    await chmod(folder, 0o700);
    const profiles = await profile(request, living, preflight, folder, skipped);
    return { profiles, skipped, preflight };
  } catch (error) {
    skipped.push(skip("Failed", plainName(error instanceof Error ? error.message : String(error))));
    return { profiles: [], skipped, preflight };
  } finally {
    if (folder !== undefined) await rm(folder, { recursive: true, force: true }).catch(() => undefined);
  }
}

function skip(reason: string, detail: string): Manifest["skipped"][number] {
  return { what: "profile", reason, detail };
}

async function profile(
  request: ProfileRequest,
  living: readonly ProfiledProcess[],
  preflight: Preflight,
  folder: string,
  skipped: Manifest["skipped"],
): Promise<Profile[]> {
  const { clock, proc, signal } = request;
  const started = clock.now().toISOString();
  const before = await memoryOf(proc, living);
  const recording = await record({
    pids: async () => (await stillAlive(proc, living)).slice(0, MAX_PIDS).map(({ pid }) => pid),
    durationMs: request.durationMs,
    frequencyHz: request.frequencyHz,
    unwinding: preflight.unwinding,
    folder,
    lockFile: `${proc}/sys/kernel/perf_event_paranoid`,
    clock,
    signal,
  });
  if ("reason" in recording) {
    skipped.push(skip(recording.reason, recording.detail));
    return [];
  }
  const after = await memoryOf(proc, living);
  const seen = new Map<number, ProfiledProcess>();
  for (const process of [...living, ...request.processes()])
    if (!(await isReplaced(proc, process))) seen.set(process.pid, process);
  const raw = await explain(request, [...seen.keys()], recording, folder);
  await rm(recording.data, { force: true });
  const notes = [...preflight.warnings, ...raw.notes];
  if (living.length > MAX_PIDS) notes.push(`${living.length - MAX_PIDS} of ${living.length} processes were left out`);
  const made: Profile[] = [];
  for (const kind of ["OnCpu", "Growth"] as const) {
    const folded = raw.folders[kind].end([...seen.values()]);
    made.push({
      kind,
      ...(kind === "OnCpu"
        ? { event: "cpu-clock", unit: "nanoseconds", period: Math.round(1e9 / recording.frequencyHz) }
        : { event: "page-faults", unit: "faults", period: recording.pagePeriod }),
      unwinding: preflight.unwinding,
      started,
      durationMs: Math.round(recording.durationMs),
      ...(request.podUid === undefined ? {} : { podUid: request.podUid }),
      ...(request.containerId === undefined ? {} : { containerId: request.containerId }),
      lost: raw.lost,
      truncated: recording.truncated,
      ...folded,
      ...(kind === "Growth" ? { efficiency: efficiencyOf(before, after) } : {}),
      notes: [...notes],
    });
  }
  return made;
}

/** Everything that turns a recording into names. What is read of the target is read now, while it lives. */
async function explain(
  request: ProfileRequest,
  pids: readonly number[],
  recording: Recording,
  folder: string,
): Promise<{ readonly folders: Record<ProfileKind, Folder>; readonly lost: number; readonly notes: string[] }> {
  const { proc, signal } = request;
  const executables = new Map<number, readonly Executable[]>();
  for (const pid of pids.slice(0, MAX_PIDS)) executables.set(pid, await readExecutables(proc, pid));
  const symbols = join(folder, "symbols");
  await mkdir(symbols, { mode: 0o755 });
  const files = await copyMappedFiles(proc, executables, symbols, signal);
  const notes = filesNotes(files);
  const perfMaps = await readPerfMaps(proc, pids, notes);
  const names = { libraries: files.libraries, perfMaps };
  let folders = foldersFor(names);
  const found: Symbolised = await symbolise(
    {
      folder,
      symbols: "symbols",
      root: process.getuid?.() === 0,
      deadlineMs: SYMBOLISE_MS,
      executables,
      clock: request.clock,
      random: request.random,
      signal,
    },
    (sample) => folders[sample.event === "page-faults" ? "Growth" : "OnCpu"].add(sample),
    () => {
      folders = foldersFor(names);
    },
  );
  if (found.failure !== undefined)
    notes.push(`Names and stacks could not be resolved (${found.failure}): places are told as library and offset`);
  if (found.unread > 0) notes.push(`${found.unread} lines of perf script made no sense`);
  if (recording.truncated) notes.push("Perf stopped early, at the size that it may write");
  return { folders, lost: found.lost, notes };
}

function foldersFor(names: Parameters<typeof createFolder>[0]): Record<ProfileKind, Folder> {
  return { OnCpu: createFolder(names), Growth: createFolder(names) };
}

function filesNotes(files: MappedFiles): string[] {
  return [...files.refused].map(([reason, count]) => `${count} files of the target were not read: ${reason}`);
}

async function readPerfMaps(proc: string, pids: readonly number[], notes: string[]): Promise<Map<number, PerfMap>> {
  const maps = new Map<number, PerfMap>();
  for (const pid of pids) {
    if (maps.size >= MAX_PERF_MAPS) break;
    const status = await tryReadText(`${proc}/${pid}/status`, STATUS_BYTES);
    const uid = Number(/^Uid:\s+\d+\s+(\d+)/m.exec(status ?? "")?.[1]);
    if (status === undefined || Number.isNaN(uid)) continue;
    const map = await readPerfMap(proc, { pid, innerPid: innerPidOf(status) ?? pid, uid }, (reason) =>
      notes.push(`The perf map of process ${pid} was not used: ${reason}`),
    );
    if (map === undefined) continue;
    maps.set(pid, map);
    notes.push("Names of generated code come from a map that the program wrote itself");
    if (map.dropped > 0) notes.push(`${map.dropped} lines of the perf map of process ${pid} were not usable`);
  }
  return maps;
}

async function stillAlive(proc: string, processes: readonly ProfiledProcess[]): Promise<ProfiledProcess[]> {
  const alive: ProfiledProcess[] = [];
  for (const process of processes) if ((await statOf(proc, process)) !== undefined) alive.push(process);
  return alive;
}

/** Whether the pid is another process's now, whose files and samples are none of ours. Of one that has ended the samples may be told. */
async function isReplaced(proc: string, process: ProfiledProcess): Promise<boolean> {
  const now = parseStat((await tryReadText(`${proc}/${process.pid}/stat`, 4096)) ?? "");
  return now !== undefined && now.startTicks !== process.startTicks;
}

interface Memory {
  readonly anonBytes: number;
  readonly faults: number;
}

/** Faults are fields 10 and 12 of /proc/PID/stat, the start is field 22. Undefined: gone, or the pid is another's now. */
async function statOf(proc: string, process: ProfiledProcess): Promise<{ readonly faults: number } | undefined> {
  const text = (await tryReadText(`${proc}/${process.pid}/stat`, 4096)) ?? "";
  // The name before may hold anything, brackets included.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  if (Number(fields[19]) !== process.startTicks) return undefined;
  return { faults: Number(fields[7]) + Number(fields[9]) };
}

async function memoryOf(proc: string, processes: readonly ProfiledProcess[]): Promise<Map<number, Memory>> {
  const found = new Map<number, Memory>();
  for (const process of processes) {
    const stat = await statOf(proc, process);
    const status = await tryReadText(`${proc}/${process.pid}/status`, STATUS_BYTES);
    const anon = /^RssAnon:\s+(\d{1,15}) kB$/m.exec(status ?? "")?.[1];
    if (stat !== undefined && anon !== undefined)
      found.set(process.pid, { anonBytes: Number(anon) * 1024, faults: stat.faults });
  }
  return found;
}

const PAGE_BYTES = 4096;

/** Of the processes that lived through the whole window, all together. Its faults are those of the kernel's own count, not of the samples. */
function efficiencyOf(
  before: ReadonlyMap<number, Memory>,
  after: ReadonlyMap<number, Memory>,
): NonNullable<Profile["efficiency"]> {
  let bytes = 0;
  let faults = 0;
  for (const [pid, end] of after) {
    const start = before.get(pid);
    if (start === undefined) continue;
    bytes += end.anonBytes - start.anonBytes;
    faults += Math.max(0, end.faults - start.faults);
  }
  const anonPages = Math.round(bytes / PAGE_BYTES);
  return {
    anonPages,
    faults,
    ...(faults === 0 ? {} : { ratio: Math.round((anonPages / faults) * 100) / 100 }),
    belief: beliefOf(anonPages, faults),
  };
}

/** Removes what a predecessor left that was killed before it could. Only folders of our own whose process is gone. */
async function sweep(workFolder: string): Promise<void> {
  for (const name of await readdir(workFolder).catch(() => [])) {
    const pid = name.startsWith(FOLDER_PREFIX) ? /^\d+/.exec(name.slice(FOLDER_PREFIX.length))?.[0] : undefined;
    if (pid === undefined || (await tryReadText(`/proc/${pid}/stat`, 64)) !== undefined) continue;
    const path = join(workFolder, name);
    const found = await lstat(path).catch(() => undefined);
    if (found?.isDirectory() === true && found.uid === process.getuid?.())
      await rm(path, { recursive: true, force: true }).catch(() => undefined);
  }
}
