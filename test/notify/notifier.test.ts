/** Are people told once, through failures and restarts, and is nobody kept waiting and no secret told? Against a real HTTP server. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { MemoryInvestigationStatus } from "../../src/api/memoryinvestigation.ts";
import { CHAT_LIMITS, createLane, type LaneLimits, type Letter } from "../../src/notify/lane.ts";
import { MESSAGE_KINDS } from "../../src/notify/messages.ts";
import { createNotifier, type Notifier, type NotifierOptions } from "../../src/notify/notifier.ts";
import { addressOf, receiversIn } from "../../src/notify/receivers.ts";
import { systemClock, systemRandom, type Clock } from "../../src/seams.ts";
import { startReceiver, status, type TestReceiver } from "./receiver.ts";
import { ACTING, DIAGNOSED, FINDING, investigation, MITIGATED, OPENED, PROPOSED } from "./told.ts";

/** Failures are over in milliseconds. */
const QUICK: LaneLimits = { ...CHAT_LIMITS, baseMs: 1, maxMs: 2, tries: 3 };
const UID = investigation().metadata.uid;

let server: TestReceiver;
let folder: string;
let logged: string;
let outcomes: string[];
const running: Notifier[] = [];
beforeEach(async () => {
  server = await startReceiver();
  folder = await mkdtemp(join(tmpdir(), "oomscope-notify-"));
  logged = "";
  outcomes = [];
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((notifier) => notifier.stop()));
  await server.close();
  await rm(folder, { recursive: true });
});

const secret = (name: string, text: string): Promise<void> => writeFile(join(folder, name), `${text}\n`);

async function started(over: Partial<NotifierOptions> = {}): Promise<Notifier> {
  const note = (...words: unknown[]): void => void (logged += JSON.stringify(words));
  const notifier = createNotifier({
    directory: folder,
    receivers: await receiversIn(folder),
    horizon: "2026-11-29T09:00:00Z",
    kinds: MESSAGE_KINDS,
    link: undefined,
    clock: systemClock,
    random: systemRandom,
    log: { info: note, warn: note, error: note },
    onDelivered: () => undefined,
    onOutcome: (receiver, outcome) => void outcomes.push(`${receiver} ${outcome}`),
    limits: QUICK,
    ...over,
  });
  running.push(notifier);
  return notifier;
}

const kinds = (): unknown[] => server.received.map(({ body }) => body["kind"]);

/** One life after the other in which status says what was delivered, as the operator's plan writes it. */
async function live(notifier: Notifier, ...states: readonly MemoryInvestigationStatus[]): Promise<string[]> {
  let notified: readonly string[] = [];
  for (const state of states) {
    notifier.look(investigation({ ...state, notified: [...notified] }));
    await vi.waitFor(() => expect(notifier.delivered(UID).length).toBeGreaterThan(0), 10_000);
    notified = [...new Set([...notified, ...notifier.delivered(UID)])];
    notifier.look(investigation({ ...state, notified: [...notified] }));
    expect(notifier.delivered(UID)).toEqual([]);
  }
  return [...notified];
}

