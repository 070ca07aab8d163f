/** What does a pod say about its memory? States, limits and where they come from, probes and owners. Never its environment, commands, volumes or annotations. */
import type { ContainerFacts, Incarnation, LimitSource, PodFacts } from "../api/context.ts";
import { redact } from "./redact.ts";
import {
  at,
  bytesAt,
  controllerOf,
  countAt,
  cpuMilliAt,
  cut,
  intAt,
  listAt,
  nameOf,
  textAt,
  timeAt,
  uidOf,
  type ControllerReference,
} from "./untrusted.ts";

/** A pod may have any number; these are kept. */
const MAX_CONTAINERS = 32;
const MAX_IMAGE = 512;
const MAX_MESSAGE = 256;
/** What the LimitRanger writes on a pod whose resources it has filled in. */
const LIMIT_RANGER = "kubernetes.io/limit-ranger";

export interface PodSurroundings {
  /** The workload, as the API server has it. */
  readonly target: unknown;
  /** Its ReplicaSets or ControllerRevisions. */
  readonly revisions: readonly unknown[];
}

/** Undefined for what is no pod. */
export function podFacts(
  pod: unknown,
  role: "Preserved" | "Serving" | undefined,
  around: PodSurroundings,
): PodFacts | undefined {
  const name = nameOf(pod);
  const uid = uidOf(pod);
  if (name === undefined || uid === undefined) return undefined;
  const owners = ownersOf(pod, around);
  const podLimit = bytesAt(pod, "spec", "resources", "limits", "memory");
  const resize = resizeOf(pod);
  return {
    name,
    uid,
    role,
    phase: textAt(pod, ["status", "phase"], 32) ?? "Unknown",
    reason: textAt(pod, ["status", "reason"], 128),
    node: textAt(pod, ["spec", "nodeName"]),
    qosClass: textAt(pod, ["status", "qosClass"], 32),
    created: timeAt(pod, "metadata", "creationTimestamp"),
    started: timeAt(pod, "status", "startTime"),
    deleted: timeAt(pod, "metadata", "deletionTimestamp"),
    ready: listAt(pod, "status", "conditions").some((c) => at(c, "type") === "Ready" && at(c, "status") === "True"),
    owners,
    podLimitBytes: podLimit,
    podRequestBytes: bytesAt(pod, "spec", "resources", "requests", "memory"),
    ...(resize.length === 0 ? {} : { resize }),
    containers: containersOf(pod, podLimit, templateOf(owners, around)),
  };
}

/** From the direct controller upwards, as far as the objects at hand lead; by uid, so that a name that was used again leads nowhere. */
function ownersOf(pod: unknown, { target, revisions }: PodSurroundings): ControllerReference[] {
  const owners: ControllerReference[] = [];
  for (let owner = controllerOf(pod); owner !== undefined && owners.length < 8;) {
    const { uid } = owner;
    owners.push(owner);
    owner = controllerOf([target, ...revisions].find((object) => uidOf(object) === uid));
  }
  return owners;
}

/** The pod template that the pod was made from: its ReplicaSet's, or the workload's own. */
function templateOf(owners: readonly ControllerReference[], { target, revisions }: PodSurroundings): unknown {
  const uids = new Set(owners.map((owner) => owner.uid));
  const maker = [...revisions, target].find((object) => {
    const uid = uidOf(object);
    return uid !== undefined && uids.has(uid) && at(object, "spec", "template") !== undefined;
  });
  return at(maker, "spec", "template", "spec");
}

const LISTS = [
  ["containers", "containerStatuses"],
  ["initContainers", "initContainerStatuses"],
  ["ephemeralContainers", "ephemeralContainerStatuses"],
] as const;

function containersOf(pod: unknown, podLimit: number | undefined, template: unknown): ContainerFacts[] {
  const filledIn = textAt(pod, ["metadata", "annotations", LIMIT_RANGER], 4096) ?? "";
  return LISTS.flatMap(([specs, statuses]) => {
    const known = listAt(pod, "status", statuses);
    return listAt(pod, "spec", specs).flatMap((spec) => {
      const name = textAt(spec, ["name"], 63);
      if (name === undefined) return [];
      const status = known.find((s) => at(s, "name") === name);
      const model = template === undefined ? undefined : named(listAt(template, specs), name);
      return [
        containerFacts(name, typeOf(specs, spec), spec, status, {
          podLimit,
          template: model,
          hasTemplate: template !== undefined,
          byLimitRange: limitRangeFilledIn(filledIn, name),
        }),
      ];
    });
  }).slice(0, MAX_CONTAINERS);
}

/** "LimitRanger plugin set: cpu request for container app; cpu, memory limit for container app" */
function limitRangeFilledIn(annotation: string, container: string): boolean {
  return annotation
    .replace(/^LimitRanger plugin set: /, "")
    .split("; ")
    .some((part) => {
      const [, resources, name] = /^([a-z./, -]{1,400}) limit for (?:init )?container (\S+)$/.exec(part) ?? [];
      return name === container && resources?.split(", ").includes("memory") === true;
    });
}

function named(list: readonly unknown[], name: string): unknown {
  return list.find((entry) => at(entry, "name") === name);
}

