/**
 * The heap of a JavaScript runtime: garbage that comes and goes in cycles above a floor that stands still (`flat`) or rises (`rising`), and
 * buffers that live outside of it (`buffers`).
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

const [mode, ...words] = process.argv.slice(2);
const number = (key, fallback) =>
  Number(words.find((word) => word.startsWith(`${key}=`))?.slice(key.length + 1) ?? fallback);

/** Every record has the same size, whatever its number. */
const record = (i) => ({
  id: i,
  tags: [i, i + 1, i + 2, i + 3],
  text: String(i % 1e6).padStart(24, "0"),
});
const kept = [];
let batch = [];

if (mode === "flat" || mode === "rising") {
  // A batch is gathered for a few seconds and dropped as a whole; then the collector runs, which otherwise waits for more than a minute has.
  setFlagsFromString("--expose-gc");
  const collectGarbage = runInNewContext("gc");
  const perTick = number("garbage", 2500);
  const keepPerTick = mode === "rising" ? number("keep", 250) : 0;
  const cycleTicks = number("cycle", 6) * 10;
  let ticks = 0;
  for (let i = 0; i < 60_000; i++) kept.push(record(i));
  setInterval(() => {
    for (let i = 0; i < perTick; i++) batch.push(record(ticks * perTick + i));
    for (let i = 0; i < keepPerTick; i++) kept.push(record(ticks * perTick + i));
    if (++ticks % cycleTicks === 0) {
      batch = [];
      collectGarbage();
    }
  }, 100);
} else if (mode === "buffers") {
  setInterval(() => kept.push(Buffer.alloc(number("each", 128) * 1024, 7)), 125);
} else {
  process.stderr.write(`heap.mjs: unknown mode ${mode}\n`);
  process.exit(2);
}
