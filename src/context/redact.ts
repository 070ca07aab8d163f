/**
 * What may not be kept of a text that a workload or a controller wrote? Takes out what looks like a secret or a person's address, and makes the rest
 * safe to show. It would rather take too much: a text with a hole in it is still evidence, a password in a pack is an incident.
 * It knows forms, not meanings: a secret that looks like an ordinary word and stands behind no telling name stays.
 */

export interface Redacted {
  readonly text: string;
  /** How many pieces were taken out. */
  readonly count: number;
}

/** Callers cap what they hand in; beyond this the rest is dropped, so that the time this takes has a bound. */
const MAX_INPUT = 256 * 1024;

const ESCAPE_SEQUENCES =
  // eslint-disable-next-line no-control-regex -- terminal sequences are what this is about
  /\u001b\[[0-?]{0,64}[ -/]{0,16}[@-~]|\u001b\][^\u0007\u001b]{0,1024}(?:\u0007|\u001b\\)?/g;
/** Controls but tab and newline, and what is invisible or turns the direction of writing: it could hide a secret from the rules below. */
const INVISIBLE =
  // eslint-disable-next-line no-control-regex -- as above
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|\p{Variation_Selector}/gu;

/** Text without terminal sequences, control characters and invisible ones; tab and newline stay. */
export function plainText(text: string): string {
  return text.slice(0, MAX_INPUT).replaceAll(ESCAPE_SEQUENCES, "").replaceAll(INVISIBLE, "").toWellFormed();
}

/** Words behind whose names a secret stands; what follows such a word in a name (`_FILE`, `ForUser`) is part of the name. */
const TELLING =
  "(?:passw(?:or)?d|passwd|pwd|passphrase|passcode|secret|token|api[-_. ]?key|(?:access|private|account|shared|signing|encryption|master|storage|ssh|service)[-_. ]?key|credential|signature|session|cookie|authorization|connection[-_. ]?string|conn[-_]?str|database[-_]?url|(?<![A-Za-z])(?:pass|pin|sid|sig|otp|totp|cvv|ssn|auth|jwt|dsn|bearer)(?![A-Za-z]))";
/** A value in quotes, in quotes that are escaped themselves, or up to white space. */
const VALUE = String.raw`(?:\\{1,4}"[^"\\\n]*(?:\\{1,4}"|$)|"(?:[^"\\\n]|\\.)*(?:"|$)|'(?:[^'\\\n]|\\.)*(?:'|$)|[^\s]+)`;

interface Rule {
  readonly kind: string;
  readonly pattern: RegExp;
  /** Which groups stay; default: none. */
  readonly keep?: (match: RegExpExecArray) => { readonly before: string; readonly after: string };
  /** Whether the match is a secret; default: yes. */
  readonly holds?: (text: string, match: RegExpExecArray) => boolean;
}

const keepFirst = (match: RegExpExecArray): { before: string; after: string } => ({
  before: match[1] ?? "",
  after: "",
});

