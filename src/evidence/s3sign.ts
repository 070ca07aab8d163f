/**
 * How does a request prove to an S3 server who sent it? Signature Version 4 with headers, as AWS documents it ("Authenticating Requests: Using
 * the Authorization Header"). The tests check it against the signatures in that document and against a real server.
 */
import { createHash, createHmac } from "node:crypto";

export interface S3Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** For credentials that expire. */
  readonly sessionToken?: string;
}

export interface Unsigned {
  readonly method: string;
  /** Percent-encoded already, beginning with a slash. */
  readonly path: string;
  readonly query: readonly (readonly [name: string, value: string])[];
  /** Lower-case names, `host` among them. All are signed. */
  readonly headers: Readonly<Record<string, string>>;
  /** Lower-case hex over the body. */
  readonly payloadSha256: string;
}

/** The query as it must stand in the URL, because that is what is signed. */
export function queryText(query: Unsigned["query"]): string {
  return query
    .map(([name, value]) => `${encode(name)}=${encode(value)}`)
    .sort()
    .join("&");
}

/** All headers to send: those of the request, and time, payload, token and signature. */
export function sign(
  request: Unsigned,
  credentials: S3Credentials,
  region: string,
  time: Date,
): Readonly<Record<string, string>> {
  const stamp = time.toISOString().replaceAll(/[-:]|\.\d{3}/g, "");
  const scope = `${stamp.slice(0, 8)}/${region}/s3/aws4_request`;
  const headers: Record<string, string> = {
    ...request.headers,
    "x-amz-content-sha256": request.payloadSha256,
    "x-amz-date": stamp,
    ...(credentials.sessionToken === undefined ? {} : { "x-amz-security-token": credentials.sessionToken }),
  };
  const names = Object.keys(headers).sort();
  const canonical = [
    request.method,
    request.path,
    queryText(request.query),
    ...names.map((name) => `${name}:${(headers[name] ?? "").trim().replaceAll(/ +/g, " ")}`),
    "",
    names.join(";"),
    request.payloadSha256,
  ].join("\n");
  const toSign = ["AWS4-HMAC-SHA256", stamp, scope, createHash("sha256").update(canonical).digest("hex")].join("\n");
  const key = [stamp.slice(0, 8), region, "s3", "aws4_request"].reduce<string | Buffer>(
    hmac,
    `AWS4${credentials.secretAccessKey}`,
  );
  const signature = hmac(key, toSign).toString("hex");
  return {
    ...headers,
    authorization: `AWS4-HMAC-SHA256 Credential=${credentials.accessKeyId}/${scope}, SignedHeaders=${names.join(";")}, Signature=${signature}`,
  };
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}

/** RFC 3986: all but letters, digits and `-._~`. encodeURIComponent leaves five more as they are. */
function encode(text: string): string {
  return encodeURIComponent(text).replaceAll(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
}
