import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  inClusterCredentials,
  kubeconfigCredentials,
  loadCredentials,
  remembering,
} from "../../src/cluster/credentials.ts";
import { systemClock } from "../../src/seams.ts";
import { manualClock } from "./manualclock.ts";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "oomscope-credentials-"));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const write = (name: string, text: string) => writeFile(join(directory, name), text);
const env = { KUBERNETES_SERVICE_HOST: "10.96.0.1", KUBERNETES_SERVICE_PORT: "443" };

describe("in a pod", () => {
  beforeEach(async () => {
    await write("token", "first\n");
    await write("ca.crt", "CA one");
    await write("namespace", "oomscope-system");
  });

  test("reads server, namespace, token and CA", async () => {
    const credentials = await inClusterCredentials({ clock: manualClock(), env, directory });
    expect(credentials.server.href).toBe("https://10.96.0.1/");
    expect(credentials.namespace).toBe("oomscope-system");
    const secrets = await credentials.auth();
    expect(secrets.headers).toEqual({ authorization: "Bearer first" });
    expect(String(secrets.ca)).toBe("CA one");
    expect(secrets.skipTlsVerify).toBe(false);
  });

  test("puts brackets around an IPv6 address", async () => {
    const six = { KUBERNETES_SERVICE_HOST: "fd00::1", KUBERNETES_SERVICE_PORT: "6443" };
    const credentials = await inClusterCredentials({ clock: manualClock(), env: six, directory });
    expect(credentials.server.href).toBe("https://[fd00::1]:6443/");
  });

  test("reads a rotated token and CA within ten seconds, and not more often", async () => {
    const clock = manualClock();
    const credentials = await inClusterCredentials({ clock, env, directory });
    await write("token", "second");
    await write("ca.crt", "CA two");
    await clock.advance(9_000);
    expect((await credentials.auth()).headers["authorization"]).toBe("Bearer first");
    await clock.advance(1_000);
    const secrets = await credentials.auth();
    expect(secrets.headers["authorization"]).toBe("Bearer second");
    expect(String(secrets.ca)).toBe("CA two");
  });

  test("reads the token again after the server refused it, at most once a second", async () => {
    const clock = manualClock();
    const credentials = await inClusterCredentials({ clock, env, directory });
    await write("token", "second");
    credentials.forget();
    await clock.advance(999);
    expect((await credentials.auth()).headers["authorization"]).toBe("Bearer first");
    await clock.advance(1);
    expect((await credentials.auth()).headers["authorization"]).toBe("Bearer second");
  });

  test("goes on with the last good token while the file is gone or empty, unless the server refuses it", async () => {
    const clock = manualClock();
    const credentials = await inClusterCredentials({ clock, env, directory });
    await rm(join(directory, "token"));
    await clock.advance(10_000);
    expect((await credentials.auth()).headers["authorization"]).toBe("Bearer first");
    await write("token", "");
    await clock.advance(10_000);
    expect((await credentials.auth()).headers["authorization"]).toBe("Bearer first");
    credentials.forget();
    await clock.advance(10_000);
    await expect(credentials.auth()).rejects.toThrow(/is empty/);
  });

  test("asks once for many requests that need the answer at the same time", async () => {
    let loads = 0;
    const { auth } = remembering(async () => {
      loads++;
      await systemClock.sleep(10);
      return { headers: {}, skipTlsVerify: false };
    }, manualClock());
    await Promise.all(Array.from({ length: 10 }, () => auth()));
    expect(loads).toBe(1);
  });

  test("says what is missing where there is no cluster", async () => {
    await expect(inClusterCredentials({ clock: manualClock(), env: {}, directory })).rejects.toThrow(
      /Give a kubeconfig/,
    );
  });
});

describe("with a kubeconfig", () => {
  const config = (user: string, cluster = "") => `
apiVersion: v1
kind: Config
current-context: one
clusters:
- {name: c, cluster: {server: "https://10.0.0.1:6443", certificate-authority-data: ${Buffer.from("CA").toString("base64")}${cluster}}}
contexts:
- {name: one, context: {cluster: c, user: u, namespace: media}}
- {name: broken, context: {cluster: nowhere, user: u}}
users:
- {name: u, user: ${user}}
`;
  const load = (context?: string) =>
    kubeconfigCredentials({
      clock: systemClock,
      file: join(directory, "config"),
      ...(context === undefined ? {} : { context }),
    });

  test("takes a token, the CA, the server and the namespace of the context", async () => {
    await write("config", config("{token: secret}"));
    const credentials = await load();
    expect(credentials.server.href).toBe("https://10.0.0.1:6443/");
    expect(credentials.namespace).toBe("media");
    expect(await credentials.auth()).toMatchObject({
      headers: { authorization: "Bearer secret" },
      skipTlsVerify: false,
    });
    expect(String((await credentials.auth()).ca)).toBe("CA");
  });

  test("takes a client certificate and its key", async () => {
    const data = (text: string) => Buffer.from(text).toString("base64");
    await write("config", config(`{client-certificate-data: ${data("CERT")}, client-key-data: ${data("KEY")}}`));
    const secrets = await (await load()).auth();
    expect([String(secrets.cert), String(secrets.key)]).toEqual(["CERT", "KEY"]);
  });

  test("asks an exec plugin, and asks it again after the server refused its token", async () => {
    await write("turn", "1");
    await write(
      "plugin",
      `#!/bin/sh
echo "{\\"apiVersion\\":\\"client.authentication.k8s.io/v1\\",\\"kind\\":\\"ExecCredential\\",\\"status\\":{\\"token\\":\\"turn-$(cat ${join(directory, "turn")})\\"}}"
`,
    );
    await write(
      "config",
      config(
        `{exec: {apiVersion: client.authentication.k8s.io/v1, command: /bin/sh, args: ["${join(directory, "plugin")}"]}}`,
      ),
    );
    const clock = manualClock();
    const credentials = await kubeconfigCredentials({ clock, file: join(directory, "config") });
    expect((await credentials.auth()).headers["authorization"]).toBe("Bearer turn-1");
    await write("turn", "2");
    await clock.advance(3_600_000);
    expect((await credentials.auth()).headers["authorization"]).toBe("Bearer turn-1");
    credentials.forget();
    await clock.advance(1_000);
    expect((await credentials.auth()).headers["authorization"]).toBe("Bearer turn-2");
  });

  test("says which context has no cluster", async () => {
    await write("config", config("{token: secret}"));
    await expect(load("broken")).rejects.toThrow(/no cluster for the context "broken"/);
  });

  test("says when the file is missing", async () => {
    await expect(load()).rejects.toThrow(/ENOENT/);
  });

  test("refuses a SOCKS proxy", async () => {
    await write("config", config("{token: secret}", ', proxy-url: "socks5://127.0.0.1:1080"'));
    await expect((await load()).auth()).rejects.toThrow(/only http and https proxies/);
  });

  test("is taken before the pod's own account when it is named", async () => {
    await write("config", config("{token: secret}"));
    const credentials = await loadCredentials({ clock: systemClock, env, file: join(directory, "config") });
    expect(credentials.server.host).toBe("10.0.0.1:6443");
  });
});