describe("people are told", () => {
  test("once of each state that matters, however often it is looked at", async () => {
    await secret("webhook-url", `${server.url}/hook`);
    const notifier = await started();
    const notified = await live(notifier, OPENED, DIAGNOSED, PROPOSED);
    for (let looks = 0; looks < 20; looks++) notifier.look(investigation({ ...ACTING, notified }));
    await live(notifier, { ...MITIGATED, notified });
    expect(kinds()).toEqual(["Opened", "Diagnosed", "Proposed", "Ended"]);
    expect(server.received.map(({ path }) => path)).toEqual(["/hook", "/hook", "/hook", "/hook"]);
  });

  test("once, also when it is looked at again while the message waits or is on its way", async () => {
    await secret("webhook-url", server.url);
    const held: (() => void)[] = [];
    server.answerWith((response) => void held.push(() => status(200)(response)));
    const notifier = await started();
    notifier.look(investigation(OPENED));
    notifier.look(investigation(OPENED));
    await server.count(1);
    notifier.look(investigation(OPENED));
    notifier.look(investigation(OPENED, "thumbs-2"));
    held[0]?.();
    await vi.waitFor(() => expect(outcomes).toEqual(["webhook Delivered", "webhook Delivered"]), 10_000);
    expect(server.received.map(({ body }) => body["id"])).toEqual([`${UID}/Opened`, "uid-thumbs-2/Opened"]);
  });

  test("once, of the last, where several states are reached at one time", async () => {
    await secret("webhook-url", server.url);
    const notified = await live(await started(), PROPOSED);
    expect(kinds()).toEqual(["Proposed"]);
    expect(notified).toEqual([
      "webhook/Opened",
      `webhook/Diagnosed:${FINDING.id}`,
      `webhook/Proposed:Rollback:${FINDING.id}`,
    ]);
  });

  test("nothing again by the next life of the operator, when status says it", async () => {
    await secret("webhook-url", server.url);
    await secret("slack-url", server.url);
    const first = await started();
    first.look(investigation(PROPOSED));
    await server.count(2);
    await vi.waitFor(() => expect(first.delivered(UID)).toHaveLength(6), 10_000);
    const notified = [...first.delivered(UID)];
    await first.stop();
    const second = await started();
    second.look(investigation({ ...PROPOSED, notified }));
    second.look(investigation({ ...PROPOSED, notified: notified.filter((id) => id.startsWith("slack/")) }));
    await server.count(3);
    expect(server.received.at(-1)?.body["kind"]).toBe("Proposed"); // Only the webhook's, which had been lost.
    expect(server.received).toHaveLength(3);
  });

  test("nothing of what was over before anybody was to be told", async () => {
    await secret("webhook-url", server.url);
    const notifier = await started({ horizon: "2026-11-29T10:05:30Z" });
    notifier.look(investigation(DIAGNOSED, "thumbs-2"));
    const notified = await live(notifier, PROPOSED);
    expect(notified).toEqual([`webhook/Proposed:Rollback:${FINDING.id}`]);
    expect(server.received.map(({ body }) => body["id"])).toEqual([`${UID}/Proposed:Rollback:${FINDING.id}`]);
  });

  test("only of what the settings name", async () => {
    await secret("webhook-url", server.url);
    await live(await started({ kinds: ["Proposed"] }), PROPOSED);
    expect(kinds()).toEqual(["Proposed"]);
  });

  test("with the header of the Secret, and Alertmanager at its own path", async () => {
    await secret("webhook-url", `${server.url}/hook`);
    await secret("webhook-authorization", "Bearer canary-token");
    await secret("alertmanager-url", `${server.url}/am/`);
    (await started()).look(investigation(DIAGNOSED));
    await server.count(2);
    const byPath = Object.fromEntries(server.received.map((request) => [request.path, request]));
    expect(byPath["/hook"]?.headers.authorization).toBe("Bearer canary-token");
    expect(byPath["/am/api/v2/alerts"]?.headers.authorization).toBeUndefined();
    expect(byPath["/am/api/v2/alerts"]?.body).toMatchObject([{ labels: { alertname: "OOMScopeInvestigation" } }]);
  });
});

