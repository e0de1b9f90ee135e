# nats-server alone, from the static binary that tools/setup.sh installs: no base image, no registry.
#
#   tools/setup.sh
#   docker build --tag code/nats --file compose/nats.Dockerfile .tools
#
# The build context is .tools, because the repository's root would send target/ along.
# Without a configuration mounted at /etc/nats/nats.conf the server refuses to start. That is on purpose:
# the default settings acknowledge a message before it is on disk.
FROM scratch
COPY bin/nats-server /nats-server
# An empty folder that the user below owns; a volume first mounted there takes the owner over.
COPY --chown=65532:65532 empty /data
USER 65532:65532
VOLUME /data
EXPOSE 4222 6222 7422 8222
ENTRYPOINT ["/nats-server"]
CMD ["--config", "/etc/nats/nats.conf"]
