# Any of our services: one static program on nothing. tools/images.sh makes the small context it is built from:
#
#   rootfs/app                                  the program
#   rootfs/etc/passwd, rootfs/etc/group         user 10001
#   rootfs/etc/ssl/certs/ca-certificates.crt    the builder's authorities, for connections that leave the cluster
#   state/                                      an empty folder
#
# No shell, no package manager, nothing to update but the program. Hooks of a spec run where the agents run: an agents
# image that serves specs with hooks is made FROM this one and adds their programs.
FROM scratch
COPY rootfs/ /
# A named volume that is first mounted here takes the owner over.
COPY --chown=10001:10001 state/ /state/
WORKDIR /state
USER 10001:10001
ENTRYPOINT ["/app"]
# Last, because they change with every commit and the layers above need not.
ARG SERVICE
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="$SERVICE" \
      org.opencontainers.image.description="CODE: $SERVICE" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.licenses="Apache-2.0"
