/** Do zod here and the API server there agree on every string, and on what a quantity is worth? Both are asked, and compared. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { type KindDefinition, customResourceDefinition } from "../../src/api/crd.ts";
import {
  Bytes,
  ContainerName,
  Duration,
  Int,
  LabelKey,
  LabelValue,
  LongDuration,
  ObjectName,
  Reason,
  ShortHash,
  listAtomic,
  quantityBytes,
  rules,
} from "../../src/api/fields.ts";
import { KillClassification, Result, Verdict } from "../../src/api/memoryinvestigation.ts";
import { Mode } from "../../src/api/memorypolicy.ts";
import { MitigationAction } from "../../src/api/mitigation.ts";
import { type CrdServer, type Json, connect, crdPath, installCrd } from "./crdserver.ts";

const TYPES: Readonly<Record<string, z.ZodType>> = {
  bytes: Bytes,
  classification: KillClassification,
  container: ContainerName,
  duration: Duration,
  hash: ShortHash,
  action: MitigationAction,
  labelKey: LabelKey,
  labelValue: LabelValue,
  longDuration: LongDuration,
  mode: Mode,
  name: ObjectName,
  reason: Reason,
  result: Result,
  verdict: Verdict,
};

/** A kind that exists only here: one optional field for each type, and a rule that says when a number is the worth of a quantity. */
const PROBE: KindDefinition = {
  kind: "ContractProbe",
  plural: "contractprobes",
  shortName: "cprobe",
  scope: "Cluster",
  description: "For the tests of the contract.",
  columns: [],
  selectable: [],
  spec: z
    .object({
      ...Object.fromEntries(Object.entries(TYPES).map(([name, type]) => [name, type.optional().describe(name)])),
      worth: z
        .array(
          z
            .object({
              text: z.string().max(64).describe("The quantity."),
              bytes: z.string().max(24).describe("Its worth."),
            })
            .meta(
              rules({
                rule: "quantity(self.text).compareTo(quantity(self.bytes)) <= 0 && quantity(self.text).compareTo(quantity(self.bytes).sub(1)) > 0",
                message: "is worth something else",
              }),
            ),
        )
        .max(64)
        .optional()
        .describe("Quantities.")
        .meta(listAtomic),
      count: Int.min(1).max(100).optional().describe("A count."),
    })
    .describe("One field of each type."),
  status: z.object({}).describe("Nothing."),
};

const CORPUS: readonly string[] = [
  ..."|0|1|a|A|-|.|_|/| |a b|a-b|a.b|a_b|a/b|a..b|-a|a-|.a|a.|Ab|aB|a--b|a.-b|a-.b|0a|a0|ä|ß|é|日本|💥|a\n|\na|a\tb".split(
    "|",
  ),
  ..."0s|1s|30s|1h30m|1h30s|5m1h|90m|24h|7d|1d12h|1w|5|5ms|1.5h|-5m|+5m|00s|99999h|9999h|1h1h| 5m|5m |P1D|PT5M|٣s|1H|1S".split(
    "|",
  ),
  ..."512Mi|2Gi|1.5Gi|.5Gi|1.Gi|0Gi|2GB|2gi|1e3|1E|1k|1K|128974848|-1Gi|+1Gi|1,5Gi|1_000|0x10|1.2345Gi|01Gi".split("|"),
  ..."0123456789ab|0123456789AB|0123456789a|0123456789abc|g123456789ab".split("|"),
  ..."app.kubernetes.io/name|example.com/|/name|a/b/c|A.com/x|x_y.z-1|CamelCase|Camel1|1Camel|Camel-Case".split("|"),
  ..."Observe|observe|Recommend|Enforce|OBSERVE|AnonHeapLeak|Inconclusive|Rollback|DrainNode|Failed|Evicted|null|true|undefined".split(
    "|",
  ),
  "a".repeat(12),
  "a".repeat(16),
  "a".repeat(17),
  "a".repeat(24),
  "a".repeat(63),
  "a".repeat(64),
  "a".repeat(128),
  "A".repeat(129),
  "a".repeat(253),
  "a".repeat(254),
  `${"a".repeat(253)}/${"b".repeat(63)}`,
  `${"a".repeat(253)}/${"b".repeat(64)}`,
  `${"a.".repeat(31)}b`,
  "\u0000",
  "a\u0000",
  "a\r\n",
  "\u2028",
];

