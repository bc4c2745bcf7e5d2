# Streamgauge in an image that holds one static program and nothing else.
#
#   docker build -t streamgauge .
#   docker run --rm -p 127.0.0.1:8080:8080 streamgauge --upstream http://SERVER:8000
#
# BuildKit is needed (Docker 23 and later use it by default), for cache mounts and TARGETARCH.

ARG RUST_IMAGE=rust:1-slim-bookworm

FROM ${RUST_IMAGE} AS build
ARG TARGETARCH
WORKDIR /src

# The stage runs on the architecture that it builds for. The target is named all the same: with `--target`,
# RUSTFLAGS reach the program only, not build scripts and procedural macros, which cannot be static.
RUN case "${TARGETARCH}" in \
        amd64) echo x86_64-unknown-linux-gnu ;; \
        arm64) echo aarch64-unknown-linux-gnu ;; \
        *) echo "TARGETARCH is '${TARGETARCH}', but must be amd64 or arm64" >&2; exit 1 ;; \
    esac > /triple

COPY . .

# glibc, not musl: its allocator and its string functions are the faster ones, and its static resolver (files
# and DNS are built in since 2.34) needs no library at run time.
ENV RUSTFLAGS="-C target-feature=+crt-static"

# Dependencies stay compiled from build to build in the cache mounts, one per architecture. `touch`, because
# files keep the times that they had outside: those of another checkout may be older than what is cached, and
# Cargo would take the cached program for this one.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,id=streamgauge-target-${TARGETARCH},sharing=locked \
    find src crates -name '*.rs' -exec touch {} + \
    && cargo build --release --locked --bin streamgauge --target "$(cat /triple)" \
    && install "target/$(cat /triple)/release/streamgauge" /streamgauge

# A program that needs a loader or a library would fail in an empty image with no more than "not found".
RUN /streamgauge --version \
    && ldd /streamgauge 2>&1 | grep -E 'statically linked|not a dynamic executable'

FROM scratch
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="streamgauge" \
      org.opencontainers.image.description="A measuring reverse proxy for LLM inference servers, for Prometheus" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY LICENSE /LICENSE
# Whom to trust, for an https server.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /streamgauge /streamgauge

# No user of this name exists anywhere: a number is all that the kernel, and Kubernetes' runAsNonRoot, want.
USER 65532:65532

# Within a container, loopback would be reachable by nobody. Publish the admin port (9464) to whom it concerns
# only: without a token it gives /metrics, /healthz and /readyz, and nothing else.
ENV STREAMGAUGE__LISTEN=0.0.0.0:8080 \
    STREAMGAUGE__ADMIN=0.0.0.0:9464
EXPOSE 8080 9464

# Docker and Compose use this; Kubernetes has probes of its own.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 CMD ["/streamgauge", "healthcheck"]
ENTRYPOINT ["/streamgauge"]
