/** Reads all that is read of the process it is given, with whatever rights it was started with, and prints what came of it. */
import { createCostGate } from "../../src/collector/costgate.ts";
import { createDescriptors } from "../../src/collector/descriptors.ts";
import { createNetworks } from "../../src/collector/networks.ts";
import { readProcess, readRollup } from "../../src/collector/procfs.ts";
import { takeSnapshot } from "../../src/collector/snapshots.ts";
import { systemClock } from "../../src/seams.ts";

const pid = Number(process.argv[2]);
const reading = await readProcess("/proc", pid, systemClock);
if (reading === undefined) throw new Error("the process cannot be read at all");
const networks = createNetworks("/proc", systemClock);
const options = { proc: "/proc", gate: createCostGate(5000, 0), clock: systemClock, nameKey: "key" };
const candidates = [{ process: reading }];
const snapshot = await takeSnapshot({ ...options, signal: new AbortController().signal }, "Start", 0, candidates, 0);
process.stdout.write(
  JSON.stringify({
    rss: (reading.status["VmRSS"] ?? 0) > 0,
    rollup: await readRollup("/proc", reading, systemClock),
    ...createDescriptors("/proc").of(pid),
    namespace: networks.namespaceOf(pid),
    processes: snapshot.processes.length,
    skipped: snapshot.skipped.map(({ reason }) => reason),
  }),
);
