/** JavaScript without a hand on the collector: listeners that are never taken off, a table that is bounded, and memory behind ArrayBuffers. */
import { EventEmitter } from "node:events";

const [mode, ...words] = process.argv.slice(2);
const number = (key, fallback) =>
  Number(words.find((word) => word.startsWith(`${key}=`))?.slice(key.length + 1) ?? fallback);

const kept = [];
const table = new Map();
let count = 0;
const record = () => ({ id: count++, text: `entry ${count}`.padEnd(120, "."), tags: [count, count + 1, count + 2] });
const perTick = number("rate", 600);

if (mode === "listeners") {
  const bus = new EventEmitter().setMaxListeners(0);
  setInterval(() => {
    for (let i = 0; i < perTick; i++) {
      const request = record();
      bus.on("done", () => request.id);
    }
  }, 100);
} else if (mode === "bounded-table") {
  setInterval(() => {
    for (let i = 0; i < perTick; i++) {
      const one = record();
      table.set(one.id % 60_000, one);
    }
  }, 100);
} else if (mode === "array-buffers") {
  setInterval(() => kept.push(new Float64Array(number("each", 96) * 128).fill(1.5)), 100);
} else {
  process.stderr.write(`variants.mjs: unknown mode ${mode}\n`);
  process.exit(2);
}
