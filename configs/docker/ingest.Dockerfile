# sandan-ingest in a container, out of its Debian package:
#   configs/packaging/release.sh amd64
#   docker build -f configs/docker/ingest.Dockerfile -t sandan-ingest target/packages
# The configuration is mounted at /etc/sandan-ingest, its data live in a volume.
FROM debian:bookworm-slim
COPY sandan-ingest_*.deb /tmp/
RUN apt-get update \
    && apt-get install -y --no-install-recommends systemd-standalone-sysusers systemd-standalone-tmpfiles /tmp/sandan-ingest_*.deb \
    && rm -rf /tmp/*.deb /var/lib/apt/lists/*
USER sandan-ingest
ENV SANDAN_INGEST_CONFIG=/etc/sandan-ingest/ingest.toml SANDAN_LOG=json
VOLUME /var/lib/sandan-ingest
EXPOSE 7443 7080
# An orderly end takes 27 s at most: docker stop --time 40.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/sandan-ingest"]
CMD ["serve"]