let server: CrdServer;
beforeAll(async () => {
  server = connect();
  const crd = customResourceDefinition(PROBE) as { spec: { names: { categories: string[] } } } & Json;
  // Tests beside this one list the category of our kinds.
  crd.spec.names.categories = [];
  await installCrd(server, PROBE.plural, crd);
});
afterAll(async () => {
  await server.call("DELETE", crdPath(PROBE.plural));
  await server.close();
});

const PATH = "/apis/oomscope.dev/v1alpha1/contractprobes";

/** The fields of spec that the server complains about. */
async function refusedFields(spec: Json): Promise<ReadonlySet<string>> {
  const object = { apiVersion: "oomscope.dev/v1alpha1", kind: PROBE.kind, metadata: { name: "probe" }, spec };
  const answer = await server.call("POST", `${PATH}?dryRun=All`, object);
  if (answer.status === 201) return new Set();
  expect(answer.status).toBe(422);
  const { causes } = answer.body["details"] as { causes: { field: string }[] };
  // "<nil>" only says that CEL rules were left out because the schema has refused already.
  return new Set(
    causes
      .filter(({ field }) => field !== "<nil>")
      .map(({ field }) => field.replace(/^spec\.?/, "").replace(/\..*$/, "")),
  );
}

describe("of strings", () => {
  test.each(CORPUS.map((text) => [JSON.stringify(text).slice(0, 30), text]))(
    "%s is the same on both sides",
    async (_name, text) => {
      const onServer = await refusedFields(Object.fromEntries(Object.keys(TYPES).map((name) => [name, text])));
      const here = Object.entries(TYPES).flatMap(([name, type]) => (type.safeParse(text).success ? [] : [name]));
      expect([...onServer].toSorted()).toEqual(here.toSorted());
    },
  );

  test("the corpus has an accepted and a refused string for every type", () => {
    for (const [name, type] of Object.entries(TYPES)) {
      const accepted = CORPUS.filter((text) => type.safeParse(text).success).length;
      expect([name, accepted > 0 && accepted < CORPUS.length]).toEqual([name, true]);
    }
  });

  test("numbers outside the bounds and of another type are refused on both sides", async () => {
    for (const count of [0, 1, 100, 101, 1.5, -1, "5", true, 2 ** 60]) {
      const here = Int.min(1).max(100).safeParse(count).success;
      expect([count, (await refusedFields({ count })).size === 0]).toEqual([count, here]);
    }
  });
});

describe("of quantities", () => {
  const TEXTS =
    "0 1 128974848 129M 123Mi 1Ki 1k 512Mi 1.5Gi .5Gi 1.Gi 2Ti 1Pi 1E 1e3 1E3 1e-1 400m 1500m 0.1 +1Gi 100n 2000001u 1.1Gi 8.2k 3e9".split(
      " ",
    );

  test("the server comes to the same number of bytes", async () => {
    const worth = TEXTS.map((text) => ({ text, bytes: String(quantityBytes(text)) }));
    expect(await refusedFields({ worth })).toEqual(new Set());
  });

  test("and says so when the number is another", async () => {
    for (const text of ["1.5Gi", "400m", "1k"]) {
      const bytes = quantityBytes(text) ?? 0;
      expect(await refusedFields({ worth: [{ text, bytes: String(bytes + 1) }] })).toEqual(new Set(["worth[0]"]));
      expect(await refusedFields({ worth: [{ text, bytes: String(bytes - 1) }] })).toEqual(new Set(["worth[0]"]));
    }
  });

  test.each(["", "Gi", "1GB", "1 Gi", "one", "1e", "1KiB", "0x10", "1,5Gi", "1K", "∞"])(
    "%j is a quantity for neither",
    async (text) => {
      expect(quantityBytes(text)).toBeUndefined();
      expect(await refusedFields({ worth: [{ text, bytes: "1" }] })).toEqual(new Set(["worth[0]"]));
    },
  );
});
