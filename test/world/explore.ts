/** `make world`: every fault at every call and every event, and then as many seeds as asked for. Prints the story of each world in which an oracle does not hold. */
import { recordedLeak } from "./evidence.ts";
import { bench, everyCall, everyEvent, seeded, type Trial } from "./trials.ts";

const { SEEDS = "1000", FROM = "1", ENUMERATE = "yes" } = process.env;
const at = await bench(await recordedLeak());
let runs = 0;
let bad = 0;

async function all(what: string, trials: Iterable<Trial>): Promise<void> {
  const from = runs;
  for (const trial of trials) {
    runs += 1;
    const complaint = await at
      .complaint(trial)
      .catch((error: unknown) => `${trial.name}, seed ${trial.seed}: ${String(error)}`);
    if (complaint === undefined) continue;
    bad += 1;
    console.log(`\n${complaint}`);
  }
  console.log(`${what}: ${runs - from} worlds, ${bad} bad in all so far`);
}

function* seeds(): Iterable<Trial> {
  for (let seed = Number(FROM); seed < Number(FROM) + Number(SEEDS); seed++) yield seeded(seed);
}

if (ENUMERATE === "yes") {
  await all("Each fault at each call", everyCall(at));
  await all("Each fault at each event", everyEvent(at));
}
await all("Seeds", seeds());
process.exitCode = bad === 0 ? 0 : 1;
