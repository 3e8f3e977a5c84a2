# One recipe for the four Flask services. The build context is the folder services/.
#
#   build    pip, services/common and services/NAME, everything compiled to bytecode
#   (final)  the base, the packages, the code: no pip, no cache, no root
#
# NAME           the service
# BASE_IMAGE     the base image with Python; pin it by its digest to make builds repeatable
# PIP_NO_INDEX   1: install only from the wheels in services/wheels, for a build without a network
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS build
ARG NAME PIP_NO_INDEX
COPY ${NAME}/requirements.txt wheel[s] /wheels/
COPY common /common
RUN python -m pip install --no-cache-dir --no-compile --find-links /wheels --target /packages -r /wheels/requirements.txt /common
COPY ${NAME}/*.py ${NAME}/*.sq[l] ${NAME}/service.toml /srv/
# Compile here: a running container cannot write bytecode and would compile at each start.
RUN rm -rf /packages/bin && python -m compileall -q -j 0 /packages /srv

FROM ${BASE_IMAGE}
ARG NAME VERSION=0.1.0
LABEL org.opencontainers.image.title="cnet/${NAME}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.description="${NAME} of the container networking lab" \
      cnet.program="${NAME}"
# A running container needs no installer.
RUN python -c "import importlib.util, shutil; [shutil.rmtree(spec.submodule_search_locations[0]) for name in ('pip', 'setuptools', 'wheel') if (spec := importlib.util.find_spec(name)) and spec.submodule_search_locations]"
COPY --from=build /packages /packages
COPY --from=build /srv /srv
ENV PYTHONPATH=/packages PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    SERVICE_NAME=${NAME} SERVICE_IP=0.0.0.0 STATE_DIR=/state
RUN install -d -o 10001 -g 10001 -m 700 /state
WORKDIR /srv
USER 10001:10001
HEALTHCHECK --interval=5s --timeout=3s --retries=3 CMD ["python", "-c", \
  "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ[\"SERVICE_PORT\"]}/health', timeout=2)"]
CMD ["python", "-m", "gunicorn", "-c", "python:cnet_service.gunicorn_settings", "app:create_app()"]
