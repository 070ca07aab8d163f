/** What gets through? Canary secrets of many forms, in the places where programs write them. */
import { createHash } from "node:crypto";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { plainText, redact } from "../../src/context/redact.ts";

describe("a secret is taken out", () => {
  const jwt =
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U";
  const pem = ["MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7", "VJTUt9Us8cKjMzEfYyjiWA4R4", "kQ=="];
  test.each<[string, string, readonly string[]]>([
    ["bearer token", "Authorization: Bearer abc.DEF-123", ["abc.DEF-123"]],
    ["basic credentials", "authorization: Basic YWRtaW46aHVudGVyMg==", ["YWRtaW46aHVudGVyMg"]],
    ["header in JSON", '{"headers":{"Authorization":"Bearer s3cr3t"},"path":"/a"}', ["s3cr3t"]],
    ["header in JSON in JSON", String.raw`{"msg":"{\"authorization\":\"Bearer s3cr3t\"}"}`, ["s3cr3t"]],
    ["cookie", "Cookie: sid=31d4d96e407aad42; theme=dark", ["31d4d96e407aad42"]],
    ["set-cookie", "< Set-Cookie: session=abc123; HttpOnly", ["abc123"]],
    ["api key header", "X-Api-Key: 12345-abcde", ["12345-abcde"]],
    ["password", "password=hunter2", ["hunter2"]],
    ["password with punctuation", "DB_PASSWORD=a,b;c&d!e", ["a,b", "b;c", "c&d", "d!e"]],
    ["password in quotes", `password: "correct horse battery"`, ["correct", "horse", "battery"]],
    ["password in single quotes", `pwd => 'correct horse'`, ["horse"]],
    ["password in JSON", '{"user":"u","password":"hun\\"ter2","size":5}', ["hun", "ter2"]],
    ["password in a sentence", "the password is hunter2", ["hunter2"]],
    ["password in a cut line", 'password="correct horse bat', ["horse", "bat"]],
    ["flag", "exec: app --db-password hunter2 --port 80", ["hunter2"]],
    ["yaml", "  clientSecret: abc", ["abc"]],
    ["query", "GET /login?user=a&token=zzz", ["zzz"]],
    ["query, escaped", "GET /r?to=%2Flogin%3Ftoken%3Dzzz", ["zzz"]],
    ["url with credentials", "dial postgres://app:p%40ss@db:5432/thumbs?sslmode=off", ["p%40ss", "app:"]],
    ["url with @ in the password", "amqp://u:p@ss/w@mq:5672", ["p@ss", "ss/w"]],
    ["go dsn", "app:s3cret@tcp(10.0.0.1:3306)/thumbs", ["s3cret"]],
    ["ado.net", "Server=db;User Id=sa;Password=s3cret;", ["s3cret"]],
    ["connection string", "connection_string: AccountName=a;AccountKey=Zm9v", ["Zm9v"]],
    ["jwt", `got ${jwt}, expired`, [jwt, jwt.split(".")[1] ?? "", jwt.split(".")[2] ?? ""]],
    ["github", "ghp_16C7e42F292c6912E7710c838347Ae178B4a", ["16C7e42F"]],
    ["aws key id", "using AKIAIOSFODNN7EXAMPLE", ["IOSFODNN7"]],
    ["aws secret", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", ["wJalrXUtnFEMI", "bPxRfiCYEXAMPLEKEY"]],
    ["slack", "xoxb-123456789012-abcdefABCDEF", ["123456789012"]],
    ["stripe", ["sk", "live", "4eC39HqLyjWDarjtT1zdp7dc"].join("_"), ["4eC39Hq"]],
    ["private key", `-----BEGIN RSA PRIVATE KEY-----\n${pem.join("\n")}\n-----END RSA PRIVATE KEY-----`, pem],
    ["private key in JSON", `"-----BEGIN PRIVATE KEY-----\\n${pem.join("\\n")}\\n-----END PRIVATE KEY-----\\n"`, pem],
    ["private key, cut at the end", `-----BEGIN EC PRIVATE KEY-----\n${pem[0]}\n${pem[1]}`, pem.slice(0, 2)],
    ["private key, cut at the start", `${pem[1]}\n${pem[2]}\n-----END RSA PRIVATE KEY-----\nready`, pem.slice(1)],
    [
      "private key between times",
      pem
        .map((l) => `2026-11-29T01:00:00Z ${l}`)
        .join("\n")
        .replace(/^/, "T -----BEGIN PRIVATE KEY-----\n"),
      pem,
    ],
    ["email", "user jane.doe+x@mail.example.org signed in", ["jane.doe", "mail.example.org"]],
    ["email in angle brackets", "From: Jane <jane@example.org>", ["jane@"]],
    ["card number", "card 4111 1111 1111 1111 declined", ["4111 1111"]],
    ["session id in hex", "sess 5f4dcc3b5aa765d61d8327deb882cf99", ["5f4dcc3b5aa765d61d8327deb882cf99"]],
    ["coloured", "\u001b[31mpassw\u001b[0mord\u001b[1m=hunter2\u001b[0m", ["hunter2"]],
    ["with invisible characters", "pass\u200bword\u00ad=hunter2", ["hunter2"]],
  ])("%s", (_form, text, secrets) => {
    const { text: left, count } = redact(text);
    for (const secret of secrets) expect(left).not.toContain(secret);
    expect(left).toContain("[redacted:");
    expect(count).toBeGreaterThan(0);
  });

  test("and what stands beside it stays", () => {
    expect(redact("decode of a.tiff failed, password=hunter2 size 5").text).toBe(
      "decode of a.tiff failed, password=[redacted:value] size 5",
    );
    expect(redact("postgres://app:pw@db:5432/thumbs refused").text).toBe(
      "postgres://[redacted:credentials]db:5432/thumbs refused",
    );
  });
});

test.each([
  'Pulled: Container image "registry.example.org:5000/thumbs:1.1.0@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" already present on machine',
  "Stopping container thumbnail in pod thumbnail-svc-67574dbd4-hhpq8_media(0d1f9ad8-5a1e-4f0c-9c42-3d2f3f8f9b10)",
  "Scaled up replica set thumbnail-svc-67574dbd4 from 0 to 3",
  "Back-off restarting failed container thumbnail in pod thumbnail-svc-7944d8b9bd-abcde",
  'Readiness probe failed: Get "http://10.244.0.5:8080/healthz": dial tcp 10.244.0.5:8080: connect: connection refused',
  "Node n1 status is now: NodeHasNoDiskPressure, then NodeHasSufficientMemory (KubeletHasSufficientMemory)",
  "0/3 nodes are available: 3 Insufficient memory. no new claims to deallocate",
  "java.lang.OutOfMemoryError: Java heap space at org.example.ThumbnailServiceImpl.decodeBuffer(ThumbnailServiceImpl.java:42)",
  "containerd://0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
  "2026-11-29T01:02:03.123456789Z decode of /data/in/large-0042.tiff failed: libimgdecode.so.1.1.0 returned -12",
])("an ordinary line stays as it is: %s", (line) => {
  expect(redact(line)).toEqual({ text: line, count: 0 });
});

describe("no canary gets through", () => {
  const alphanumeric = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  const from = (alphabet: string, min: number, max = min): fc.Arbitrary<string> =>
    fc.string({ unit: fc.constantFrom(...alphabet.split("")), minLength: min, maxLength: max });
  // What a machine draws, not what a generator of edge cases does: those are hardly random.
  const random = fc
    .integer()
    .map((n) => createHash("sha512").update(String(n)).digest("base64").slice(0, 40).replace(/^\//, "+"));
  const password = from(`${alphanumeric}!#$%^&*()-_=+,./:;<>?@`, 6, 40);
  const name = fc.constantFrom(
    ..."password DB_PASSWORD db.passwd apiKey API-KEY client_secret accessToken refresh_token secret".split(" "),
    ..."Private-Key SESSION_ID auth dsn credentials signature aws_secret_access_key".split(" "),
  );
  const secretIn: fc.Arbitrary<readonly [text: string, secret: string]> = fc.oneof(
    fc
      .tuple(name, fc.constantFrom("=", ": ", " = ", ":", "=>", ":="), password)
      .map(([n, s, p]) => [`${n}${s}${p}`, p] as const),
    fc.tuple(name, password).map(([n, p]) => [`{"a":1,"${n}":${JSON.stringify(p)},"b":2}`, p] as const),
    fc.tuple(name, password).map(([n, p]) => [JSON.stringify(JSON.stringify({ [n]: p, b: 2 })), p] as const),
    fc.tuple(name, password).map(([n, p]) => [`--${n.toLowerCase()} ${p}`, p] as const),
    password.map((p) => [`Authorization: Bearer ${p}`, p] as const),
    fc
      .tuple(
        fc.constantFrom("postgres", "https", "amqp+ssl", "mongodb+srv", "redis"),
        from(alphanumeric, 0, 12),
        password,
      )
      .map(([scheme, user, p]) => {
        const escaped = encodeURIComponent(p);
        return [`${scheme}://${user}:${escaped}@host.example:5432/x`, escaped] as const;
      }),
    from(alphanumeric, 36).map((t) => [`ghp_${t}`, t] as const),
    random.map((t) => [`key ${t}`, t] as const),
    from("0123456789abcdef", 32, 64).map((t) => [`id ${t}`, t] as const),
    fc
      .tuple(from(`${alphanumeric}-_`, 20, 40), from(`${alphanumeric}-_`, 20, 60))
      .map(([a, b]) => [`eyJ${a}.eyJ${b}.${b}`, b] as const),
    fc
      .array(from(`${alphanumeric}+/`, 64), { minLength: 1, maxLength: 5 })
      .map(
        (lines) =>
          [`-----BEGIN PRIVATE KEY-----\n${lines.join("\n")}\n-----END PRIVATE KEY-----`, lines[0] ?? ""] as const,
      ),
    fc
      .tuple(from(alphanumeric, 1, 20), from(alphanumeric, 2, 12))
      .map(([a, b]) => [`mail to ${a}@${b}.example`, `${a}@${b}`] as const),
  );
  const words = fc.array(
    fc.constantFrom("decode", "failed", "GET", "/thumbs", "200", "in", "5ms", "[info]", "{", "}", "\t"),
    {
      maxLength: 5,
    },
  );

  test("whatever stands around it", () => {
    fc.assert(
      fc.property(words, secretIn, words, ([...before], [text, secret], [...after]) => {
        const line = [...before, text, ...after].join(" ");
        expect(redact(line).text).not.toContain(secret);
      }),
      { numRuns: 2_000 },
    );
  }, 60_000);

  test("redaction has nothing left to do when it is done, and always ends", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 200 }), (text) => {
        const once = redact(text).text;
        expect(plainText(once)).toBe(once);
        expect(once.isWellFormed()).toBe(true);
      }),
      { numRuns: 60 },
    );
  }, 60_000);

  test.each([
    ["-----BEGIN PRIVATE KEY-----\n".repeat(8_000)],
    ["password".repeat(30_000)],
    ['password="\\'.repeat(20_000)],
    ["a:".repeat(100_000)],
    [`${"a".repeat(200_000)}@`],
    ["eyJ".repeat(80_000)],
    ["x@y.".repeat(60_000)],
    ["1 ".repeat(120_000)],
    ["\u001b[".repeat(100_000)],
    ["A1b-".repeat(60_000)],
  ])("a text made to keep it busy is read to its end (%#)", (text) => {
    expect(redact(text).text.length).toBeLessThanOrEqual(256 * 1024);
  });
});