function typeOf(list: string, spec: unknown): ContainerFacts["type"] {
  if (list === "containers") return "Container";
  if (list === "ephemeralContainers") return "EphemeralContainer";
  return at(spec, "restartPolicy") === "Always" ? "Sidecar" : "InitContainer";
}

interface LimitWitnesses {
  readonly podLimit: number | undefined;
  readonly template: unknown;
  readonly hasTemplate: boolean;
  readonly byLimitRange: boolean;
}

function containerFacts(
  name: string,
  type: ContainerFacts["type"],
  spec: unknown,
  status: unknown,
  witnesses: LimitWitnesses,
): ContainerFacts {
  const last = at(status, "lastState", "terminated");
  return {
    name,
    type,
    image: textAt(spec, ["image"], MAX_IMAGE),
    imageId: textAt(status, ["imageID"], MAX_IMAGE),
    restartCount: countAt(status, "restartCount") ?? 0,
    ready: at(status, "ready") === true,
    state: { ...incarnation(at(status, "state")), containerId: bareId(textAt(status, ["containerID"], 256)) },
    last: last === undefined ? undefined : incarnation({ terminated: last }),
    requests: {
      memoryBytes: bytesAt(spec, "resources", "requests", "memory"),
      cpuMilli: cpuMilliAt(spec, "resources", "requests", "cpu"),
    },
    cpuLimitMilli: cpuMilliAt(spec, "resources", "limits", "cpu"),
    memoryLimit: limitOf(spec, status, witnesses),
    probes: probesOf(spec),
  };
}

function limitOf(spec: unknown, status: unknown, witnesses: LimitWitnesses): ContainerFacts["memoryLimit"] {
  const specBytes = bytesAt(spec, "resources", "limits", "memory");
  const templateBytes = bytesAt(witnesses.template, "resources", "limits", "memory");
  const actualBytes = bytesAt(status, "resources", "limits", "memory");
  return {
    bytes: actualBytes ?? specBytes ?? witnesses.podLimit,
    from: limitSource(specBytes, templateBytes, witnesses),
    templateBytes,
    specBytes,
    actualBytes,
  };
}

function limitSource(
  specBytes: number | undefined,
  templateBytes: number | undefined,
  { podLimit, hasTemplate, byLimitRange }: LimitWitnesses,
): LimitSource {
  if (specBytes === undefined) return podLimit === undefined ? "None" : "PodLevel";
  if (templateBytes !== undefined) return templateBytes === specBytes ? "ContainerSpec" : "ChangedOnPod";
  // The annotation is the tenant's to write: it is believed only where the template has no limit of its own.
  if (byLimitRange) return "LimitRange";
  return hasTemplate ? "Admission" : "ContainerSpec";
}

function incarnation(state: unknown): Incarnation {
  const terminated = at(state, "terminated");
  if (terminated !== undefined) {
    return {
      kind: "terminated",
      reason: textAt(terminated, ["reason"], 128),
      exitCode: intAt(terminated, "exitCode"),
      startedAt: timeAt(terminated, "startedAt"),
      finishedAt: timeAt(terminated, "finishedAt"),
      containerId: bareId(textAt(terminated, ["containerID"], 256)),
    };
  }
  if (at(state, "running") !== undefined) return { kind: "running", startedAt: timeAt(state, "running", "startedAt") };
  return { kind: "waiting", reason: textAt(state, ["waiting", "reason"], 128) };
}

/** "containerd://0123…" → "0123…" */
function bareId(id: string | undefined): string | undefined {
  return id?.slice(id.indexOf("://") === -1 ? 0 : id.indexOf("://") + 3);
}

const PROBES = [
  ["Liveness", "livenessProbe"],
  ["Readiness", "readinessProbe"],
  ["Startup", "startupProbe"],
] as const;
const HANDLERS = [
  ["Exec", "exec"],
  ["HttpGet", "httpGet"],
  ["TcpSocket", "tcpSocket"],
  ["Grpc", "grpc"],
] as const;

/** Kinds and times only: a probe's command, path and headers may hold a token. */
function probesOf(spec: unknown): ContainerFacts["probes"] {
  return PROBES.flatMap(([kind, field]) => {
    const probe = at(spec, field);
    if (probe === undefined) return [];
    return [
      {
        kind,
        handler: HANDLERS.find(([, key]) => at(probe, key) !== undefined)?.[0] ?? ("Unknown" as const),
        periodSeconds: countAt(probe, "periodSeconds"),
        timeoutSeconds: countAt(probe, "timeoutSeconds"),
        failureThreshold: countAt(probe, "failureThreshold"),
      },
    ];
  });
}

/** The kubelet says in conditions how far a resize in place has come (PodResizePending, PodResizeInProgress). */
function resizeOf(pod: unknown): NonNullable<PodFacts["resize"]> {
  return listAt(pod, "status", "conditions")
    .flatMap((condition) => {
      const type = textAt(condition, ["type"], 64);
      if (type === undefined || !type.startsWith("PodResize") || at(condition, "status") !== "True") return [];
      const message = textAt(condition, ["message"], 4096);
      return [
        {
          type,
          reason: textAt(condition, ["reason"], 128),
          message: message === undefined ? undefined : cut(redact(message).text, MAX_MESSAGE),
        },
      ];
    })
    .slice(0, 4);
}
