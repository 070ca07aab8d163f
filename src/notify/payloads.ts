/**
 * What does each receiver want to be sent? Pure. Names in a message may have been chosen by the program that is looked at, so each shape takes the power
 * from what its receiver would read as markup, a link or a mention.
 */
import type { MemoryInvestigation } from "../api/memoryinvestigation.ts";
import { aboutOf, messagesOf, type About, type Message } from "./messages.ts";

export const RECEIVERS = ["webhook", "slack", "alertmanager"] as const;
export type Receiver = (typeof RECEIVERS)[number];

/** Version of the generic webhook's body; a field is added without a new one. */
const WEBHOOK_VERSION = "oomscope.dev/notification/v1";

/** The link of the settings with the investigation's namespace and name filled in. */
export function linkTo({ namespace, name }: About, link: string | undefined): string | undefined {
  return link?.replaceAll("{namespace}", encodeURIComponent(namespace)).replaceAll("{name}", encodeURIComponent(name));
}

/** The body of the generic webhook: everything there is, as plain fields. */
export function webhookBody(message: Message, link: string | undefined): object {
  const { about, id, kind, since, severity, title, text, command, verdict, confidencePercent, result } = message;
  const url = linkTo(about, link);
  return {
    version: WEBHOOK_VERSION,
    // The same for a message that comes twice, which a crash at the wrong moment can cause.
    id: `${about.uid}/${id}`,
    kind,
    time: since,
    severity,
    title: plain(title),
    text: plain(text),
    command,
    ...(verdict === undefined ? {} : { verdict, confidencePercent }),
    ...(result === undefined ? {} : { result }),
    ...(url === undefined ? {} : { link: url }),
    investigation: { namespace: about.namespace, name: about.name, uid: about.uid },
    target: { kind: about.kind, name: about.workload },
  };
}

/** The body for Slack, Mattermost and others that take the same: one text, without blocks, which not all of them know. */
export function slackBody({ about, severity, title, text, command }: Message, link: string | undefined): object {
  const url = linkTo(about, link);
  const head = `${severity === "warning" ? ":warning: " : ""}*${slackText(title)}*`;
  const lines = [head, slackText(text), `\`${plain(command).replaceAll("`", "'")}\``];
  if (url !== undefined) lines.push(`<${url}>`);
  return { text: lines.join("\n") };
}

/** No link and no mention: of `<!channel>`, `@here`, `https://…` and `[a](b)` only the letters are left. Stars and underscores have no power. */
function slackText(text: string): string {
  return plain(text)
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll("@", "@\u200B")
    .replaceAll("://", ":\u200B//")
    .replaceAll("](", "]\u200B(");
}

/** Without characters that nobody sees: control, direction, separators. */
function plain(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, " ");
}

/** An alert as Alertmanager's API v2 takes it. */
export interface Alert {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly startsAt: string;
  readonly endsAt: string;
  readonly generatorURL?: string;
}

/** An alert that is not renewed for this long ends by itself, in milliseconds: nobody resolves it when the operator is gone. */
export const ALERT_TTL_MS = 15 * 60_000;
/** A proposal that nobody answers is no alert any more after this long. */
const PROPOSAL_MS = 24 * 3_600_000;

/** What an investigation is to Alertmanager: firing while it is active or waits for a person, resolved afterwards. */
export interface AlertState {
  readonly firing: boolean;
  /** Since when it is not firing any more. */
  readonly ended: string | undefined;
  /** The newest message; it gives the alert its words. */
  readonly message: Message;
}

/** Undefined: there is nothing to tell yet. */
export function alertState(investigation: MemoryInvestigation, now: Date): AlertState | undefined {
  const message = messagesOf(investigation).at(-1);
  if (message === undefined) return undefined;
  const { result, mitigations = [], conditions = [] } = investigation.status ?? {};
  if (result === undefined) return { firing: true, ended: undefined, message };
  const waits = mitigations.some(
    ({ state, since }) => state === "Proposed" && now.getTime() - Date.parse(since) < PROPOSAL_MS,
  );
  const ended = conditions.find(({ type }) => type === "Succeeded")?.lastTransitionTime ?? message.since;
  return { firing: waits, ended, message };
}

/** Its identity are the labels: they never change during an investigation, so that each state replaces the last. */
export function alertBody(
  investigation: MemoryInvestigation,
  state: AlertState,
  now: Date,
  link: string | undefined,
): Alert {
  const about = aboutOf(investigation);
  const { message, firing, ended } = state;
  const url = linkTo(about, link);
  const startsAt = investigation.metadata.creationTimestamp ?? message.since;
  return {
    labels: {
      alertname: "OOMScopeInvestigation",
      severity: "info",
      namespace: about.namespace,
      workload_kind: about.kind,
      workload: about.workload,
      investigation: about.name,
    },
    annotations: {
      summary: plain(message.title),
      description: plain(message.text),
      command: message.command,
      ...(message.verdict === undefined ? {} : { verdict: `${message.verdict}, ${message.confidencePercent} % sure` }),
    },
    startsAt,
    endsAt: firing ? new Date(now.getTime() + ALERT_TTL_MS).toISOString() : (ended ?? now.toISOString()),
    ...(url === undefined ? {} : { generatorURL: url }),
  };
}
