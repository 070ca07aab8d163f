/**
 * The Grafana dashboard, from who is in trouble now down to how the operator itself is. Classic JSON, which sidecars, provisioning and an import by hand
 * all take. Every query of it is asked of a real Prometheus in test/grafana.
 */

type Unit = "short" | "bytes" | "percentunit" | "s" | "ops";

interface Panel {
  readonly title: string;
  /** What it shows and what to do about it. */
  readonly description: string;
  readonly type: "stat" | "timeseries" | "table" | "barchart";
  readonly unit: Unit;
  /** Of 24 columns. */
  readonly width: number;
  readonly queries: readonly Query[];
  readonly max?: number;
}

interface Query {
  readonly expr: string;
  readonly legend?: string;
  /** The value now, not over the time that is shown. */
  readonly instant?: boolean;
}

interface Row {
  readonly title: string;
  readonly collapsed: boolean;
  readonly panels: readonly Panel[];
}

const HEIGHT = 8;
const KILLED = "kube_pod_container_status_last_terminated_timestamp";
const IN_CONTAINERS = 'namespace=~"$namespace", container!="", container!="POD"';

const ROWS: readonly Row[] = [
  {
    title: "Who is in trouble now",
    collapsed: false,
    panels: [
      {
        title: "Active investigations",
        description: "Investigations that have not ended: kubectl get memoryinvestigations -A",
        type: "stat",
        unit: "short",
        width: 4,
        queries: [{ expr: "sum(oomscope_investigations_active)", instant: true }],
      },
      {
        title: "Kills by class",
        description:
          "Kills that oomscope counted, also those that pod status never shows. ContainerKilled and ChildKilled are a container's own limit, NodeKilled and Evicted the node's memory.",
        type: "barchart",
        unit: "short",
        width: 8,
        queries: [
          {
            expr: 'sum by (classification) (increase(oomscope_oom_kills_total{classification!~"NotAKill|Unconfirmed"}[$__range]))',
            legend: "{{classification}}",
            instant: true,
          },
        ],
      },
      {
        title: "Killed within the last hour",
        description:
          "Containers whose last end was an OOM kill, by how many seconds ago. Next: oomscope list -n NAMESPACE, then oomscope show NAME.",
        type: "table",
        unit: "s",
        width: 12,
        queries: [
          {
            expr: `sort(time() - max by (namespace, pod, container) (${KILLED}{namespace=~"$namespace"} and on (namespace, pod, container) kube_pod_container_status_last_terminated_reason{reason="OOMKilled"} == 1) < 3600)`,
            instant: true,
          },
        ],
      },
    ],
  },
  {
    title: "Toward the limit",
    collapsed: false,
    panels: [
      {
        title: "Anonymous memory, share of the limit",
        description:
          "The ten containers nearest to their limit. Anonymous memory cannot be given back, page cache can and is left out. A line that only rises is what the alert OOMScopeAnonMemoryGrowing looks for.",
        type: "timeseries",
        unit: "percentunit",
        width: 12,
        max: 1,
        queries: [
          {
            expr: `topk(10, max by (namespace, pod, container) (container_memory_rss{${IN_CONTAINERS}}) / on (namespace, pod, container) max by (namespace, pod, container) (kube_pod_container_resource_limits{resource="memory"}))`,
            legend: "{{namespace}}/{{pod}} {{container}}",
          },
        ],
      },
      {
        title: "Memory available on nodes",
        description:
          "MemAvailable: the kernel's estimate of what can still be had, page cache included. Below 8 % kills and evictions begin.",
        type: "timeseries",
        unit: "percentunit",
        width: 12,
        max: 1,
        queries: [{ expr: "node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes", legend: "{{instance}}" }],
      },
    ],
  },
  {
    title: "Investigations and what came of them",
    collapsed: false,
    panels: [
      {
        title: "Ended, by result",
        description:
          "Recommended waits for a person, Inconclusive says in its finding what could not be seen, Failed says why in its conditions.",
        type: "barchart",
        unit: "short",
        width: 8,
        queries: [
          {
            expr: "sum by (result) (increase(oomscope_investigations_total[$__range]))",
            legend: "{{result}}",
            instant: true,
          },
        ],
      },
      {
        title: "Mitigations, by step and reason",
        description:
          "Steps of mitigations. A refusal names the guard that said no; docs/spec/memoryinvestigation.md has each reason.",
        type: "table",
        unit: "short",
        width: 10,
        queries: [
          {
            expr: "sum by (action, state, reason) (increase(oomscope_mitigations_total[$__range]))",
            instant: true,
          },
        ],
      },
      {
        title: "Messages to people",
        description: "Anything but Delivered means that somebody was not told: see the operator's log.",
        type: "barchart",
        unit: "short",
        width: 6,
        queries: [
          {
            expr: "sum by (receiver, outcome) (increase(oomscope_notifications_total[$__range]))",
            legend: "{{receiver}} {{outcome}}",
            instant: true,
          },
        ],
      },
    ],
  },
  {
    title: "The operator itself",
    collapsed: true,
    panels: [
      {
        title: "Passes over workloads",
        description: "Failed passes are tried again; when they stay, the log says what the API server answers.",
        type: "timeseries",
        unit: "ops",
        width: 8,
        queries: [
          { expr: "sum by (outcome) (rate(oomscope_reconciles_total[$__rate_interval]))", legend: "{{outcome}}" },
        ],
      },
      {
        title: "Time of a pass, 99th percentile",
        description: "One pass reads what is known, decides, writes status and acts once.",
        type: "timeseries",
        unit: "s",
        width: 8,
        queries: [
          {
            expr: "histogram_quantile(0.99, sum by (le) (rate(oomscope_reconcile_duration_seconds_bucket[$__rate_interval])))",
            legend: "p99",
          },
        ],
      },
      {
        title: "Queue",
        description: "Workloads that wait, are worked on, wait for their time, or have failed and will be tried again.",
        type: "timeseries",
        unit: "short",
        width: 8,
        queries: [{ expr: "sum by (state) (oomscope_queue_keys)", legend: "{{state}}" }],
      },
      {
        title: "Actions",
        description:
          "What the operator did to the cluster. Refused: the world had changed between the decision and the act.",
        type: "timeseries",
        unit: "ops",
        width: 12,
        queries: [
          {
            expr: "sum by (action, outcome) (rate(oomscope_actions_total[$__rate_interval]))",
            legend: "{{action}} {{outcome}}",
          },
        ],
      },
      {
        title: "Evidence store",
        description:
          "Bytes in the operator's evidence directory. Old packs leave when they expire, or earlier to make room.",
        type: "timeseries",
        unit: "bytes",
        width: 12,
        queries: [{ expr: "max(oomscope_evidence_bytes)", legend: "evidence" }],
      },
    ],
  },
];

