/**
 * What the diagnosis said of recordings when it saw them for the first time: sets of cases that were written, labelled and recorded while the rules stood still, and scored once. Then the
 * rules were mended, and the sets became cases like the others; so these figures stand here as they were, and are never computed again.
 */
interface FirstAnswers {
  readonly set: string;
  readonly about: string;
  readonly right: number;
  readonly of: number;
  /** The label's own verdict. */
  readonly exact: number;
  readonly processes: readonly [right: number, of: number];
  readonly wrong: readonly string[];
  readonly boundedCalledLeak: number;
  readonly leakCalledHarmless: number;
  /** Of the answers that were no Inconclusive: points counted before any cap, from and to, with how many there were and how many were right. */
  readonly byPoints: readonly (readonly [from: number, to: number, count: number, right: number])[];
  readonly after: string;
}

const FIRST_ANSWERS: readonly FirstAnswers[] = [
  {
    set: "cases/variants.ts",
    about:
      "leaks at a tenth of the rates, on a large base, under waves, noise, file churn and short-lived children; Go, JVM, Python and Node.js without a hand on their collectors; System V memory and messages; snapshots by fork; arenas",
    right: 34,
    of: 38,
    exact: 28,
    processes: [18, 21],
    wrong: [
      "leak-slow-sidecar (BoundedSteady)",
      "java-map (BoundedSteady)",
      "javascript-listeners (WarmupPlateau)",
      "snapshots-again-and-again (SharedPageArtefact)",
    ],
    boundedCalledLeak: 0,
    leakCalledHarmless: 3,
    byPoints: [
      [50, 64, 3, 1],
      [65, 74, 1, 1],
      [75, 84, 16, 14],
      [85, 200, 15, 15],
    ],
    after:
      "Mended: a process that leaks under a sum that goes up and down (`hiddenInNoise`); what stands higher than it did, floor and all, is never called steady (`unexplainedRise`); a cgroup is judged up to the end of its last process; a sum of RSS is no story where memory itself swings by as much. Two programs did not do what was meant and were recorded anew: javascript-listeners (adding one took longer the more there were) and go-map (it never wrote to its memory).",
  },
  {
    set: "cases/unseen.ts",
    about:
      "written when the first set had been answered for: workers that are replaced, processes that pile up, a store handed over, connections kept, bursts, steps and waves that end, mappings, huge pages, a kill at the end, few samples, threads of Go and the JVM",
    right: 23,
    of: 23,
    exact: 18,
    processes: [7, 8],
    wrong: [],
    boundedCalledLeak: 0,
    leakCalledHarmless: 0,
    byPoints: [
      [50, 64, 3, 3],
      [65, 74, 1, 1],
      [75, 84, 14, 14],
      [85, 200, 4, 4],
    ],
    after:
      "Nothing was mended for it. Not named although it could be: connections-kept, whose process is not blamed because a rise of connections alone is called provisional load.",
  },
];

export function firstAnswersText(): string {
  return FIRST_ANSWERS.map((one) => {
    const bands = one.byPoints.map(
      ([from, to, count, right]) =>
        `${right} of ${count} with ${to >= 200 ? `${from} points or more` : `${from} to ${to} points`}`,
    );
    return [
      `### ${one.set}: ${one.right} of ${one.of} right (${Math.round((100 * one.right) / one.of)} %)`,
      "",
      `What it holds: ${one.about}.`,
      "",
      `The label's own verdict: ${one.exact}. Process at fault: ${one.processes.join(" of ")}. Bounded, called a leak: ${one.boundedCalledLeak}. A leak, called harmless: ${one.leakCalledHarmless}. Of the answers: ${bands.join(", ")}.`,
      "",
      ...(one.wrong.length === 0 ? [] : [`Wrong: ${one.wrong.join(", ")}.`, ""]),
      one.after,
      "",
    ].join("\n");
  }).join("\n");
}
