import { describe, expect, test } from "vitest";
import { readSettings } from "../src/settings.ts";

const BASE = { OOMSCOPE_NAMESPACE: "a", OOMSCOPE_POD_NAME: "b", OOMSCOPE_COLLECTOR_IMAGE: "c" };

describe("the bucket's settings", () => {
  test("mean nothing without a bucket", () => {
    expect(readSettings({ ...BASE, OOMSCOPE_EVIDENCE_S3_REGION: "eu-west-1" }).evidence.s3).toBeUndefined();
  });

  test("are Amazon's when nothing but the bucket is said", () => {
    const settings = readSettings({
      ...BASE,
      OOMSCOPE_EVIDENCE_S3_BUCKET: "packs",
      OOMSCOPE_EVIDENCE_S3_REGION: "eu-west-1",
    });
    expect(settings.evidence.s3).toEqual({
      bucket: "packs",
      endpoint: "https://s3.eu-west-1.amazonaws.com",
      region: "eu-west-1",
      prefix: "",
      pathStyle: false,
      ca: undefined,
      credentials: "/etc/oomscope/s3",
      retentionMs: 30 * 86_400_000,
      maxBytes: 20 * 2 ** 30,
    });
  });

  const wrong: readonly (readonly [name: string, value: string])[] = [
    ["BUCKET", "../packs"],
    ["BUCKET", "Packs"],
    ["ENDPOINT", "s3.example.com"],
    ["ENDPOINT", "https://user:canary@s3.example.com"],
    ["ENDPOINT", "https://s3.example.com/path"],
    ["ENDPOINT", "ftp://s3.example.com"],
    ["REGION", "eu west"],
    ["PREFIX", "no-slash"],
    ["PREFIX", "/absolute/"],
    ["PREFIX", "a b/"],
    ["PATH_STYLE", "yes"],
    ["RETENTION", "soon"],
    ["MAX_BYTES", "0"],
  ];
  test.each(wrong)("are refused by name, and not repeated: %s=%s", (name, value) => {
    const variable = `OOMSCOPE_EVIDENCE_S3_${name}`;
    const read = (): unknown => readSettings({ ...BASE, OOMSCOPE_EVIDENCE_S3_BUCKET: "packs", [variable]: value });
    expect(read).toThrow(`  ${variable}: `);
    expect(read).not.toThrow("canary");
  });
});

describe("the settings of notifications", () => {
  const folder = { OOMSCOPE_NOTIFY_DIRECTORY: "/etc/oomscope/notify" };

  test("mean nothing without a folder", () => {
    expect(readSettings({ ...BASE, OOMSCOPE_NOTIFY_MESSAGES: "Failed" }).notify).toBeUndefined();
  });

  test("ask for every message when nothing but the folder is said", () => {
    expect(readSettings({ ...BASE, ...folder }).notify).toEqual({
      directory: "/etc/oomscope/notify",
      link: undefined,
      messages: ["Opened", "Diagnosed", "Proposed", "Done", "Failed", "Ended"],
    });
  });

  test("take some of the messages", () => {
    const { notify } = readSettings({ ...BASE, ...folder, OOMSCOPE_NOTIFY_MESSAGES: "Proposed,Failed" });
    expect(notify?.messages).toEqual(["Proposed", "Failed"]);
  });

  test.each([
    ["MESSAGES", "Everything"],
    ["MESSAGES", "Failed,"],
    ["LINK", "grafana.example.com"],
    ["LINK", "javascript:alert(1)"],
    ["LINK", "https://example.com/a b"],
  ])("OOMSCOPE_NOTIFY_%s=%s is refused by name", (name, value) => {
    expect(() => readSettings({ ...BASE, [`OOMSCOPE_NOTIFY_${name}`]: value })).toThrow(
      `OOMSCOPE_NOTIFY_${name}: must be`,
    );
  });
});
