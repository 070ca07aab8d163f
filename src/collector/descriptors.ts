/**
 * What does a process hold open? Counts by kind, from what the links in /proc/PID/fd say and never from where they lead: a leak of sockets, pipes,
 * epoll instances, deleted files or memfds is memory that no process maps. The links are read and not followed, and nothing of them is kept.
 *
 * These reads are synchronous: they take neither the target's mmap lock nor touch a file system (fs/proc/fd.c, d_path), and one that
 * goes through a thread costs ten times as much.
 */
import { opendirSync, readlinkSync, statSync } from "node:fs";
import type { ProcessReading } from "../api/collection.ts";
import { codeOf, isDenied, isGone } from "./hostfiles.ts";
import type { ProcessFolder } from "./procfs.ts";

/** Names that are listed of one process; the kernel makes an entry of its cache for each. */
const MAX_LISTED = 4096;
/** Links that are looked at in one process, spread evenly over those listed. */
const MAX_LOOKED = 512;
/** The same for all processes of a sample: about 3 microseconds each. */
const MAX_LOOKED_PER_SAMPLE = 8192;

export interface Descriptors {
  /** Begins a new sample. */
  renew(): void;
  of(folder: ProcessFolder): Pick<ProcessReading, "descriptors" | "descriptorsSkipped">;
}

export function createDescriptors(proc: string): Descriptors {
  let room = MAX_LOOKED_PER_SAMPLE;
  return {
    renew: () => {
      room = MAX_LOOKED_PER_SAMPLE;
    },
    of: (folder) => {
      if (room <= 0) return { descriptorsSkipped: "TooMany" };
      try {
        const { open, names } = list(`${proc}/${folder}/fd`);
        const kinds: Record<string, number> = {};
        let looked = 0;
        let denied = false;
        const step = Math.max(1, Math.ceil(names.length / Math.min(MAX_LOOKED, room)));
        for (let i = 0; i < names.length; i += step) {
          const kind = kindAt(`${proc}/${folder}/fd/${names[i]}`);
          denied = kind === "denied";
          if (denied) break;
          if (kind === undefined) continue;
          looked += 1;
          kinds[kind] = (kinds[kind] ?? 0) + 1;
        }
        room -= looked;
        const skipped = denied ? { descriptorsSkipped: "NoPermission" } : {};
        return { descriptors: { open, looked, kinds }, ...skipped };
      } catch (error) {
        if (isGone(error)) return {};
        if (isDenied(error)) return { descriptorsSkipped: "NoPermission" };
        throw error;
      }
    },
  };
}

/** The first names, and how many there are: since Linux 6.2 the size of the folder says so. */
function list(folder: string): { readonly open: number; readonly names: readonly string[] } {
  const names: string[] = [];
  const directory = opendirSync(folder, { bufferSize: 512 });
  try {
    for (let entry = directory.readSync(); entry !== null && names.length < MAX_LISTED; entry = directory.readSync())
      if (/^\d{1,10}$/.test(entry.name)) names.push(entry.name);
  } finally {
    directory.closeSync();
  }
  const open = names.length < MAX_LISTED ? names.length : Math.max(names.length, statSync(folder).size);
  return { open, names };
}

/** Undefined: it was closed meanwhile. `denied`: the folder may be listed, but its links may not be read. */
function kindAt(path: string): string | undefined {
  try {
    return kindOf(readlinkSync(path));
  } catch (error) {
    // ENAMETOOLONG: a path beyond what the kernel tells. EINVAL: no link at all, so no descriptor.
    if (isGone(error) || codeOf(error) === "EINVAL") return undefined;
    if (codeOf(error) === "ENAMETOOLONG") return "file";
    if (isDenied(error)) return "denied";
    throw error;
  }
}

/** Anonymous inodes whose names are told; the kernel has few, and a driver may have any. */
const ANON_INODES = new Set([
  "eventpoll",
  "eventfd",
  "timerfd",
  "signalfd",
  "inotify",
  "fanotify",
  "io_uring",
  "perf_event",
  "bpf-map",
  "bpf-prog",
  "bpf_link",
  "pidfd",
  "userfaultfd",
  "kvm-vm",
  "kvm-vcpu",
]);

/** The kind of what a link in /proc/PID/fd says. */
export function kindOf(target: string): string {
  const inode = /^anon_inode:\[?([a-z0-9_-]{1,32})/.exec(target)?.[1];
  if (inode !== undefined) return `anon_inode:${ANON_INODES.has(inode) ? inode : "other"}`;
  if (target.startsWith("socket:[")) return "socket";
  if (target.startsWith("pipe:[")) return "pipe";
  if (target.startsWith("pidfd:")) return "anon_inode:pidfd";
  if (!target.startsWith("/")) return "other";
  if (target.startsWith("/memfd:") && target.endsWith(" (deleted)")) return "memfd";
  if (target.startsWith("/dev/shm/")) return "tmpfs";
  if (target.startsWith("/dev/")) return "device";
  return target.endsWith(" (deleted)") ? "deleted" : "file";
}
