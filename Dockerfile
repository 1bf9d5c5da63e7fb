# One image for every role; compose.yaml starts them. The entry point is the command `simcourier`.

FROM python:3.11.13-slim-bookworm AS build
WORKDIR /source
COPY requirements/all.lock requirements/all.lock
RUN python -m venv /opt/simcourier && \
    /opt/simcourier/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements/all.lock
COPY pyproject.toml README.md LICENSE ./
COPY messaging messaging
COPY producer producer
COPY backends backends
COPY consumer consumer
COPY ledger ledger
COPY local_cloud local_cloud
COPY simcourier simcourier
RUN /opt/simcourier/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheel . && \
    /opt/simcourier/bin/pip install --no-cache-dir --no-deps /wheel/*.whl && \
    /opt/simcourier/bin/pip uninstall --yes hatchling editables && \
    /opt/simcourier/bin/python -m compileall -q /opt/simcourier/lib

FROM python:3.11.13-slim-bookworm
RUN groupadd --gid 10001 simcourier && \
    useradd --uid 10001 --gid 10001 --home-dir /var/lib/simcourier --no-create-home --shell /usr/sbin/nologin simcourier && \
    install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/simcourier
COPY --from=build /opt/simcourier /opt/simcourier
ENV PATH=/opt/simcourier/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    SIMCOURIER_DATA_DIR=/var/lib/simcourier
USER 10001:10001
WORKDIR /var/lib/simcourier
VOLUME /var/lib/simcourier
STOPSIGNAL SIGTERM
ENTRYPOINT ["simcourier"]
