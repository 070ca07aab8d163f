/** The four examples of AWS's document on the Authorization header, with the signatures printed there. */
import { describe, expect, it } from "vitest";
import { sign, type Unsigned } from "../../src/evidence/s3sign.ts";

const CREDENTIALS = {
  accessKeyId: "AKIAIOSFODNN7EXAMPLE",
  secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
};
const EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const HOST = { host: "examplebucket.s3.amazonaws.com" };

const examples: readonly (readonly [what: string, request: Unsigned, signature: string])[] = [
  [
    "GET Object",
    { method: "GET", path: "/test.txt", query: [], headers: { ...HOST, range: "bytes=0-9" }, payloadSha256: EMPTY },
    "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
  ],
  [
    "PUT Object",
    {
      method: "PUT",
      path: "/test%24file.text",
      query: [],
      headers: { ...HOST, date: "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY" },
      payloadSha256: "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
    },
    "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
  ],
  [
    "GET Bucket Lifecycle",
    { method: "GET", path: "/", query: [["lifecycle", ""]], headers: HOST, payloadSha256: EMPTY },
    "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
  ],
  [
    "List Objects",
    {
      method: "GET",
      path: "/",
      query: [
        ["prefix", "J"],
        ["max-keys", "2"],
      ],
      headers: HOST,
      payloadSha256: EMPTY,
    },
    "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
  ],
];

describe("a request to S3", () => {
  it.each(examples)("is signed as in the example of AWS: %s", (_what, request, signature) => {
    const headers = sign(request, CREDENTIALS, "us-east-1", new Date("2013-05-24T00:00:00Z"));
    expect(headers["authorization"]).toContain(`Signature=${signature}`);
    expect(headers["authorization"]).toContain("Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request");
    expect(JSON.stringify(headers)).not.toContain(CREDENTIALS.secretAccessKey);
  });

  it("carries the token of credentials that expire, signed", () => {
    const [, request] = examples[0] ?? [];
    if (request === undefined) throw new Error("no example");
    const headers = sign(request, { ...CREDENTIALS, sessionToken: "token" }, "us-east-1", new Date(0));
    expect(headers["x-amz-security-token"]).toBe("token");
    expect(headers["authorization"]).toContain("x-amz-date;x-amz-security-token,");
  });
});
