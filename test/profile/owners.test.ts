/** Who owns the weight of a profile: never an allocator, libc or a runtime, and nobody rather than a guess. */
import { describe, expect, test } from "vitest";
import type { Profile, ProfileFrame } from "../../src/api/profile.ts";
import { ownership, ownersOf } from "../../src/profile/owners.ts";

const MAIN: ProfileFrame = { function: "main", library: "app" };
const MALLOC: ProfileFrame = { function: "malloc", library: "libc.so.6", plumbing: true };
const V8: ProfileFrame = { function: "v8::internal::Heap::AllocateRaw", library: "node" };
const JIT: ProfileFrame = {};

/** Stacks as frames, outermost first, each with a weight. */
function profile(
  ...stacks: readonly (readonly [weight: number, ...frames: ProfileFrame[]])[]
): Pick<Profile, "frames" | "processes"> {
  const frames = stacks.flatMap(([, ...own]) => own);
  let at = 0;
  const made = stacks.map(([weight, ...own]) => ({ frames: own.map(() => at++), weight, samples: weight }));
  return { frames, processes: [{ pid: 1, startTicks: 1, comm: "app", samples: 0, weight: 0, stacks: made }] };
}

test("an allocator is never an owner; who called it is, with the nearest caller", () => {
  const buffer = { function: "allocate_decode_buffer", library: "libimgdecode.so" };
  const tiles = { function: "tiff_decode_tiles", library: "libimgdecode.so" };
  const png = { function: "png_decode", library: "libimgdecode.so" };
  const found = ownersOf(profile([60, MAIN, tiles, buffer, MALLOC], [30, MAIN, png, buffer], [10, MAIN, MALLOC]));
  expect(found).toEqual([
    { ...buffer, caller: "tiff_decode_tiles", weight: 90, samples: 90, innermost: 30, percent: 90 },
    { ...MAIN, caller: undefined, weight: 10, samples: 10, innermost: 0, percent: 10 },
  ]);
});

test("plumbing is known by its name, whatever the pack says of it", () => {
  const { plumbing: _, ...unmarked } = MALLOC;
  expect(ownersOf(profile([1, MAIN, unmarked]))[0]?.function).toBe("main");
});

test("code without a name belongs to its library, not to the caller that has one", () => {
  const at = (offset: number): ProfileFrame => ({ library: "libstripped.so", offset });
  expect(ownersOf(profile([1, MAIN, at(16), MALLOC], [1, MAIN, at(32), MALLOC]))).toMatchObject([
    { function: undefined, library: "libstripped.so", percent: 100, caller: "main" },
  ]);
});

describe("a runtime", () => {
  const inside = (name: string) => ({
    owners: [],
    runtime: name,
    ownerless: { Runtime: 100, Plumbing: 0, Nameless: 0 },
  });
  test.each<[string, readonly ProfileFrame[], string]>([
    ["alone", [V8, MALLOC], "the JavaScript runtime"],
    ["below compiled code without a name", [V8, JIT, V8, MALLOC], "the JavaScript runtime"],
    ["around compiled code that touches memory itself", [V8, JIT], "the JavaScript runtime"],
    ["Java", [{ function: "thread_native_entry", library: "libjvm.so" }, JIT], "the Java runtime"],
    [
      "Python",
      [{ function: "_PyEval_EvalFrameDefault", library: "libpython3.11.so.1.0" }, MALLOC],
      "the Python runtime",
    ],
    [
      "Go",
      [
        { function: "runtime.goexit", library: "app" },
        { function: "runtime.gcBgMarkWorker", library: "app" },
      ],
      "the Go runtime",
    ],
  ])("%s owns nothing", (_, frames, name) => {
    expect(ownership(profile([1, ...frames]))).toEqual(inside(name));
  });

  test.each<[string, ProfileFrame, ProfileFrame]>([
    [
      "an extension in Python",
      { function: "PyObject_Call", library: "python3.11" },
      { function: "decode", library: "ext.so" },
    ],
    ["a function in Go", { function: "runtime.main", library: "app" }, { function: "main.leak", library: "app" }],
    ["a claim in JavaScript", V8, { function: "LazyCompile:*leak app.js:3", claimed: true }],
  ])("%s is named", (_, runtime, code) => {
    expect(ownersOf(profile([1, runtime, code, runtime, MALLOC]))[0]).toMatchObject({ ...code, percent: 100 });
  });

  test.each([
    "void std::vector<int, std::allocator<int> >::_M_realloc_insert<int const&>(int const&)",
    "std::__cxx11::basic_string<char>::_M_mutate(unsigned long)",
    "<alloc::vec::Vec<T> as core::iter::Extend>::extend",
    "hashbrown::raw::RawTable<T>::reserve_rehash",
  ])("the template %s is not at fault; who uses it is", (name) => {
    expect(ownersOf(profile([1, MAIN, { function: name, library: "app" }, MALLOC]))[0]?.function).toBe("main");
  });
});

test("nobody's samples make the shares of the others smaller", () => {
  const found = ownership(profile([50, MAIN], [30, MALLOC], [20, JIT]));
  expect(found.owners).toMatchObject([{ function: "main", percent: 50 }]);
  expect(found.ownerless).toEqual({ Runtime: 0, Plumbing: 30, Nameless: 20 });
});

test("stacks that point nowhere, and none at all", () => {
  const wild = {
    frames: [MAIN],
    processes: [
      { pid: 1, startTicks: 1, comm: "", samples: 1, weight: 1, stacks: [{ frames: [7, 0], weight: 1, samples: 1 }] },
    ],
  };
  expect(ownersOf(wild)[0]?.function).toBe("main");
  expect(ownership({ frames: [], processes: [] })).toEqual({
    owners: [],
    runtime: undefined,
    ownerless: { Runtime: 0, Plumbing: 0, Nameless: 0 },
  });
});
