/** Which worlds are tried, and how is a bad one told of? A trial is a scenario, a plan of faults and a seed: the same three give the same story to the last millisecond. */
import type { Actor } from "./actors/hands.ts";
import type { Recorded } from "./evidence.ts";
import { type CallFault, EVENT_FAULTS, eventFaultAt, faultAt, READ_FAULTS, swarm, WRITE_FAULTS } from "./faults.ts";
import { incident, ONE_LEAK, type Outcome, type Scenario, TWO_LEAKS } from "./incident.ts";
import { endState, judged, oracles } from "./oracles.ts";
import { SeededRandom } from "./scheduler.ts";
import type { Call } from "./wire.ts";
import { type FaultPlan, type Mutant, NO_FAULTS, storyText, World } from "./world.ts";

export interface Trial {
  readonly name: string;
  readonly seed: number;
  readonly faults: FaultPlan;
  readonly scenario: Scenario;
  readonly delays: "Same" | "Seeded";
  readonly replicas?: number;
  /** Actors beside the usual ones. */
  readonly more?: () => readonly Actor[];
  /** Somebody takes objects away: where it ends is not asked, only that nothing wrong is done on the way. */
  readonly hostile?: boolean;
}

export interface Bench {
  /** Runs a trial. @returns the problems that the oracles name; none when all hold */
  problems(trial: Trial, mutant?: Mutant): Promise<string[]>;
  /** Runs a trial and tells of it, as a story with the seed, where an oracle does not hold. */
  complaint(trial: Trial): Promise<string | undefined>;
  /** All that happens in a trial, in words. */
  story(trial: Trial): Promise<string>;
  /** Calls and events of the run without faults. */
  readonly calls: readonly Call[];
  readonly events: number;
}

async function run(trial: Trial, recorded: Recorded, mutant: Mutant | undefined): Promise<Outcome> {
  const { seed, faults, delays, replicas = 1, scenario, more = () => [] } = trial;
  return incident(new World({ seed, faults, recorded, delays, replicas, mutant, more: more() }), scenario);
}

export const QUIET: Trial = { name: "no faults", seed: 1, faults: NO_FAULTS, scenario: ONE_LEAK, delays: "Same" };

/** Runs the reference, which all trials are compared with. Throws when it does not hold itself. */
export async function bench(recorded: Recorded): Promise<Bench> {
  const reference = await run(QUIET, recorded, undefined);
  const end = endState(reference);
  const wrong = judged(reference, oracles(end));
  if (wrong.length > 0) throw new Error(`Without faults:\n${wrong.join("\n")}\n${storyText(reference.world.story)}`);

  function judge(trial: Trial, outcome: Outcome): string[] {
    const comparable = trial.scenario === ONE_LEAK;
    const asked = oracles(comparable ? end : undefined).filter(({ always }) => always || trial.hostile !== true);
    return judged(outcome, asked);
  }

  return {
    calls: reference.world.calls,
    events: reference.world.events,
    problems: async (trial, mutant) => judge(trial, await run(trial, recorded, mutant)),
    story: async (trial) => storyText((await run(trial, recorded, undefined)).world.story),
    complaint: async (trial) => {
      const outcome = await run(trial, recorded, undefined);
      const problems = judge(trial, outcome);
      if (problems.length === 0) return undefined;
      const began = outcome.world.story.find(({ what }) => what === "starts")?.atMs ?? 0;
      return `${trial.name}, seed ${trial.seed}\n${problems.join("\n")}\n${storyText(outcome.world.story, began)}`;
    },
  };
}

function callTrial({ index, request: { method, path } }: Call, fault: CallFault): Trial {
  const name = `${fault} at call ${index}, ${method} ${path}`;
  return { ...QUIET, name, faults: faultAt(index, fault), hostile: fault === "Replace" };
}

/** Each fault at each call: every one of them, reads as well as writes. */
export function everyCall({ calls }: Bench): Trial[] {
  return calls
    .filter(({ request }) => !request.path.includes("/events"))
    .flatMap((call) =>
      (call.request.method === "GET" ? READ_FAULTS : WRITE_FAULTS).map((fault) => callTrial(call, fault)),
    );
}

/** Each fault at each event that a watch tells. */
export function everyEvent({ events }: Bench): Trial[] {
  return Array.from({ length: events }, (_, index) => index).flatMap((index) =>
    EVENT_FAULTS.map((fault) => ({ ...QUIET, name: `${fault} at event ${index}`, faults: eventFaultAt(index, fault) })),
  );
}

/** A swarm of faults, delays of any length, one or two replicas, one workload or two: all from the seed. */
export function seeded(seed: number): Trial {
  const random = new SeededRandom(seed);
  const replicas = random.next() < 0.3 ? 2 : 1;
  const scenario = random.next() < 0.25 ? TWO_LEAKS : ONE_LEAK;
  return { name: "a swarm", seed, faults: swarm(seed), scenario, delays: "Seeded", replicas };
}

/** Faults that leave the operator and the server of different minds: those that guards are made for. */
const SHARP: readonly CallFault[] = ["LoseReply", "CrashAfter"];

/** The same call but for names: every one of its kind meets the same code. */
function shapeOf({ request: { method, path } }: Call): string {
  return `${method} ${path.replaceAll(/[^/]*\d[^/]*/g, (name) => (/^v\d/.test(name) ? name : "*"))}`;
}

/** The sharp faults at the first write of each kind. */
export function eachKindOfWrite({ calls }: Bench): Trial[] {
  const writes = calls.filter(({ request: { method, path } }) => method !== "GET" && !path.includes("/events"));
  const firsts = new Map(writes.toReversed().map((call) => [shapeOf(call), call]));
  return [...firsts.values()].flatMap((call) => SHARP.map((fault) => callTrial(call, fault)));
}