const DATASOURCE = { type: "prometheus", uid: "${datasource}" };

/** The text of config/grafana/oomscope.json. */
export function dashboardText(): string {
  return `${JSON.stringify(dashboard(), undefined, 2)}\n`;
}

function dashboard(): object {
  let id = 0;
  let y = 0;
  const panels = ROWS.flatMap((row): object[] => {
    id += 1;
    const head = { id, type: "row", title: row.title, collapsed: row.collapsed, gridPos: { h: 1, w: 24, x: 0, y } };
    const placed = place(row.panels, y + 1).map(({ panel, x, top }) => {
      id += 1;
      return panelJson(panel, id, { h: HEIGHT, w: panel.width, x, y: top });
    });
    y = Math.max(...placed.map(({ gridPos }) => gridPos.y)) + HEIGHT;
    return row.collapsed ? [{ ...head, panels: placed }] : [{ ...head, panels: [] }, ...placed];
  });
  return {
    uid: "oomscope",
    title: "oomscope: memory incidents",
    description: "Who is killed for memory or near it, what oomscope found, and what was done.",
    tags: ["oomscope", "memory", "kubernetes"],
    schemaVersion: 39,
    version: 1,
    editable: true,
    graphTooltip: 1,
    refresh: "1m",
    time: { from: "now-6h", to: "now" },
    timezone: "",
    templating: { list: variables() },
    annotations: {
      list: [
        {
          name: "Kills",
          datasource: DATASOURCE,
          enable: true,
          iconColor: "red",
          expr: 'sum(increase(oomscope_oom_kills_total{classification!~"NotAKill|Unconfirmed"}[1m])) > 0',
          step: "60s",
          titleFormat: "OOM kill",
        },
      ],
    },
    links: [{ title: "Runbooks", type: "link", url: "https://oomscope.dev/runbooks", targetBlank: true, icon: "doc" }],
    panels,
  };
}

/** Side by side, and on a new line where the next does not fit. */
function place(panels: readonly Panel[], from: number): { panel: Panel; x: number; top: number }[] {
  let x = 0;
  let top = from;
  return panels.map((panel) => {
    if (x + panel.width > 24) {
      x = 0;
      top += HEIGHT;
    }
    const at = { panel, x, top };
    x += panel.width;
    return at;
  });
}

function panelJson(panel: Panel, id: number, gridPos: { h: number; w: number; x: number; y: number }) {
  const { title, description, type, unit, max, queries } = panel;
  return {
    id,
    type,
    title,
    description,
    gridPos,
    datasource: DATASOURCE,
    fieldConfig: { defaults: { unit, min: 0, ...(max === undefined ? {} : { max }) }, overrides: [] },
    options: optionsOf(type),
    targets: queries.map(({ expr, legend, instant = false }, index) => ({
      refId: "ABC"[index],
      datasource: DATASOURCE,
      expr,
      instant,
      range: !instant,
      ...(type === "table" ? { format: "table" } : {}),
      ...(legend === undefined ? {} : { legendFormat: legend }),
    })),
    ...(type === "table"
      ? { transformations: [{ id: "organize", options: { excludeByName: { Time: true }, renameByName: {} } }] }
      : {}),
  };
}

function optionsOf(type: Panel["type"]): object {
  const lastValue = { calcs: ["lastNotNull"], fields: "", values: false };
  if (type === "stat") return { reduceOptions: lastValue, colorMode: "none", graphMode: "none" };
  if (type === "timeseries")
    return { legend: { displayMode: "list", placement: "bottom" }, tooltip: { mode: "multi" } };
  return type === "barchart" ? { legend: { displayMode: "list", placement: "bottom" }, orientation: "horizontal" } : {};
}

function variables(): object[] {
  return [
    { name: "datasource", label: "Prometheus", type: "datasource", query: "prometheus" },
    {
      name: "namespace",
      label: "Namespace",
      type: "query",
      datasource: DATASOURCE,
      query: { query: 'label_values(container_memory_rss{container!=""}, namespace)', refId: "namespace" },
      includeAll: true,
      allValue: ".*",
      multi: true,
      current: { text: "All", value: "$__all" },
      refresh: 2,
      sort: 1,
    },
  ];
}
