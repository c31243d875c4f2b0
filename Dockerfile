ARG NODE_MAJOR=26

# Compiles src/ to dist/, which needs the development dependencies.
FROM node:${NODE_MAJOR}-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY tsconfig.json tsconfig.build.json ./
COPY scripts/clean.mjs scripts/copy-page.mjs scripts/
COPY openapi.yaml ./
COPY src src
# Whoever builds may have a umask of 077; the user that runs it has to read it all the same.
RUN npm run build && chmod -R a+rX,go-w dist package.json openapi.yaml && mkdir /state

# What the service needs at run time, and nothing else.
FROM node:${NODE_MAJOR}-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev && install -d -m 0700 /state/ev-availability-proxy

FROM node:${NODE_MAJOR}-bookworm-slim
LABEL org.opencontainers.image.title="ev-availability-proxy" \
      org.opencontainers.image.description="A caching, coalescing, quota-keeping gateway in front of TomTom's EV Charging Stations Availability endpoint" \
      org.opencontainers.image.licenses="MIT"
# Half of the container's memory is the most that V8's old space may take, whatever the limit; the other half is for its
# young space, which is kept small, Node itself and what is sent. Without it a heap of 262 MB would be grown in 128.
# CACHE_MAX_BYTES is for a limit of 128 MB; docs/size.md has it for others.
# `::` is every address of both families. The admin listener has to be reachable by probes and by Prometheus from outside the container; publish none of it.
ENV NODE_ENV=production \
    NODE_OPTIONS="--enable-source-maps --max-old-space-size-percentage=50 --max-semi-space-size=2" \
    CACHE_MAX_BYTES=16MB \
    HOST=:: \
    ADMIN_HOST=:: \
    DRAIN_DELAY=2s
WORKDIR /app
COPY --from=dependencies /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY --from=build /app/package.json /app/openapi.yaml ./
# A new volume takes the owner of this directory. STATE_DIR is not set: without a volume it would be lost with the container.
COPY --from=build --chown=1000:1000 /state /var/lib/ev-availability-proxy
# The files of the service belong to root, and the root filesystem may be read-only: only STATE_DIR is written, if it is
# set. The user is a number, because `runAsNonRoot` of Kubernetes cannot check a name.
USER 1000:1000
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --retries=3 \
  CMD ["node", "-e", "fetch(`http://localhost:${process.env.ADMIN_PORT || 8081}/livez`, { signal: AbortSignal.timeout(2000) }).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
CMD ["node", "dist/main.js"]
