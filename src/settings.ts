/**
 * The operator's own settings: read once from the environment, checked, frozen. The only reader of `process.env` in the operator.
 * What may be done to workloads is no setting: that is what policies are for.
 */
import { z } from "zod";
import { durationMs, LongDuration } from "./api/fields.ts";
import { MESSAGE_KINDS, type MessageKind } from "./notify/messages.ts";

const Flag = z.enum(["true", "false"]).transform((text) => text === "true");

/** What may stand in the environment. The Helm chart takes the same, under the same names. */
export const Environment = z.object({
  OOMSCOPE_NAMESPACE: z.string().min(1).describe("Namespace of the operator."),
  OOMSCOPE_COLLECTOR_NAMESPACE: z
    .string()
    .min(1)
    .default("oomscope-collectors")
    .describe("Namespace of the collection Jobs."),
  OOMSCOPE_POD_NAME: z.string().min(1).describe("Name of this pod; its identity in the leader election."),
  OOMSCOPE_COLLECTOR_IMAGE: z.string().min(1).describe("Image of the collector, best by digest."),
  OOMSCOPE_COLLECTOR_SERVICE_ACCOUNT: z.string().min(1).default("oomscope-collector"),
  OOMSCOPE_COLLECTOR_PRIORITY_CLASS: z.string().optional(),
  OOMSCOPE_EVIDENCE_SERVICE: z
    .string()
    .min(1)
    .default("oomscope-evidence")
    .describe("Service that leads to the evidence port."),
  OOMSCOPE_EVIDENCE_SECRET: z
    .string()
    .min(1)
    .default("oomscope-evidence-tls")
    .describe("Secret with the evidence server's keys."),
  OOMSCOPE_EVIDENCE_DIRECTORY: z.string().min(1).default("/var/lib/oomscope"),
  OOMSCOPE_EVIDENCE_MAX_BYTES: z.coerce
    .number()
    .int()
    .positive()
    .default(2 * 2 ** 30),
  OOMSCOPE_EVIDENCE_PORT: z.coerce.number().int().min(0).max(65535).default(8443),
  OOMSCOPE_EVIDENCE_AUDIENCE: z.string().min(1).default("oomscope-evidence"),
  OOMSCOPE_EVIDENCE_S3_BUCKET: z
    .string()
    .regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, "must be a bucket's name")
    .optional()
    .describe(
      "Bucket for finished packs. Unset: packs lie in the evidence directory only, and the other S3 settings mean nothing.",
    ),
  OOMSCOPE_EVIDENCE_S3_ENDPOINT: z
    .string()
    .regex(/^https?:\/\/[A-Za-z0-9.:[\]-]+$/, "must be http://HOST[:PORT] or https://HOST[:PORT], without a path")
    .optional()
    .describe("Unset: Amazon's for the region."),
  OOMSCOPE_EVIDENCE_S3_REGION: z
    .string()
    .regex(/^[a-z0-9-]+$/, "must be a region's name")
    .default("us-east-1"),
  OOMSCOPE_EVIDENCE_S3_PREFIX: z
    .string()
    .regex(/^([\w.-]+\/)*$/, "must be empty or end with a slash, of letters, digits and ._-")
    .default("")
    .describe("Before every key. Each cluster needs its own: what lies below it is expired by this operator."),
  OOMSCOPE_EVIDENCE_S3_PATH_STYLE: Flag.default(false).describe("ENDPOINT/BUCKET/KEY instead of BUCKET.ENDPOINT/KEY."),
  OOMSCOPE_EVIDENCE_S3_CA: z.string().min(1).optional().describe("File with the CA of the server, PEM."),
  OOMSCOPE_EVIDENCE_S3_CREDENTIALS: z
    .string()
    .min(1)
    .default("/etc/oomscope/s3")
    .describe("Folder of a mounted Secret: files accessKeyId, secretAccessKey and, if they expire, sessionToken."),
  OOMSCOPE_EVIDENCE_S3_RETENTION: LongDuration.default("30d").describe(
    "Packs in the bucket are deleted after this time.",
  ),
  OOMSCOPE_EVIDENCE_S3_MAX_BYTES: z.coerce
    .number()
    .int()
    .positive()
    .default(20 * 2 ** 30)
    .describe("All packs in the bucket together; beyond it the oldest are deleted."),
  OOMSCOPE_NOTIFY_DIRECTORY: z
    .string()
    .min(1)
    .optional()
    .describe(
      "Folder of a mounted Secret that says whom to tell: files slack-url, webhook-url, alertmanager-url. Unset: nobody is told, and the other NOTIFY settings mean nothing.",
    ),
  OOMSCOPE_NOTIFY_LINK: z
    .string()
    .regex(/^https?:\/\/[!-~]{1,1000}$/, "must be an address, with {namespace} and {name} where they belong")
    .optional()
    .describe(
      "A page about an investigation, such as https://grafana.example.com/d/oomscope?var-namespace={namespace}.",
    ),
  OOMSCOPE_NOTIFY_MESSAGES: z
    .string()
    .regex(
      new RegExp(`^(${MESSAGE_KINDS.join("|")})(,(${MESSAGE_KINDS.join("|")}))*$`),
      `must be some of ${MESSAGE_KINDS.join(",")}`,
    )
    .default(MESSAGE_KINDS.join(","))
    .describe("Which messages are sent to slack and webhook, with commas between them."),
  OOMSCOPE_HEALTH_PORT: z.coerce.number().int().min(0).max(65535).default(8080),
  OOMSCOPE_EXEMPT_NAMESPACES: z.string().default("kube-system"),
  OOMSCOPE_WORKERS: z.coerce.number().int().min(1).max(64).default(8),
  OOMSCOPE_LOG_LEVEL: z.enum(["trace", "debug", "info", "warn", "error"]).default("info"),
  OOMSCOPE_LEASE_SECONDS: z.coerce.number().int().min(3).max(120).default(15),
});

