# A small image with the command: docker build -t ocelli .
#
#     docker run --rm -u "$(id -u):$(id -g)" -v "$PWD":/data -v ocelli-cache:/cache ocelli train photos
#
# Runs are written into the folder that is mounted at /data.
FROM rust:1.95-slim-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# The history is not copied: whoever builds names the commit.
ARG COMMIT=
RUN OCELLI_COMMIT="$COMMIT" cargo build --release --locked -p ocelli-cli

FROM debian:bookworm-slim
LABEL org.opencontainers.image.source="https://github.com/ocelli/ocelli" \
      org.opencontainers.image.description="Trains image classifiers by transfer learning" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
# The authorities that `ocelli pull` believes; a folder for the cache that any user may write.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && mkdir -m 1777 /cache /data
COPY --from=build /src/target/release/ocelli /usr/local/bin/ocelli
COPY LICENSE-MIT LICENSE-APACHE /usr/share/doc/ocelli/
ENV OCELLI_CACHE=/cache
WORKDIR /data
ENTRYPOINT ["ocelli"]
CMD ["--help"]
