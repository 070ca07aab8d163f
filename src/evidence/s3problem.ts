/**
 * What does it mean when an S3 server does not do what it was asked, and what should a person do about it? Every message is made of
 * our own words and settings: nothing that a server writes gets into a log or a status but a code of letters.
 */

type S3Reason =
  | "Unreachable"
  | "TimedOut"
  | "Untrusted"
  | "ServerError"
  | "Forbidden"
  | "NoSuchBucket"
  | "NotFound"
  | "NoSuchUpload"
  | "WrongRegion"
  | "ClockSkewed"
  | "ChecksumMismatch"
  | "BadCredentials"
  | "Refused";

/** An S3 server, or the way to it, failed us. */
export class S3Problem extends Error {
  override name = "S3Problem";
  readonly reason: S3Reason;
  /** The same request may succeed in a moment. Otherwise a person has to do something first. */
  readonly passing: boolean;

  constructor(
    reason: S3Reason,
    message: string,
    options: { readonly passing?: boolean; readonly cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.reason = reason;
    this.passing = options.passing ?? false;
  }
}

interface Where {
  /** Scheme, host and port, from the settings. */
  readonly origin: string;
  readonly bucket: string;
}

/** From what node:https threw. */
export function connectionProblem(cause: unknown, { origin }: Where): S3Problem {
  const code = cause instanceof Error && "code" in cause && typeof cause.code === "string" ? cause.code : "";
  if (/^(CERT_|SELF_SIGNED|DEPTH_ZERO|UNABLE_TO_|ERR_TLS_CERT|ERR_SSL_|HOSTNAME_MISMATCH)/.test(code)) {
    return new S3Problem(
      "Untrusted",
      `The certificate of ${origin} is not trusted (${code}); give the authority that signed it with OOMSCOPE_EVIDENCE_S3_CA`,
      { cause },
    );
  }
  const what = /^[A-Z0-9_]{1,40}$/.test(code) ? code : "the connection broke";
  return new S3Problem("Unreachable", `The S3 server at ${origin} cannot be reached (${what})`, {
    passing: true,
    cause,
  });
}

/** From an answer that is no success. `code` is the server's own error code, as it stands in the body. */
export function answerProblem(status: number, code: string | undefined, what: string, where: Where): S3Problem {
  const named = code !== undefined && /^[A-Za-z0-9.]{1,64}$/.test(code) ? `${status} ${code}` : String(status);
  const { origin, bucket } = where;
  switch (code) {
    case "NoSuchBucket":
      return new S3Problem(
        "NoSuchBucket",
        `There is no bucket ${bucket} at ${origin}; make it, or correct OOMSCOPE_EVIDENCE_S3_BUCKET`,
      );
    case "NoSuchKey":
      return new S3Problem("NotFound", "The pack is not in the bucket");
    case "NoSuchUpload":
      return new S3Problem("NoSuchUpload", "The unfinished upload is no longer known to the server");
    case "RequestTimeTooSkewed":
      return new S3Problem("ClockSkewed", `The clock here and that of ${origin} differ by too much; set them by NTP`);
    case "BadDigest":
    case "InvalidDigest":
    case "XAmzContentSHA256Mismatch":
      return new S3Problem("ChecksumMismatch", `Bytes were changed on the way to ${origin} (${named})`, {
        passing: true,
      });
    case "InvalidAccessKeyId":
    case "SignatureDoesNotMatch":
    case "ExpiredToken":
    case "InvalidToken":
      return new S3Problem(
        "BadCredentials",
        `The server at ${origin} does not accept the credentials (${named}); correct the Secret behind OOMSCOPE_EVIDENCE_S3_CREDENTIALS`,
      );
    case "AuthorizationHeaderMalformed":
    case "PermanentRedirect":
    case "IllegalLocationConstraintException":
      return wrongRegion(named, where);
    default:
      return byStatus(status, named, what, where);
  }
}

function byStatus(status: number, named: string, what: string, where: Where): S3Problem {
  const { origin, bucket } = where;
  if (status >= 500 || status === 429 || status === 408)
    return new S3Problem("ServerError", `The S3 server at ${origin} failed (${named})`, { passing: true });
  if (status === 301 || status === 307) return wrongRegion(named, where);
  if (status === 401 || status === 403) {
    return new S3Problem(
      "Forbidden",
      `The credentials may not ${what} in bucket ${bucket} (${named}); grant s3:GetObject, s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload and s3:ListBucket`,
    );
  }
  return new S3Problem("Refused", `The server at ${origin} refused to ${what} (${named})`);
}

function wrongRegion(named: string, { bucket }: Where): S3Problem {
  return new S3Problem(
    "WrongRegion",
    `Bucket ${bucket} is in another region or behind another address (${named}); correct OOMSCOPE_EVIDENCE_S3_REGION and OOMSCOPE_EVIDENCE_S3_ENDPOINT`,
  );
}
