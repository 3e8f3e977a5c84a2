# nginx with the lab's configuration; the build context is services/nginx.
ARG BASE_IMAGE=nginx:1.27-alpine

FROM ${BASE_IMAGE}
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="cnet/nginx" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.description="the entry point of the container networking lab" \
      cnet.program="nginx"
COPY nginx.conf.in start.sh /srv/
COPY html /srv/html
RUN install -d -o 10001 -g 10001 -m 700 /state
ENV SERVICE_IP=0.0.0.0 SERVICE_PORT=80 STATE_DIR=/state
USER 10001:10001
HEALTHCHECK --interval=5s --timeout=3s --retries=3 CMD ["/bin/sh", "-c", "curl -fsS -m 2 http://127.0.0.1:$SERVICE_PORT/health || exit 1"]
STOPSIGNAL SIGQUIT
ENTRYPOINT []
CMD ["/srv/start.sh"]
