/** All cases of the corpus, in the order in which they are recorded: the short ones first. */
import { type Case, USUAL } from "./case.ts";
import { BOUNDED } from "./cases/bounded.ts";
import { FILES } from "./cases/files.ts";
import { KERNEL } from "./cases/kernel.ts";
import { LEAKS } from "./cases/leaks.ts";
import { LIMITS } from "./cases/limits.ts";
import { SHARED } from "./cases/shared.ts";
import { UNSEEN } from "./cases/unseen.ts";
import { VARIANTS } from "./cases/variants.ts";

const secondsOf = ({ seconds = USUAL.seconds }: Case): number => seconds;

export const CASES: readonly Case[] = [
  ...LEAKS,
  ...BOUNDED,
  ...SHARED,
  ...KERNEL,
  ...FILES,
  ...LIMITS,
  ...VARIANTS,
  ...UNSEEN,
].toSorted((a, b) => secondsOf(a) - secondsOf(b));
