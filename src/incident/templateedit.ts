/** What does a pod template look like after a small change: other environment variables, or the mark of a restart? */
import type { Json } from "./templates.ts";

export type TemplateEdit =
  /** RFC 3339; what `kubectl rollout restart` writes. */
  { readonly restartedAt: string } | { readonly container: string; readonly env: Readonly<Record<string, string>> };

/** The annotation by which `kubectl rollout restart` makes a new template of the old one. */
const RESTARTED_AT = "kubectl.kubernetes.io/restartedAt";

type Fields = { readonly [key: string]: Json };

function fields(value: Json | undefined): Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

function list(value: Json | undefined): readonly Json[] {
  return Array.isArray(value) ? value : [];
}

/** @returns undefined where the template has no such container */
export function editedTemplate(template: Json, edit: TemplateEdit): Json | undefined {
  const whole = fields(template);
  if ("restartedAt" in edit) {
    const metadata = fields(whole["metadata"]);
    const annotations = { ...fields(metadata["annotations"]), [RESTARTED_AT]: edit.restartedAt };
    return { ...whole, metadata: { ...metadata, annotations } };
  }
  const spec = fields(whole["spec"]);
  const containers = list(spec["containers"]).map(fields);
  if (!containers.some(({ name }) => name === edit.container)) return undefined;
  const changed = containers.map((c) => (c["name"] === edit.container ? withEnv(c, edit.env) : c));
  return { ...whole, spec: { ...spec, containers: changed } };
}

/** Each variable keeps its place, because later ones may refer to it; what was not there comes last. */
function withEnv(container: Fields, set: Readonly<Record<string, string>>): Fields {
  const env = list(container["env"]).map(fields);
  const there = new Set(env.map(({ name }) => name));
  const kept = env.map((entry) => {
    const value =
      typeof entry["name"] === "string" && Object.hasOwn(set, entry["name"]) ? set[entry["name"]] : undefined;
    return value === undefined ? entry : { name: entry["name"] ?? null, value };
  });
  const added = Object.entries(set).flatMap(([name, value]) => (there.has(name) ? [] : [{ name, value }]));
  return { ...container, env: [...kept, ...added] };
}
