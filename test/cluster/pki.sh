# shellcheck shell=bash
# Keys and certificates of the test cluster, made with openssl at every start from nothing.

authority() { # NAME
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=oomscope-test-$1" \
    -keyout "$PKI/$1.key" -out "$PKI/$1.crt" 2>/dev/null
}

certificate() { # NAME AUTHORITY SUBJECT [SAN]
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "$3" -keyout "$PKI/$1.key" -out "$PKI/$1.csr" 2>/dev/null
  openssl x509 -req -in "$PKI/$1.csr" -CA "$PKI/$2.crt" -CAkey "$PKI/$2.key" -CAcreateserial -days 30 -out "$PKI/$1.crt" \
    -extfile <(printf 'extendedKeyUsage=serverAuth,clientAuth\n%s' "${4:+subjectAltName=$4}") 2>/dev/null
}

kubeconfig() { # FILE CERTIFICATE SERVER
  cat >"$1" <<YAML
apiVersion: v1
kind: Config
clusters: [{name: oomscope-test, cluster: {server: "$3", certificate-authority-data: $(base64 -w0 "$PKI/ca.crt")}}]
users: [{name: $2, user: {client-certificate-data: $(base64 -w0 "$PKI/$2.crt"), client-key-data: $(base64 -w0 "$PKI/$2.key")}}]
contexts: [{name: oomscope-test, context: {cluster: oomscope-test, user: $2}}]
current-context: oomscope-test
YAML
  chmod 600 "$1"
}

make_pki() {
  [ -f "$PKI/done" ] && return 0
  mkdir -p "$PKI"; chmod 700 "$PKI"
  authority ca
  authority front-proxy-ca
  openssl genrsa -out "$PKI/sa.key" 2048 2>/dev/null
  openssl rsa -in "$PKI/sa.key" -pubout -out "$PKI/sa.pub" 2>/dev/null
  certificate apiserver ca /CN=kube-apiserver "IP:$NODE_IP,IP:127.0.0.1,IP:$API_SERVICE_IP,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc"
  certificate kubelet-client ca "/O=system:masters/CN=kube-apiserver-kubelet-client"
  certificate front-proxy front-proxy-ca /CN=front-proxy-client
  certificate admin ca "/O=system:masters/CN=admin"
  certificate controller-manager ca /CN=system:kube-controller-manager
  certificate scheduler ca /CN=system:kube-scheduler
  certificate kubelet ca "/O=system:nodes/CN=system:node:$NODE" "IP:$NODE_IP,DNS:$NODE"
  certificate kube-proxy ca /CN=system:kube-proxy
  certificate metrics-server ca /CN=oomscope-test:metrics-server "DNS:metrics-server.kube-system.svc"
  local name
  for name in admin controller-manager scheduler kubelet kube-proxy metrics-server; do
    kubeconfig "$PKI/$name.kubeconfig" "$name" "https://$NODE_IP:6443"
  done
  cp "$PKI/admin.kubeconfig" "$KUBECONFIG_FILE"
  touch "$PKI/done"
}
