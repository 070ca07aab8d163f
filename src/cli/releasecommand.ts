/** `oomscope release`: the pod that an investigation keeps is given back now, before its time. */
import { type CommandSpec, type Given } from "./arguments.ts";
import { CLUSTER_OPTIONS, investigationNamed, patchSpec, withCluster } from "./clustercommand.ts";
import { EXIT, Failed, type Command, type World } from "./command.ts";
import { nameOf, understood } from "./showcommand.ts";
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

async function run(given: Given, world: World): Promise<number> {
  const name = nameOf(given);
  await withCluster(
    given,
    world,
    (namespace) => `change memoryinvestigation ${name} in namespace ${namespace}`,
    async (cluster) => {
      const investigation = await understood(await investigationNamed(cluster, name));
      const { preserved } = investigation.status ?? {};
      if (preserved === undefined) throw new Failed(`${name} keeps no pod, so there is nothing to give back`);
      const pod = shown(preserved.pod, 253);
      if (preserved.state === "Released" || preserved.state === "Lost")
        throw new Failed(
          preserved.state === "Lost"
            ? `Pod ${pod} is gone, so it cannot be given back`
            : `Pod ${pod} was given back before`,
        );
      if (!investigation.spec.release) await patchSpec(cluster, investigation, { release: true });
      world.terminal.print(
        `The operator is asked to put pod ${pod} back; see oomscope show ${name} -n ${cluster.namespace}\n`,
      );
    },
  );
  return EXIT.done;
}

export const releaseCommand: Command = { spec, run };