/** In order: what spans lines, what has a frame, what stands behind a name, what has a known form, what looks random. */
const RULES: readonly Rule[] = [
  { kind: "key", pattern: /-----BEGIN [A-Z0-9 ]{1,60}-----[\s\S]*?(?:-----END [A-Z0-9 ]{1,60}-----|$(?![\s\S]))/g },
  // The text begins in the middle of a key.
  { kind: "key", pattern: /^[\s\S]*?-----END [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z0-9 ]{0,20}-----/g },
  { kind: "credentials", pattern: /([a-zA-Z][a-zA-Z0-9+.-]{1,30}:\/\/)[^\s'"<>]{1,512}@/g, keep: keepFirst },
  {
    kind: "header",
    pattern: new RegExp(
      String.raw`((?:proxy-)?authorization|(?:set-)?cookie|x-[a-z-]{1,30}(?:key|token|secret))(\\{0,4}["']?\s{0,3}[:=]\s{0,3})(\\{1,4}"[^"\\\n]*(?:\\{1,4}"|$)|"(?:[^"\\\n]|\\.)*(?:"|$)|'[^'\n]*(?:'|$)|[^\r\n]+)`,
      "gi",
    ),
    keep: (match) => ({ before: `${match[1] ?? ""}${match[2] ?? ""}`, after: "" }),
  },
  {
    kind: "value",
    pattern: new RegExp(
      String.raw`(${TELLING}[\w.-]{0,24}\\{0,4}["'\x60]?\]?\s{0,3}(?:=>|:=|[:=]|%3[aAdD]|\s(?:is|was)\s)\s{0,3})(${VALUE})`,
      "gi",
    ),
    keep: keepFirst,
  },
  {
    kind: "value",
    pattern: new RegExp(String.raw`(--?[\w.-]{0,24}${TELLING}[\w.-]{0,24}\s{1,3})(${VALUE})`, "gi"),
    keep: keepFirst,
  },
  { kind: "token", pattern: /\b((?:bearer|basic|negotiate|digest|apikey)\s{1,3})[^\s"',;]{4,}/gi, keep: keepFirst },
  { kind: "credentials", pattern: /[^\s:'"@/]{1,128}:[^\s@]{1,256}@(?!sha256:)(?=[\w[(.-])/g },
  { kind: "token", pattern: /eyJ[\w-]{8,}(?:\.[\w-]*){0,4}/g },
  {
    kind: "token",
    pattern:
      /(?:gh[pousr]_|github_pat_|glpat-|xox[abeoprs]-|npm_|pypi-|hv[sbr]\.|dop_v1_|shp(?:at|ss|ca|pa)_|ya29\.|AGE-SECRET-KEY-1|SG\.)[\w.-]{8,}|\b(?:sk|rk|pk)[-_](?:live|test|proj|ant)?[-_]?[\w-]{12,}|AIza[\w-]{20,}|\b(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{8,}/g,
  },
  {
    kind: "email",
    pattern: /[^\s@<>()[\]"',;:=]{1,64}@[^\s@<>()[\]"',;:=/.]{1,63}(?:\.[^\s@<>()[\]"',;:=/.]{1,63}){1,8}/g,
  },
  {
    kind: "card",
    pattern: /\b\d(?:[ -]?\d){12,18}\b/g,
    holds: (text) => isCardNumber(text),
  },
  { kind: "hex", pattern: /\b[0-9a-fA-F]{32,}\b/g, holds: (text, match) => !namesAnImage(text, match) },
  {
    kind: "random",
    pattern: /[A-Za-z0-9+/_=-]{20,}/g,
    holds: (text, match) => looksRandom(text) && !namesAnImage(text, match),
  },
];

/** Takes out what looks like a secret. The result is plain text as of {@link plainText}. */
export function redact(text: string): Redacted {
  let result = plainText(text);
  let count = 0;
  for (const rule of RULES) {
    rule.pattern.lastIndex = 0;
    let made = "";
    let from = 0;
    for (let match = rule.pattern.exec(result); match !== null; match = rule.pattern.exec(result)) {
      if (rule.holds?.(match[0], match) === false) continue;
      const { before, after } = rule.keep?.(match) ?? { before: "", after: "" };
      // What an earlier rule has left behind is no secret any more.
      if (match[0].slice(before.length).startsWith("[redacted:")) continue;
      made += `${result.slice(from, match.index)}${before}[redacted:${rule.kind}]${after}`;
      from = match.index + match[0].length;
      count++;
    }
    if (from > 0) result = made + result.slice(from);
  }
  // What was put in may be longer than what it stands for.
  return { text: result.slice(0, MAX_INPUT).toWellFormed(), count };
}

/** Digests of images and ids of containers are how an incident's pieces are told apart, and open nothing. */
function namesAnImage(text: string, { index, input }: RegExpExecArray): boolean {
  if (!/^\/{0,2}[0-9a-f]{32,}$/.test(text)) return false;
  const from = index + text.lastIndexOf("/") + 1;
  return /(?:sha256:|containerd:\/\/|cri-o:\/\/|docker:\/\/)$/.test(input.slice(Math.max(0, from - 16), from));
}

/** ISO/IEC 7812-1, annex B: the check digit of a card number (Luhn). */
function isCardNumber(text: string): boolean {
  const digits = Array.from(text.replaceAll(/[ -]/g, ""), Number);
  const sum = digits.toReversed().reduce((total, digit, place) => {
    const doubled = place % 2 === 0 ? digit : digit * 2;
    return total + (doubled > 9 ? doubled - 9 : doubled);
  }, 0);
  return sum % 10 === 0;
}

/** What begins with a slash is taken for a path, whose segments are looked at alone, unless it has as many capitals as only chance makes. */
function looksRandom(text: string): boolean {
  if (!text.startsWith("/")) return isRandom(text);
  return isDense(text) || text.split("/").some((segment) => isRandom(segment));
}

/**
 * Random text is a third to a half upper case and changes its kind of letter at about 62 % of its places. Names made of words (`NodeHasNoDiskPressure`)
 * change often as well when the words are short, but have few capitals and hardly a digit.
 */
function isRandom(text: string): boolean {
  if (text.length < 20) return false;
  const digits = count(text, /[0-9]/g);
  if (/[A-Z]/.test(text) && /[a-z]/.test(text)) {
    if (digits >= 3 || (digits > 0 && text.length >= 32)) return true;
    return isDense(text);
  }
  // One case and digits: base32, base36. Hyphens part the names of Kubernetes objects, and UUIDs, which stay.
  return text.split("-").some((piece) => piece.length >= 26 && count(piece, /[0-9]/g) >= 5);
}

function isDense(text: string): boolean {
  const changes = count(text, /[a-z](?=[^a-z])|[A-Z](?=[^A-Z])|[0-9](?=[^0-9])/g);
  return changes >= 0.38 * (text.length - 1) && count(text, /[A-Z]/g) >= 0.3 * text.length;
}

function count(text: string, what: RegExp): number {
  return text.match(what)?.length ?? 0;
}
