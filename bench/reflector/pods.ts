/**
 * What does a pod of a real cluster look like, and how does it change? A pod of about ten kilobytes as a ReplicaSet's pod with a sidecar is
 * after admission, and the status writes of a kubelet. Everything follows from a number, so that each run is the same.
 */

export type Json = { readonly [key: string]: unknown };

const PODS_PER_WORKLOAD = 20;
const NODES = 200;
const NAMESPACES = 25;
const EPOCH_MS = Date.UTC(2026, 0, 1);

export interface PodName {
  readonly namespace: string;
  readonly name: string;
}

/** The namespaces that the pods live in. */
export function namespacesOf(): readonly string[] {
  return Array.from({ length: NAMESPACES }, (_, index) => `team-${String(index).padStart(2, "0")}`);
}

function workload(index: number): number {
  return Math.floor(index / PODS_PER_WORKLOAD);
}

/** Hex that looks random and is the same each time. */
function hex(seed: number, length: number): string {
  let state = (seed + 1) * 2_654_435_761;
  let text = "";
  while (text.length < length) {
    state = (Math.imul(state ^ (state >>> 15), 2_246_822_519) + 0x9e37_79b9) | 0;
    text += (state >>> 0).toString(16).padStart(8, "0");
  }
  return text.slice(0, length);
}

function time(seconds: number): string {
  return new Date(EPOCH_MS + seconds * 1000).toISOString().replace(".000Z", "Z");
}

/** Another one for each number below 2^20, which two random ones of one workload would not always be. */
function suffix(index: number): string {
  return ((index * 7919 + 123_457) % 2 ** 20).toString(16).padStart(5, "0");
}

/**
 * The name of pod `index`. Those from `made` on are copies of the pod `index % made`, with another end of the name that is as long:
 * they stay in its namespace and workload.
 */
export function podName(index: number, made = Number.POSITIVE_INFINITY): PodName {
  const group = workload(index % made);
  return {
    namespace: `team-${String(group % NAMESPACES).padStart(2, "0")}`,
    name: `service-${group}-${hex(group, 10)}-${suffix(index)}`,
  };
}

function labels(index: number): Readonly<Record<string, string>> {
  const group = workload(index);
  return {
    app: `service-${group}`,
    "app.kubernetes.io/instance": `service-${group}`,
    "app.kubernetes.io/managed-by": "Helm",
    "app.kubernetes.io/name": `service-${group}`,
    "app.kubernetes.io/version": `1.${group % 40}.0`,
    "pod-template-hash": hex(group, 10),
  };
}

function environment(index: number): readonly Json[] {
  const group = workload(index);
  const plain = Array.from({ length: 2 }, (_, n) => ({
    name: `SETTING_${n}`,
    value: `https://service-${(group + n) % 500}.team-${(group + n) % NAMESPACES}.svc.cluster.local:8443/api/v1`,
  }));
  return [
    ...plain,
    { name: "POD_NAME", valueFrom: { fieldRef: { apiVersion: "v1", fieldPath: "metadata.name" } } },
    { name: "NODE_NAME", valueFrom: { fieldRef: { apiVersion: "v1", fieldPath: "spec.nodeName" } } },
    { name: "DATABASE_URL", valueFrom: { secretKeyRef: { name: `service-${group}-db`, key: "url" } } },
  ];
}

function probe(path: string): Json {
  return {
    httpGet: { path, port: 8080, scheme: "HTTP" },
    initialDelaySeconds: 10,
    timeoutSeconds: 3,
    periodSeconds: 10,
    successThreshold: 1,
    failureThreshold: 3,
  };
}

const TOKEN_MOUNT = {
  name: "kube-api-access-x7k2p",
  readOnly: true,
  mountPath: "/var/run/secrets/kubernetes.io/serviceaccount",
};

const TOKEN_VOLUME = {
  name: "kube-api-access-x7k2p",
  projected: {
    sources: [
      { serviceAccountToken: { expirationSeconds: 3607, path: "token" } },
      { configMap: { name: "kube-root-ca.crt", items: [{ key: "ca.crt", path: "ca.crt" }] } },
      {
        downwardAPI: {
          items: [{ path: "namespace", fieldRef: { apiVersion: "v1", fieldPath: "metadata.namespace" } }],
        },
      },
    ],
    defaultMode: 420,
  },
};

const SECURITY = {
  allowPrivilegeEscalation: false,
  capabilities: { drop: ["ALL"] },
  readOnlyRootFilesystem: true,
  runAsNonRoot: true,
  seccompProfile: { type: "RuntimeDefault" },
};

function containers(index: number): readonly Json[] {
  const group = workload(index);
  return [
    {
      name: "server",
      image: `registry.example.com/team-${group % NAMESPACES}/service-${group}:1.${group % 40}.0`,
      args: ["--listen=:8080", "--metrics=:9090", `--shard=${group}`, "--log-format=json"],
      ports: [
        { name: "http", containerPort: 8080, protocol: "TCP" },
        { name: "metrics", containerPort: 9090, protocol: "TCP" },
      ],
      env: environment(index),
      resources: { limits: { cpu: "1", memory: "512Mi" }, requests: { cpu: "250m", memory: "256Mi" } },
      volumeMounts: [
        { name: "config", mountPath: "/etc/service" },
        { name: "scratch", mountPath: "/tmp" },
        TOKEN_MOUNT,
      ],
      readinessProbe: probe("/readyz"),
      securityContext: SECURITY,
      imagePullPolicy: "IfNotPresent",
    },
    {
      name: "istio-proxy",
      image: "registry.example.com/istio/proxyv2:1.27.1",
      args: ["proxy", "sidecar", "--domain", "$(POD_NAMESPACE).svc.cluster.local", "--proxyLogLevel=warning"],
      ports: [{ name: "http-envoy-prom", containerPort: 15_090, protocol: "TCP" }],
      resources: { limits: { cpu: "500m", memory: "256Mi" }, requests: { cpu: "50m", memory: "96Mi" } },
      volumeMounts: [{ name: "scratch", mountPath: "/var/lib/istio/data" }, TOKEN_MOUNT],
      imagePullPolicy: "IfNotPresent",
    },
  ];
}

