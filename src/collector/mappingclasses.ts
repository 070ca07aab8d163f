/**
 * What is a mapping for? Decided in one pass over a process's mappings, from what the kernel prints of each and of its neighbours. A runtime
 * is often known only by a library that comes later than its heap, so some answers stay open until the end: see docs/decisions/0008 for
 * every rule, where it was seen, and how sure it is.
 */
import type { Certainty, MappingClass, Runtime } from "../api/mappings.ts";
import type { Mapping } from "./smaps.ts";

const KIB = 2 ** 10;
const MIB = 2 ** 20;
const GIB = 2 ** 30;

/** HEAP_MAX_SIZE of glibc's malloc/arena.c on 64-bit machines, and heapArenaBytes of Go's runtime/malloc.go. */
const ARENA_BYTES = 64 * MIB;
/** Go makes its heap accessible in steps of 4 MiB (runtime/mheap.go, grow). */
const GO_STEP = 4 * MIB;
/** The first address that Go asked for before its base became random (Go 1.26), on amd64 and arm64: 0x00c0 << 32, for 2^32 bytes. */
const GO_HINT = 0xc0 * 2 ** 32;
/** Compressed pointers of the JVM reach 32 GiB; below HeapBaseMinAddress it puts no heap. */
const JVM_FROM = 2 * GIB;
const JVM_TO = 32 * GIB;
/** ARENA_SIZE of CPython's obmalloc since 3.10. A large malloc block is never a whole number of MiB: it has a header. */
const CPYTHON_ARENA = MIB;
/** A guard of a thread's stack is a page or a few; the JVM's zones are 16 KiB. Larger gaps without access are something else. */
const MAX_GUARD = 64 * KIB;
/** PTHREAD_STACK_MIN. */
const MIN_STACK = 16 * KIB;

/** What an unnamed private mapping could be, if the process turns out to run the runtime. */
const GO = 1;
const V8 = 2;
const JVM = 4;
const CPYTHON = 8;
const ARENA = 16;
const GUARDED = 32;
const ZGC = 64;

/** A class that is certain now, or candidates that are resolved at the end. `file` is what the mapping is listed under by name. */
export type Placement =
  | { readonly class: MappingClass; readonly certainty: Certainty; readonly file?: string }
  | { readonly candidates: number };

export interface Classifier {
  place(mapping: Mapping, next: Mapping | undefined): Placement;
  /** After the last mapping: the runtimes that were recognised. */
  runtimes(): readonly Runtime[];
  /** After the last mapping: what candidates have turned out to be. */
  resolve(candidates: number): { readonly class: MappingClass; readonly certainty: Certainty };
}

const DELETED = " (deleted)";
const LIBRARY = /\.so(?:\.[0-9][^/]{0,40})?$/;

