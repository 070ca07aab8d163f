/** `oomscope release`: the pod that an investigation keeps is given back now, before its time. */
import type { MemoryInvestigation } from "../api/memoryinvestigation.ts";
import type { CommandSpec } from "./arguments.ts";
import { type Change, changeInvestigation } from "./change.ts";
import { CLUSTER_OPTIONS } from "./clustercommand.ts";
import { Failed, type Command } from "./command.ts";
import { shown } from "./text.ts";

const spec: CommandSpec = {
  name: "release",
  summary: "Give back the pod that an investigation of a cluster keeps",
  usage: "NAME [-n NAMESPACE]",
  about:
    "Sets spec.release, so that the operator puts the kept pod back as it was, before its ttl. What the pod could still show is gone with that.",
  operands: ["NAME"],
  options: CLUSTER_OPTIONS,
  examples: [["oomscope release thumbnail-svc-5f2f2632 -n media", "When you have seen enough of it."]],
};

function decide({ metadata, spec: before, status }: MemoryInvestigation): Change {
  const { name, namespace = "default" } = metadata;
  const preserved = status?.preserved;
  if (preserved === undefined) throw new Failed(`${name} keeps no pod, so there is nothing to give back`);
  const pod = shown(preserved.pod, 253);
  if (preserved.state === "Lost") throw new Failed(`Pod ${pod} is gone, so it cannot be given back`);
  if (preserved.state === "Released") throw new Failed(`Pod ${pod} was given back before`);
  return {
    ...(before.release ? {} : { spec: { release: true } }),
    text: `The operator is asked to put pod ${pod} back; see oomscope show ${name} -n ${namespace}\n`,
  };
}

export const releaseCommand: Command = {
  spec,
  run: (given, world) => changeInvestigation(given, world, decide),
};
