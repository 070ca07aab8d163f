/**
 * Every query of the dashboard, asked of a real Prometheus that scrapes the operator's own /metrics, and series in the form in which the kubelet,
 * kube-state-metrics and the node exporter show theirs. The alert rules run there too. `make test-alerts`
 */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { createHealthServer, type HealthServer } from "../../src/controller/health.ts";
import { plainRules, RULE_FILES, rulesOf } from "../alerts/rules.ts";
import { startPrometheus, type Prometheus } from "./prometheus.ts";
import { filledIn, operatorMetrics, QUERIES } from "./queries.ts";

let operator: HealthServer;
let others: Server;
let prometheus: Prometheus;

/** A container that holds 90 of 100 bytes and was killed ten minutes ago, on a node with half of its memory available. */
function othersText(): string {
  const of = 'namespace="media",pod="thumbs-1",container="thumbnail"';
  return [
    `container_memory_rss{${of}} 90`,
    `kube_pod_container_resource_limits{${of},resource="memory",unit="byte"} 100`,
    `kube_pod_container_status_last_terminated_reason{${of},reason="OOMKilled"} 1`,
    `kube_pod_container_status_last_terminated_timestamp{${of}} ${Math.floor(Date.now() / 1000) - 600}`,
    "node_memory_MemAvailable_bytes 50",
    "node_memory_MemTotal_bytes 100",
    "",
  ].join("\n");
}

beforeAll(async () => {
  const metrics = operatorMetrics();
  // Counters whose labels are not known before begin with their first count: the second is the first increase that is seen.
  metrics.work();
  operator = createHealthServer({
    alive: [],
    ready: [],
    metrics: async () => ({ contentType: metrics.registry.contentType, body: await metrics.registry.metrics() }),
  });
  const port = await operator.listen(0);
  others = createServer(
    (_, response) => void response.writeHead(200, { "content-type": "text/plain" }).end(othersText()),
  );
  await new Promise<void>((resolve) => others.listen(0, "127.0.0.1", resolve));
  prometheus = await startPrometheus(
    { oomscope: `127.0.0.1:${port}`, others: `127.0.0.1:${(others.address() as AddressInfo).port}` },
    RULE_FILES.map((file) => plainRules(file)),
  );
  const scrapes = async (job: string): Promise<number> =>
    Number((await prometheus.query(`count_over_time(up{job="${job}"}[5m])`))[0]?.value[1] ?? 0);
  await vi.waitFor(async () => expect(await scrapes("oomscope")).toBeGreaterThan(1), {
    timeout: 60_000,
    interval: 250,
  });
  metrics.work();
  const kills = "sum(increase(oomscope_oom_kills_total[5m]))";
  await vi.waitFor(async () => expect(Number((await prometheus.query(kills))[0]?.value[1])).toBeGreaterThan(0), {
    timeout: 60_000,
    interval: 250,
  });
  await vi.waitFor(async () => expect(await scrapes("others")).toBeGreaterThan(2), { timeout: 60_000, interval: 250 });
}, 240_000);
afterAll(async () => {
  await prometheus?.stop();
  await operator?.close();
  others?.close();
});

test.each(QUERIES)("%s: %s has an answer, and a number in it", async (_, expr) => {
  const answer = await prometheus.query(filledIn(expr));
  expect(answer.length).toBeGreaterThan(0);
  expect(answer.every(({ value: [, value] }) => Number.isFinite(Number(value)))).toBe(true);
});

test("the answers are those that a person would read off", async () => {
  const value = async (title: string, labels: Record<string, string> = {}): Promise<number> => {
    const [, expr = ""] = QUERIES.find(([name]) => name === title) ?? [];
    const answer = await prometheus.query(filledIn(expr));
    const sample = answer.find(({ metric }) => Object.entries(labels).every(([name, text]) => metric[name] === text));
    return Number(sample?.value[1]);
  };
  expect(await value("Active investigations")).toBe(2);
  expect(await value("Anonymous memory, share of the limit", { container: "thumbnail" })).toBeCloseTo(0.9);
  expect(await value("Memory available on nodes")).toBeCloseTo(0.5);
  expect(await value("Evidence store")).toBe(1 << 20);
  expect(await value("Killed within the last hour", { pod: "thumbs-1" })).toBeGreaterThanOrEqual(600);
  expect(await value("Kills by class", { classification: "ContainerKilled" })).toBeGreaterThan(0.5);
  expect(await value("Kills by class", { classification: "NodeKilled" })).toBe(0);
});

test("a query that asks for nothing would be noticed", async () => {
  expect(await prometheus.query("sum(oomscope_no_such_metric)")).toEqual([]);
  await expect(prometheus.query("sum(oomscope_oom_kills_total")).rejects.toThrow("unclosed left parenthesis");
});

test("the alert rules are evaluated without an error", async () => {
  const names = RULE_FILES.flatMap((file) => rulesOf(file)).map(({ alert, record }) => alert ?? record ?? "");
  await vi.waitFor(
    async () => expect(Object.keys(await prometheus.rules()).toSorted()).toEqual(names.toSorted()),
    30_000,
  );
  expect(Object.entries(await prometheus.rules()).filter(([, error]) => error !== "")).toEqual([]);
});
