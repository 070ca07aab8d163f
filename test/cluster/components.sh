# shellcheck shell=bash
# One function for each component: its configuration and its command line.
# shellcheck disable=SC2034 # COMPONENTS is for the scripts that source this file.

run_etcd() {
  start etcd "$BIN/etcd" --name oomscope --data-dir "$STATE/etcd" \
    --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
    --initial-cluster oomscope=http://127.0.0.1:2380 --unsafe-no-fsync --log-level warn
  await etcd 30 in_netns bash -c 'exec 3<>/dev/tcp/127.0.0.1/2379'
}

run_kube-apiserver() {
  cat >"$STATE/audit/policy.yaml" <<'YAML'
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  # Everything that the operator changes, with what it sent and what came of it: the tests read this as the history.
  - level: RequestResponse
    users: ["system:serviceaccount:oomscope-system:oomscope-operator"]
    verbs: [create, update, patch, delete, deletecollection]
  - level: None
    verbs: [get, list, watch]
  - level: Metadata
YAML
  start kube-apiserver "$BIN/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 \
    --advertise-address="$NODE_IP" --secure-port=6443 --service-cluster-ip-range="$SERVICE_CIDR" \
    --tls-cert-file="$PKI/apiserver.crt" --tls-private-key-file="$PKI/apiserver.key" --client-ca-file="$PKI/ca.crt" \
    --kubelet-client-certificate="$PKI/kubelet-client.crt" --kubelet-client-key="$PKI/kubelet-client.key" \
    --kubelet-preferred-address-types=InternalIP \
    --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$PKI/sa.pub" --service-account-signing-key-file="$PKI/sa.key" \
    --requestheader-client-ca-file="$PKI/front-proxy-ca.crt" --requestheader-allowed-names=front-proxy-client \
    --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group --requestheader-extra-headers-prefix=X-Remote-Extra- \
    --proxy-client-cert-file="$PKI/front-proxy.crt" --proxy-client-key-file="$PKI/front-proxy.key" --enable-aggregator-routing=true \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true \
    --audit-policy-file="$STATE/audit/policy.yaml" --audit-log-path="$STATE/audit/audit.log" --audit-log-maxsize=200 --audit-log-maxbackup=2 -v=1
  await kube-apiserver 60 kubectl get --raw /readyz
}

run_kube-controller-manager() {
  start kube-controller-manager "$BIN/kube-controller-manager" --kubeconfig="$PKI/controller-manager.kubeconfig" \
    --authentication-kubeconfig="$PKI/controller-manager.kubeconfig" --authorization-kubeconfig="$PKI/controller-manager.kubeconfig" \
    --service-account-private-key-file="$PKI/sa.key" --root-ca-file="$PKI/ca.crt" --use-service-account-credentials \
    --allocate-node-cidrs --cluster-cidr="$POD_CIDR" --node-cidr-mask-size=24 --leader-elect=false -v=1
  await kube-controller-manager 60 in_netns bash -c 'exec 3<>/dev/tcp/127.0.0.1/10257'
}

run_kube-scheduler() {
  start kube-scheduler "$BIN/kube-scheduler" --kubeconfig="$PKI/scheduler.kubeconfig" \
    --authentication-kubeconfig="$PKI/scheduler.kubeconfig" --authorization-kubeconfig="$PKI/scheduler.kubeconfig" --leader-elect=false -v=1
  await kube-scheduler 60 in_netns bash -c 'exec 3<>/dev/tcp/127.0.0.1/10259'
}

run_containerd() {
  cat >"$STATE/cni/10-oomscope.conflist" <<JSON
{"cniVersion": "0.4.0", "name": "oomscope", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$STATE/cni/ipam", "ranges": [[{"subnet": "$POD_CIDR"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}, "snat": false}]}
JSON
  # Without CAP_SYS_RESOURCE (some sandboxes) no process may lower an oom_score_adj, and every pod would fail.
  cat >"$STATE/containerd.toml" <<TOML
version = 2
root = "$STATE/containerd/root"
state = "$STATE/containerd/state"
[grpc]
  address = "$CONTAINERD_SOCKET"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/oomscope/pause:1"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$STATE/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
TOML
  start containerd "$(command -v containerd)" --config "$STATE/containerd.toml"
  await containerd 30 ctr -a "$CONTAINERD_SOCKET" version
}

run_kubelet() {
  local fail_v1=""
  [ "$(cgroup_version)" = v1 ] && fail_v1="failCgroupV1: false"
  cat >"$STATE/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $NODE_IP
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $PKI/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $PKI/kubelet.crt
tlsPrivateKeyFile: $PKI/kubelet.key
cgroupDriver: cgroupfs
cgroupRoot: $CGROUP_ROOT
# Not in /var/log/pods: a kubelet takes away the logs of pods that it does not know, and they would outlive the cluster.
podLogsDir: $STATE/pod-logs
containerRuntimeEndpoint: unix://$CONTAINERD_SOCKET
failSwapOn: false
$fail_v1
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1%}
imageGCHighThresholdPercent: 100
resolvConf: $STATE/resolv.conf
registerNode: true
maxPods: 110
syncFrequency: 10s
nodeStatusUpdateFrequency: 4s
crashLoopBackOff: {maxContainerRestartPeriod: 10s}
featureGates: {KubeletCrashLoopBackOffMax: true}
serializeImagePulls: true
YAML
  printf 'nameserver 127.0.0.1\n' >"$STATE/resolv.conf"
  start kubelet "$BIN/kubelet" --config="$STATE/kubelet.yaml" --kubeconfig="$PKI/kubelet.kubeconfig" \
    --hostname-override="$NODE" --node-ip="$NODE_IP" --root-dir="$STATE/kubelet" --cert-dir="$PKI" \
    --containerd="$CONTAINERD_SOCKET" -v=1 # Deprecated, but cAdvisor finds a socket at a private path by nothing else.
  await kubelet 60 kubectl get node "$NODE"
}

run_kube-proxy() {
  cat >"$STATE/kube-proxy.yaml" <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
hostnameOverride: $NODE
clientConnection: {kubeconfig: $PKI/kube-proxy.kubeconfig}
clusterCIDR: $POD_CIDR
# Zero: leave the machine's conntrack settings alone.
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
YAML
  start kube-proxy "$BIN/kube-proxy" --config="$STATE/kube-proxy.yaml" -v=1
  await kube-proxy 30 in_netns bash -c 'exec 3<>/dev/tcp/127.0.0.1/10249'
}

run_metrics-server() {
  sed "s/NODE_IP/$NODE_IP/" "$HERE/metrics-server.yaml" | kubectl apply -f - >/dev/null
  start metrics-server "$BIN/metrics-server" --kubeconfig="$PKI/metrics-server.kubeconfig" --authentication-kubeconfig="$PKI/metrics-server.kubeconfig" \
    --authorization-kubeconfig="$PKI/metrics-server.kubeconfig" --secure-port=10443 --cert-dir="$STATE/metrics-server" \
    --tls-cert-file="$PKI/metrics-server.crt" --tls-private-key-file="$PKI/metrics-server.key" \
    --kubelet-insecure-tls --kubelet-preferred-address-types=InternalIP --metric-resolution=10s --kubelet-request-timeout=5s
  await metrics-server 30 in_netns bash -c 'exec 3<>/dev/tcp/127.0.0.1/10443'
}

COMPONENTS="etcd kube-apiserver kube-controller-manager kube-scheduler containerd kubelet kube-proxy metrics-server"
