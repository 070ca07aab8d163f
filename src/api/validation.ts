/**
 * Did it help? What an investigation's status says about a mitigation after it was seen complete: one check for each thing that must have become
 * better, with its numbers before and after. And the question that two packs are compared by.
 */
import { z } from "zod";
import { Int, Message, Time, listMap } from "./fields.ts";
import { CheckResult, MitigationAction } from "./mitigation.ts";

/** What is looked at, in the order in which it is told. */
export const CheckName = z.enum(["Kills", "MemoryGrowth", "GrowthProfile", "NodeMemAvailable", "MemoryLimit"]);
export type CheckName = z.infer<typeof CheckName>;

export const ValidationCheck = z.object({
  name: CheckName.describe(
    "Kills: no container of the new pods was killed for lack of memory. MemoryGrowth: the memory that grew stands still, for each unit of load. GrowthProfile: the function at fault makes 95 % less memory resident. NodeMemAvailable: MemAvailable of the node does not fall. MemoryLimit: the kernel has the limit that the pod asks for.",
  ),
  result: CheckResult.describe("Pass, Fail, or Unknown where there was too little data or load to tell."),
  required: z.boolean().describe("Whether the validation can pass only with this one. Any check can fail it."),
  before: Int.optional().describe("The number before the mitigation; absent where it is not known."),
  after: Int.optional().describe("The same after it."),
  unit: z.string().max(48).describe("The unit of both."),
  detail: Message.describe("What was seen, for people."),
});
export type ValidationCheck = z.infer<typeof ValidationCheck>;

export const Validation = z.object({
  action: MitigationAction.describe("The action whose effect is watched."),
  started: Time.describe("When the mitigation had been seen complete, and the watch began."),
  until: Time.describe("When the watch ends. It stays as it was when it began, whatever becomes of the policy."),
  checks: z
    .array(ValidationCheck)
    .max(CheckName.options.length)
    .describe("The checks, as far as they are known.")
    .meta(listMap("name")),
});
export type Validation = z.infer<typeof Validation>;

/** Which two recordings are compared, and what was found in the first. Everything in it stands in the status of the investigation. */
export interface ComparisonQuestion {
  /** The collection that the finding rests on; undefined: status names none any more. */
  readonly before: string | undefined;
  readonly after: string;
  /** The container at fault; undefined: the finding names none, and every container that was measured is looked at. */
  readonly container: string | undefined;
  /** `growth.series` of the finding. */
  readonly series: string | undefined;
  readonly culprit: { readonly library: string | undefined; readonly function: string | undefined } | undefined;
}
