/**
 * The world: an API server, the controllers around it, and one operator after the other, all in virtual time from one seed. It runs a scenario with a plan
 * of faults to its end, and tells what happened; whether that was right is for the oracles (oracles.ts).
 */
import { readFileSync } from "node:fs";
import { parse } from "yaml";
import { readSettings } from "../../src/settings.ts";
import { KINDS } from "../../src/api/crd.ts";
import { disruptionController, garbageCollector } from "./actors/cleaners.ts";
import { jobController, type Receiver } from "./actors/collection.ts";
import { type Actor, animate, Hands } from "./actors/hands.ts";
import { kubelet } from "./actors/node.ts";
import { deploymentController, replicaSetController } from "./actors/workloads.ts";
import { type Recorded, WorldEvidence } from "./evidence.ts";
import { ApiServer, type Request } from "./model/apiserver.ts";
import type { Commit } from "./model/storage.ts";
import type { JsonObject } from "./model/values.ts";
import { live, type Life, type LifeOptions } from "./operator.ts";
import { Scheduler, SeededRandom } from "./scheduler.ts";
import { type Call, type EventFate, type Fate, type Network, Wire } from "./wire.ts";

/** What strikes, and where. */
export interface FaultPlan {
  /** Called once, when the operator is started. */
  begin?(world: World): void;
  fateOf(call: Call, world: World): Fate;
  fateOfEvent(index: number, plural: string): EventFate;
}

export const NO_FAULTS: FaultPlan = { fateOf: () => ({ kind: "Deliver" }), fateOfEvent: () => "Deliver" };

/** A guard that is taken away: the operator with a hole in it. */
export interface Mutant {
  readonly name: string;
  readonly alter?: (request: Request) => Request;
  readonly loop?: () => NonNullable<LifeOptions["mutate"]>;
}

export interface WorldOptions {
  readonly seed: number;
  readonly faults: FaultPlan;
  readonly recorded: Recorded;
  /** How long each message takes: always the same, or each its own time from the seed. */
  readonly delays: "Same" | "Seeded";
  /** Replicas of the operator; default 1. */
  readonly replicas?: number;
  readonly mutant?: Mutant | undefined;
  readonly more?: readonly Actor[];
}

export interface Line {
  readonly atMs: number;
  readonly by: string;
  readonly what: string;
  readonly answer: string;
}

export const OPERATOR = "oomscope-system";
export const COLLECTORS = "oomscope-collectors";
export const MEDIA = "media";
/** An incident takes some 160. */
export const MAX_CALLS = 1_000;
/** How long the operator is away after it died. */
const RESTART_MS = 3_000;
/** Changes that come again and again in any run and tell nothing. */
const CHATTER = /\/(leases|events)/;

const crds = KINDS.map(
  ({ plural }) => parse(readFileSync(new URL(`../../crds/${plural}.yaml`, import.meta.url), "utf8")) as JsonObject,
);

export class World implements Network {
  readonly scheduler: Scheduler;
  readonly server: ApiServer;
  readonly evidence: WorldEvidence;
  readonly story: Line[] = [];
  readonly calls: Call[] = [];
  /** Writes that rested on nothing that was read. */
  readonly blind: string[] = [];
  /** Investigations that were ever opened. */
  opened = 0;
  /** Faults strike only while this is true. */
  stormy = true;
  readonly #options: WorldOptions;
  #events = 0;
  /** By the identity of their pods. */
  readonly #lives = new Map<string, { readonly owner: object; readonly name: string; readonly life: Life }>();
  #births = 0;

