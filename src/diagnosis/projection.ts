/** When will the limit be reached? A range from the interval of the slope, or nothing at all. */
import type { Finding } from "../api/memoryinvestigation.ts";
import type { ContainerRecording } from "./recording.ts";
import { type Series, straightness } from "./statistics.ts";
import type { Trend } from "./trend.ts";
import { whole } from "./words.ts";

/** Later than this is not worth a number: seven days. */
const LATEST_SECONDS = 7 * 86_400;

/**
 * Room = limit - (anon + shmem + kernel + sock + dirty and written-back file pages): clean cache goes before anything is killed.
 * Unevictable pages are not added: mlocked heap is anon already. cgroup v1 does not charge sock, so there it takes no room.
 * Seconds = room / slope; soonest by the upper end of the slope's interval. Undefined without a limit, when the lower end is not above
 * zero, when the last half is not straight (r² < 0.8), or when swap takes what grows.
 */
export function timeToOom(
  container: ContainerRecording,
  series: Series,
  trend: Trend,
): NonNullable<Finding["timeToOOMSeconds"]> | undefined {
  const { limitBytes, kinds, stat, cgroupVersion } = container;
  if (limitBytes === undefined || trend.trend !== "Growing" || trend.low <= 0) return undefined;
  if (trend.shape === "Line" && straightness(lastHalf(series)) < 0.8) return undefined;
  if ((kinds.swap.values.at(-1) ?? 0) > (kinds.swap.values[0] ?? 0)) return undefined;
  const held = [kinds.anon, kinds.shmem, kinds.kernel, stat.file_dirty, stat.file_writeback]
    .concat(cgroupVersion === 2 ? [kinds.sock] : [])
    .reduce((sum, { values }) => sum + (values.at(-1) ?? 0), 0);
  const room = Math.max(0, limitBytes - held);
  const seconds = (rate: number): number => whole(Math.min(LATEST_SECONDS, room / rate));
  return { low: seconds(trend.high), mid: seconds(trend.slope), high: seconds(trend.low) };
}

function lastHalf({ times, values }: Series): Series {
  const from = times.length >> 1;
  return { times: times.slice(from), values: values.slice(from) };
}
