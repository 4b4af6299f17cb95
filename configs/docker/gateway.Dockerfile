# sandan-gateway in a container, out of its Debian package:
#   configs/packaging/release.sh amd64
#   docker build -f configs/docker/gateway.Dockerfile -t sandan-gateway target/packages
# The configuration is mounted at /etc/sandan-gateway, the spool lives in a volume.
FROM debian:bookworm-slim
COPY sandan-gateway_*.deb /tmp/
RUN apt-get update \
    && apt-get install -y --no-install-recommends systemd-standalone-sysusers systemd-standalone-tmpfiles /tmp/sandan-gateway_*.deb \
    && rm -rf /tmp/*.deb /var/lib/apt/lists/*
USER sandan-gateway
ENV SANDAN_GATEWAY_CONFIG=/etc/sandan-gateway/gateway.toml
VOLUME /var/lib/sandan-gateway
# An orderly stop takes 20 s at most: docker stop --time 30.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/sandan-gateway"]
CMD ["run"]