  constructor(options: WorldOptions) {
    this.#options = options;
    this.scheduler = new Scheduler(options.seed);
    this.server = new ApiServer(() => this.scheduler.date);
    this.evidence = new WorldEvidence(() => this.scheduler.date);
    for (const crd of crds) this.server.define(crd);
    const { random } = this.scheduler;
    const collection = jobController({
      evidence: this.evidence,
      receiver: () => this.#receiver(),
      twoPods: () => options.delays === "Seeded" && random.next() < 0.1,
    });
    const actors = [
      deploymentController,
      replicaSetController,
      kubelet,
      collection,
      garbageCollector,
      disruptionController,
    ];
    animate([...actors, ...(options.more ?? [])], this.server, this.scheduler, () =>
      options.delays === "Same" ? 10 : random.between(1, 200),
    );
    this.server.storage.listen((commit) => this.#heard(commit));
  }

  /** Somebody's hands in the world. */
  hands(name: string): Hands {
    return new Hands(this.server, this.scheduler, name);
  }

  get events(): number {
    return this.#events;
  }

  /** All replicas of the operator start. */
  start(): void {
    for (let i = 0; i < (this.#options.replicas ?? 1); i++) this.#bear(`operator-${i}`);
  }

  /** A new process of one of the operator's pods. */
  #bear(identity: string): void {
    const { recorded, seed, mutant } = this.#options;
    const owner = {};
    const name = `${identity}#${++this.#births}`;
    const alter = mutant?.alter;
    const mutate = mutant?.loop?.();
    const wire = new Wire({
      server: this.server,
      scheduler: this.scheduler,
      network: this,
      owner,
      name,
      crash: () => this.#crash(identity, owner),
      ...(alter === undefined ? {} : { alter }),
    });
    const life = live({
      transport: wire,
      clock: this.scheduler.clockOf(owner),
      random: new SeededRandom(seed * 1000 + this.#births),
      settings: { ...settings, identity },
      evidence: this.evidence,
      recorded,
      told: (key, error) => this.told(name, `could not reconcile ${key}`, String(error)),
      ...(mutate === undefined ? {} : { mutate }),
    });
    this.#lives.set(identity, { owner, name, life });
    this.told(name, "starts", "");
  }

  /** Ends all processes of the operator at once, for good. */
  kill(): void {
    for (const { owner } of this.#lives.values()) this.scheduler.drop(owner);
    this.#lives.clear();
  }

  /** Stops the process that leads for so long, as SIGSTOP does. */
  freeze(ms: number): void {
    const leader = [...this.#lives.values()].find(({ life }) => life.leads());
    if (leader === undefined) return;
    this.told(leader.name, `is frozen for ${ms} ms`, "");
    this.scheduler.freeze(leader.owner);
    this.scheduler.after(ms, () => this.scheduler.thaw(leader.owner));
  }

  #crash(identity: string, owner: object): void {
    const known = this.#lives.get(identity);
    if (known?.owner !== owner) return;
    this.scheduler.drop(owner);
    this.#lives.delete(identity);
    this.told(known.name, "dies", "");
    this.scheduler.after(RESTART_MS, () => this.#bear(identity));
  }

  #receiver(): Receiver {
    const lives = [...this.#lives.values()].map(({ life }) => life);
    return {
      takes: (collection, jobUid) => lives.some((life) => life.takes(collection, jobUid)),
      arrived: (collection) => lives.forEach((life) => life.arrived(collection)),
    };
  }

  /** The faults begin. */
  storm(): void {
    this.#options.faults.begin?.(this);
  }

  /** It has asked so much that no sane operator would: nothing runs on. */
  get exhausted(): boolean {
    return this.calls.length > MAX_CALLS;
  }

  /** Runs on for so long, or until it holds. A process that ended by itself is started again. */
  async run(ms: number, done: () => boolean = () => false): Promise<boolean> {
    return this.scheduler.run(this.scheduler.nowMs + ms, () => {
      for (const [identity, { owner, life }] of this.#lives)
        if (life.over() !== undefined) this.#crash(identity, owner);
      return this.exhausted || done();
    });
  }

  delayMs(): number {
    const { random } = this.scheduler;
    if (this.#options.delays === "Same") return 2;
    return random.next() < 0.02 ? random.between(500, 5_000) : random.between(1, 40);
  }

  numbered(request: Request): Call {
    if (/\/leases/.test(request.path)) return { index: -1, request };
    const call = { index: this.calls.length, request };
    this.calls.push(call);
    return call;
  }

  fateOf(call: Call): Fate {
    return this.stormy ? this.#options.faults.fateOf(call, this) : { kind: "Deliver" };
  }

  fateOfEvent(plural: string): EventFate {
    return this.stormy ? this.#options.faults.fateOfEvent(this.#events++, plural) : "Deliver";
  }

  actedBlindly(by: string, what: string): void {
    this.blind.push(`${by}: ${what}`);
  }

  told(by: string, what: string, answer: string): void {
    this.story.push({ atMs: this.scheduler.nowMs, by, what, answer });
  }

  #heard({ by, type, kind, namespace, name }: Commit): void {
    if (type === "ADDED" && kind.resource.plural === "memoryinvestigations") this.opened += 1;
    if (!by.startsWith("operator")) this.told(by, `${type} ${kind.resource.plural} ${namespace}/${name}`, "");
  }
}

const settings = readSettings({
  OOMSCOPE_NAMESPACE: OPERATOR,
  OOMSCOPE_COLLECTOR_NAMESPACE: COLLECTORS,
  OOMSCOPE_POD_NAME: "operator-0",
  OOMSCOPE_COLLECTOR_IMAGE: "none",
  OOMSCOPE_EVIDENCE_DIRECTORY: "none",
  OOMSCOPE_LEASE_SECONDS: "120",
});

/** The story as people read it: when, who, what, and how it went. Leases and Events are left out. */
export function storyText(story: readonly Line[], fromMs = 0): string {
  return story
    .filter(({ atMs, what }) => atMs >= fromMs && !CHATTER.test(what))
    .map(
      ({ atMs, by, what, answer }) => `${(atMs / 1000).toFixed(3).padStart(9)} s  ${by.padEnd(22)} ${what}  ${answer}`,
    )
    .join("\n");
}
