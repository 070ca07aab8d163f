/** What is one case of the corpus? Programs in a cgroup, how they are recorded, and what an expert who knows the programs would say. */
import type { Verdict } from "../../src/api/memoryinvestigation.ts";

export interface Case {
  /** Name of the pack. */
  readonly name: string;
  /** Of the target's cgroup, in MiB; at most {@link MAX_LIMIT_MIB}. */
  readonly limitMiB: number;
  /** `memory.high` of the target's cgroup, in MiB; only with {@link needs} "cgroup v2". */
  readonly highMiB?: number;
  /** What of it may be swapped out, in MiB; without a word none, as Kubernetes has it. */
  readonly swapMiB?: number;
  readonly programs: readonly Program[];
  /** Below the case's cgroup; absent: that itself. */
  readonly target?: "app";
  /** Where the target is one of several: the limit of all of them, in MiB, in place of the target's own. */
  readonly sharedLimit?: true;
  /** The default is {@link USUAL}. */
  readonly seconds?: number;
  readonly intervalSeconds?: number;
  /** How long the programs run before the recording begins. */
  readonly settleSeconds?: number;
  readonly profile?: true;
  /** What the machine must have; without it the case is left out, and that is told. */
  readonly needs?: "swap" | "huge pages" | "python3" | "go" | "java" | "cgroup v2";
  readonly label: Label;
}

export interface Program {
  /** A C program of `programs/`, or a script with its runtime. */
  readonly run:
    | "heap"
    | "shapes"
    | "sharing"
    | "kernel"
    | "files"
    | "variants"
    | "unseen"
    | "variants.go"
    | "heap.mjs"
    | "worker.py"
    | "variants.mjs"
    | "variants.py"
    | "Variants.java";
  readonly args: readonly string[];
  /** Its comm, where that is not the program's own name. */
  readonly as?: string;
  /** Which cgroup: below the case's own, or one beside it. Absent: the case's own. */
  readonly in?: "app" | "sidecar" | "neighbour";
  /** It is started anew so many seconds after it has ended. */
  readonly restartAfterSeconds?: number;
}

/**
 * From what the programs do, never from what the diagnosis says. A verdict of `also` counts as right too: another name for the same thing, or as
 * much as can be known from so short a look.
 */
export interface Label {
  readonly verdict: Verdict;
  readonly also?: readonly Verdict[];
  /** Comm of the process at fault, where one is. */
  readonly process?: string;
  /** Where a profile was taken: the functions that may be named, the one that allocates and those that call it for that. */
  readonly functions?: readonly string[];
  readonly why: string;
}

export const MAX_LIMIT_MIB = 512;

/** 12 samples and 60 s are enough for a verdict that is provisional, 24 and 5 minutes for one that is confirmed. */
export const USUAL = { seconds: 62, intervalSeconds: 2, settleSeconds: 1 } as const;