/** @param memoryDevices devices of tmpfs mounts that the process sees, as the kernel prints them in a mapping */
export function createClassifier(memoryDevices: ReadonlySet<string>): Classifier {
  /** Where the mapping before ended, when it was a guard: without access, small, and not part of a reservation. */
  let guardEnd = -1;
  let marksStacks = false;
  let libraries = 0;
  let goArenas = 0;
  const found = new Set<Runtime>();

  function place(mapping: Mapping, next: Mapping | undefined): Placement {
    const guarded = guardEnd === mapping.start;
    guardEnd = isGuard(mapping) ? mapping.end : -1;
    if (has(mapping, "nh")) marksStacks = true;
    if (has(mapping, "ht")) return { class: "HugePages", certainty: "Kernel" };
    const { name } = mapping;
    if (name === "")
      return mapping.inode === "0" ? unnamed(mapping, next, guarded) : { class: "Unknown", certainty: "Kernel" };
    if (name.startsWith("[")) return bracketed(mapping, guarded);
    return ofFile(mapping);
  }

  function unnamed(mapping: Mapping, next: Mapping | undefined, guarded: boolean): Placement {
    const { permissions, start, end } = mapping;
    if (permissions.endsWith("s")) return { class: "SharedAnonymous", certainty: "Kernel" };
    if (permissions.startsWith("---")) return { class: "Reserved", certainty: "Kernel" };
    if (permissions[2] === "x") return { class: "Jit", certainty: "Kernel" };
    const stackLike = guarded && !has(mapping, "nr") && !has(mapping, "dc") && end - start >= MIN_STACK;
    if (has(mapping, "nh") && (stackLike || has(mapping, "gu"))) return { class: "ThreadStack", certainty: "Layout" };
    if (permissions === "rw-p" && has(mapping, "nr") && isArena(mapping, next))
      return { class: "Arena", certainty: "Layout" };
    let candidates = 0;
    if (has(mapping, "dc")) candidates |= V8;
    if (start >= JVM_FROM && start < JVM_TO) candidates |= JVM;
    if (permissions === "rw-p") {
      if (isGoHeap(mapping, next)) candidates |= GO;
      if (isArena(mapping, next)) candidates |= ARENA;
      if ((end - start) % CPYTHON_ARENA === 0) candidates |= CPYTHON;
      if (stackLike) candidates |= GUARDED;
    }
    if ((candidates & GO) !== 0) {
      goArenas += 1;
      if (start >= GO_HINT && start < GO_HINT + 2 ** 32) found.add("Go");
    }
    return { candidates };
  }

  function bracketed(mapping: Mapping, guarded: boolean): Placement {
    const { name, permissions } = mapping;
    if (name === "[heap]") return { class: "Heap", certainty: "Kernel" };
    if (name.startsWith("[stack")) return { class: "MainStack", certainty: "Kernel" };
    if (/^\[(?:vdso|vvar|vvar_vclock|vsyscall|uprobes|vectors|sigpage)\]$/.test(name))
      return { class: "Kernel", certainty: "Kernel" };
    if (name.startsWith("[anon_shmem:")) return { class: "SharedAnonymous", certainty: "Kernel", file: name };
    if (!name.startsWith("[anon:")) return { class: "Unknown", certainty: "Kernel" };
    if (permissions.startsWith("---")) return { class: "Reserved", certainty: "Kernel" };
    if (permissions[2] === "x") return { class: "Jit", certainty: "Kernel" };
    const known = namedByRuntime(name, guarded);
    if (known === undefined) return { class: "Anonymous", certainty: "Kernel", file: name };
    if (known.runtime !== undefined) found.add(known.runtime);
    return { class: known.class, certainty: "Claimed" };
  }

  function ofFile(mapping: Mapping): Placement {
    const file = mapping.name.endsWith(DELETED) ? mapping.name.slice(0, -DELETED.length) : mapping.name;
    const deleted = file.length < mapping.name.length;
    const internal = deleted && mapping.device.startsWith("00:");
    if (internal && file.startsWith("/memfd:")) {
      // ZGC's heap, when this turns out to be a JVM.
      if (file === "/memfd:java_heap") return { candidates: ZGC };
      return { class: "Memfd", certainty: "Kernel", file };
    }
    if (internal && /^\/SYSV[0-9a-f]{8}$/.test(file)) return { class: "SysV", certainty: "Kernel" };
    if (file === "/dev/zero")
      return mapping.permissions.endsWith("s") ? { class: "SharedAnonymous", certainty: "Kernel" } : { candidates: 0 };
    if (internal && file === "/anon_hugepage") return { class: "HugePages", certainty: "Kernel" };
    if (file.startsWith("/dev/shm/") || memoryDevices.has(mapping.device))
      return { class: "Tmpfs", certainty: "Kernel", file };
    if (file.startsWith("/dev/") || !file.startsWith("/")) return { class: "Device", certainty: "Kernel", file };
    return { class: regular(mapping, file), certainty: "Kernel", file };
  }

  function regular(mapping: Mapping, file: string): MappingClass {
    const base = baseName(file);
    if (LIBRARY.test(base)) {
      libraries += 1;
      if (base === "libjvm.so") found.add("JVM");
      else if (/^(?:libnode|libv8)[\w.]{0,20}\.so/.test(base)) found.add("V8");
      else if (/^libpython3[\w.]{0,10}\.so/.test(base)) found.add("CPython");
      return "Library";
    }
    if (mapping.permissions[2] !== "x") return "File";
    if (/^(?:node|nodejs|deno|electron|chrome|chromium)$/.test(base)) found.add("V8");
    else if (/^python3?(?:\.\d{1,3})?$/.test(base)) found.add("CPython");
    return "Program";
  }

  return {
    place,
    runtimes: () => {
      // A Go program without cgo maps no library at all.
      if (goArenas > 0 && libraries === 0 && found.size === 0) found.add("Go");
      return [...found].toSorted();
    },
    resolve: (candidates) => {
      const is = (bit: number): boolean => (candidates & bit) !== 0;
      if (is(ZGC))
        return found.has("JVM") ? { class: "JvmHeap", certainty: "Claimed" } : { class: "Memfd", certainty: "Kernel" };
      if (is(GO) && found.has("Go")) return { class: "GoHeap", certainty: "Layout" };
      if (is(V8) && found.has("V8")) return { class: "V8Heap", certainty: "Layout" };
      if (is(JVM) && found.has("JVM")) return { class: "JvmHeap", certainty: "Layout" };
      if (is(ARENA)) return { class: "Arena", certainty: "Layout" };
      // Where the kernel marks stacks (6.7), what it has not marked is none.
      if (is(GUARDED) && !marksStacks) return { class: "ThreadStack", certainty: "Layout" };
      if (is(CPYTHON) && found.has("CPython")) return { class: "CPythonArena", certainty: "Layout" };
      return { class: "Anonymous", certainty: "Kernel" };
    },
  };
}

