/**
 * Reads what `perf script -F pid,tid,event,period,ip,sym,dso` prints, with stacks or (`-G`) without. Names in it come from files of the target and may hold anything, line ends
 * included: a line that makes no sense is counted and left out, and nothing here throws or grows without bounds.
 */

export interface RawFrame {
  /** Hex. In stacks relative to the file where there is one, otherwise an address. */
  readonly ip: string;
  /** Undefined: perf has no name for it. */
  readonly symbol: string | undefined;
  /** The path that the target sees, `[vdso]`, `//anon` and the like; undefined when perf knows none. */
  readonly dso: string | undefined;
}

export interface RawSample {
  readonly pid: number;
  readonly event: string;
  readonly period: number;
  /** Innermost first. */
  readonly frames: readonly RawFrame[];
}

export interface ScriptParser {
  line(text: string): void;
  /** Ends the sample that is open. */
  end(): { readonly unread: number };
}

const MAX_FRAMES = 256;
const HEADER = /^\s*(\d{1,10})\/\d{1,10}\s+(\d{1,15})\s+([a-z-]+)(?:\/[^/]*\/)?[a-zA-Z]*:(\s+.*|)$/;
const FRAME = /^\s+([0-9a-f]{1,16}) (.*)$/;

export function createScriptParser(onSample: (sample: RawSample) => void): ScriptParser {
  let open: { pid: number; event: string; period: number; frames: RawFrame[] } | undefined;
  let unread = 0;

  const close = (): void => {
    if (open !== undefined) onSample(open);
    open = undefined;
  };
  return {
    line: (text) => {
      if (text === "") return close();
      const header = HEADER.exec(text);
      if (header !== null) {
        close();
        open = { pid: Number(header[1]), period: Number(header[2]), event: header[3] ?? "", frames: [] };
        // With `-G` the one place of a sample stands on the same line.
        const only = frameOf(header[4] ?? "");
        if (only !== undefined) open.frames.push(only);
        return;
      }
      const frame = open === undefined ? undefined : frameOf(text);
      if (frame !== undefined && open !== undefined) {
        if (open.frames.length < MAX_FRAMES) open.frames.push(frame);
        return;
      }
      unread += 1;
    },
    end: () => {
      close();
      return { unread };
    },
  };
}

/** `13f2 tiff_decode_tiles (/usr/lib/libimgdecode.so)`. Names of functions and of files may both hold spaces and brackets. */
function frameOf(text: string): RawFrame | undefined {
  const [, ip, rest] = FRAME.exec(text) ?? [];
  if (ip === undefined || rest === undefined || !rest.endsWith(")")) return undefined;
  const at = Math.max(rest.lastIndexOf(" (/"), rest.lastIndexOf(" (["));
  if (at < 0) return undefined;
  const symbol = rest.slice(0, at);
  const dso = rest.slice(at + 2, -1);
  return {
    ip,
    symbol: symbol === "[unknown]" || symbol === "" ? undefined : symbol,
    dso: dso === "[unknown]" || dso === "" ? undefined : dso,
  };
}

/**
 * Samples that perf says it lost, from its warning on standard error: the number of all and the share that was lost. It is silent below 5 %
 * (perf_session__warn_about_errors of tools/perf/util/session.c).
 */
export function lostSamples(stderr: string): number {
  const [, all, percent] = /Processed (\d{1,12}) samples and lost (\d{1,3}(?:\.\d{1,4})?)%/.exec(stderr) ?? [];
  return Math.round((Number(all ?? 0) * Number(percent ?? 0)) / 100);
}
