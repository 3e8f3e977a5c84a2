# One recipe for the four Flask services: the build context is the service's folder, services/NAME.
#
#   build    pip, a copy of the folder, everything compiled to bytecode
#   (final)  the base, the packages, the code: no pip, no cache, nobody's root
#
# BASE_IMAGE     which Python; pin it by its digest where it must never change
# PIP_NO_INDEX   1: take wheels from the context's folder wheels/ alone, for a build without a network
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS build
ARG PIP_NO_INDEX
COPY requirements.txt wheel[s] /wheels/
RUN python -m pip install --no-cache-dir --no-compile --find-links /wheels --target /packages -r /wheels/requirements.txt
COPY *.py *.json *.sq[l] /srv/
# The container cannot write bytecode, so it is made here: it would be made anew at each start.
RUN rm -rf /packages/bin && python -m compileall -q -j 0 /packages /srv

FROM ${BASE_IMAGE}
ARG NAME VERSION=0.1.0
LABEL org.opencontainers.image.title="cnet/${NAME}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.description="${NAME} of the container networking lab" \
      cnet.program="${NAME}"
# Nothing in here installs anything any more.
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
CMD ["python", "-m", "gunicorn", "-c", "gunicorn.conf.py", "app:create_app()"]
