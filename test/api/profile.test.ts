/** The words and limits of profiles: when growth stacks may be believed, who is never a culprit, and what becomes of hostile names. */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { BELIEF_TEXT, beliefOf, BELIEFS, isPlumbing, MAX_NAME_CHARACTERS, plainName } from "../../src/api/profile.ts";

test.each([
  ["every page stayed", 5632, 5632, "Trusted"],
  ["just enough stayed", 700, 1000, "Trusted"],
  ["part of it stayed", 690, 1000, "WhereTouched"],
  ["a tenth stayed", 100, 1000, "WhereTouched"],
  ["a leak behind churn", 128, 20_600, "Churn"],
  ["memory was given back", -500, 1000, "Churn"],
  ["huge pages", 512_000, 1000, "HugePages"],
  ["hardly a fault", 10, 10, "TooFew"],
  ["nothing happened", 0, 0, "TooFew"],
] as const)("%s: %i pages of %i faults are %s", (_what, pages, faults, belief) => {
  expect(beliefOf(pages, faults)).toBe(belief);
});

test("every belief has a sentence", () => {
  expect(Object.keys(BELIEF_TEXT).toSorted()).toEqual([...BELIEFS].toSorted());
});

test.each([
  [{ function: "_int_malloc", library: "libc.so.6" }, true],
  [{ library: "libc-2.31.so" }, true],
  [{ library: "ld-musl-x86_64.so.1" }, true],
  [{ library: "libjemalloc.so.2", function: "arena_bin_malloc" }, true],
  [{ function: "operator new(unsigned long)", library: "libstdc++.so.6" }, true],
  [{ function: "malloc@@GLIBC_2.2.5", library: "static" }, true],
  [{ function: "__memset_avx2_unaligned_erms", library: "static" }, true],
  [{ function: "runtime.mallocgc", library: "server" }, true],
  [{ function: "__rust_alloc", library: "server" }, true],
  [{ function: "je_malloc", library: "redis-server" }, true],
  [{ function: "allocate_decode_buffer", library: "libimgdecode.so" }, false],
  [{ function: "tiff_decode_tiles", library: "libimgdecode.so" }, false],
  [{ function: "main.handle", library: "server" }, false],
  [{ function: "memory_pool_get", library: "server" }, false],
  [{ function: "free_list_push", library: "libcache.so" }, false],
  [{ function: "mallocator", library: "app" }, false],
  [{}, false],
])("%o is plumbing: %s", (frame, plumbing) => {
  expect(isPlumbing(frame)).toBe(plumbing);
});

test("no name holds a separator, a control character or a mark that turns text, and none is long", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 600 }), (text) => {
      const plain = plainName(text);
      return !/[;\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u.test(plain) && plain.length <= MAX_NAME_CHARACTERS;
    }),
    { numRuns: 200 },
  );
  expect(plainName("a;b\n\u202e")).toBe("a\\x3bb\\xa\\x202e".replace("\\xa", "\\x0a"));
  expect(plainName("std::vector<int>::push_back(int const&)")).toBe("std::vector<int>::push_back(int const&)");
});