/** What a ReplicaSet's controller posts, with what admission adds. */
export function newPod(index: number): Json {
  const group = workload(index);
  const { namespace, name } = podName(index);
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      namespace,
      name,
      labels: labels(index),
      annotations: {
        "checksum/config": hex(group, 64),
        "prometheus.io/port": "9090",
        "prometheus.io/scrape": "true",
        "sidecar.istio.io/status": `{"initContainers":["istio-init"],"containers":["istio-proxy"],"revision":"default-${hex(group, 24)}"}`,
      },
      ownerReferences: [
        {
          apiVersion: "apps/v1",
          kind: "ReplicaSet",
          name: `service-${group}-${hex(group, 10)}`,
          uid: `${hex(group, 8)}-0000-4000-8000-${hex(group + 7, 12)}`,
          controller: true,
          blockOwnerDeletion: true,
        },
      ],
    },
    spec: {
      nodeName: `node-${index % NODES}`,
      serviceAccountName: `service-${group}`,
      terminationGracePeriodSeconds: 30,
      initContainers: [
        {
          name: "istio-init",
          image: "registry.example.com/istio/proxyv2:1.27.1",
          args: ["istio-iptables", "-p", "15001", "-z", "15006", "-u", "1337", "-m", "REDIRECT", "-i", "*", "-x", ""],
          resources: { limits: { cpu: "500m", memory: "64Mi" }, requests: { cpu: "10m", memory: "16Mi" } },
        },
      ],
      containers: containers(index),
      volumes: [
        { name: "config", configMap: { name: `service-${group}`, defaultMode: 420 } },
        { name: "scratch", emptyDir: {} },
        TOKEN_VOLUME,
      ],
      affinity: {
        podAntiAffinity: {
          preferredDuringSchedulingIgnoredDuringExecution: [
            {
              weight: 100,
              podAffinityTerm: {
                labelSelector: { matchLabels: { app: `service-${group}` } },
                topologyKey: "kubernetes.io/hostname",
              },
            },
          ],
        },
      },
    },
  };
}

function containerStatus(index: number, change: number, name: string, image: string, restarts: number): Json {
  const seed = index * 97 + restarts + (name === "server" ? 0 : 31);
  const startedAt = time(index + change);
  const exited = {
    exitCode: 137,
    reason: "OOMKilled",
    startedAt: time(index),
    finishedAt: startedAt,
    containerID: `containerd://${hex(seed - 1, 64)}`,
  };
  return {
    name,
    image,
    imageID: `${image.replace(/:.*/, "")}@sha256:${hex(workload(index), 64)}`,
    containerID: `containerd://${hex(seed, 64)}`,
    ready: true,
    started: true,
    restartCount: restarts,
    state: { running: { startedAt } },
    ...(restarts === 0 ? {} : { lastState: { terminated: exited } }),
  };
}

/** The status that the kubelet writes as its `change`-th write. Every eighth tells of a container killed for memory. */
export function kubeletStatus(index: number, change: number): Json {
  const group = workload(index);
  const ready = change % 2 === 0;
  const condition = (type: string, status = true): Json => ({
    type,
    status: status ? "True" : "False",
    lastProbeTime: null,
    lastTransitionTime: time(index + change),
  });
  const address = `10.${(index >> 14) & 255}.${(index >> 7) & 127}.${index & 127}`;
  const proxy = "registry.example.com/istio/proxyv2:1.27.1";
  const init = containerStatus(index, 0, "istio-init", proxy, 0);
  return {
    phase: "Running",
    hostIP: `192.168.0.${index % NODES}`,
    hostIPs: [{ ip: `192.168.0.${index % NODES}` }],
    podIP: address,
    podIPs: [{ ip: address }],
    startTime: time(index),
    conditions: [
      condition("PodReadyToStartContainers"),
      condition("Initialized"),
      condition("Ready", ready),
      condition("ContainersReady", ready),
      condition("PodScheduled"),
    ],
    initContainerStatuses: [
      {
        ...init,
        state: {
          terminated: {
            exitCode: 0,
            reason: "Completed",
            startedAt: time(index),
            finishedAt: time(index + 1),
            containerID: init["containerID"],
          },
        },
      },
    ],
    containerStatuses: [
      containerStatus(
        index,
        change,
        "server",
        `registry.example.com/team-${group % NAMESPACES}/service-${group}:1.${group % 40}.0`,
        Math.floor(change / 8),
      ),
      containerStatus(index, 0, "istio-proxy", proxy, 0),
    ],
  };
}

/** What a network plugin notes on a pod. */
export function networkAnnotations(index: number, change: number): Readonly<Record<string, string>> {
  return {
    "cni.projectcalico.org/containerID": hex(index + change, 64),
    "cni.projectcalico.org/podIP": `10.${(index >> 14) & 255}.${(index >> 7) & 127}.${index & 127}/32`,
    "k8s.v1.cni.cncf.io/network-status": `[{"name":"k8s-pod-network","interface":"eth0","default":true,"dns":{},"change":${change}}]`,
  };
}
