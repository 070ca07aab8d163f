/**
 * Whose is the weight of a profile? The innermost place that is no allocator, no libc and no runtime of a language. Where there is none,
 * nobody's: a name further out would be a guess.
 */
import { isPlumbing, type Profile, type ProfileFrame } from "../api/profile.ts";

export interface Owner {
  /** Undefined: a place of `library` that has no name. */
  readonly function: string | undefined;
  readonly library: string | undefined;
  /** The name is a claim of the program itself (just-in-time code). */
  readonly claimed?: true;
  /** Of the callers that have a name and are neither plumbing nor runtime, the nearest; of several, the one with most weight. */
  readonly caller: string | undefined;
  readonly weight: number;
  readonly samples: number;
  /** Of `samples`, those whose innermost place this is: nothing was called by it, so that no stack had to be unwound to find it. */
  readonly innermost: number;
  /** Of all weight, owned or not. */
  readonly percent: number;
}

/** Why a sample is nobody's. Runtime: only frames of a language's runtime, or code without a name below them. Plumbing: only allocators and libc. */
export const OWNERLESS = ["Runtime", "Plumbing", "Nameless"] as const;

export interface Ownership {
  /** The heaviest first. */
  readonly owners: readonly Owner[];
  /** Percent of all weight that is nobody's, by reason. */
  readonly ownerless: Readonly<Record<(typeof OWNERLESS)[number], number>>;
  /** The runtime that most samples without an owner ran in: `the JavaScript runtime`. */
  readonly runtime: string | undefined;
}

type Stacks = Pick<Profile, "frames" | "processes">;

/** Owners alone; see {@link ownership}. */
export function ownersOf(profile: Stacks): readonly Owner[] {
  return ownership(profile).owners;
}

interface Counted {
  readonly frame: ProfileFrame;
  readonly callers: Map<string, number>;
  weight: number;
  samples: number;
  innermost: number;
}

/** Never throws, whatever the stacks point at. */
export function ownership({ frames, processes }: Stacks): Ownership {
  const roles = frames.map(roleOf);
  const found = new Map<string, Counted>();
  const ownerless = { Runtime: 0, Plumbing: 0, Nameless: 0 };
  const runtimes = new Map<string, number>();
  let all = 0;
  for (const { stacks } of processes)
    for (const { frames: positions, weight, samples } of stacks) {
      all += weight;
      const inwards = positions.filter((at) => frames[at] !== undefined).toReversed();
      const at = inwards.findIndex((position) => ["Code", "Nameless"].includes(roles[position]?.role ?? ""));
      const frame = frames[inwards[at] ?? -1];
      if (frame === undefined || roles[inwards[at] ?? -1]?.role === "Nameless") {
        const runtime = inwards.map((position) => roles[position]?.runtime).find((name) => name !== undefined);
        ownerless[runtime !== undefined ? "Runtime" : frame === undefined ? "Plumbing" : "Nameless"] += weight;
        if (runtime !== undefined) runtimes.set(runtime, (runtimes.get(runtime) ?? 0) + weight);
        continue;
      }
      const one = countedOf(found, frame);
      one.weight += weight;
      one.samples += samples;
      if (at === 0) one.innermost += samples;
      const caller = inwards
        .slice(at + 1)
        .flatMap((position) => (roles[position]?.role === "Code" ? (frames[position]?.function ?? []) : []))[0];
      if (caller !== undefined) one.callers.set(caller, (one.callers.get(caller) ?? 0) + weight);
    }
  const percent = (weight: number): number => (all === 0 ? 0 : Math.round((weight * 100) / all));
  return {
    owners: [...found.values()]
      .map(({ frame, callers, weight, samples, innermost }) => ({
        function: frame.function,
        library: frame.library,
        ...(frame.claimed === undefined ? {} : { claimed: true as const }),
        caller: heaviest(callers),
        weight,
        samples,
        innermost,
        percent: percent(weight),
      }))
      .toSorted((a, b) => b.weight - a.weight || (nameOf(a) < nameOf(b) ? -1 : 1)),
    ownerless: {
      Runtime: percent(ownerless.Runtime),
      Plumbing: percent(ownerless.Plumbing),
      Nameless: percent(ownerless.Nameless),
    },
    runtime: heaviest(runtimes),
  };
}

