/** The finding in a sentence or two, for the engineer on call. */
import type { Finding } from "../api/memoryinvestigation.ts";
import { placeText } from "./attribution.ts";
import { type Case, killsByAnon, podName } from "./case.ts";
import type { ContainerGrowth } from "./growth.ts";
import { parentsOf } from "./lineage.ts";
import type { ProcessRecording } from "./recording.ts";
import type { Judgement } from "./verdict.ts";
import { bytesText, nameText, secondsText, sentence } from "./words.ts";

type Projection = Finding["timeToOOMSeconds"];

const KIND_WORDS = {
  anon: "anonymous memory (anon)",
  shmem: "shared memory (shmem)",
  kernel: "kernel memory (kernel)",
  sock: "socket buffers (sock)",
  file: "page cache (file)",
} as const;

/** @param rollout a sentence about the revision */
export function summaryOf(seen: Case, judgement: Judgement, projection: Projection, rollout?: string): string {
  const { story } = seen;
  if (story === undefined) return "Nothing can be said: no container, cgroup or process could be measured.";
  const who = whoText(seen, story);
  const kills = killsByAnon(seen);
  const killed =
    kills === 0
      ? ""
      : ` The kernel reported ${kills} ${kills === 1 ? "kill" : "kills"} with anonymous memory at 80 % of the limit or more.`;
  const brought = rollout === undefined ? "" : ` ${rollout}`;
  return sentence(`${mainText(who, story, judgement, projection)}${brought}${killed}`);
}

function mainText(who: string, story: ContainerGrowth, judgement: Judgement, projection: Projection): string {
  const { verdict, kind, trend, leader, attribution } = judgement;
  if (verdict === "Inconclusive") {
    const rate =
      story.anon === undefined
        ? ""
        : ` Its anon changed by ${bytesText(story.anon.netBytes)} in ${secondsText(story.anon.spanSeconds)}.`;
    return `No verdict for ${who}: ${judgement.reasons.map((r) => nameText(r, 300)).join("; ") || "nothing was measured"}.${rate}`;
  }
  const says = judgement.claim?.says;
  if (says !== undefined) {
    const soon = judgement.claim?.provisional === true ? " This is provisional." : "";
    return `${capital(who)} ${says}.${codeText(attribution)}${soon}`;
  }
  if (verdict === "BoundedSteady" || trend === undefined || kind === undefined) {
    const smallest = bytesText((trend?.smallestSlope ?? 0) * 3600);
    return `${capital(who)} does not grow: ${trend?.points ?? 0} samples over ${secondsText(trend?.spanSeconds ?? 0)}, no kind of memory rises. A leak below ${smallest} per hour would not have been seen.`;
  }
  const provisional = trend.provisional ? " This is provisional." : "";
  const kindOf = verdict === "ThreadStackGrowth" ? " Its threads become more, and each has a stack." : "";
  const harmless = kind === "file" ? " Clean cache is taken back by the kernel before anything is killed." : "";
  return `${capital(who)} gains ${bytesText(trend.slope)}/s of ${KIND_WORDS[kind]}${leaderText(story, leader)}${projectionText(story, projection)}.${kindOf}${codeText(attribution)}${harmless}${provisional}`;
}

function leaderText({ container }: ContainerGrowth, leader: Judgement["leader"]): string {
  if (leader === undefined) return "";
  const nameOf = ({ comm, pid }: ProcessRecording): string => `${nameText(comm)} (pid ${pid})`;
  const [parent] = parentsOf(container, leader.process);
  const from = parent === undefined ? "" : `, started by ${nameOf(parent)}`;
  return `, ${leader.sharePercent} % of it in process ${nameOf(leader.process)}${from}`;
}

/** Whose code it is. A share of page faults is told as that: it is not the share of the bytes. */
function codeText(attribution: Judgement["attribution"]): string {
  if (attribution === undefined) return "";
  const { named, inside, growth } = attribution;
  const pod = growth?.sibling?.pod;
  const where = growth?.sibling === undefined ? "" : ` (seen in a sibling${pod === undefined ? "" : `, pod ${pod}`})`;
  if (named !== undefined) {
    const caller = named.caller === undefined ? "" : `, called by ${nameText(named.caller, 48)}`;
    return ` It is made resident by ${placeText(named, 96)}${caller}: ${named.percent} % of the page faults${where}.`;
  }
  if (inside !== undefined)
    return ` It is made resident inside ${inside}; for which code, cannot be seen from outside${where}.`;
  return "";
}

function projectionText(story: ContainerGrowth, projection: Projection): string {
  const limit = story.container.limitBytes;
  if (projection === undefined || limit === undefined) return "";
  const low = secondsText(projection.low ?? 0);
  const high = secondsText(projection.high ?? 0);
  const range = low === high ? `about ${low}` : `${low} to ${high}`;
  return `; at this rate the limit of ${bytesText(limit)} is reached in ${range}`;
}

function whoText(seen: Case, { container }: ContainerGrowth): string {
  const name = container.name === undefined ? nameText(container.id, 12) : nameText(container.name, 63);
  if (container.scope === "Process") return `process ${name} with its descendants`;
  if (container.scope === "Cgroup") return `cgroup ${name}`;
  const pod = podName(seen, container.podUid);
  const role = seen.pods.get(container.podUid)?.role;
  const roleText = role === "Preserved" ? " (preserved, without traffic)" : role === "Serving" ? " (serving)" : "";
  return `container ${name}${pod === undefined ? "" : ` of pod ${pod}`}${roleText}`;
}

function capital(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}