/** The last component of a path. */
export function baseName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** Whether a base name may leave the node: a shared library's, of ordinary letters. */
export function isLibraryName(base: string): boolean {
  return /^[A-Za-z0-9_.+@-]{1,76}$/.test(base) && LIBRARY.test(base);
}

function has(mapping: Mapping, flag: string): boolean {
  return mapping.flags.includes(` ${flag} `);
}

function isGuard(mapping: Mapping): boolean {
  return (
    mapping.permissions === "---p" &&
    mapping.name === "" &&
    mapping.end - mapping.start <= MAX_GUARD &&
    !has(mapping, "nr") &&
    !has(mapping, "dc")
  );
}

/** The end of what may be touched, or of the reservation that follows it without a gap. */
function reservedEnd(mapping: Mapping, next: Mapping | undefined): number {
  const follows = next?.start === mapping.end && next.permissions === "---p" && next.name === "";
  return follows ? next.end : mapping.end;
}

function isArena(mapping: Mapping, next: Mapping | undefined): boolean {
  const end = reservedEnd(mapping, next);
  return mapping.start % ARENA_BYTES === 0 && end % ARENA_BYTES === 0 && end - mapping.end < ARENA_BYTES;
}

function isGoHeap(mapping: Mapping, next: Mapping | undefined): boolean {
  if (has(mapping, "nr") || has(mapping, "dc")) return false;
  const end = reservedEnd(mapping, next);
  const stepped = mapping.start % GO_STEP === 0 && mapping.end % GO_STEP === 0;
  return stepped && end % ARENA_BYTES === 0 && end - mapping.end < ARENA_BYTES;
}

/** Names that runtimes give to their memory with prctl(PR_SET_VMA_ANON_NAME); the kernel puts them between `[anon:` and `]`. */
function namedByRuntime(
  name: string,
  guarded: boolean,
): { readonly class: MappingClass; readonly runtime?: Runtime } | undefined {
  const inner = name.slice("[anon:".length, -1);
  if (inner === " Go: heap") return { class: "GoHeap", runtime: "Go" };
  if (inner.startsWith(" Go: ")) return { class: "Anonymous", runtime: "Go" };
  if (inner === "v8") return { class: "V8Heap", runtime: "V8" };
  if (inner.startsWith("cpython:")) return { class: "CPythonArena", runtime: "CPython" };
  if (inner === " glibc: malloc arena") return { class: "Arena" };
  if (inner.startsWith(" glibc: pthread")) return { class: guarded ? "ThreadStack" : "Anonymous" };
  return inner.startsWith(" glibc: ") ? { class: "Anonymous" } : undefined;
}