/** Places of one library that have no name are one owner: which of them it is helps nobody. */
function countedOf(found: Map<string, Counted>, frame: ProfileFrame): Counted {
  const key = JSON.stringify([frame.function, frame.library, frame.claimed]);
  const known = found.get(key) ?? { frame, callers: new Map<string, number>(), weight: 0, samples: 0, innermost: 0 };
  found.set(key, known);
  return known;
}

function heaviest(weights: ReadonlyMap<string, number>): string | undefined {
  return [...weights].toSorted(([a, x], [b, y]) => y - x || (a < b ? -1 : 1))[0]?.[0];
}

function nameOf(owner: Pick<Owner, "function" | "library">): string {
  return `${owner.function ?? ""}\n${owner.library ?? ""}`;
}

interface Role {
  readonly role: "Code" | "Plumbing" | "Runtime" | "Nameless";
  readonly runtime?: string;
}

function roleOf(frame: ProfileFrame): Role {
  // A pack may come from anywhere: what is plumbing is not left to its word.
  if (frame.plumbing === true || isPlumbing(frame)) return { role: "Plumbing" };
  const runtime = runtimeOf(frame);
  if (runtime !== undefined) return { role: "Runtime", runtime };
  return { role: frame.function === undefined && frame.library === undefined ? "Nameless" : "Code" };
}

/** By the base name of the file that the code is in; the names of Debian's and of the official images. */
const RUNTIME_FILES: readonly (readonly [RegExp, string])[] = [
  [/^(?:node|nodejs|deno|bun|electron|chrome|chromium|libnode[\w.-]*|libv8[\w.-]*)$/, "the JavaScript runtime"],
  [/^(?:java|libjvm\.so|libjli\.so|libjava\.so|libnio\.so|libzip\.so)$/, "the Java runtime"],
  [/^(?:python[\d.]*|libpython[\w.-]*)$/, "the Python runtime"],
  [/^(?:dotnet|libcoreclr\.so|libclr\w*\.so|libSystem\.Native\.so|libmono[\w.-]*)$/, "the .NET runtime"],
  [/^(?:ruby[\d.]*|libruby[\w.-]*)$/, "the Ruby runtime"],
  [/^(?:php(?:-fpm|-cgi)?[\d.]*|libphp[\w.-]*)$/, "the PHP runtime"],
  [/^(?:perl[\d.]*|libperl[\w.-]*)$/, "the Perl runtime"],
  [/^beam(?:\.smp)?$/, "the Erlang runtime"],
  [/^lib(?:stdc\+\+|c\+\+|c\+\+abi|gcc_s)\.so/, "the C++ standard library"],
];
/** In a program of its own: the runtime of Go, and templates of the standard libraries of C++ and Rust, whose names may begin with a return type. */
const RUNTIME_FUNCTIONS: readonly (readonly [RegExp, string])[] = [
  [/^(?:runtime|internal\/runtime\/\w+)\./, "the Go runtime"],
  [
    /^(?:(?:void|[\w:]+[&*]?) )?<?(?:std|__gnu_cxx|hashbrown|alloc::(?:vec|string|boxed|collections|slice))::/,
    "a standard library",
  ],
];

function runtimeOf({ function: name, library, claimed }: ProfileFrame): string | undefined {
  // What a program claims is its own code.
  if (claimed === true || library === undefined) return undefined;
  return (
    RUNTIME_FILES.find(([pattern]) => pattern.test(library)) ??
    (name === undefined ? undefined : RUNTIME_FUNCTIONS.find(([pattern]) => pattern.test(name)))
  )?.[1];
}
