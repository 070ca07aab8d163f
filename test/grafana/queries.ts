/** The queries of the dashboard, and the metrics that the operator itself shows when it has done something of everything. */
import { readFileSync } from "node:fs";
import { createMetrics, type Metrics } from "../../src/controller/metrics.ts";

export interface Target {
  readonly refId: string;
  readonly expr: string;
  readonly instant: boolean;
  readonly range: boolean;
}
export interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly gridPos: { readonly h: number; readonly w: number; readonly x: number; readonly y: number };
  readonly datasource?: { readonly type: string; readonly uid: string };
  readonly fieldConfig?: { readonly defaults: { readonly unit?: string } };
  readonly targets?: readonly Target[];
  readonly panels?: readonly Panel[];
}
interface Dashboard {
  readonly uid: string;
  readonly panels: readonly Panel[];
  readonly templating: {
    readonly list: readonly { readonly name: string; readonly query: string | { readonly query: string } }[];
  };
  readonly annotations: { readonly list: readonly { readonly expr: string }[] };
}

export const DASHBOARD = JSON.parse(
  readFileSync(new URL("../../config/grafana/oomscope.json", import.meta.url), "utf8"),
) as Dashboard;

/** Of all rows, the collapsed ones too. */
export const PANELS: readonly Panel[] = DASHBOARD.panels.flatMap((panel) => [panel, ...(panel.panels ?? [])]);

/** A name for people, and the expression as it stands in the file. */
export const QUERIES: readonly (readonly [where: string, expr: string])[] = [
  ...PANELS.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => [title, expr] as const)),
  ...DASHBOARD.annotations.list.map(({ expr }) => ["annotations", expr] as const),
];

/** As Grafana fills it in for "All" and a range of some minutes. */
export function filledIn(expr: string): string {
  return expr.replaceAll("$__range", "5m").replaceAll("$__rate_interval", "1m").replaceAll("$namespace", ".*");
}

/** The operator's own metrics; `work` makes it do something of everything it counts. */
export function operatorMetrics(): Metrics & { work(): void } {
  const metrics = createMetrics(
    () => ({ waiting: 1, working: 1, delayed: 0, failing: 0 }),
    () => 2,
    () => 1 << 20,
  );
  const work = (): void => {
    metrics.reconciled("done", 0.02);
    metrics.reconciled("failed", 0);
    metrics.acted("PreservePod", "done");
    metrics.acted("RollBack", "refused");
    metrics.kill("ContainerKilled");
    metrics.mitigation("Rollback", "Proposed", "AwaitingApproval");
    metrics.ended("Recommended");
    metrics.notified("slack", "Delivered");
  };
  return { ...metrics, work };
}
