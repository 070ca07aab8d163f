/** How does each kind of write look on the wire? */
import type { ApiObject, ApplyOptions, CallOptions, JsonPatch, ObjectAddress, PatchOptions, Writes } from "./api.ts";
import type { Send } from "./call.ts";
import { apiVersionOf, pathOf, pods, type Address, type Resource } from "./resources.ts";

function addressOf(resource: Resource, object: ApiObject): Address & { readonly name: string } {
  const { name, namespace } = object.metadata;
  if (name === undefined) throw new TypeError(`A ${resource.kind} without metadata.name`);
  return { name, ...(namespace === undefined ? {} : { namespace }) };
}

/** The writes, each of them one call of `write`. */
export function writes(write: Send, fieldManager: string): Writes {
  const apply = async (
    resource: Resource,
    object: ApiObject,
    subresource: string | undefined,
    options: ApplyOptions,
  ) => {
    const { force, ...call } = options;
    return write({
      ...call,
      method: "PATCH",
      path: pathOf(resource, { ...addressOf(resource, object), ...(subresource === undefined ? {} : { subresource }) }),
      query: { fieldManager, force: force === true ? "true" : undefined },
      contentType: "application/apply-patch+yaml",
      body: { apiVersion: apiVersionOf(resource), kind: resource.kind, ...object },
    });
  };
  const patch = async (
    resource: Resource,
    address: ObjectAddress,
    body: unknown,
    contentType: string,
    options: PatchOptions,
  ) => {
    const { subresource, ...call } = options;
    return write({
      ...call,
      method: "PATCH",
      path: pathOf(resource, { ...address, ...(subresource === undefined ? {} : { subresource }) }),
      query: { fieldManager },
      contentType,
      body,
    });
  };
  return {
    create: async <T extends ApiObject>(resource: Resource, object: ApiObject, options: CallOptions = {}) => {
      const { namespace } = object.metadata;
      const path = pathOf(resource, namespace === undefined ? {} : { namespace });
      const body = { apiVersion: apiVersionOf(resource), kind: resource.kind, ...object };
      if (resource.namespaced && namespace === undefined) throw new TypeError(`A ${resource.kind} needs a namespace`);
      return (await write({ ...options, method: "POST", path, query: { fieldManager }, body })) as T;
    },
    replace: async <T extends ApiObject>(resource: Resource, object: ApiObject, options: CallOptions = {}) => {
      const path = pathOf(resource, addressOf(resource, object));
      const body = { apiVersion: apiVersionOf(resource), kind: resource.kind, ...object };
      return (await write({ ...options, method: "PUT", path, query: { fieldManager }, body })) as T;
    },
    apply: async <T extends ApiObject>(resource: Resource, object: ApiObject, options: ApplyOptions = {}) =>
      (await apply(resource, object, undefined, options)) as T,
    applyStatus: async <T extends ApiObject>(resource: Resource, object: ApiObject, options: ApplyOptions = {}) =>
      (await apply(resource, object, "status", options)) as T,
    mergePatch: async <T extends ApiObject>(
      resource: Resource,
      address: ObjectAddress,
      body: Readonly<Record<string, unknown>>,
      options: PatchOptions = {},
    ) => (await patch(resource, address, body, "application/merge-patch+json", options)) as T,
    jsonPatch: async <T extends ApiObject>(
      resource: Resource,
      address: ObjectAddress,
      body: JsonPatch,
      options: PatchOptions = {},
    ) => (await patch(resource, address, body, "application/json-patch+json", options)) as T,
    remove: async (resource, address, options = {}) => {
      const { preconditions, propagationPolicy, gracePeriodSeconds, ...call } = options;
      const body = { apiVersion: "v1", kind: "DeleteOptions", preconditions, propagationPolicy, gracePeriodSeconds };
      await write({ ...call, method: "DELETE", path: pathOf(resource, address), body });
    },
    evict: async (address, preconditions, options = {}) => {
      await write({
        ...options,
        method: "POST",
        path: pathOf(pods, { ...address, subresource: "eviction" }),
        body: {
          apiVersion: "policy/v1",
          kind: "Eviction",
          metadata: { name: address.name, namespace: address.namespace },
          ...(preconditions === undefined ? {} : { deleteOptions: { preconditions } }),
        },
      });
    },
  };
}