describe("a receiver in trouble", () => {
  beforeEach(() => secret("webhook-url", `${server.url}/services/canary-path`));

  test.each([500, 503, 429, 408])("that answers %i is tried again until it takes the message", async (code) => {
    server.answerWith(status(code), status(code));
    await live(await started(), OPENED);
    expect(outcomes).toEqual(["webhook Delivered"]);
    expect(server.received).toHaveLength(3);
  });

  test("that breaks the connection is tried again", async () => {
    server.answerWith((response) => void response.destroy());
    await live(await started(), OPENED);
    expect(server.received).toHaveLength(2);
  });

  test("that refuses is asked once, and not again for the same", async () => {
    server.answerWith(status(404));
    const notifier = await started();
    notifier.look(investigation(OPENED));
    await vi.waitFor(() => expect(outcomes).toEqual(["webhook Refused"]), 10_000);
    notifier.look(investigation(OPENED));
    await live(notifier, DIAGNOSED);
    expect(kinds()).toEqual(["Opened", "Diagnosed"]);
  });

  test("is given up after so many tries, and the next message is tried anew", async () => {
    server.answerWith(status(500), status(500), status(500));
    const notifier = await started();
    notifier.look(investigation(OPENED));
    await vi.waitFor(() => expect(outcomes).toEqual(["webhook GivenUp"]), 10_000);
    await live(notifier, DIAGNOSED);
    expect(outcomes).toEqual(["webhook GivenUp", "webhook Delivered"]);
  });

  test("sends nobody elsewhere: a redirect is a refusal", async () => {
    server.answerWith(status(302, { location: `${server.url}/elsewhere` }));
    const notifier = await started();
    notifier.look(investigation(OPENED));
    await vi.waitFor(() => expect(outcomes).toEqual(["webhook Refused"]), 10_000);
    expect(server.received.map(({ path }) => path)).toEqual(["/services/canary-path"]);
  });

  test("keeps nobody waiting: the look returns before anything is sent, and stopping does not wait for what waits", async () => {
    const held: (() => void)[] = [];
    server.answerWith((response) => void held.push(() => status(200)(response)));
    const notifier = await started();
    for (let n = 0; n < 50; n++) notifier.look(investigation(OPENED, `thumbs-${n}`));
    expect(server.received).toEqual([]);
    await server.count(1);
    const stopped = notifier.stop();
    held[0]?.();
    await stopped;
    expect(server.received).toHaveLength(1);
  });

  test("tells no secret: not the address, not the header, not what it answered", async () => {
    await secret("webhook-authorization", "Bearer canary-token");
    server.answerWith(status(500), status(404));
    const notifier = await started();
    notifier.look(investigation(OPENED));
    await vi.waitFor(() => expect(outcomes).toEqual(["webhook Refused"]), 10_000);
    await server.close();
    notifier.look(investigation(DIAGNOSED));
    await vi.waitFor(() => expect(outcomes).toEqual(["webhook Refused", "webhook GivenUp"]), 10_000);
    expect(logged).toContain("it answers 404");
    expect(logged).toContain("ECONNREFUSED");
    expect(logged).not.toMatch(/canary|127\.0\.0\.1/);
  });

  test("whose Secret is mended while a message waits gets it then", async () => {
    await secret("webhook-url", "not an address");
    const slow = await started({ limits: { ...QUICK, tries: 1_000, maxMs: 20, baseMs: 20 } });
    slow.look(investigation(OPENED));
    await vi.waitFor(() => expect(logged).toContain("must hold one http:// or https:// address"), 10_000);
    await secret("webhook-url", server.url);
    await server.count(1);
  });
});

describe("alerts", () => {
  beforeEach(() => secret("alertmanager-url", server.url));
  interface Sent {
    readonly labels: { readonly investigation: string };
    readonly annotations: { readonly summary: string };
    readonly endsAt: string;
  }
  const sent = (name: string): Sent[] =>
    server.received
      .flatMap(({ body }) => body as unknown as Sent[])
      .filter(({ labels }) => labels.investigation === name);
  /** A clock that the test moves; what waits on it waits in real time. */
  function clockAt(time: string): Clock & { pass(ms: number): void } {
    let passed = 0;
    return {
      ...systemClock,
      now: () => new Date(Date.parse(time) + passed),
      monotonicMs: () => systemClock.monotonicMs() + passed,
      pass: (ms) => void (passed += ms),
    };
  }

  test("are sent again before they would end, changed at once, and resolved once", async () => {
    const clock = clockAt("2026-11-29T10:10:00Z");
    const notifier = await started({ clock });
    let looks = 0;
    const look = async (state: MemoryInvestigationStatus, alerts: number): Promise<void> => {
      for (let times = 0; times < 2; times++) {
        notifier.look(investigation(state));
        // What is sent is sent in order: whatever the look has caused is there before this one.
        const last = `last-${(looks += 1)}`;
        notifier.look(investigation(DIAGNOSED, last));
        await vi.waitFor(() => expect(sent(last)).toHaveLength(1), 10_000);
      }
      expect(sent("thumbs-1")).toHaveLength(alerts);
    };
    await look(DIAGNOSED, 1);
    clock.pass(3 * 60_000);
    await look(DIAGNOSED, 1);
    clock.pass(60_000);
    await look(DIAGNOSED, 2);
    await look(MITIGATED, 3);
    clock.pass(3_600_000);
    await look(MITIGATED, 3);
    expect(sent("thumbs-1")[0]?.annotations.summary).toContain("AnonHeapLeak");
    expect(sent("thumbs-1")[2]?.endsAt).toBe("2026-11-29T10:09:00Z");
  });

  test("are not made for what has ended long before the operator began", async () => {
    const notifier = await started({ clock: clockAt("2026-11-29T11:00:00Z") });
    notifier.look(investigation(MITIGATED));
    notifier.look(investigation(DIAGNOSED, "thumbs-2"));
    await server.count(1);
    expect([sent("thumbs-1"), sent("thumbs-2")].map(({ length }) => length)).toEqual([0, 1]);
  });
});

