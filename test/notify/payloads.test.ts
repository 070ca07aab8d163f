/** Does each receiver get what it understands, and can a hostile name do nothing there? */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { messagesOf, type Message } from "../../src/notify/messages.ts";
import { ALERT_TTL_MS, alertBody, alertState, slackBody, webhookBody } from "../../src/notify/payloads.ts";
import { DIAGNOSED, FINDING, investigation, MITIGATED, OPENED, PROPOSED } from "./told.ts";

const LINK = "https://grafana.example.com/d/oomscope?var-namespace={namespace}&var-investigation={name}";
const [, DIAGNOSIS] = messagesOf(investigation(DIAGNOSED)) as [Message, Message];
const hostile = (text: string): Message => ({ ...DIAGNOSIS, title: text, text });

test("the webhook gets every field, and the same id for the same state", () => {
  expect(webhookBody(DIAGNOSIS, LINK)).toEqual({
    version: "oomscope.dev/notification/v1",
    id: `uid-thumbs-1/Diagnosed:${FINDING.id}`,
    kind: "Diagnosed",
    time: "2026-11-29T10:05:00Z",
    severity: "info",
    title: "Deployment media/thumbnail-svc has a diagnosis: AnonHeapLeak, 93 % sure",
    text: FINDING.summary,
    command: "oomscope show thumbs-1 -n media",
    verdict: "AnonHeapLeak",
    confidencePercent: 93,
    link: "https://grafana.example.com/d/oomscope?var-namespace=media&var-investigation=thumbs-1",
    investigation: { namespace: "media", name: "thumbs-1", uid: "uid-thumbs-1" },
    target: { kind: "Deployment", name: "thumbnail-svc" },
  });
});

describe("Slack", () => {
  test("gets a title, the sentence, the command and the link", () => {
    const [, , proposal] = messagesOf(investigation(PROPOSED)) as [Message, Message, Message];
    expect(slackBody(proposal, undefined)).toEqual({
      text: [
        ":warning: *Deployment media/thumbnail-svc Rollback waits for approval*",
        `Roll back to revision 3. ${FINDING.summary}`,
        "`oomscope approve thumbs-1 Rollback --finding 3f9c0a1b2c4d -n media`",
      ].join("\n"),
    });
    expect(JSON.stringify(slackBody(proposal, LINK))).toContain("<https://grafana.example.com/d/oomscope?");
  });

  test("reads no mention and no link in a name, whatever it is", () => {
    const alphabet = fc.constantFrom(
      "<",
      ">",
      "!",
      "@",
      "#",
      "|",
      "&",
      "*",
      "_",
      "~",
      "`",
      "[",
      "]",
      "(",
      ")",
      "\n",
      "\u202E",
      "a",
      "here",
      "channel",
      "https:",
      "//",
    );
    fc.assert(
      fc.property(fc.array(alphabet, { maxLength: 40 }), (pieces) => {
        const { text } = slackBody(hostile(pieces.join("")), undefined) as { text: string };
        const [title = "", sentence = "", command, ...more] = text.split("\n");
        expect(more).toEqual([]); // No line of its own.
        expect(command).toBe("`oomscope show thumbs-1 -n media`");
        for (const line of [title.slice(1, -1), sentence]) {
          expect(line).not.toMatch(/[<>\u202E]|@(here|channel)|&(?!amp;|lt;|gt;)/);
          expect(line).not.toMatch(/:\/\/|\]\(/);
        }
      }),
    );
  });
});

test("no receiver is sent a character that nobody sees", () => {
  const text = "a\u0000b\u001B[31mc\u202Ed\u2028e\u200Bf";
  expect(webhookBody(hostile(text), undefined)).toMatchObject({ title: "a b [31mc d e f", text: "a b [31mc d e f" });
});

describe("Alertmanager", () => {
  const now = new Date("2026-11-29T10:10:00Z");
  const alertOf = (status: Parameters<typeof investigation>[0]) => {
    const about = investigation(status);
    const state = alertState(about, now);
    return state === undefined ? undefined : alertBody(about, state, now, LINK);
  };

  test("gets nothing before there is anything to tell", () => {
    expect(alertOf(undefined)).toBeUndefined();
  });

  test("gets one alert with the same labels through the whole life, so that each state replaces the last", () => {
    const labels = [OPENED, DIAGNOSED, PROPOSED, MITIGATED].map((status) => JSON.stringify(alertOf(status)?.labels));
    expect(new Set(labels).size).toBe(1);
    expect(alertOf(OPENED)?.labels).toEqual({
      alertname: "OOMScopeInvestigation",
      severity: "info",
      namespace: "media",
      workload_kind: "Deployment",
      workload: "thumbnail-svc",
      investigation: "thumbs-1",
    });
  });

  const firing = new Date(now.getTime() + ALERT_TTL_MS).toISOString();
  test.each([
    ["an active one fires, for as long as it is renewed", DIAGNOSED, firing],
    ["one that waits for a person fires", PROPOSED, firing],
    ["one that has ended is resolved since then", MITIGATED, "2026-11-29T10:09:00Z"],
  ])("%s", (_, status, endsAt) => {
    expect(alertOf(status)).toMatchObject({ startsAt: "2026-11-29T10:00:00Z", endsAt });
  });

  test("a proposal that nobody answers stops firing after a day", () => {
    const later = new Date(now.getTime() + 86_400_000);
    expect(alertState(investigation(PROPOSED), later)?.firing).toBe(false);
  });

  test("gets the verdict, the sentence, the command and the link", () => {
    expect(alertOf(PROPOSED)).toMatchObject({
      annotations: {
        summary: "Deployment media/thumbnail-svc Rollback waits for approval",
        verdict: "AnonHeapLeak, 93 % sure",
        command: "oomscope approve thumbs-1 Rollback --finding 3f9c0a1b2c4d -n media",
      },
      generatorURL: "https://grafana.example.com/d/oomscope?var-namespace=media&var-investigation=thumbs-1",
    });
  });
});
