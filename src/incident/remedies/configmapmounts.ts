/** Which keys of a ConfigMap do the containers of a template see, and would they see a change while they run? */
import type { Json } from "../templates.ts";

/** A list: these keys only. OnlyAtStart: as environment variables or by subPath, which do not change while a container runs. */
export type MountedKeys = "All" | "Nowhere" | "OnlyAtStart" | readonly string[];

type Fields = { readonly [key: string]: Json };

function fields(value: Json | undefined): Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

function list(value: Json | undefined): readonly Fields[] {
  return Array.isArray(value) ? value.map(fields) : [];
}

export function mountedKeys(template: Json, configMap: string): MountedKeys {
  const spec = fields(fields(template)["spec"]);
  const containers = [...list(spec["containers"]), ...list(spec["initContainers"])];
  const volumes = list(spec["volumes"]).flatMap((volume) => {
    const keys = keysOf(volume, configMap);
    return keys === undefined ? [] : [{ name: volume["name"], keys }];
  });
  const mounts = containers.flatMap((container) => list(container["volumeMounts"]));
  const live = volumes.filter(({ name }) =>
    mounts.some((mount) => mount["name"] === name && !subPath(mount["subPath"]) && !subPath(mount["subPathExpr"])),
  );
  if (live.some(({ keys }) => keys === "All")) return "All";
  if (live.length > 0) return live.flatMap(({ keys }) => (keys === "All" ? [] : keys));
  const mounted = volumes.some(({ name }) => mounts.some((mount) => mount["name"] === name));
  return mounted || containers.some((container) => inEnvironment(container, configMap)) ? "OnlyAtStart" : "Nowhere";
}

function subPath(value: Json | undefined): boolean {
  return value !== undefined && value !== null && value !== "";
}

/** Undefined: the volume does not come from the ConfigMap. */
function keysOf(volume: Fields, configMap: string): "All" | readonly string[] | undefined {
  const sources = [
    fields(volume["configMap"]),
    ...list(fields(volume["projected"])["sources"]).map((source) => fields(source["configMap"])),
  ].filter(({ name }) => name === configMap);
  if (sources.length === 0) return undefined;
  const items = sources.map((source) => list(source["items"]));
  if (items.some((some) => some.length === 0)) return "All";
  return items.flat().flatMap(({ key }) => (typeof key === "string" ? [key] : []));
}

function inEnvironment(container: Fields, configMap: string): boolean {
  const whole = list(container["envFrom"]).map((source) => fields(source["configMapRef"]));
  const single = list(container["env"]).map((entry) => fields(fields(entry["valueFrom"])["configMapKeyRef"]));
  return [...whole, ...single].some(({ name }) => name === configMap);
}