describe("a queue", () => {
  /** What a lane sends, and when it would have slept. */
  function lane(limits: Partial<LaneLimits>) {
    let nowMs = 0;
    const sent: string[] = [];
    const slept: number[] = [];
    const clock: Clock = {
      ...systemClock,
      monotonicMs: () => nowMs,
      sleep: (ms) => {
        slept.push(ms);
        nowMs += ms;
        return Promise.resolve();
      },
    };
    const made = createLane({
      clock,
      random: { ...systemRandom, next: () => 1 },
      limits: { ...CHAT_LIMITS, ...limits },
      onOutcome: () => undefined,
      onRetry: () => undefined,
    });
    const letter = (subject: string, id = "a"): Letter => ({
      subject,
      ids: [id],
      send: () => {
        sent.push(`${subject}/${id}`);
        return Promise.resolve({ kind: "Delivered" });
      },
    });
    return { made, letter, sent, slept };
  }

  test("sends a burst at once, and then one at a time", async () => {
    const { made, letter, sent, slept } = lane({ burst: 3, refillMs: 10_000 });
    for (let n = 0; n < 6; n++) made.add(letter(`i${n}`));
    await vi.waitFor(() => expect(sent).toHaveLength(6), 10_000);
    expect(slept).toEqual([10_000, 10_000, 10_000]);
  });

  test("takes no more than it may hold, and puts newer news of the same in the place of older", () => {
    const { made, letter } = lane({ queued: 2 });
    expect([made.add(letter("first")), made.add(letter("x")), made.add(letter("y")), made.add(letter("z"))]).toEqual([
      true,
      true,
      true,
      false,
    ]);
    expect(made.add(letter("y", "b"))).toBe(true);
    expect(made.pending("y")).toEqual(["a", "b"]);
  });

  test("waits longer after each failure, and as long as the receiver asks for", async () => {
    const { made, slept } = lane({ baseMs: 1_000, maxMs: 4_000, tries: 6 });
    let failures = 0;
    made.add({
      subject: "x",
      ids: ["a"],
      send: () => Promise.resolve({ kind: "TryAgain", why: "no", afterMs: (failures += 1) === 5 ? 60_000 : undefined }),
    });
    await vi.waitFor(() => expect(failures).toBe(6), 10_000);
    expect(slept).toEqual([1_000, 2_000, 4_000, 4_000, 60_000]);
  });
});

describe("a Secret", () => {
  test.each([
    ["a word", "hooks"],
    ["another protocol", "ftp://example.com"],
    ["a password in the address", "https://user:canary@example.com"],
    ["nothing", ""],
    ["too much", `https://example.com/${"x".repeat(3_000)}`],
  ])("with %s as address is refused with a sentence, which does not repeat it", async (_, text) => {
    await secret("slack-url", text);
    const refused = await addressOf(folder, "slack").catch((error: Error) => error.message);
    expect(refused).toMatch(/slack-url .*must hold/);
    expect(refused).not.toContain("canary");
  });

  test("with lines in a header is refused", async () => {
    await secret("webhook-url", server.url);
    await secret("webhook-authorization", "Bearer a\r\nX-Other: b");
    await expect(addressOf(folder, "webhook")).rejects.toThrow("one line of plain text");
  });

  test("that names nobody, or is not there, says what to do", async () => {
    await expect(receiversIn(folder)).rejects.toThrow("give the Secret a key webhook-url, slack-url, alertmanager-url");
    await mkdir(join(folder, "empty"));
    await expect(receiversIn(join(folder, "none"))).rejects.toThrow("mount the Secret");
  });
});
