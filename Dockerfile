# An image with one static program.
#
#   docker build -t streamgauge .
#   docker run --rm -p 127.0.0.1:8080:8080 streamgauge --upstream http://SERVER:8000
#
# Requires BuildKit (the default since Docker 23), for cache mounts and TARGETARCH.

ARG RUST_IMAGE=rust:1-slim-bookworm

FROM ${RUST_IMAGE} AS build
ARG TARGETARCH
WORKDIR /src
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]

# The stage runs on the architecture that it builds for. It still passes `--target`, so that RUSTFLAGS apply to the
# program only, not to build scripts and procedural macros, which cannot be static.
RUN case "${TARGETARCH}" in \
        amd64) echo x86_64-unknown-linux-gnu ;; \
        arm64) echo aarch64-unknown-linux-gnu ;; \
        *) echo "TARGETARCH is '${TARGETARCH}', but must be amd64 or arm64" >&2; exit 1 ;; \
    esac > /triple

COPY . .

# glibc instead of musl, because its allocator and string functions are faster. Its static resolver (files and DNS are
# built in since 2.34) needs no library at run time.
ENV RUSTFLAGS="-C target-feature=+crt-static"

# Compiled dependencies are kept in cache mounts, one per architecture. `touch` updates the file times: those of another
# checkout can be older than the cache, and Cargo would then reuse the cached program.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,id=streamgauge-target-${TARGETARCH},sharing=locked \
    find src crates -name '*.rs' -exec touch {} + \
    && cargo build --release --locked --bin streamgauge --target "$(cat /triple)" \
    && install "target/$(cat /triple)/release/streamgauge" /streamgauge

# A program that needs a loader or a library would fail in an empty image with "not found".
# (`ldd` itself fails for one that is not dynamic.)
RUN /streamgauge --version \
    && { ldd /streamgauge || true; } >/linkage 2>&1 \
    && grep -E 'statically linked|not a dynamic executable' /linkage

FROM scratch
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="streamgauge" \
      org.opencontainers.image.description="A measuring reverse proxy for LLM inference servers, for Prometheus" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY LICENSE /LICENSE
# Root certificates for https upstreams.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /streamgauge /streamgauge

# A numeric user, because the image has no user database, and Kubernetes' runAsNonRoot requires a number.
USER 65532:65532

# Loopback is not reachable from outside of the container. Publish the admin port (9464) only where it is needed: without
# the admin token, it serves /metrics, /healthz and /readyz only.
ENV STREAMGAUGE__LISTEN=0.0.0.0:8080 \
    STREAMGAUGE__ADMIN=0.0.0.0:9464
EXPOSE 8080 9464

# For Docker and Compose; Kubernetes uses its own probes.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 CMD ["/streamgauge", "healthcheck"]
ENTRYPOINT ["/streamgauge"]