export interface S3Settings {
  readonly bucket: string;
  readonly endpoint: string;
  readonly region: string;
  readonly prefix: string;
  readonly pathStyle: boolean;
  /** Path of a file. */
  readonly ca: string | undefined;
  /** Path of a folder. */
  readonly credentials: string;
  readonly retentionMs: number;
  readonly maxBytes: number;
}

export interface NotifySettings {
  /** Path of a folder. */
  readonly directory: string;
  readonly link: string | undefined;
  readonly messages: readonly MessageKind[];
}

export interface Settings {
  readonly namespace: string;
  readonly collectorNamespace: string;
  readonly identity: string;
  readonly collector: {
    readonly image: string;
    readonly serviceAccount: string;
    readonly priorityClass: string | undefined;
  };
  readonly evidence: {
    readonly service: string;
    readonly secret: string;
    readonly directory: string;
    readonly maxBytes: number;
    readonly port: number;
    readonly audience: string;
    /** Undefined: packs lie in the directory only. */
    readonly s3: S3Settings | undefined;
  };
  /** Undefined: nobody is told. */
  readonly notify: NotifySettings | undefined;
  readonly healthPort: number;
  /** Namespaces that no policy without a namespaceSelector reaches, the operator's own among them. */
  readonly exemptNamespaces: readonly string[];
  readonly workers: number;
  readonly logLevel: string;
  readonly leaseSeconds: number;
}

/** Thrown for settings that cannot be used; the message names every one of them, a line each. */
export class SettingsError extends Error {
  override readonly name = "SettingsError";
}

/** @throws SettingsError */
export function readSettings(environment: Readonly<Record<string, string | undefined>>): Settings {
  const parsed = Environment.safeParse(environment);
  if (!parsed.success) {
    const lines = parsed.error.issues.map((issue) => `  ${issue.path.join(".")}: ${issue.message}`);
    throw new SettingsError(`These settings cannot be used:\n${lines.join("\n")}`);
  }
  const env = parsed.data;
  return Object.freeze({
    namespace: env.OOMSCOPE_NAMESPACE,
    collectorNamespace: env.OOMSCOPE_COLLECTOR_NAMESPACE,
    identity: env.OOMSCOPE_POD_NAME,
    collector: {
      image: env.OOMSCOPE_COLLECTOR_IMAGE,
      serviceAccount: env.OOMSCOPE_COLLECTOR_SERVICE_ACCOUNT,
      priorityClass: env.OOMSCOPE_COLLECTOR_PRIORITY_CLASS,
    },
    evidence: {
      service: env.OOMSCOPE_EVIDENCE_SERVICE,
      secret: env.OOMSCOPE_EVIDENCE_SECRET,
      directory: env.OOMSCOPE_EVIDENCE_DIRECTORY,
      maxBytes: env.OOMSCOPE_EVIDENCE_MAX_BYTES,
      port: env.OOMSCOPE_EVIDENCE_PORT,
      audience: env.OOMSCOPE_EVIDENCE_AUDIENCE,
      s3: s3Settings(env),
    },
    notify:
      env.OOMSCOPE_NOTIFY_DIRECTORY === undefined
        ? undefined
        : {
            directory: env.OOMSCOPE_NOTIFY_DIRECTORY,
            link: env.OOMSCOPE_NOTIFY_LINK,
            messages: env.OOMSCOPE_NOTIFY_MESSAGES.split(",") as MessageKind[],
          },
    healthPort: env.OOMSCOPE_HEALTH_PORT,
    exemptNamespaces: [
      ...env.OOMSCOPE_EXEMPT_NAMESPACES.split(",")
        .map((name) => name.trim())
        .filter((name) => name !== ""),
      env.OOMSCOPE_NAMESPACE,
      env.OOMSCOPE_COLLECTOR_NAMESPACE,
    ],
    workers: env.OOMSCOPE_WORKERS,
    logLevel: env.OOMSCOPE_LOG_LEVEL,
    leaseSeconds: env.OOMSCOPE_LEASE_SECONDS,
  });
}

function s3Settings(env: z.infer<typeof Environment>): S3Settings | undefined {
  if (env.OOMSCOPE_EVIDENCE_S3_BUCKET === undefined) return undefined;
  const region = env.OOMSCOPE_EVIDENCE_S3_REGION;
  return {
    bucket: env.OOMSCOPE_EVIDENCE_S3_BUCKET,
    endpoint: env.OOMSCOPE_EVIDENCE_S3_ENDPOINT ?? `https://s3.${region}.amazonaws.com`,
    region,
    prefix: env.OOMSCOPE_EVIDENCE_S3_PREFIX,
    pathStyle: env.OOMSCOPE_EVIDENCE_S3_PATH_STYLE,
    ca: env.OOMSCOPE_EVIDENCE_S3_CA,
    credentials: env.OOMSCOPE_EVIDENCE_S3_CREDENTIALS,
    retentionMs: durationMs(env.OOMSCOPE_EVIDENCE_S3_RETENTION),
    maxBytes: env.OOMSCOPE_EVIDENCE_S3_MAX_BYTES,
  };
}
