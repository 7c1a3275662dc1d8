# autotts as a container: `docker build -t autotts-optimizer .`; how it is run stands in docs/deploy/index.md.
# The tag is pinned, the digest is not: `docker build --build-arg PYTHON=3.13-slim-trixie@sha256:...` pins that too.
ARG PYTHON=3.13-slim-trixie

FROM python:${PYTHON} AS build
WORKDIR /src
RUN python -m venv /opt/autotts
COPY pyproject.toml README.md LICENSE ./
COPY autotts autotts
COPY predictors predictors
COPY studies studies
# Bytecode is compiled here, since nothing can be written where it runs.
RUN /opt/autotts/bin/pip install --no-cache-dir --compile .

FROM python:${PYTHON}
LABEL org.opencontainers.image.title="autotts" \
      org.opencontainers.image.description="Serves a policy of test-time compute before servers in OpenAI's form" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 autotts \
 && useradd --uid 10001 --gid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin autotts \
 && install -d -o 10001 -g 10001 -m 0750 /data
COPY --from=build /opt/autotts /opt/autotts
ENV PATH=/opt/autotts/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
# The only place beside /tmp that is written, and only if asked: --keep, --storage sqlite:////data/...
VOLUME /data
WORKDIR /data
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
# Is the process alive? Whether its models answer is /ready: a dead upstream is no reason to kill this container.
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8080, timeout=4); c.request('GET', '/health'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["autotts"]
CMD ["serve", "/etc/autotts/policy.json", "--host", "0.0.0.0", "--port", "8080", "--api-key-file", "/run/secrets/autotts_keys"]
