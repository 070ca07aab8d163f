/** Reads the mappings of the processes it is given, in turn, and prints what it took. A process of its own, so that its memory is its own. */
import { createAggregator } from "../../src/collector/mappings.ts";
import { streamFile } from "../../src/collector/mapfiles.ts";
import { systemClock } from "../../src/seams.ts";

const [pid = "self"] = process.argv.slice(2);
const before = process.resourceUsage().maxRSS;
const aggregator = createAggregator("key", new Set());
const read = await streamFile(`/proc/${pid}/smaps`, systemClock, (bytes) => aggregator.feed(bytes));
const { mappings, unparsedLines, totals } = aggregator.end();
const grownKib = process.resourceUsage().maxRSS - before;
process.stdout.write(JSON.stringify({ ...read, mappings, unparsedLines, rss: totals.Rss, grownKib }));
