/** Numbers and names as people read them. Names come from the target and may be hostile: they are escaped and cut here. */

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"] as const;

/** `2.4 MiB`; three digits at most. */
export function bytesText(bytes: number): string {
  let value = Math.abs(bytes);
  let unit = 0;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  const digits = unit === 0 || value >= 100 ? 0 : 1;
  return `${bytes < 0 ? "-" : ""}${value.toFixed(digits)} ${UNITS[unit] ?? "B"}`;
}

/** `75 s`, `12 min`, `3.5 h`, `2 d`. */
export function secondsText(seconds: number): string {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${(seconds / 3600).toFixed(1)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}

/** A name from the kernel or the target, printable and short. */
export function nameText(name: string, length = 64): string {
  // The escape must not be cut in the middle: whole characters are added while they fit.
  let out = "";
  for (const character of name) {
    const code = character.codePointAt(0) ?? 0;
    const shown = code < 0x20 || code > 0x7e ? `\\u{${code.toString(16)}}` : character;
    if (out.length + shown.length > length) break;
    out += shown;
  }
  return out;
}

/** What to call what was measured. */
export function nounOf({ scope }: { readonly scope: "Container" | "Cgroup" | "Process" }): string {
  return scope.toLowerCase();
}

/** A sentence that fits its field. */
export function sentence(text: string): string {
  return text.length <= 1024 ? text : `${text.slice(0, 1023)}…`;
}

/** Rounded to a whole number that the API can carry. */
export function whole(value: number): number {
  if (!Number.isFinite(value)) return 0;
  const rounded = Math.max(Number.MIN_SAFE_INTEGER, Math.min(Number.MAX_SAFE_INTEGER, Math.round(value)));
  return rounded === 0 ? 0 : rounded;
}
